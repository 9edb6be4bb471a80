# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The policy in Zentyal's terms, and the plan against what a real Zentyal 8.1 answered.

recorded/zentyal_8.1 is from molecule/zentyal_engine: fresh.json before its first run, applied.json after it.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import zentyal_policy as zentyal

ROOT = Path(__file__).resolve().parents[2]
RECORDED = Path(__file__).parent / "recorded" / "zentyal_8.1"
VARS = ROOT / "molecule" / "zentyal_engine" / "group_vars" / "all.yml"
POLICY = yaml.safe_load(VARS.read_text(encoding="utf-8"))["scenario_policy"]
KERNEL = {
    "eth0": ["10.203.16.11"],
    "pub0": ["203.0.113.11", "203.0.113.100"],
    "app0": ["10.10.0.11"],
    "data0": ["10.20.0.11"],
    "vlan30": ["10.30.0.11"],
}


def recorded(name: str) -> dict[str, Any]:
    return json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))


def policy(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(POLICY), **changes}


def flow(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(POLICY["flows"][0]), **changes}


def zone(name: str, **changes: Any) -> list[dict[str, Any]]:
    return [{**entry, **changes} if entry["name"] == name else entry for entry in policy()["zones"]]


def lines(table: str, given: dict[str, Any]) -> list[str]:
    return [zentyal.line(table, row) for row in zentyal.wanted(given, "fw1").tables[table]]


def planned(live: dict[str, Any], given: dict[str, Any] | None = None, unfinished: bool = False) -> zentyal.Plan:
    return zentyal.plan(live, zentyal.wanted(given or policy(), "fw1"), KERNEL, unfinished)


# --- the policy in Zentyal's terms ----------------------------------------------------------------------------------


def test_inner_flows_come_before_the_ban_and_those_to_everybody_behind_it() -> None:
    assert lines(zentyal.INNER, policy()) == [
        "accept cloudexit: web -> 10.20.0.100/32 cloudexit: tcp/3306 (cloudexit: shop-mysql)",
        "accept 10.10.0.0/24 -> 10.30.0.0/24 cloudexit: tcp/2049,8000-8010 (cloudexit: shop-storage)",
        "deny cloudexit: inside -> cloudexit: inside any (cloudexit: between zones)",
        "accept 10.10.0.0/24 -> any cloudexit: tcp/80 (cloudexit: out)",
        "deny any -> any any (cloudexit: everything else)",
    ]


def test_the_firewall_itself_is_reached_by_management_ping_and_flows_to_it() -> None:
    assert lines(zentyal.FROM_INSIDE, policy()) == [
        "accept 10.203.16.0/24 cloudexit: tcp/22 (cloudexit: management)",
        "accept 10.203.16.0/24 zentyal_webadmin (cloudexit: management, web interface)",
        "accept any any ICMP (cloudexit: ping)",
        "accept 10.20.0.0/24 cloudexit: udp/53 (cloudexit: names)",
        "deny any any (cloudexit: everything else)",
    ]
    assert lines(zentyal.FROM_OUTSIDE, policy(bastion=["198.51.100.7/32"]))[0] == (
        "accept 198.51.100.7/32 cloudexit: tcp/22 (cloudexit: bastion)"
    )


def test_forwards_and_translation_name_the_interface_a_vlan_by_zentyals_name() -> None:
    assert lines(zentyal.FORWARDS, policy()) == [
        "pub0 any -> 203.0.113.100/32 tcp/443 => 10.10.0.41:8443 (cloudexit: shop)"
    ]
    assert lines(zentyal.NAT, policy(zones=zone("public", interface="eth1.7", parent="eth1", vlan=7))) == [
        "vlan7 10.10.0.0/24 -> any any => 203.0.113.100 (cloudexit: application to public)"
    ]


def test_the_host_takes_its_own_address_of_those_by_member() -> None:
    zones = zone("data", address=None, addresses={"fw1": "10.20.0.11", "fw2": "10.20.0.12"}, prefix=25)
    made = zentyal.wanted(policy(zones=zones), "fw2")
    assert made.interfaces["data0"] == {"address": "10.20.0.12", "netmask": "255.255.255.128", "external": 0}
    with pytest.raises(zentyal.Refused, match="the zone data has no address for fw3"):
        zentyal.wanted(policy(zones=zones), "fw3")


def test_addresses_that_others_contain_are_no_members_of_an_object() -> None:
    many = policy(flows=[flow(sources=["10.10.0.0/25", "10.10.0.7/32", "10.10.0.200/32"])])
    assert zentyal.wanted(many, "fw1").objects["cloudexit: shop-mysql sources"] == ["10.10.0.0/25", "10.10.0.200/32"]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"zones": zone("storage", interface="app0")}, "either has an address or carries VLANs"),
        ({"flows": [flow(from_zone="data", to_zone="data")]}, "stays in data"),
        ({"flows": [flow(protocol="gre")]}, "no protocol 'gre'"),
        ({"flows": [flow(sources=["10.10.0.0/32", "10.10.0.9/32"])]}, "do not end with .0"),
        (
            {"zones": zone("data", external=True), "flows": [flow(from_zone="public")]},
            "goes from public to data, which are both external",
        ),
        (
            {"zones": zone("data", external=True), "flows": [flow(to_zone="public", destinations=[])]},
            "cannot tell public from data. Name addresses in the flow",
        ),
    ],
)
def test_what_zentyal_cannot_express_is_refused(given: dict[str, Any], text: str) -> None:
    with pytest.raises(zentyal.Refused, match=text):
        zentyal.wanted(policy(**given), "fw1")


# --- against a real Zentyal ------------------------------------------------------------------------------------------


def test_a_fresh_zentyal_gets_all_of_it_and_keeps_its_own_rules_behind() -> None:
    made = planned(recorded("fresh"))
    assert made.changes["enable"] == ["firewall"]
    assert [step["do"] for step in made.changes["interfaces"]] == ["trunk", "vlan", *["static"] * 4]
    assert {entry["name"] for entry in made.changes["objects"]} == {"cloudexit: web", "cloudexit: inside"}
    assert all(entry["create"] for entry in made.changes["services"])
    assert all("id" not in row for change in made.changes["tables"] for row in change["rows"])
    assert made.foreign == [
        "Filtering rules for internal networks: accept any -> any any (no description)",
        "Filtering rules from internal networks to Zentyal: accept any ssh (no description)",
        "Filtering rules from internal networks to Zentyal: accept any zentyal_webadmin (no description)",
        "Filtering rules for traffic coming out from Zentyal: accept any any (no description)",
    ]


def test_what_is_applied_is_left_alone() -> None:
    made = planned(recorded("applied"))
    assert made.changes == {}
    assert made.texts == []
    assert made.before == made.after


def test_a_changed_rule_is_replaced_in_its_place() -> None:
    live = recorded("applied")
    live["tables"][zentyal.INNER][1]["decision"] = "deny"
    made = planned(live)
    (change,) = made.changes["tables"]
    assert change["remove"] == [live["tables"][zentyal.INNER][1]["id"]]
    assert ["id" in row for row in change["rows"]] == [True, False, True, True, True]
    assert [text.split(":")[0] for text in made.texts] == [
        "add to Filtering rules for internal networks",
        "remove from Filtering rules for internal networks",
    ]


def test_a_rule_on_top_of_the_policys_goes_behind_them() -> None:
    live = recorded("applied")
    rows = live["tables"][zentyal.INNER]
    rows.insert(0, rows.pop())
    assert not zentyal.is_own(rows[0])
    made = planned(live)
    (change,) = made.changes["tables"]
    assert change == {
        "table": zentyal.INNER,
        "remove": [],
        "rows": [{"id": row["id"]} for row in rows[1:]],
    }
    assert made.texts == ["put the policy's rules first, in its order, in Filtering rules for internal networks"]


def test_an_object_gets_back_what_it_lost_and_loses_what_it_got() -> None:
    live = recorded("applied")
    (web,) = [entry for entry in live["objects"] if entry["name"] == "cloudexit: web"]
    web["members"][0] = {"id": "mmbr99", "address": "10.10.0.66/32", "mac": ""}
    (change,) = planned(live).changes["objects"]
    assert change == {"name": "cloudexit: web", "create": False, "add": ["10.10.0.41/32"], "remove": ["mmbr99"]}


def test_what_the_policy_no_longer_has_goes_unless_somebody_uses_it() -> None:
    live = recorded("applied")
    less = policy(
        objects=[],
        zones=[one for one in POLICY["zones"] if one["name"] != "storage"],
        flows=[one for one in POLICY["flows"] if one["name"] in ("out", "names")],
    )
    made = planned(live, less)
    assert made.changes["remove_vlans"] == [{"do": "remove_vlan", "id": 30}]
    assert len(made.changes["remove_objects"]) == 1
    assert len(made.changes["remove_services"]) == 2
    foreign = {**live["tables"][zentyal.INNER][0], "id": "tntrn99", "description": "mine"}
    live["tables"][zentyal.INNER].append(foreign)
    made = planned(live, less)
    assert "remove_objects" not in made.changes
    assert any("'cloudexit: web' is no longer in the policy and stays" in text for text in made.warnings)


def test_what_zentyal_saved_and_the_kernel_lacks_is_published_again() -> None:
    live = recorded("applied")
    live["missing"] = ["-t filter -A fglobal -j faccept"]
    assert planned(live).changes == {"publish": ["firewall"]}
    assert planned(recorded("applied"), unfinished=True).changes == {"publish": ["network", "firewall"]}
    made = zentyal.plan(recorded("applied"), zentyal.wanted(policy(), "fw1"), {**KERNEL, "app0": []})
    assert made.changes == {"publish": ["network"]}
    assert made.texts == ["give app0 the address 10.10.0.11, which Zentyal has and the kernel lacks"]


def test_an_address_of_the_clusters_that_a_save_took_is_told() -> None:
    want = zentyal.wanted(policy(), "fw1")
    assert zentyal.lost(want, KERNEL, KERNEL) == []
    (text,) = zentyal.lost(want, {**KERNEL, "app0": []}, {**KERNEL, "pub0": ["203.0.113.11"], "app0": ["10.10.0.11"]})
    assert text.startswith("saving took 203.0.113.100 from pub0: netplan removes")


def test_an_interface_that_the_kernel_has_not_is_a_warning() -> None:
    kernel = {name: addresses for name, addresses in KERNEL.items() if name != "vlan30"}
    made = zentyal.plan(recorded("applied"), zentyal.wanted(policy(), "fw1"), kernel)
    assert made.changes == {}
    assert made.warnings == [
        "Zentyal has 10.30.0.11 on vlan30, but this host has no such interface. Next: zs network restart; "
        "ip link show vlan30"
    ]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"changed": ["firewall"]},
            "changes in Zentyal which are not saved, in firewall; saving the policy would publish",
        ),
        ({"first_install": 1}, "/var/lib/zentyal/.first"),
        ({"modules": {"firewall": {"enabled": 0}}}, "modules firewall are switched off"),
        ({"services": []}, "lacks its own service 'any ICMP'"),
    ],
)
def test_a_zentyal_that_is_not_ready_is_refused(change: dict[str, Any], text: str) -> None:
    want = zentyal.wanted(policy(), "fw1")
    assert zentyal.refusals(recorded("applied"), want, enable=False) == []
    found = zentyal.refusals({**recorded("applied"), **change}, want, enable=False)
    assert any(text in one for one in found), found


def test_a_module_that_is_off_may_be_switched_on_if_allowed() -> None:
    want = zentyal.wanted(policy(), "fw1")
    assert zentyal.refusals(recorded("fresh"), want, enable=True) == []
    assert len(zentyal.refusals(recorded("fresh"), want, enable=False)) == 1


@pytest.mark.parametrize(
    ("zones", "text"),
    [
        (zone("storage", interface="app0.30", parent="data1"), "VLAN 30 is to be on data1, which Zentyal has not"),
        (zone("storage", interface="dsl0"), "which Zentyal uses itself (dhcp)"),
        (zone("storage", interface="eth9"), "VLAN 30 is on trunk0 in Zentyal and on eth9 in the policy"),
        (zone("data", interface="dsl0"), "dsl0 is dhcp in Zentyal, the policy gives it 10.20.0.11"),
        (zone("data", interface="ens9"), "the policy has the interface ens9, which Zentyal has not"),
        (zone("management", address="10.203.16.12/24"), "the change would cut this connection"),
    ],
)
def test_interfaces_in_the_way_are_refused(zones: list[dict[str, Any]], text: str) -> None:
    live = recorded("applied")
    live["interfaces"]["dsl0"] = {"method": "dhcp", "address": None, "netmask": None, "external": 1}
    live["interfaces"]["eth9"] = {"method": "notset", "address": None, "netmask": None, "external": 0}
    found = zentyal.refusals(live, zentyal.wanted(policy(zones=zones), "fw1"), enable=False)
    assert any(text in one for one in found), found
