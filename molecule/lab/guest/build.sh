#!/bin/sh
# In the unstable container: /root (a plain node's files) becomes the guest's root file system /images/$1 of size $2;
# file systems that are neither this nor named in $3… are removed.
set -eu
file=$1 size=$2
shift 2
root=/root
rm -f "$root/.dockerenv" "$root/.bashrc" "$root/.profile"
mkdir -p "$root/usr/lib/modules"
cp -a /usr/lib/uml/modules/* "$root/usr/lib/modules/"
for version in "$root"/usr/lib/modules/*; do
    [ -z "${MODULES:-}" ] || tar -C "$version/kernel" -xf "$MODULES"
done
for version in "$root"/usr/lib/modules/*; do depmod -b "$root" "$(basename "$version")"; done

# A machine with hardware has udev; a container has not.
for unit in systemd-udevd.service systemd-udev-trigger.service; do rm -f "$root/etc/systemd/system/$unit"; done
# What a boot spends its time on for nothing: events of 595 terminals, and checks of file systems on LVM.
mkdir -p "$root/etc/systemd/system/systemd-udev-trigger.service.d"
cat > "$root/etc/systemd/system/systemd-udev-trigger.service.d/lab.conf" <<'UNIT'
[Service]
ExecStart=
ExecStart=udevadm trigger --type=devices --action=add --subsystem-nomatch=tty
UNIT
for unit in e2scrub_reap.service systemd-binfmt.service; do ln -sf /dev/null "$root/etc/systemd/system/$unit"; done

printf '/dev/ubda / ext4 defaults 0 1\n' > "$root/etc/fstab"
printf 'nameserver 127.0.0.1\n' > "$root/etc/resolv.conf"
: > "$root/etc/hostname"
mv "$root/.node" "$root/usr/local/sbin/lab-node"
cat > "$root/etc/systemd/system/lab-node.service" <<'UNIT'
[Unit]
Description=Address, name and keys of this node of the lab
DefaultDependencies=no
After=local-fs.target systemd-udevd.service
Before=network-pre.target network.target ssh.service sysinit.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/lab-node

[Install]
WantedBy=sysinit.target
UNIT
mkdir -p "$root/etc/systemd/system/sysinit.target.wants"
ln -sf ../lab-node.service "$root/etc/systemd/system/sysinit.target.wants/lab-node.service"

mke2fs -q -t ext4 -m 0 -d "$root" "/images/$file.new" "$size"
for other in /images/*; do
    case " $* $file.new " in *" ${other##*/} "*) ;; *) rm -f "$other" ;; esac
done
mv "/images/$file.new" "/images/$file"
