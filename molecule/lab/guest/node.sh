#!/bin/sh
# In the guest at each boot: what the lab says on the kernel's command line and in the seed.
set -eu
for word in $(cat /proc/cmdline); do
    case $word in lab.*) word=${word#lab.}; eval "${word%%=*}=\${word#*=}" ;; esac
done
hostname "$name"
ip link set lo up
number=0
for cidr in $(echo "$addresses" | tr , ' '); do
    for _ in $(seq 100); do [ -e "/sys/class/net/vec$number" ] && break; sleep 0.05; done
    [ "$cidr" = - ] || ip addr replace "$cidr" dev "vec$number"
    ip link set "vec$number" up
    number=$((number + 1))
done
address=${addresses%%,*}
[ "$gateway" = none ] || ip route replace default via "$gateway"
# Once: what a role writes into these files afterwards stays, as on any host.
if [ ! -s /etc/hostname ]; then
    for server in $(echo "$dns" | tr , ' '); do echo "nameserver $server"; done > /etc/resolv.conf
    printf '127.0.0.1 localhost\n%s %s\n' "${address%/*}" "$name" > /etc/hosts
    tar -C / -xf /dev/ubdp --no-overwrite-dir --no-same-owner
    echo "$name" > /etc/hostname
    sync
fi
