#!/bin/sh
# PID 1 of the container: hands its address over to a User Mode Linux guest and becomes it.
set -eu
cidr=$(ip -4 -o addr show eth0 | awk '{print $4}')
gateway=$(ip route | awk '/^default/{print $3}')
mac=$(cat /sys/class/net/eth0/address)

# The guest keeps eth0's MAC: with a new one its peers would wait for their ARP entries to expire after each boot.
ip addr flush dev eth0
ip link set eth0 down
ip link set eth0 address "02:fe:$(echo "$mac" | cut -d: -f3-)"
ip link add br0 type bridge forward_delay 0
ip tuntap add tap0 mode tap
for link in eth0 tap0; do ip link set "$link" master br0; done
for link in eth0 tap0 br0; do ip link set "$link" up; done

mkdir -p /disks
set --
number=1
for size in ${NODE_DISKS:-}; do
    [ -e "/disks/$number" ] || truncate -s "$size" "/disks/$number"
    set -- "$@" "ubd$number=/disks/$number"
    number=$((number + 1))
done

# Unpinned, UML is 5 to 14 times slower at system calls. ubd15 (/dev/ubdp) brings the node's seed, a bare tar.
exec taskset -c "$NODE_CPU" linux.uml umid=node uml_dir=/run "mem=$NODE_MEMORY" \
    "ubd0=/disks/root,$NODE_GUEST" "$@" ubd15r=/seed.tar root=/dev/ubda rw panic=1 \
    "vec0:transport=tap,ifname=tap0,depth=128,gro=1,mac=$mac" con=null con0=null,fd:1 seccomp=on \
    "lab.address=$cidr" "lab.gateway=$gateway" "lab.name=$NODE_NAME" "lab.dns=$NODE_DNS"
