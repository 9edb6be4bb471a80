#!/bin/sh
# In the guest at each boot: what the lab says on the kernel's command line and in the seed.
set -eu
for word in $(cat /proc/cmdline); do
    case $word in lab.*) word=${word#lab.}; eval "${word%%=*}=\${word#*=}" ;; esac
done
hostname "$name"
echo "$name" > /etc/hostname
ip link set lo up
for _ in $(seq 100); do [ -e /sys/class/net/vec0 ] && break; sleep 0.05; done
ip addr replace "$address" dev vec0
ip link set vec0 up
ip route replace default via "$gateway"
: > /etc/resolv.conf
for server in $(echo "$dns" | tr , ' '); do echo "nameserver $server" >> /etc/resolv.conf; done
printf '127.0.0.1 localhost\n%s %s\n' "${address%/*}" "$name" > /etc/hosts
[ ! -b /dev/ubdp ] || tar -C / -xf /dev/ubdp --no-overwrite-dir --no-same-owner
