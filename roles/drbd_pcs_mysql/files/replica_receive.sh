# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# Takes a backup of the running primary from the network, makes it a data directory, and moves it to its place.
# DATADIR ADDRESS PORT KEYS (folder with me.pem and peer.crt) MARKER; what was in DATADIR goes when the new one is whole.
set -euo pipefail
install -d -m 0755 "$(dirname "$DATADIR")"
umask 077
fresh="$DATADIR.new"
rm -rf "$fresh"
mkdir -p "$fresh"
trap 'rm -rf "$fresh" "$KEYS"' EXIT
timeout "$LIMIT" socat -u "OPENSSL-LISTEN:$PORT,bind=$ADDRESS,reuseaddr,cert=$KEYS/me.pem,cafile=$KEYS/peer.crt,verify=1,openssl-min-proto-version=TLS1.2" STDOUT |
    mbstream --extract --directory="$fresh"
mariadb-backup --prepare --target-dir="$fresh" 2>"$DATADIR.prepare.log" || { tail -5 "$DATADIR.prepare.log" >&2; exit 1; }
# The position of the backup: file, offset, GTIDs. Newer versions call it by their own name.
cut -f 3 "$fresh"/mariadb_backup_binlog_info "$fresh"/xtrabackup_binlog_info 2>/dev/null | head -n 1 >"$fresh/$MARKER" || true
[ -s "$fresh/$MARKER" ] || { echo "the backup does not say at which GTID it was taken: is log_bin on at the primary?" >&2; exit 1; }
rm -f "$fresh"/relay* "$fresh"/master.info "$fresh"/multi-master.info "$fresh"/auto.cnf
chown -R mysql:mysql "$fresh"
systemctl stop mariadb.service
if [ -e "$DATADIR" ]; then mv "$DATADIR" "$DATADIR.old"; fi
mv "$fresh" "$DATADIR"
sync -f "$DATADIR"
rm -rf "$DATADIR.old" "$DATADIR.prepare.log"
