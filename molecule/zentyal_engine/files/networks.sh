#!/usr/bin/env bash
# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# The networks around the firewall: a host in each of them, in a network namespace of this node.
set -euo pipefail
host() { # name, interface of the firewall towards it, address, gateway
    ip netns add "$1"
    ip link add "$2" type veth peer name eth0 netns "$1"
    ip link set "$2" up
    ip -n "$1" link set lo up
    ip -n "$1" link set eth0 up
    ip -n "$1" address add "$3/24" dev eth0
    ip -n "$1" route add default via "$4"
}
host internet pub0 203.0.113.50 203.0.113.11
host app app0 10.10.0.41 10.10.0.11
host data data0 10.20.0.100 10.20.0.11
host storage trunk0 10.30.0.5 10.30.0.11
