# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a cut cable of the lab lets through, as rules of nftables."""

from __future__ import annotations

import pytest
from lab import link
from lab.definitions import Lab, LabError, parse

NODES = {"db1": {"address": 11}, "db2": {"address": 12}, "db3": {"address": 13}}
LAB = parse({"x": {"subnet": "10.9.0.0/24", "vips": {"mysql": 100}, "nodes": NODES}}, "x")


def chains(lab: Lab = LAB, to: tuple[str, ...] = (), port: tuple[str, ...] = (), one_way: bool = False) -> dict:
    """Hook → its rules."""
    found: dict[str, list[str]] = {}
    hook = ""
    for line in link.rules(lab, to, port, one_way).splitlines():
        if line.startswith("chain "):
            hook = line.split()[1]
            found[hook] = []
        elif line.endswith(" drop"):
            found[hook].append(line)
    return found


def test_a_cut_replaces_the_one_before_in_one_transaction() -> None:
    lines = link.rules(LAB, ["db2"], [], False).splitlines()
    table = "table netdev cloudexit-cut"
    assert lines[:3] == [table, f"delete {table}", f"{table} {{"]


def test_a_port_is_cut_both_ways_whoever_listens() -> None:
    expected = [f"ip {{}} {{{{ 10.9.0.12 }}}} tcp {end} 7788 counter drop" for end in ("sport", "dport")]
    assert chains(to=("db2",), port=("tcp/7788",)) == {
        "egress": [text.format("daddr") for text in expected],
        "ingress": [text.format("saddr") for text in expected],
    }


def test_one_way_is_what_the_node_sends() -> None:
    assert chains(to=("db2", "mysql"), one_way=True) == {"egress": ["ip daddr { 10.9.0.12, 10.9.0.100 } counter drop"]}


def test_cut_from_all_a_node_still_reaches_this_machine_the_power_switch_and_the_cache() -> None:
    spared = "ip {0} 10.9.0.0/24 ip {0} != {{ 10.9.0.1, 10.9.0.2, 10.9.0.3 }} counter drop"
    assert chains() == {"egress": [spared.format("daddr")], "ingress": [spared.format("saddr")]}


@pytest.mark.parametrize("port", ["7788", "tcp/0", "tcp/70000", "icmp/1", "tcp/1 drop; x", ""])
def test_a_port_is_a_protocol_and_a_number(port: str) -> None:
    with pytest.raises(LabError, match="is not a port such as tcp/7788"):
        chains(port=(port,))


def test_an_unknown_peer_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(LabError, match="no node 'db9'; it has db1, db2, db3"):
        chains(to=("db9",))


# Recorded from nft 1.0.6.
LISTING = """\
table netdev cloudexit-cut {
\tchain egress {
\t\ttype filter hook egress device "eth0" priority filter; policy accept;
\t\tip daddr 10.203.10.12 tcp sport 7788 counter packets 7 bytes 420 drop
\t}

\tchain ingress {
\t\ttype filter hook ingress device "eth0" priority filter; policy accept;
\t\tip saddr 10.203.10.0/24 ip saddr != { 10.203.10.1, 10.203.10.2 } counter packets 0 bytes 0 drop
\t}
}
"""


def test_what_is_cut_is_read_back() -> None:
    assert link.drops(LISTING) == [
        "egress: ip daddr 10.203.10.12 tcp sport 7788 (7 packets)",
        "ingress: ip saddr 10.203.10.0/24 ip saddr != { 10.203.10.1, 10.203.10.2 } (0 packets)",
    ]
    assert link.drops("") == []
