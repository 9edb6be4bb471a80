# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The wanted CIB is built by meaning: recorded CIBs of both releases, written by the module itself, need no change."""

from __future__ import annotations

import copy
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import pacemaker_cib as cib

RECORDED = Path(__file__).parent / "recorded"
WISH: dict[str, Any] = {
    "owner": "t",
    "primitives": [
        {
            "id": "t-a",
            "agent": "ocf:pacemaker:Dummy",
            "params": {"fake": "neu", "op_sleep": 0},
            "operations": [
                {"name": "monitor", "interval": "60", "timeout": "20s"},
                {"name": "start", "timeout": "30s"},
            ],
        },
        {"id": "t-b", "agent": "ocf:pacemaker:Dummy", "meta": {"resource-stickiness": 10}},
        {
            "id": "t-s",
            "agent": "ocf:pacemaker:Stateful",
            "operations": [
                {"name": "monitor", "interval": "9s", "role": "Master"},
                {"name": "monitor", "interval": "11s", "role": "Slave"},
            ],
        },
    ],
    "groups": [{"id": "t-g", "members": ["t-a", "t-b"], "meta": {"a-thing": True}}],
    "clones": [
        {"id": "t-s-clone", "resource": "t-s", "promotable": True, "meta": {"notify": "yes", "promoted-max": 1}}
    ],
    "constraints": {
        "orders": [
            {"id": "t-o", "first": "t-s-clone", "first_action": "promote", "then": "t-g", "then_action": "start"}
        ],
        "colocations": [
            {"id": "t-c", "rsc": "t-g", "with_rsc": "t-s-clone", "with_rsc_role": "Promoted", "score": "+INFINITY"}
        ],
        "locations": [
            {"id": "t-l", "rsc": "t-g", "node": "node1", "score": 10},
            {
                "id": "t-l2",
                "rsc": "t-s-clone",
                "rule": {
                    "score": "-INFINITY",
                    "role": "Promoted",
                    "boolean_op": "or",
                    "expressions": [{"attribute": "foo", "operation": "lt", "value": 1}],
                },
            },
        ],
    },
    "properties": {"stonith-enabled": "no", "no-quorum-policy": "stop"},
    "rsc_defaults": {"migration-threshold": 3},
    "op_defaults": {"timeout": "40s"},
    "topology": [],
    "secret_params": {"t-a": {"passwd": "anders99"}},
}


def recorded(name: str) -> ET.Element:
    return ET.fromstring((RECORDED / name).read_text(encoding="utf-8"))


def wish(**changed: Any) -> dict[str, Any]:
    return {**copy.deepcopy(WISH), **changed}


def text(tree: ET.Element) -> str:
    return ET.tostring(tree, encoding="unicode")


@pytest.fixture(params=["12", "13"])
def live(request: pytest.FixtureRequest) -> ET.Element:
    return recorded(f"cib_{request.param}.xml")


def built(tree: ET.Element, wanted: dict[str, Any], purge: bool = False) -> ET.Element:
    assert cib.check("t", wanted) == []
    return cib.build(tree, "t", wanted, purge)


def added(tree: ET.Element, section: str, content: str) -> None:
    found = tree.find(f"configuration/{section}")
    assert found is not None
    found.append(ET.fromstring(content))


def test_what_a_cluster_has_made_of_it_needs_no_change(live: ET.Element) -> None:
    assert text(built(live, WISH)) == text(live)
    assert text(built(live, WISH, purge=True)) == text(live)


def test_an_empty_cluster_gets_all_of_it_and_then_nothing() -> None:
    empty = ET.fromstring(cib.EMPTY_CIB)
    once = built(empty, WISH)
    assert text(built(once, WISH)) == text(once)
    assert once.find("configuration/resources/clone/primitive[@id='t-s']") is not None
    assert [p.get("id") for p in once.iterfind("configuration/resources/group/primitive")] == ["t-a", "t-b"]
    described = cib.describe(once, "t", WISH, {"passwd"})
    assert described["resources"]["t-a"]["params"]["passwd"] == cib.HIDDEN
    assert cib.changes({}, described)[:2] == [
        "constraints.t-c added",
        "constraints.t-l added",
    ]
    assert "properties.stonith-enabled added: no" in cib.changes({}, described)


def test_changed_options_are_applied_and_told_without_secrets(live: ET.Element) -> None:
    changed = wish(secret_params={"t-a": {"passwd": "geheim"}})
    changed["primitives"][0]["params"] = {"fake": "other"}
    changed["primitives"][0]["operations"][0]["timeout"] = "25s"
    new = built(live, changed)
    before, after = (cib.describe(tree, "t", changed, {"passwd"}) for tree in (live, new))
    lines = cib.changes(before, after) + cib.secrets_changed(live, new, changed["secret_params"])
    assert "resources.t-a.params.fake: neu -> other" in lines
    assert "resources.t-a.params.op_sleep removed" in lines
    assert "resources.t-a.params.passwd: another secret" in lines
    assert any("25s" in line for line in lines)
    assert "geheim" not in str(lines) + str(after)


def test_what_operators_and_others_have_set_stays(live: ET.Element) -> None:
    primitive = live.find(".//primitive[@id='t-b']/meta_attributes")
    assert primitive is not None
    ET.SubElement(primitive, "nvpair", {"id": "x", "name": "target-role", "value": "Stopped"})
    added(live, "resources", '<primitive id="other" class="ocf" provider="heartbeat" type="Dummy"/>')
    added(live, "constraints", '<rsc_location id="cli-ban-t-g" rsc="t-g" node="n" score="-INFINITY"/>')
    assert text(built(live, WISH, purge=True)) == text(live)


def test_a_null_value_removes_a_meta_attribute(live: ET.Element) -> None:
    changed = wish()
    changed["primitives"][1]["meta"] = {"resource-stickiness": None}
    new = built(live, changed)
    assert new.find(".//primitive[@id='t-b']/meta_attributes/nvpair") is None


def test_order_in_a_group_is_changed(live: ET.Element) -> None:
    changed = wish()
    changed["groups"][0]["members"] = ["t-b", "t-a"]
    new = built(live, changed)
    assert [p.get("id") for p in new.iterfind(".//group[@id='t-g']/primitive")] == ["t-b", "t-a"]


def test_a_member_leaves_its_group_and_stays_a_resource(live: ET.Element) -> None:
    changed = wish()
    changed["groups"][0]["members"] = ["t-a"]
    new = built(live, changed)
    assert new.find("configuration/resources/primitive[@id='t-b']") is not None


def test_purge_removes_what_is_not_listed_and_what_hangs_on_it(live: ET.Element) -> None:
    changed = wish(clones=[], constraints={"locations": WISH["constraints"]["locations"][:1]})
    changed["primitives"] = changed["primitives"][:2]
    kept = built(live, changed)
    assert kept.find(".//clone") is not None
    new = built(live, changed, purge=True)
    assert new.find(".//clone") is None
    assert [c.get("id") for c in new.iterfind("configuration/constraints/*")] == ["t-l"]
    nothing = built(live, {"owner": "t"}, purge=True)
    assert list(nothing.iterfind("configuration/resources/*")) == []


def test_purge_is_refused_if_somebody_else_refers_to_it(live: ET.Element) -> None:
    added(live, "constraints", '<rsc_order id="theirs" first="t-g" then="x"/>')
    with pytest.raises(
        cib.CibError, match=r"constraint theirs is not t's and refers to t-g.*pcs constraint delete theirs"
    ):
        cib.build(live, "t", {"owner": "t"}, purge=True)


def test_a_foreign_member_in_our_group_is_refused(live: ET.Element) -> None:
    group = live.find(".//group[@id='t-g']")
    assert group is not None
    ET.SubElement(group, "primitive", {"id": "theirs", "class": "ocf", "provider": "heartbeat", "type": "Dummy"})
    with pytest.raises(cib.CibError, match="pcs resource group remove t-g theirs"):
        cib.build(live, "t", WISH)


def test_another_kind_of_resource_is_refused(live: ET.Element) -> None:
    with pytest.raises(cib.CibError, match="t-g is a group in the cluster and shall be a primitive"):
        cib.build(live, "t", {"owner": "t", "primitives": [{"id": "t-g", "agent": "systemd:x"}]})


def test_sets_and_fencing_levels() -> None:
    wanted = wish(
        constraints={"orders": [{"id": "t-sets", "sets": [{"resources": ["t-a", "t-b"], "sequential": False}]}]},
        topology=[{"target": "n1", "index": 1, "devices": ["t-a", "t-b"]}],
    )
    once = built(ET.fromstring(cib.EMPTY_CIB), wanted)
    assert text(built(once, wanted)) == text(once)
    assert cib.describe(once, "t", wanted)["topology"] == {"n1 1": "t-a,t-b"}
    gone = built(once, wish(constraints={}), purge=True)
    assert gone.find("configuration/fencing-topology") is None


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"primitives": [{"id": "vip", "agent": "systemd:x"}]}, "id 'vip' is not the owner's: call it t-vip"),
        ({"primitives": [{"id": "t-x", "agent": "IPaddr2"}]}, "agent 'IPaddr2' is none of ocf:provider:type"),
        ({"groups": [{"id": "t-g", "members": ["t-q"]}]}, "member 't-q' is not among the primitives"),
        ({"groups": [{"id": "t-g", "members": []}]}, "group t-g has no members"),
        ({"clones": [{"id": "t-k", "resource": "t-q"}]}, "resource 't-q' is not among the primitives or groups"),
        ({"clones": [{"id": "t-k", "resource": "t-a"}]}, "'t-a' is in t-g and in t-k"),
        ({"clones": [{"id": "t-a", "resource": "t-s"}]}, "id 't-a' is given to more than one thing"),
        ({"secret_params": {"t-q": {}}}, "secret_params: 't-q' is not among the primitives"),
        ({"constraints": {"orders": [{"id": "t-o", "first": "t-a"}]}}, "orders t-o: needs both first and then"),
        ({"constraints": {"orders": [{"id": "t-o"}]}}, "orders t-o: needs either first and then, or sets"),
        ({"constraints": {"locations": [{"id": "t-l", "rsc": "t-a"}]}}, "needs either node (with score) or rule"),
        ({"constraints": {"locations": [{"id": "t-l", "rsc": "t-a", "node": "n"}]}}, "needs a score beside node"),
        ({"constraints": {"locations": [{"id": "t-l", "node": "n", "score": 1}]}}, "needs rsc or rsc_pattern"),
    ],
)
def test_a_wrong_wish_is_told(changed: dict[str, Any], message: str) -> None:
    assert any(message in problem for problem in cib.check("t", wish(**changed))), cib.check("t", wish(**changed))


def test_two_operations_with_one_interval_are_told() -> None:
    twice = [{"name": "monitor", "interval": "1min"}, {"name": "monitor", "interval": "60s", "role": "Promoted"}]
    wanted = {"primitives": [{"id": "t-a", "agent": "systemd:x", "operations": twice}]}
    assert "two monitor operations with one interval" in cib.check("t", wanted)[0]


@pytest.mark.parametrize(
    ("name", "left", "right", "equal"),
    [
        ("interval", "60", "1min", True),
        ("interval", "10s", "10000ms", True),
        ("timeout", "20s", "21s", False),
        ("with-rsc-role", "Master", "Promoted", True),
        ("score", "INFINITY", "1000000", True),
        ("score", "-INFINITY", "INFINITY", False),
        ("stonith-enabled", "true", "yes", True),
        ("stonith-enabled", "1", "on", True),
        ("clone-max", "1", "2", False),
        ("x", "1", "1s", False),
    ],
)
def test_values_are_compared_by_meaning(name: str, left: str, right: str, equal: bool) -> None:
    assert cib.same(name, left, right) is equal


def test_recorded_status_shows_all_active_and_no_failure() -> None:
    for release in ("12", "13"):
        status, tree = recorded(f"crm_mon_{release}.xml"), recorded(f"cib_{release}.xml")
        assert cib.idle(status, tree, WISH) == []
        assert cib.failures(status, "t") == {}
        assert cib.has_coordinator(status)
    assert not cib.has_coordinator(ET.fromstring('<r><summary><current_dc present="false"/></summary></r>'))


def test_idle_and_failed_resources_are_told_unless_that_is_wanted() -> None:
    status, tree = recorded("crm_mon_13.xml"), recorded("cib_13.xml")
    for resource in status.iter("resource"):
        if resource.get("id") == "t-s":
            resource.set("role", "Unpromoted")
        elif resource.get("id") == "t-a":
            resource.set("active", "false")
    assert cib.idle(status, tree, WISH) == ["t-a", "t-s (not promoted)"]
    meta = ET.SubElement(tree.find(".//primitive[@id='t-a']"), "meta_attributes", {"id": "m"})  # type: ignore[arg-type]
    ET.SubElement(meta, "nvpair", {"id": "mm", "name": "target-role", "value": "Stopped"})
    assert cib.idle(status, tree, WISH) == ["t-s (not promoted)"]
    crm_config = tree.find("configuration/crm_config/cluster_property_set")
    assert crm_config is not None
    ET.SubElement(crm_config, "nvpair", {"id": "mmm", "name": "maintenance-mode", "value": "true"})
    assert cib.idle(status, tree, WISH) == []


def test_failures_speak_the_clusters_words() -> None:
    status = ET.fromstring(
        '<r><failures><failure op_key="t-a_start_0" node="n1" exitstatus="not configured" exitreason="no such address"'
        ' call="5" status="complete" last-rc-change="x"/><failure op_key="t-b_monitor_5000" node="n2"'
        ' exitstatus="error" call="6" status="Timed Out"/><failure op_key="other_stop_0" node="n1"/></failures></r>'
    )
    assert sorted(cib.failures(status, "t").values()) == [
        "t-a: start on n1 failed: not configured (no such address)",
        "t-b: monitor on n2 failed: error (Timed Out)",
    ]


def test_only_new_complaints_of_crm_verify_count() -> None:
    old = "(unpack_resources) \terror: Resource start-up disabled\ncrm_verify: Errors found during check\n"
    new = (
        "(unpack_resources) \terror: Resource start-up disabled\n"
        'element rsc_order: validity error : IDREF attribute first references an unknown ID "nope"\n'
        "(main) \terror: CIB did not pass schema validation\nwarning: whatever\n"
    )
    assert cib.new_complaints(old, new) == [
        'element rsc_order: validity error : IDREF attribute first references an unknown ID "nope"'
    ]
    assert cib.new_complaints("error: A\nConfiguration invalid (with errors)\n", "error: A\n") == []


def test_a_resource_without_monitor_is_told() -> None:
    wanted = {"primitives": [{"id": "t-a", "agent": "systemd:x", "operations": [{"name": "start", "interval": "0s"}]}]}
    assert cib.unmonitored(wanted) == ["t-a"]
    assert cib.unmonitored(WISH) == []
