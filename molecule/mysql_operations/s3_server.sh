# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# An S3 server with one bucket: s3_server.sh PORT KEY SECRET. It is rclone's own, which only Debian unstable's package has; that
# runs on Debian 12 and 13 as well and is taken from its package without being installed. (Unstable's lists may be past their date.)
set -euo pipefail
apt=/var/tmp/unstable
mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" /srv/s3/mysql
if [ ! -x "$apt/rclone/usr/bin/rclone" ]; then
    echo "deb [check-valid-until=no signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]" \
        "$(apt-get indextargets --format '$(SITE)' | head -n 1) sid main" >"$apt/sources.list"
    options=(-qq -o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$apt/lists"
        -o "Dir::Cache=$apt/cache")
    cd "$apt"
    apt-get "${options[@]}" update
    apt-get "${options[@]}" download rclone
    dpkg-deb --extract rclone_*.deb rclone
fi
systemctl stop s3-server 2>/dev/null || true
systemd-run --quiet --unit=s3-server "$apt/rclone/usr/bin/rclone" serve s3 --addr ":$1" --auth-key "$2,$3" /srv/s3
