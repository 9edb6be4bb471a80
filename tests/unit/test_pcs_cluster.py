# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a run of pcs_cluster does in each live state, and what it refuses, in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.cloudexit.ha_stack.plugins.filter import pcs_cluster as filters
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import pcs_cluster as pcs

RECORDED = Path(__file__).parent / "recorded"
PACKAGED = {"cluster_name": "debian", "config_version": 0, "totem": {"cluster_name": "debian"}, "quorum": {}}
PACKAGED_CONF = {**PACKAGED, "nodes": {"node1": ["127.0.0.1"]}}


def wish(**changed: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "name": "shop",
        "member_names": ["a", "b"],
        "members": {"a": ["192.0.2.1"], "b": ["192.0.2.2"]},
        "totem": {"token": "1500"},
        "quorum": {},
        "crypto": {"cipher": "aes256", "hash": "sha256"},
        "fencing": "enabled",
        "fence_devices": [{"name": "power", "agent": "fence_x"}],
        "race_delay": "2s",
        "fence_secrets": [],
        "has_password": True,
    }
    return {**base, **changed}


def conf(name: str = "shop", nodes: tuple[str, ...] = ("a", "b"), **totem: str) -> dict[str, Any]:
    numbers = {"a": 1, "b": 2, "c": 3}
    return {
        "cluster_name": name,
        "config_version": 2,
        "totem": {"token": "1500", "crypto_cipher": "aes256", "crypto_hash": "sha256", **totem},
        "quorum": {"provider": "corosync_votequorum", "two_node": "1"},
        "nodes": {node: [f"192.0.2.{numbers.get(node, 9)}"] for node in nodes},
    }


def absent() -> dict[str, Any]:
    return {"installed": False, "conf": {}, "corosync_active": False, "status": {}}


def packaged(**changed: Any) -> dict[str, Any]:
    return {
        "installed": True,
        "conf": PACKAGED_CONF,
        "corosync_active": True,
        "ever_ran": True,
        "status": {},
        **changed,
    }


def member(online: tuple[str, ...] = ("a", "b"), quorate: bool = True, **changed: Any) -> dict[str, Any]:
    status = {"dc": "a", "quorate": quorate, "online": list(online), "nodes": ["a", "b"]}
    return {"installed": True, "conf": conf(), "corosync_active": True, "ever_ran": True, "status": status, **changed}


def stopped() -> dict[str, Any]:
    return member() | {"corosync_active": False, "status": {}}


def forming() -> dict[str, Any]:
    return member() | {"status": {"dc": None, "quorate": False, "online": [], "nodes": []}}


def test_recorded_output_of_both_releases_is_read() -> None:
    for release in ("12", "13"):
        status = pcs.parse_crm_mon((RECORDED / f"crm_mon_{release}.xml").read_text(encoding="utf-8"))
        assert status == {"dc": "node1", "quorate": True, "online": ["node1"], "nodes": ["node1"]}


def test_corosync_conf_is_read() -> None:
    parsed = pcs.parse_corosync_conf((RECORDED / "corosync_13.conf").read_text(encoding="utf-8"))
    assert parsed["totem"]["cluster_name"] == "lab-pcs"
    assert parsed["totem"]["token"] == "1500"
    assert [node["name"] for node in parsed["nodes"]] == ["pcs1", "pcs2"]
    assert parsed["quorum"]["two_node"] == "1"


def test_packaged_conf_with_nested_sections_is_read() -> None:
    text = (
        "# c\nlogging {\n logger_subsys {\n subsys: Q\n }\n to_syslog: yes\n}\nnodelist {\n node {\n name: n\n }\n}\n"
    )
    parsed = pcs.parse_corosync_conf(text)
    assert parsed["logging"]["to_syslog"] == "yes"
    assert parsed["nodes"] == [{"name": "n"}]


def test_show_and_cmap_are_read() -> None:
    units = pcs.parse_show("Id=a.service\nAfter=x dbus.service\n\nId=b.service\nActiveState=active\n")
    assert units["a.service"]["After"] == "x dbus.service"
    assert units["b.service"]["ActiveState"] == "active"
    assert pcs.parse_cmap("totem.token (u32) = 1500\nnonsense\n") == {"totem.token": "1500"}


@pytest.mark.parametrize(
    ("info", "state"),
    [
        (None, "unknown"),
        (absent(), "absent"),
        (packaged(), "absent"),
        (packaged(has_resources=True), "foreign"),
        (stopped(), "stopped"),
        (stopped() | {"ever_ran": False}, "absent"),
        (forming(), "forming"),
        (member(), "member"),
        (member(online=("b",)), "forming"),
        (member(conf=conf(name="other")), "foreign"),
        (member(conf=conf(nodes=("x", "y"))), "foreign"),
    ],
)
def test_state_of_a_host(info: dict[str, Any] | None, state: str) -> None:
    assert pcs.host_state(info, "shop", "a") == state


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"member_names": ["a", "b", "a"]}, "member a is listed twice in pcs_cluster_members (a, b, a)"),
        (
            {"member_names": ["a"], "members": {"a": ["192.0.2.1"]}},
            "needs at least 2 members, pcs_cluster_members has 1 (a)",
        ),
        ({"member_names": []}, "has 0 (none)"),
        ({"name": "a name with blanks"}, "is not 1 to 15 letters"),
        (
            {"members": {"a": ["192.0.2.1"], "b": []}},
            "member b has no address: set ansible_host or pcs_cluster_address",
        ),
        ({"members": {"a": ["192.0.2.1"], "b": ["b.example"]}}, "address 'b.example' is not an IP address"),
        ({"members": {"a": ["192.0.2.1"], "b": ["192.0.2.1"]}}, "address 192.0.2.1 belongs to a and to b"),
        ({"members": {"a": ["192.0.2.1"], "b": ["192.0.2.2", "198.51.100.2"]}}, "different numbers of links: a 1, b 2"),
        ({"has_password": False}, "the secret pcs_cluster_hacluster_password is not set"),
        ({"fence_devices": []}, "fencing is enabled and no device is defined"),
        ({"fencing": "off"}, "pcs_cluster_fencing is 'off', not enabled or disabled"),
        ({"fence_devices": [{"name": "p", "agent": "x", "targets": ["a"]}]}, "no fence device can fence b"),
        ({"fence_devices": [{"name": "p", "agent": "x"}] * 2}, "fence device p is defined twice"),
        ({"race_delay": "2min"}, "pcs_cluster_fence_race_delay is '2min', not whole seconds such as 2s"),
        ({"fence_secrets": ["q"]}, "pcs_cluster_fence_secrets names q"),
    ],
)
def test_wrong_input_is_refused(changed: dict[str, Any], text: str) -> None:
    result = pcs.plan(wish(**changed), {})
    assert result["state"] == "refused"
    assert any(text in problem for problem in result["problems"]), result["problems"]
    assert not result["changes"]


def test_bootstrap_only_if_all_are_absent() -> None:
    result = pcs.plan(wish(), {"a": absent(), "b": packaged()})
    assert result["problems"] == []
    assert result["bootstrap"] == ["a", "b"]
    assert result["actor"] == "a"
    calls = [words for words, _secret in pcs.commands(wish(), result, 60)]
    assert calls[0] == ["pcs", "cluster", "destroy"]
    assert calls[1][:3] == ["pcs", "host", "auth"]
    setup = " ".join(calls[2])
    assert "setup shop a addr=192.0.2.1 b addr=192.0.2.2 transport knet crypto cipher=aes256 hash=sha256" in setup
    assert "totem token=1500 --enable --start --wait=60 --force" in setup


def test_an_unasked_member_prevents_a_second_cluster() -> None:
    result = pcs.plan(wish(), {"a": absent(), "b": None})
    assert not result["bootstrap"]
    assert "no second cluster is made" in result["problems"][0]


def test_a_stopped_cluster_is_not_started() -> None:
    result = pcs.plan(wish(), {"a": stopped(), "b": absent()})
    assert result["state"] == "stopped"
    assert not result["bootstrap"]
    assert "pcs cluster start --all" in result["problems"][0]


def test_a_forming_cluster_is_refused_with_what_to_look_at() -> None:
    result = pcs.plan(wish(), {"a": forming(), "b": None})
    assert "corosync runs on a, but the members have not formed a cluster (b unknown)" in result["problems"][0]


def test_foreign_host_is_named() -> None:
    other = member(conf=conf(name="other", nodes=("a", "z")))
    result = pcs.plan(wish(), {"a": other, "b": absent()})
    assert result["problems"] == [
        "a belongs to another cluster, 'other' (nodes: a, z), and is not taken over. Next: correct pcs_cluster_members,"
        " or, if that cluster may go: pcs cluster destroy on a"
    ]


def test_healthy_needs_nothing() -> None:
    result = pcs.plan(wish(), {"a": member(), "b": member()})
    assert (result["state"], result["changes"], result["problems"], result["warnings"]) == ("healthy", [], [], [])
    assert result["expected"] == ["a", "b"]


def test_a_limited_run_on_a_living_cluster_works() -> None:
    result = pcs.plan(wish(), {"a": None, "b": member()})
    assert result["state"] == "healthy"
    assert result["actor"] == "b"


def test_token_and_crypto_are_changed_while_it_runs() -> None:
    live = member(conf=conf(token="3000", crypto_cipher="aes128"))
    result = pcs.plan(wish(), {"a": live, "b": live})
    assert result["changes"] == ["token: 3000 -> 1500", "crypto cipher: aes128 -> aes256"]
    assert [words for words, _secret in pcs.commands(wish(), result, 60)] == [
        ["pcs", "cluster", "config", "update", "crypto", "cipher=aes256", "totem", "token=1500"]
    ]


def test_quorum_options_are_not_changed_while_it_runs() -> None:
    result = pcs.plan(wish(quorum={"wait_for_all": "0"}), {"a": member(), "b": member()})
    assert "pcs cluster stop --all; pcs quorum update wait_for_all=0; pcs cluster start --all" in result["problems"][0]


def test_a_third_member_is_added_to_a_living_cluster() -> None:
    three = wish(member_names=["c", "a", "b"], members={"a": ["192.0.2.1"], "b": ["192.0.2.2"], "c": ["192.0.2.3"]})
    result = pcs.plan(three, {"a": member(), "b": member(), "c": packaged()})
    assert (result["actor"], result["join"], result["bootstrap"]) == ("a", ["c"], [])
    calls = pcs.commands(three, result, 60)
    assert calls[0] == (["pcs", "host", "auth", "c", "addr=192.0.2.3", "-u", "hacluster"], True)
    assert calls[1][0][:6] == ["pcs", "cluster", "node", "add", "c", "addr=192.0.2.3"]


def test_degraded_is_worked_on_but_not_changed() -> None:
    live = member(online=("a",))
    quiet = pcs.plan(wish(), {"a": live, "b": None})
    assert quiet["state"] == "degraded"
    assert quiet["problems"] == []
    assert quiet["expected"] == ["a"]
    assert "b is not online in cluster shop (unknown): the others are worked on" in quiet["warnings"][0]
    changing = pcs.plan(wish(totem={"token": "900"}), {"a": live, "b": None})
    assert (
        "corosync.conf would differ between members if it were changed now (token: 1500 -> 900)"
        in changing["problems"][0]
    )


def test_without_quorum_nothing_is_done() -> None:
    result = pcs.plan(wish(), {"a": member(online=("a",), quorate=False), "b": stopped()})
    assert result["state"] == "no quorum"
    assert "pcs quorum unblock" in result["problems"][0]


def test_a_reinstalled_member_is_refused_with_the_command() -> None:
    result = pcs.plan(wish(), {"a": member(online=("a",)), "b": absent()})
    assert any("pcs cluster node remove b --skip-offline --force on a" in problem for problem in result["problems"])


def test_a_member_configured_but_never_started_is_started() -> None:
    result = pcs.plan(wish(), {"a": member(online=("a",)), "b": stopped() | {"ever_ran": False}})
    assert result["problems"] == []
    assert result["start"] == ["b"]
    assert pcs.commands(wish(), result, 60) == [(["pcs", "cluster", "start", "b", "--wait=60"], False)]


def test_an_address_of_a_living_member_is_not_changed() -> None:
    moved = wish(members={"a": ["192.0.2.1"], "b": ["192.0.2.22"]})
    result = pcs.plan(moved, {"a": member(), "b": member()})
    assert "b has the cluster address 192.0.2.2, wanted 192.0.2.22" in result["problems"][0]


def test_disabled_fencing_warns() -> None:
    result = pcs.plan(wish(fencing="disabled", fence_devices=[]), {"a": member(), "b": member()})
    assert result["problems"] == []
    assert "fencing is disabled by pcs_cluster_fencing" in result["warnings"][0]


def test_findings_of_a_member() -> None:
    good = member() | {
        "enabled": True,
        "after_dbus": True,
        "runtime": {"crypto_cipher": "aes256", "crypto_hash": "sha256"},
        "devices": {"fence-power": ""},
    }
    assert pcs.findings(wish(), good, ["a", "b"]) == []
    bad = good | {
        "enabled": False,
        "after_dbus": False,
        "runtime": {"crypto_cipher": "none", "crypto_hash": "none"},
        "devices": {"fence-power": "no route"},
    }
    found = "; ".join(pcs.findings(wish(), bad, ["a", "b", "c"]))
    for text in ("c not online", "traffic is not encrypted", "a boot would not bring it back", "after dbus.service",
                 "fence device fence-power does not answer: no route"):  # fmt: skip
        assert text in found
    assert "does not run" in pcs.findings(wish(), absent(), ["a"])[0]


def test_filters_take_addresses_from_the_inventory_and_results_from_the_hosts() -> None:
    hostvars = {
        "a": {"ansible_host": "192.0.2.1", "info": member()},
        "b": {"ansible_host": "x", "pcs_cluster_address": "192.0.2.2", "info": {"failed": True}},
    }
    completed = filters.complete(
        wish(members={}, totem={"token": 1500, "consensus": None}, quorum={"x": True}), hostvars
    )
    assert completed["members"] == {"a": ["192.0.2.1"], "b": ["192.0.2.2"]}
    assert completed["totem"] == {"token": "1500", "consensus": ""}
    assert completed["quorum"] == {"x": "1"}
    result = filters.plan(wish(members={}), hostvars, "info")
    assert result["hosts"] == {"a": "member", "b": "unknown"}


def test_fence_devices_become_primitives() -> None:
    devices: list[dict[str, Any]] = [
        {"name": "pdu", "agent": "fence_x", "params": {"ip": "192.0.2.9"}, "plugs": {"a": 1, "b": 2, "z": 3}},
        {"name": "ipmi", "agent": "fence_ipmilan", "targets": ["a"], "interval": "30s"},
    ]
    pdu, ipmi = pcs.fence_primitives(devices, "fence", ["a", "b"])
    assert pdu["id"] == "fence-pdu"
    assert pdu["params"] == {"ip": "192.0.2.9", "pcmk_host_map": "a:1;b:2"}
    assert ipmi["params"] == {"pcmk_host_list": "a"}
    assert ipmi["operations"][0]["interval"] == "30s"


@pytest.mark.parametrize(
    ("members", "delay", "params", "wanted"),
    [
        (["a", "b"], "2s", {}, "b:1s"),
        (["a", "b"], "7", {}, "b:3s"),
        (["a", "b"], "0", {}, None),
        (["a", "b", "c"], "2s", {}, None),
        (["a", "b"], "2s", {"pcmk_delay_base": "5s"}, "5s"),
        (["a", "b"], "2s", {"pcmk_delay_max": "5s"}, None),
    ],
)
def test_of_two_equals_one_is_fenced_later(
    members: list[str], delay: str, params: dict[str, str], wanted: str | None
) -> None:
    device = {"name": "pdu", "agent": "fence_x", "params": params, "plugs": {name: name for name in "abc"}}
    (primitive,) = pcs.fence_primitives([device], "fence", members, delay)
    assert primitive["params"].get("pcmk_delay_base") == wanted


def test_a_device_of_the_first_alone_has_no_delay() -> None:
    first, last = pcs.fence_primitives(
        [{"name": name, "agent": "fence_ipmilan", "targets": [name]} for name in "ab"], "fence", ["a", "b"], "2s"
    )
    assert "pcmk_delay_base" not in first["params"]
    assert last["params"]["pcmk_delay_base"] == "b:1s"


@pytest.mark.parametrize("delay", ["1s", "2", "5 sec"])
def test_the_one_of_two_that_carries_more_wins_a_race_by_the_delay(delay: str) -> None:
    delays = pcs.race_delays(["a", "b"], delay)
    wanted = pcs.race_seconds(delay)
    assert wanted is not None
    priority = int(delays["priority-fencing-delay"].rstrip("s"))
    base = int(delays["pcmk_delay_base"].removeprefix("b:").rstrip("s"))
    assert priority >= 2 * base, "as Pacemaker wants it"
    assert base >= 1 and base >= wanted // 2, "where they carry the same"
    assert priority - base >= wanted, "the first carries more, and is fenced later than the last"


def test_fence_levels_name_devices_by_their_ids() -> None:
    assert pcs.fence_levels([{"target": "a", "index": 1, "devices": ["pdu"]}], "fence")[0]["devices"] == ["fence-pdu"]
