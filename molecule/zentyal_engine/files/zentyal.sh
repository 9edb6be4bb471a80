#!/usr/bin/env bash
# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# Builds Zentyal's packages from its source in $1 by its own rules, and installs them on this Debian node.
set -euo pipefail
source=$1
export DEBIAN_FRONTEND=noninteractive
apt-get update -q >/dev/null

# What a node of the lab is not and a host is: its kernel's settings can be written, udev runs, resolv.conf can be replaced.
mount -o remount,rw /proc/sys
mount -o remount,rw /sys
if mountpoint -q /etc/resolv.conf; then
    cp /etc/resolv.conf /run/resolv.conf
    umount /etc/resolv.conf
    cp /run/resolv.conf /etc/resolv.conf
fi
mkdir -p /etc/systemd/system/systemd-udevd.service.d /etc/systemd/system/redis-server.service.d
printf '[Unit]\nConditionPathIsReadWrite=\n' >/etc/systemd/system/systemd-udevd.service.d/lab.conf
# A user namespace of its own is refused to the unit here.
printf '[Service]\nPrivateUsers=no\n' >/etc/systemd/system/redis-server.service.d/lab.conf
systemctl unmask systemd-udevd.service
systemctl daemon-reload
systemctl start systemd-udevd.service
# Debian 13 has none, Zentyal's enabling of its network module writes to it.
touch /etc/sysctl.conf

apt-get install -y -q cdbs debhelper dpkg-dev po-debconf dh-apparmor equivs libfile-slurp-perl liberror-perl \
    redis-server mariadb-server sudo apparmor >/dev/null
# This kernel has no AppArmor; without its parser Zentyal leaves AppArmor alone.
dpkg-divert --quiet --rename --divert /usr/sbin/apparmor_parser.absent --add /usr/sbin/apparmor_parser

build=/var/tmp/zentyal
rm -rf $build
mkdir -p $build
mkdir -p /usr/share/zbuildtools
cp -r "$source/extra/zbuildtools/1" /usr/share/zbuildtools/
install -m 755 "$source/extra/zbuildtools/zentyal-install-module" /usr/bin/
for module in core software network firewall; do
    cp -r "$source/main/$module" $build/zentyal-$module
    (cd $build/zentyal-$module && dpkg-buildpackage -b -us -uc -d >$build/$module.log 2>&1) || {
        tail -n 30 $build/$module.log
        exit 1
    }
done
cd $build
# Names of Ubuntu's packages which Debian has under others (the first two), in Perl itself, or not at all.
cat >stand-ins <<'CONTROL'
Package: zentyal-stand-ins
Version: 1
Provides: mysql-server, libreadonly-xs-perl, libtime-piece-perl, update-notifier-common
Depends: mariadb-server
Description: names of Ubuntu's packages
CONTROL
equivs-build stand-ins >equivs.log 2>&1
apt-get install -y -q --no-install-recommends ./*.deb >install.log 2>&1 || {
    tail -n 30 install.log
    exit 1
}
dpkg-query --show 'zentyal-*'
