# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# Sends a backup of the running server to a replica that listens; the server goes on serving.
# ADDRESS PORT KEYS (folder with me.pem and peer.crt) SOCKET
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$KEYS" "$work"' EXIT
nice -n 10 mariadb-backup --backup --stream=mbstream --user=root --socket="$SOCKET" --target-dir="$work" 2>"$work/log" |
    socat -u STDIN "OPENSSL:$ADDRESS:$PORT,cert=$KEYS/me.pem,cafile=$KEYS/peer.crt,verify=1,openssl-commonname=seed,retry=60,interval=1" ||
    { tail -5 "$work/log" >&2; exit 1; }
