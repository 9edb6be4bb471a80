# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# A key for one transfer in KEYS; its certificate is the output. The other side's certificate, if known, is in PEER.
set -euo pipefail
umask 077
rm -rf "$KEYS"
mkdir "$KEYS"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=seed \
    -keyout "$KEYS/me.pem" -out "$KEYS/me.crt" 2>/dev/null
cat "$KEYS/me.crt" >>"$KEYS/me.pem"
printf '%s\n' "${PEER:-}" >"$KEYS/peer.crt"
cat "$KEYS/me.crt"
