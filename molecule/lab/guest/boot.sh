#!/usr/bin/env bash
# PID 1 of the container: hands its addresses over to a User Mode Linux guest and runs it until it powers off.
set -eu

# A guest that reboots executes its argv[0] again, which brings it here.
[ $# -eq 0 ] || exit 64

# Each of the container's interfaces becomes one of the guest: eth0 vec0, eth1 vec1, … in the order of NODE_LINKS.
nics=()
cidrs=()
number=0
for address in $NODE_LINKS; do
    read -r name cidr < <(ip -4 -o addr show | awk -v a="$address" '$4 ~ "^" a "/" {print $2, $4}')
    # A MAC of the address, not of chance: with a new one after each boot, peers would wait for ARP entries to expire.
    mac=$(printf '02:42:%02x:%02x:%02x:%02x' $(echo "$address" | tr . ' '))
    ip addr flush dev "$name"
    ip link set "$name" down
    ip link set "$name" address "02:fe:${mac#02:42:}"
    ip link add "br$number" type bridge forward_delay 0
    ip tuntap add "tap$number" mode tap
    for link in "$name" "tap$number"; do ip link set "$link" master "br$number"; done
    for link in "$name" "tap$number" "br$number"; do ip link set "$link" up; done
    nics+=("vec$number:transport=tap,ifname=tap$number,depth=128,gro=1,mac=$mac")
    case " $NODE_BARE " in *" $address "*) cidrs+=(-) ;; *) cidrs+=("$cidr") ;; esac
    number=$((number + 1))
done
addresses=$(IFS=,; echo "${cidrs[*]}")

mkdir -p /disks
number=1
disks=()
for size in ${NODE_DISKS:-}; do
    # `molecule/lab disk pull` leaves the mark.
    if [ ! -e "/disks/$number.out" ]; then
        [ -e "/disks/$number" ] || truncate -s "$size" "/disks/$number"
        disks+=("ubd$number=/disks/$number")
    fi
    number=$((number + 1))
done

# Unpinned, UML is 5 to 14 times slower at system calls.
taskset -cp "$NODE_CPU" $$ >/dev/null
# A reboot (64) or a panic (134) starts another process, because the tap device of the old one is busy until it ends.
# ubd15 (/dev/ubdp) brings the node's seed, a bare tar.
code=64
while [ "$code" -eq 64 ] || [ "$code" -eq 134 ]; do
    rm -rf /run/node
    code=0
    (exec -a /boot.sh linux.uml umid=node uml_dir=/run "mem=$NODE_MEMORY" \
        "ubd0=/disks/root,/images/$NODE_GUEST" "${disks[@]}" ubd15r=/seed.tar root=/dev/ubda rw panic=1 \
        "${nics[@]}" con=null con0=null,fd:1 seccomp=on \
        "lab.addresses=$addresses" "lab.gateway=$NODE_GATEWAY" "lab.name=$NODE_NAME" "lab.dns=$NODE_DNS") || code=$?
done
exit "$code"
