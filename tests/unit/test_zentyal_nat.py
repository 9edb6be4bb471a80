# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The firewall's policy: what it means, what is refused, and what the auditor reads."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.cloudexit.ha_stack.plugins.filter import zentyal_nat as filters
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import zentyal_nat as policies

GOOD: dict[str, Any] = {
    "host": "fw1",
    "members": ["fw1", "fw2"],
    "engine": "nftables",
    "sync_zone": "management",
    "zones": [
        {
            "name": "management",
            "interface": "eth0",
            "network": "10.9.0.0/24",
            "addresses": {"fw1": "10.9.0.11", "fw2": "10.9.0.12"},
        },
        {
            "name": "public",
            "interface": "eth1",
            "network": "198.51.100.0/24",
            "addresses": {"fw1": "198.51.100.11", "fw2": "198.51.100.12"},
            "vip": "198.51.100.100",
            "external": True,
        },
        {
            "name": "application",
            "interface": "eth2",
            "vlan": 10,
            "network": "10.10.0.0/24",
            "addresses": {"fw1": "10.10.0.2", "fw2": "10.10.0.3"},
            "vip": "10.10.0.1",
        },
        {
            "name": "data",
            "interface": "eth2",
            "vlan": 20,
            "network": "10.20.0.0/24",
            "addresses": {"fw1": "10.20.0.2", "fw2": "10.20.0.3"},
            "vip": "10.20.0.1",
        },
    ],
    "objects": [
        {"name": "web", "addresses": ["10.10.0.41", "10.10.0.42"]},
        {"name": "office", "addresses": ["203.0.113.0/24"]},
    ],
    "services": [{"name": "mysql", "ports": ["tcp/3306"]}],
    "flows": [
        {"name": "mysql", "from": "web", "endpoints": [{"name": "mysql", "address": "10.20.0.100", "port": 3306}]},
        {"name": "updates", "from": ["application", "data"], "to": "public", "services": ["https", "dns"]},
        {"name": "ping", "from": "office", "to": "firewall", "services": ["ping"]},
    ],
    "forwards": [{"name": "shop", "port": 443, "endpoint": {"name": "shop", "address": "10.10.0.100", "port": 8443}}],
    "nat": ["application", "data"],
    "management": {"zone": "management", "sources": [], "port": 22},
    "bastion": ["203.0.113.0/24"],
}
LIVE: dict[str, Any] = {
    "client": "10.9.0.1",
    "client_port": 22,
    "interfaces": {
        "eth0": {"addresses": ["10.9.0.11/24"], "carrier": True, "vlan": None},
        "eth1": {"addresses": ["198.51.100.11/24"], "carrier": True, "vlan": None},
        "eth2": {"addresses": [], "carrier": True, "vlan": None},
    },
}


KEYS = [f"{letter * 42}A=" for letter in "abcd"]
WIREGUARD: dict[str, Any] = {
    "interface": "wg_nat",
    "network": "10.99.0.0/24",
    "port": 51820,
    "key": KEYS[0],
    "peers": [
        {"name": "alice", "public_key": KEYS[1], "address": "10.99.0.7"},
        {"name": "bob", "public_key": KEYS[2], "address": "10.99.0.8"},
    ],
}


def changed(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(GOOD), **changes}


def zone(number: int, **changes: Any) -> list[dict[str, Any]]:
    zones = copy.deepcopy(GOOD["zones"])
    zones[number] |= changes
    return zones


@pytest.mark.parametrize(
    ("source", "destination", "port", "protocol", "expected"),
    [
        ("10.10.0.41", "10.20.0.100", 3306, "tcp", True),
        ("10.10.0.43", "10.20.0.100", 3306, "tcp", False),  # not one of the object's
        ("10.10.0.41", "10.20.0.101", 3306, "tcp", False),  # another server
        ("10.10.0.41", "10.20.0.100", 3307, "tcp", False),
        ("10.20.0.100", "10.10.0.41", 3306, "tcp", False),  # the way back is not a way there
        ("10.10.0.41", "10.10.0.99", 3306, "tcp", True),  # a neighbour
        ("10.20.0.5", "192.0.2.1", 443, "tcp", True),  # somewhere outside
        ("10.20.0.5", "192.0.2.1", 53, "udp", True),
        ("10.20.0.5", "192.0.2.1", 80, "tcp", False),
    ],
)
def test_what_passes(source: str, destination: str, port: int, protocol: str, expected: bool) -> None:
    assert policies.passes(policies.resolve(GOOD), source, destination, port, protocol) is expected


def test_flows_are_between_zones_with_what_their_names_stand_for():
    policy = policies.resolve(GOOD)
    assert policy["flows"] == [
        {
            "name": "mysql",
            "from_zone": "application",
            "sources": ["10.10.0.41/32", "10.10.0.42/32"],
            "to_zone": "data",
            "destinations": ["10.20.0.100/32"],
            "protocol": "tcp",
            "ports": ["3306"],
            "description": "",
        },
        *(
            {
                "name": "updates",
                "from_zone": source,
                "sources": [],
                "to_zone": "public",
                "destinations": [],
                "protocol": protocol,
                "ports": ports,
                "description": "",
            }
            for source in ("application", "data")
            for protocol, ports in (("tcp", ["443", "53"]), ("udp", ["53"]))
        ),
        {
            "name": "ping",
            "from_zone": "public",
            "sources": ["203.0.113.0/24"],
            "to_zone": "firewall",
            "destinations": [],
            "protocol": "icmp",
            "ports": [],
            "description": "",
        },
    ]
    assert policy["forwards"] == [
        {
            "name": "shop",
            "zone": "public",
            "address": "198.51.100.100",
            "protocol": "tcp",
            "port": 443,
            "to_zone": "application",
            "to_address": "10.10.0.100",
            "to_port": 8443,
            "sources": [],
        }
    ]
    assert [(nat["from_zone"], nat["address"]) for nat in policy["nat_out"]] == [
        ("application", "198.51.100.100"),
        ("data", "198.51.100.100"),
    ]
    assert policy["management"] == {"zone": "management", "sources": ["10.9.0.0/24"], "port": 22}


def test_endpoints_of_one_port_make_one_flow_and_neighbours_none():
    ends = [{"name": n, "address": a, "port": 6379} for n, a in (("r1", "10.20.0.21"), ("r2", "10.20.0.22"))]
    flows = policies.resolve(changed(flows=[{"name": "redis", "from": ["web", "data"], "endpoints": ends}]))["flows"]
    assert [(f["from_zone"], f["destinations"]) for f in flows] == [("application", ["10.20.0.21/32", "10.20.0.22/32"])]


def test_any_port_takes_in_each_one():
    entry = {"name": "all", "from": "web", "to": "data", "services": ["mysql", "tcp", "udp/8000-8010"]}
    flows = policies.resolve(changed(flows=[entry]))["flows"]
    assert [(f["protocol"], f["ports"]) for f in flows] == [("tcp", []), ("udp", ["8000-8010"])]


def wireguard(**changes: Any) -> dict[str, Any]:
    return changed(wireguard={**copy.deepcopy(WIREGUARD), **changes})


def peer(**changes: Any) -> dict[str, Any]:
    first, second = copy.deepcopy(WIREGUARD["peers"])
    return wireguard(peers=[first, {**second, **changes}])


def test_who_comes_through_wireguard_is_an_object_in_a_zone_of_its_own():
    flows = [
        {"name": "sql", "from": "alice", "to": "data", "services": ["mysql"]},
        {"name": "all", "from": "wireguard", "to": "application", "services": ["https"]},
    ]
    policy = policies.resolve({**wireguard(), "flows": flows, "nat": ["wireguard"]})
    assert [(f["from_zone"], f["sources"]) for f in policy["flows"]] == [
        ("wireguard", ["10.99.0.7/32"]),
        ("wireguard", []),
    ]
    assert policy["wireguard"] == {
        "interface": "wg_nat",
        "address": "10.99.0.1/24",
        "port": 51820,
        "peers": WIREGUARD["peers"],
    }
    assert policies.passes(policy, "10.99.0.7", "10.20.0.9", 3306)
    assert not policies.passes(policy, "10.99.0.8", "10.20.0.9", 3306)
    assert policy["nat_out"][0]["networks"] == ["10.99.0.0/24"]
    assert KEYS[0] not in str(policy)
    assert policies.rows(policy)[-1] | {"nat": ""} == {
        "from": "public: all",
        "to": "firewall: 198.51.100.100",
        "service": "udp/51820",
        "nat": "",
        "name": "wireguard",
        "description": "only for the keys of alice, bob",
    }


def test_without_peers_nobody_comes_through_wireguard():
    policy = policies.resolve(wireguard(peers=[], key="", network=""))
    assert policy["wireguard"] == {}
    assert "wireguard" not in [one["name"] for one in policy["zones"]]


def test_the_tunnel_needs_no_address_before_the_role_makes_it_and_has_one_afterwards():
    made = filters.plan(wireguard(), LIVE)
    assert made["problems"] == []
    info = {
        "loaded": True,
        "forwarding": True,
        "conntrackd": {"failed": 0},
        "answers": [],
        "interfaces": {"wg_nat": {"addresses": []}},
    }
    found = filters.findings(made["policy"], "fw1", ["fw1"], {"fw1": {"seen": info}}, "seen")
    assert "WireGuard's interface wg_nat does not have 10.99.0.1/24: `systemctl restart wg-quick@wg_nat`" in found[0]


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        (wireguard(key=""), "zentyal_nat_wireguard_private_key is not set: make one with `wg genkey`"),
        (wireguard(key="short"), "zentyal_nat_wireguard_private_key is no key of WireGuard (44 characters)"),
        (wireguard(network=""), "zentyal_nat_wireguard_network is '', which is no IPv4 address or network"),
        (wireguard(network="10.99.0.0/31"), "there is no room for the firewall and a peer"),
        (wireguard(network="10.20.0.0/25"), "10.20.0.0/25 of the zone wireguard overlaps 10.20.0.0/24 of data"),
        (wireguard(port=0), "zentyal_nat_wireguard_port is 0: a port is a number from 1 to 65535"),
        (wireguard(interface="wg_a_long_name_of"), "makes an interface named 'wg_a_long_name_of', which has more"),
        (
            {**wireguard(), "engine": "zentyal"},
            "zentyal_nat_wireguard_peers needs the engine nftables, this is zentyal",
        ),
        ({**wireguard(), "zones": zone(2, name="wireguard")}, "zentyal_nat_zones has one named 'wireguard'"),
        (
            {**wireguard(), "zones": zone(1, vip=None), "forwards": [], "nat": []},
            "no external zone has a vip, so there is nothing that peers could ask",
        ),
        (peer(name="web"), "zentyal_nat_wireguard_peers[web]: a zone or an object has this name already"),
        (peer(name="alice"), "zentyal_nat_wireguard_peers has two entries with the name 'alice'"),
        (peer(public_key="x"), "zentyal_nat_wireguard_peers[bob].public_key is 'x', which is no key of WireGuard"),
        (peer(public_key=KEYS[1]), "zentyal_nat_wireguard_peers[bob] and alice have the same key or address"),
        (peer(address="10.99.0.7"), "zentyal_nat_wireguard_peers[bob] and alice have the same key or address"),
        (
            peer(address="10.98.0.7"),
            "zentyal_nat_wireguard_peers[bob].address is 10.98.0.7: it must be in 10.99.0.0/24",
        ),
        (peer(address="10.99.0.1"), "where 10.99.0.1 is the firewall's own"),
    ],
)
def test_wireguard_that_cannot_be_is_refused(policy: dict[str, Any], text: str) -> None:
    problems = filters.plan(policy, LIVE)["problems"]
    assert any(text in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        (changed(zones=[]), "zentyal_nat_zones is empty"),
        (
            changed(zones=zone(2, vlan=4095)),
            "zentyal_nat_zones[application].vlan is 4095: numbers of VLANs go from 1 to",
        ),
        (changed(zones=zone(2, vlan=20)), "the zones application and data have the same interface eth2.20"),
        (changed(zones=zone(2, interface="a-long-interface")), "'a-long-interface.10' has more than 15 letters"),
        (
            changed(
                zones=zone(
                    2, network="10.20.0.0/16", addresses={"fw1": "10.20.9.2", "fw2": "10.20.9.3"}, vip="10.20.9.1"
                )
            ),
            "10.20.0.0/24 of the zone data overlaps 10.20.0.0/16 of application",
        ),
        (changed(zones=zone(2, network="10.10.0.1/24")), "is '10.10.0.1/24', which is no IPv4 address or network"),
        (
            changed(zones=zone(2, addresses={"fw1": "10.10.0.2"})),
            "zentyal_nat_zones[application].addresses has none for fw2",
        ),
        (changed(zones=zone(2, vip="10.11.0.1")), "the vip 10.11.0.1 is no host's address in 10.10.0.0/24"),
        (changed(zones=zone(2, vip="10.10.0.2")), "an address is used twice"),
        (changed(zones=zone(2, name="firewall")), "which is the firewall's own name in flows"),
        (changed(zones=zone(2, name="data")), "zentyal_nat_zones has two entries with the name 'data'"),
        (changed(zones=zone(2, name="App 1")), "zentyal_nat_zones[2].name is 'App 1': use small letters"),
        (
            changed(objects=[{"name": "data", "addresses": ["10.10.0.1"]}]),
            "zentyal_nat_objects has 'data', which is a zone's name",
        ),
        (changed(objects=[{"name": "none", "addresses": []}]), "a rule for nobody would be a rule for everybody"),
        (
            changed(objects=[{"name": "both", "addresses": ["10.10.0.5", "10.20.0.5"]}]),
            "in the zones application, data: make an object for each",
        ),
        (
            changed(objects=[{"name": "wide", "addresses": ["10.10.0.0/16"]}]),
            "is larger than the network of the zone application",
        ),
        (
            changed(flows=[{"name": "a", "from": "wbe", "to": "data", "services": ["mysql"]}]),
            "zentyal_nat_flows[a].from is 'wbe', which is no zone, object or address; there are: management,",
        ),
        (changed(flows=[{"name": "a", "to": "data", "services": ["mysql"]}]), "zentyal_nat_flows[a].from is empty"),
        (changed(flows=[{"name": "a", "from": "web", "services": ["mysql"]}]), "says neither to whom it goes"),
        (changed(flows=[{"name": "a", "from": "web", "to": "data"}]), "zentyal_nat_flows[a].services is empty"),
        (
            changed(flows=[{"name": "a", "from": "web", "to": "data", "services": ["mongo"]}]),
            "'mongo' is no service: write tcp/443",
        ),
        (
            changed(flows=[{"name": "a", "from": "web", "to": "data", "services": ["tcp/70000"]}]),
            "is '70000': a port is a number from 1 to 65535",
        ),
        (
            changed(flows=[{"name": "a", "from": "web", "to": "data", "services": ["tcp/90-80"]}]),
            "a range begins with the smaller port",
        ),
        (
            changed(flows=[{"name": "a", "from": "web", "endpoints": []}]),
            "zentyal_nat_flows[a].endpoints is empty: does the tier's group have hosts?",
        ),
        (
            changed(flows=[{"name": "a", "from": "web", "to": "data", "endpoints": [], "services": ["mysql"]}]),
            "give either endpoints, or to and services",
        ),
        (changed(forwards=[{"name": "a", "port": 443}]), "zentyal_nat_forwards[a] has no target"),
        (
            changed(forwards=[{"name": "a", "port": 443, "to": "198.51.100.7"}]),
            "is in the zone public that it is asked from",
        ),
        (
            changed(
                forwards=[{"name": "a", "port": 443, "to": "10.10.0.7"}, {"name": "b", "port": 443, "to": "10.10.0.8"}]
            ),
            "both take tcp/443 of the zone public",
        ),
        (
            changed(forwards=[{"name": "a", "port": 443, "to": "10.10.0.7", "zone": "nowhere"}]),
            "zentyal_nat_forwards[a].zone is 'nowhere'",
        ),
        (changed(nat=["public"]), "zentyal_nat_out has 'public', which is external itself"),
        (changed(nat=["dmz"]), "zentyal_nat_out has 'dmz', which is no zone"),
        (changed(nat=["management"]), "the zone management has no vip: its hosts need one as their gateway"),
        (
            changed(management={"zone": "lan", "sources": [], "port": 22}),
            "zentyal_nat_management_zone is 'lan', which is no zone",
        ),
        (changed(members=["fw1"]), "zentyal_nat_members has 1 member: who goes on when it fails?"),
        (changed(host="fw9"), "fw9 is not in zentyal_nat_members (fw1, fw2)"),
        (changed(sync_zone="wire"), "zentyal_nat_sync_zone is 'wire', which is no zone"),
    ],
)
def test_what_cannot_be_applied_is_refused_with_its_name_and_value(policy: dict[str, Any], text: str):
    (problem,) = filters.plan(policy, LIVE)["problems"]
    assert text in problem


def test_the_good_policy_is_not_refused():
    assert filters.plan(GOOD, LIVE)["problems"] == []


def test_a_policy_that_locks_ansible_out_is_refused():
    (problem,) = filters.plan(GOOD, {**LIVE, "client": "10.8.0.1"})["problems"]
    assert problem.startswith(
        "Ansible comes from 10.8.0.1, which the policy would lock out; ssh is let in from 10.9.0.0/24"
    )
    assert filters.plan(GOOD, {**LIVE, "client": "203.0.113.9"})["problems"] == []
    (problem,) = filters.plan(GOOD, {**LIVE, "client_port": 2222})["problems"]
    assert (
        problem
        == "Ansible speaks with ssh on port 2222, which the policy would close: zentyal_nat_management_port is 22"
    )


def test_interfaces_that_are_not_as_the_policy_says_are_refused():
    interfaces = {**LIVE["interfaces"], "eth1": {"addresses": ["198.51.100.19/24"], "carrier": True, "vlan": None}}
    del interfaces["eth2"]
    first, second, third = filters.plan(GOOD, {**LIVE, "interfaces": interfaces})["problems"]
    assert first == (
        "the zone public has 198.51.100.11/24 on eth1, where there is 198.51.100.19/24: set the address on the host, "
        "or mend zentyal_nat_zones"
    )
    assert second == "the zone application is VLAN 10 on eth2, which does not exist; there are eth0, eth1"
    zentyal = filters.plan(changed(engine="zentyal"), {**LIVE, "interfaces": interfaces})["problems"]
    assert zentyal == [second, third]
    other = {**LIVE["interfaces"], "eth2.10": {"addresses": [], "carrier": True, "vlan": 11}}
    (problem,) = filters.plan(GOOD, {**LIVE, "interfaces": other})["problems"]
    assert problem == "eth2.10 exists and is VLAN 11, not 10: `ip -d link show eth2.10`"


def seen(**changes: Any) -> dict[str, Any]:
    return {
        "loaded": True,
        "forwarding": True,
        "conntrackd": {"injected": 1, "failed": 0, "lost": 0},
        "interfaces": {},
        "answers": [],
        "elsewhere": [],
        **changes,
    }


ACTIVE = {
    "eth1": {"addresses": ["198.51.100.11/24", "198.51.100.100/24"]},
    "eth2.10": {"addresses": ["10.10.0.2/24", "10.10.0.1/24"]},
    "eth2.20": {"addresses": ["10.20.0.2/24", "10.20.0.1/24"]},
}


def findings(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    hostvars = {"fw1": {"look": first}, "fw2": {"look": second}}
    return filters.findings(policies.resolve(GOOD), "fw1", ["fw1", "fw2"], hostvars, "look")


def test_a_pair_that_is_well_is_well():
    assert findings(seen(interfaces=ACTIVE), seen()) == []


def test_what_is_wrong_with_a_pair_is_said():
    away = {"eth2.10": ACTIVE["eth2.10"]}
    rest = {name: link for name, link in ACTIVE.items() if name != "eth2.10"}
    assert findings(seen(interfaces=rest), seen(interfaces=away)) == [
        "the VIPs are apart, on fw1 and fw2: answers go another way than questions. `pcs status`"
    ]
    found = findings(
        seen(
            loaded=False,
            forwarding=False,
            conntrackd={},
            answers=[{"name": "shop", "address": "a", "port": 1, "error": "no"}],
        ),
        seen(interfaces=ACTIVE),
    )
    assert [line.split(":")[0] for line in found] == [
        "the rules are not loaded",
        "net.ipv4.ip_forward is off",
        "conntrackd does not answer",
        "shop (a",
    ]
    assert "the VIP 10.20.0.1 of data is on no member that was reached, it should be on one: `pcs status`" in findings(
        seen(), seen()
    )


def test_a_member_that_was_not_looked_at_may_have_the_addresses_if_somebody_answers_there():
    elsewhere = ["198.51.100.100", "10.10.0.1", "10.20.0.1"]
    assert findings(seen(elsewhere=elsewhere), {"unreachable": True}) == []
    assert len(findings(seen(elsewhere=elsewhere), seen())) == 3
    assert [line[:30] for line in findings(seen(elsewhere=elsewhere[1:]), {"unreachable": True})] == [
        "the VIP 198.51.100.100 of publ"
    ]


def test_the_auditor_reads_every_flow_and_that_the_rest_is_dropped():
    text = policies.table(policies.resolve(GOOD))
    assert text.startswith("Everything between two zones that is not listed here is dropped")
    for row in (
        "| public: all | application: 10.10.0.100 | tcp/8443 | asked at 198.51.100.100:443 | shop |  |",
        "| application: 10.10.0.41, 10.10.0.42 | data: 10.20.0.100 | tcp/3306 |  | mysql |  |",
        "| data: all | public: all | udp/53 | goes out as 198.51.100.100 | updates |  |",
        "| management: 10.9.0.0/24 | firewall: all | tcp/22 |  | management | Ansible and the people on call |",
        "| public: 203.0.113.0/24 | firewall: 198.51.100.100 | tcp/22 |  | bastion "
        "| ssh to the firewall and through it (ssh -J) |",
    ):
        assert row in text.splitlines()


def test_published_ports_are_endpoints():
    assert filters.endpoints(GOOD["forwards"], GOOD["zones"]) == [
        {"name": "shop", "address": "198.51.100.100", "port": 443, "check": "tcp"}
    ]
