# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What one owner wants in a Pacemaker CIB: check the wish, write it into a copy of the CIB, describe, read crm_mon.

Nothing here runs a command. Trees are xml.etree elements of `cibadmin --query`; a wish is the module's parameters.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from typing import Any

EMPTY_CIB = "<cib><configuration><crm_config/><nodes/><resources/><constraints/></configuration><status/></cib>"
HIDDEN = "********"
RESOURCE_TAGS = ("primitive", "group", "clone", "bundle")
CONSTRAINT_TAGS = {"orders": "rsc_order", "colocations": "rsc_colocation", "locations": "rsc_location"}
# section of the configuration, element that holds the name/value pairs, id that pcs and crmsh give it
OPTION_SETS = {
    "properties": ("crm_config", "cluster_property_set", "cib-bootstrap-options"),
    "rsc_defaults": ("rsc_defaults", "meta_attributes", "rsc_defaults-options"),
    "op_defaults": ("op_defaults", "meta_attributes", "op_defaults-options"),
}
TIME_ATTRIBUTES = ("interval", "timeout", "start-delay")
_UNITS = {
    "": 1000.0,
    "s": 1000.0,
    "sec": 1000.0,
    "ms": 1.0,
    "msec": 1.0,
    "us": 0.001,
    "usec": 0.001,
    "m": 60000.0,
    "min": 60000.0,
    "h": 3600000.0,
    "hr": 3600000.0,
}
_ROLES = {"master": "promoted", "slave": "unpromoted"}
_TRUE = ("true", "yes", "on", "y", "1")
_FALSE = ("false", "no", "off", "n", "0")


class CibError(Exception):
    """A wish that cannot be fulfilled; the text says what to change."""


# --- values -------------------------------------------------------------------------------------------------------


def text(value: Any) -> str:
    """The way Pacemaker spells a value that came from YAML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def milliseconds(value: str) -> float | None:
    """A Pacemaker time such as 20, 20s, 1min or 500ms; None when it is something else (ISO 8601)."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", value)
    if not match or match.group(2).lower() not in _UNITS:
        return None
    return float(match.group(1)) * _UNITS[match.group(2).lower()]


def normal(name: str, value: str) -> str:
    """One spelling for all values which mean the same to Pacemaker, for attributes and meta options."""
    if name in TIME_ATTRIBUTES:
        number = milliseconds(value)
        return value if number is None else f"{number:g}ms"
    low = value.strip().lower()
    if "role" in name:
        return _ROLES.get(low, low)
    if low in ("infinity", "+infinity", "1000000"):
        return "infinity"
    if low in ("-infinity", "-1000000"):
        return "-infinity"
    if name in ("kind", "action") or name.endswith("-action"):
        return {"master": "promoted"}.get(low, low)
    return low if low in _TRUE[:3] or low in _FALSE[:3] else value


def same(name: str, left: str, right: str) -> bool:
    """Whether two values of an option mean the same: on = true, 60 = 1min (times), Master = Promoted (roles)."""
    if normal(name, left) == normal(name, right):
        return True
    lows = (left.strip().lower(), right.strip().lower())
    if any(len(low) > 1 and low in _TRUE + _FALSE for low in lows):
        return all(low in _TRUE for low in lows) or all(low in _FALSE for low in lows)
    return False


def owned(owner: str, identifier: str) -> bool:
    return identifier == owner or identifier.startswith(f"{owner}-")


# --- checking a wish ----------------------------------------------------------------------------------------------


def check(owner: str, wish: dict[str, Any]) -> list[str]:
    """Everything wrong in a wish that can be seen without the cluster."""
    wrong: list[str] = []
    ids: list[str] = []
    for kind in ("primitives", "groups", "clones", *CONSTRAINT_TAGS):
        for item in _items(wish, kind):
            ids.append(item["id"])
            if not owned(owner, item["id"]):
                wrong.append(f"{kind}: id {item['id']!r} is not the owner's: call it {owner}-{item['id']}")
    for twice in sorted({i for i in ids if ids.count(i) > 1}):
        wrong.append(f"id {twice!r} is given to more than one thing")
    primitives = {p["id"] for p in _items(wish, "primitives")}
    groups = {g["id"] for g in _items(wish, "groups")}
    for primitive in _items(wish, "primitives"):
        try:
            agent(primitive["agent"])
        except CibError as error:
            wrong.append(f"primitive {primitive['id']}: {error}")
        seen: list[tuple[str, float | None]] = []
        for operation in primitive.get("operations") or []:
            key = (operation["name"], milliseconds(text(operation.get("interval") or "0")))
            if key in seen:
                wrong.append(
                    f"primitive {primitive['id']}: two {key[0]} operations with one interval;"
                    " Pacemaker wants a different interval for each role"
                )
            seen.append(key)
    parents: dict[str, str] = {}
    for group in _items(wish, "groups"):
        for member in group["members"]:
            if member not in primitives:
                wrong.append(f"group {group['id']}: member {member!r} is not among the primitives")
            if member in parents:
                wrong.append(f"{member!r} is in {parents[member]} and in {group['id']}")
            parents[member] = group["id"]
        if not group["members"]:
            wrong.append(f"group {group['id']} has no members")
    for clone in _items(wish, "clones"):
        if clone["resource"] not in primitives | groups:
            wrong.append(f"clone {clone['id']}: resource {clone['resource']!r} is not among the primitives or groups")
        if clone["resource"] in parents:
            wrong.append(f"{clone['resource']!r} is in {parents[clone['resource']]} and in {clone['id']}")
        parents[clone["resource"]] = clone["id"]
    for name in wish.get("secret_params") or {}:
        if name not in primitives:
            wrong.append(f"secret_params: {name!r} is not among the primitives")
    for kind in CONSTRAINT_TAGS:
        for item in _items(wish, kind):
            wrong.extend(f"{kind} {item['id']}: {problem}" for problem in _constraint_problems(kind, item))
    return wrong


def _constraint_problems(kind: str, item: dict[str, Any]) -> Iterator[str]:
    if kind == "locations":
        if not item.get("rsc") and not item.get("rsc_pattern"):
            yield "needs rsc or rsc_pattern"
        if bool(item.get("node")) == bool(item.get("rule")):
            yield "needs either node (with score) or rule"
        if item.get("node") and item.get("score") is None:
            yield "needs a score beside node"
        return
    ends = ("first", "then") if kind == "orders" else ("rsc", "with_rsc")
    if bool(item.get("sets")) == any(item.get(end) for end in ends):
        yield f"needs either {ends[0]} and {ends[1]}, or sets"
    elif not item.get("sets") and not all(item.get(end) for end in ends):
        yield f"needs both {ends[0]} and {ends[1]}"


def agent(name: str) -> dict[str, str]:
    """ocf:heartbeat:IPaddr2 → class, provider, type."""
    parts = name.split(":")
    if len(parts) == 3 and parts[0] == "ocf" and all(parts):
        return {"class": parts[0], "provider": parts[1], "type": parts[2]}
    if len(parts) == 2 and parts[0] in ("systemd", "stonith", "lsb", "service") and all(parts):
        return {"class": parts[0], "type": parts[1]}
    raise CibError(
        f"agent {name!r} is none of ocf:provider:type, systemd:unit, stonith:agent, lsb:script, service:name"
    )


def _items(wish: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    source = (wish.get("constraints") or {}) if kind in CONSTRAINT_TAGS else wish
    return source.get(kind) or []


# --- writing the wish into a tree ----------------------------------------------------------------------------------


def build(cib: ET.Element, owner: str, wish: dict[str, Any], purge: bool = False) -> ET.Element:
    """A copy of the CIB in which the owner has what he wishes; what already means the same stays as it is."""
    new = ET.fromstring(ET.tostring(cib))
    configuration = new.find("configuration")
    if configuration is None:
        raise CibError("the CIB has no configuration section")
    for kind, (section, tag, default_id) in OPTION_SETS.items():
        if wish.get(kind):
            _options(_section(configuration, section), tag, default_id, wish[kind], exact=False)
    _resources(_section(configuration, "resources"), owner, wish)
    _constraints(_section(configuration, "constraints"), wish)
    _topology(configuration, owner, wish, purge)
    if purge:
        _purge(configuration, owner, wish)
    return new


def _section(configuration: ET.Element, name: str) -> ET.Element:
    found = configuration.find(name)
    return found if found is not None else ET.SubElement(configuration, name)


def _options(
    parent: ET.Element, tag: str, default_id: str, values: dict[str, Any], exact: bool, position: int | None = None
) -> None:
    """Bring the name/value pairs of the first set without a rule to `values`; None removes; exact drops the others."""
    wanted = {name: text(value) for name, value in values.items() if value is not None}
    holder = next((e for e in parent.findall(tag) if e.find("rule") is None), None)
    if holder is None:
        if not wanted:
            return
        holder = ET.Element(tag, {"id": default_id})
        parent.insert(len(parent) if position is None else position, holder)
    for pair in list(holder.findall("nvpair")):
        name = pair.get("name", "")
        if name not in wanted and (exact or name in values):
            holder.remove(pair)
    existing = {pair.get("name"): pair for pair in holder.findall("nvpair")}
    for name, value in wanted.items():
        found = existing.get(name)
        if found is None:
            ET.SubElement(holder, "nvpair", {"id": f"{holder.get('id')}-{_plain(name)}", "name": name, "value": value})
        elif not (found.get("value") == value if exact else same(name, found.get("value", ""), value)):
            found.set("value", value)
    if exact and not len(holder):
        parent.remove(holder)


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)


def _attributes(element: ET.Element, wanted: dict[str, Any], names: Iterable[str] = ()) -> None:
    """Set attributes which mean something else now; those in `names` without a wanted value go."""
    for name in names:
        if wanted.get(name) is None and name in element.attrib:
            del element.attrib[name]
    for name, value in wanted.items():
        if value is not None:
            new = text(value)
            old = element.get(name)
            if old is None or not same(name, old, new):
                element.set(name, new)


def _resources(resources: ET.Element, owner: str, wish: dict[str, Any]) -> None:
    parents = _parents(resources)
    by_id = {e.get("id", ""): e for e in resources.iter() if e.tag in RESOURCE_TAGS}

    def element(tag: str, identifier: str) -> ET.Element:
        found = by_id.get(identifier)
        if found is None:
            found = by_id[identifier] = ET.Element(tag, {"id": identifier})
        elif found.tag != tag:
            raise CibError(
                f"{identifier} is a {found.tag} in the cluster and shall be a {tag}:"
                f" remove it first (pcs resource delete {identifier})"
            )
        return found

    def place(child: ET.Element, parent: ET.Element, position: int) -> None:
        old = parents.get(child)
        if old is parent and [e for e in parent if e.tag in RESOURCE_TAGS].index(child) == position:
            return
        if old is not None:
            old.remove(child)
        others = [e for e in parent if e.tag in RESOURCE_TAGS]
        parent.insert(list(parent).index(others[position]) if position < len(others) else len(parent), child)
        parents[child] = parent

    inside = {m for g in _items(wish, "groups") for m in g["members"]} | {c["resource"] for c in _items(wish, "clones")}
    for spec in _items(wish, "primitives"):
        _primitive(element("primitive", spec["id"]), spec, (wish.get("secret_params") or {}).get(spec["id"]) or {})
    for spec in _items(wish, "groups"):
        group = element("group", spec["id"])
        for foreign in [m.get("id", "") for m in group.findall("primitive") if not owned(owner, m.get("id", ""))]:
            raise CibError(
                f"group {spec['id']} contains {foreign}, which is not {owner}'s:"
                f" take it out first (pcs resource group remove {spec['id']} {foreign})"
            )
        for position, member in enumerate(spec["members"]):
            place(by_id[member], group, position)
        for left in [e for e in group.findall("primitive") if e.get("id") not in spec["members"]]:
            place(left, resources, len([e for e in resources if e.tag in RESOURCE_TAGS]))
        _options(
            group, "meta_attributes", f"{spec['id']}-meta_attributes", spec.get("meta") or {}, exact=False, position=0
        )
    for spec in _items(wish, "clones"):
        clone = element("clone", spec["id"])
        for left in [e for e in clone if e.tag in RESOURCE_TAGS and e.get("id") != spec["resource"]]:
            raise CibError(
                f"clone {spec['id']} is made of {left.get('id')} in the cluster and shall be of"
                f" {spec['resource']}: remove it first (pcs resource delete {spec['id']})"
            )
        place(by_id[spec["resource"]], clone, 0)
        meta = dict(spec.get("meta") or {})
        if spec.get("promotable") is not None:
            meta["promotable"] = spec["promotable"] or None
        _options(clone, "meta_attributes", f"{spec['id']}-meta_attributes", meta, exact=False, position=0)
    for kind in ("primitives", "groups", "clones"):
        for spec in _items(wish, kind):
            item = by_id[spec["id"]]
            if spec["id"] not in inside and parents.get(item) is not resources:
                place(item, resources, len([e for e in resources if e.tag in RESOURCE_TAGS]))
    for empty in [e for e in resources.iter("group") if owned(owner, e.get("id", "")) and e.find("primitive") is None]:
        parents[empty].remove(empty)
    for empty in [e for e in resources.findall("clone") if not any(c.tag in RESOURCE_TAGS for c in e)]:
        resources.remove(empty)


def _parents(tree: ET.Element) -> dict[ET.Element, ET.Element]:
    return {child: parent for parent in tree.iter() for child in parent}


def _primitive(element: ET.Element, spec: dict[str, Any], secrets: dict[str, Any]) -> None:
    identifier = spec["id"]
    wanted = agent(spec["agent"])
    for name in ("class", "provider", "type"):
        if name in wanted:
            if element.get(name) != wanted[name]:
                element.set(name, wanted[name])
        elif name in element.attrib:
            del element.attrib[name]
    _options(
        element,
        "instance_attributes",
        f"{identifier}-instance_attributes",
        {**(spec.get("params") or {}), **secrets},
        exact=True,
        position=0,
    )
    _options(element, "meta_attributes", f"{identifier}-meta_attributes", spec.get("meta") or {}, exact=False)
    if spec.get("operations") is not None:
        _operations(element, identifier, spec["operations"])


def _operations(primitive: ET.Element, identifier: str, wanted: list[dict[str, Any]]) -> None:
    holder = primitive.find("operations")
    if holder is None:
        if not wanted:
            return
        holder = ET.SubElement(primitive, "operations")
    existing = {(e.get("name"), milliseconds(e.get("interval", "0"))): e for e in holder.findall("op")}
    for spec in wanted:
        attributes = {
            "name": spec["name"],
            "interval": text(spec.get("interval") or "0s"),
            "timeout": spec.get("timeout"),
            "role": spec.get("role"),
            "on-fail": spec.get("on_fail"),
            "start-delay": spec.get("start_delay"),
            "enabled": spec.get("enabled"),
            "record-pending": spec.get("record_pending"),
        }
        found = existing.pop((spec["name"], milliseconds(attributes["interval"] or "0")), None)
        if found is None:
            found = ET.SubElement(
                holder, "op", {"id": f"{identifier}-{spec['name']}-interval-{_plain(attributes['interval'] or '0s')}"}
            )
        _attributes(found, attributes, ("timeout", "role", "on-fail", "start-delay", "enabled", "record-pending"))
        _options(found, "instance_attributes", f"{found.get('id')}-params", spec.get("params") or {}, exact=True)
    for unwanted in existing.values():
        holder.remove(unwanted)
    if not len(holder):
        primitive.remove(holder)


_CONSTRAINT_ATTRIBUTES = {
    "orders": ("first", "first_action", "then", "then_action", "kind", "symmetrical", "require_all"),
    "colocations": ("rsc", "rsc_role", "with_rsc", "with_rsc_role", "score", "node_attribute", "influence"),
    "locations": ("rsc", "rsc_pattern", "node", "score", "role", "resource_discovery"),
}
_SET_ATTRIBUTES = ("sequential", "require_all", "action", "role")


def _constraints(constraints: ET.Element, wish: dict[str, Any]) -> None:
    by_id = {e.get("id"): e for e in constraints}
    for kind, tag in CONSTRAINT_TAGS.items():
        names = {name: name.replace("_", "-") for name in _CONSTRAINT_ATTRIBUTES[kind]}
        for spec in _items(wish, kind):
            element = by_id.get(spec["id"])
            if element is not None and element.tag != tag:
                constraints.remove(element)
                element = None
            if element is None:
                element = ET.SubElement(constraints, tag, {"id": spec["id"]})
            _attributes(element, {xml: spec.get(name) for name, xml in names.items()}, names.values())
            _rule(element, spec)
            _sets(element, spec)


def _rule(constraint: ET.Element, spec: dict[str, Any]) -> None:
    wanted = spec.get("rule")
    rules = constraint.findall("rule")
    for rule in rules if not wanted else rules[1:]:
        constraint.remove(rule)
    if not wanted:
        return
    rule = rules[0] if rules else ET.SubElement(constraint, "rule", {"id": f"{spec['id']}-rule"})
    _attributes(
        rule,
        {
            "score": wanted.get("score"),
            "score-attribute": wanted.get("score_attribute"),
            "role": wanted.get("role"),
            "boolean-op": wanted.get("boolean_op"),
        },
        ("score", "score-attribute", "role", "boolean-op"),
    )
    expressions = [{k: text(v) for k, v in e.items() if v is not None} for e in wanted.get("expressions") or []]
    if [{k: v for k, v in e.attrib.items() if k != "id"} for e in rule] != expressions:
        for child in list(rule):
            rule.remove(child)
        for number, expression in enumerate(expressions):
            ET.SubElement(rule, "expression", {"id": f"{rule.get('id')}-expr-{number}", **expression})


def _sets(constraint: ET.Element, spec: dict[str, Any]) -> None:
    def describe_set(element: ET.Element) -> tuple[dict[str, str], list[str | None]]:
        return (
            {k: normal(k, v) for k, v in element.attrib.items() if k != "id"},
            [r.get("id") for r in element.findall("resource_ref")],
        )

    wanted = [
        (
            {name.replace("_", "-"): text(s[name]) for name in _SET_ATTRIBUTES if s.get(name) is not None},
            list(s["resources"]),
        )
        for s in spec.get("sets") or []
    ]
    existing = constraint.findall("resource_set")
    if [describe_set(e) for e in existing] == [({k: normal(k, v) for k, v in a.items()}, r) for a, r in wanted]:
        return
    for element in existing:
        constraint.remove(element)
    for number, (attributes, members) in enumerate(wanted):
        element = ET.SubElement(constraint, "resource_set", {"id": f"{spec['id']}-set-{number}", **attributes})
        for member in members:
            ET.SubElement(element, "resource_ref", {"id": member})


def _topology(configuration: ET.Element, owner: str, wish: dict[str, Any], purge: bool) -> None:
    wanted = wish.get("topology") or []
    topology = configuration.find("fencing-topology")
    if topology is None:
        if not wanted:
            return
        topology = ET.SubElement(configuration, "fencing-topology")
    kept: list[ET.Element] = []
    for level in wanted:
        target, index = level["target"], text(level["index"])
        found = next((e for e in topology if e.get("target") == target and e.get("index") == index), None)
        if found is not None and not owned(owner, found.get("id", "")):
            raise CibError(f"fencing level {index} of {target} is {found.get('id')}, which is not {owner}'s")
        if found is None:
            found = ET.SubElement(
                topology,
                "fencing-level",
                {"id": f"{owner}-level-{_plain(target)}-{index}", "target": target, "index": index},
            )
        devices = ",".join(level["devices"])
        if found.get("devices") != devices:
            found.set("devices", devices)
        kept.append(found)
    if purge:
        for element in [e for e in topology if owned(owner, e.get("id", "")) and e not in kept]:
            topology.remove(element)
    if not len(topology):
        configuration.remove(topology)


def _purge(configuration: ET.Element, owner: str, wish: dict[str, Any]) -> None:
    """Remove the owner's resources and constraints that the wish does not list."""
    listed = {
        item["id"] for kind in ("primitives", "groups", "clones", *CONSTRAINT_TAGS) for item in _items(wish, kind)
    }
    constraints = _section(configuration, "constraints")
    resources = _section(configuration, "resources")
    for element in [e for e in constraints if owned(owner, e.get("id", "")) and e.get("id") not in listed]:
        constraints.remove(element)
    gone: set[str] = set()
    again = True
    while again:
        again = False
        for child, parent in _parents(resources).items():
            identifier = child.get("id", "")
            if child.tag not in RESOURCE_TAGS or not owned(owner, identifier) or identifier in listed:
                continue
            if any(
                e.get("id") in listed or not owned(owner, e.get("id", ""))
                for e in child.iter()
                if e.tag in RESOURCE_TAGS and e is not child
            ):
                raise CibError(f"{identifier} is no longer listed, but contains a resource that stays")
            gone.update(e.get("id", "") for e in child.iter() if e.tag in RESOURCE_TAGS)
            parent.remove(child)
            again = True
            break
    for element in list(constraints):
        uses = {v for k, v in element.attrib.items() if k in ("rsc", "with-rsc", "first", "then")}
        uses |= {r.get("id", "") for r in element.iter("resource_ref")}
        if uses & gone:
            if not owned(owner, element.get("id", "")) and not element.get("id", "").startswith("cli-"):
                raise CibError(
                    f"constraint {element.get('id')} is not {owner}'s and refers to"
                    f" {', '.join(sorted(uses & gone))}, which is to go: remove it first"
                    f" (pcs constraint delete {element.get('id')})"
                )
            constraints.remove(element)


# --- describing ----------------------------------------------------------------------------------------------------


def describe(cib: ET.Element, owner: str, wish: dict[str, Any], hide: Iterable[str] = ()) -> dict[str, Any]:
    """The owner's part of a CIB (and the cluster options he lists) as plain data, for a diff a person reads."""
    result: dict[str, Any] = {}
    for kind, (section, tag, _id) in OPTION_SETS.items():
        pairs = _pairs(cib.find(f"configuration/{section}"), tag)
        shown = {name: pairs[name] for name in wish.get(kind) or {} if name in pairs}
        if shown:
            result[kind] = shown
    parents = _parents(cib)
    hidden = set(hide)
    resources = {}
    for element in cib.iterfind("configuration/resources//*"):
        if element.tag in RESOURCE_TAGS and owned(owner, element.get("id", "")):
            resources[element.get("id", "")] = _describe_resource(element, parents, hidden)
    if resources:
        result["resources"] = resources
    constraints = {}
    for element in cib.iterfind("configuration/constraints/*"):
        if owned(owner, element.get("id", "")):
            constraints[element.get("id", "")] = _plain_tree(element)
    if constraints:
        result["constraints"] = constraints
    levels = {
        f"{e.get('target')} {e.get('index')}": e.get("devices")
        for e in cib.iterfind("configuration/fencing-topology/fencing-level")
        if owned(owner, e.get("id", ""))
    }
    if levels:
        result["topology"] = levels
    return result


def _pairs(parent: ET.Element | None, tag: str) -> dict[str, str]:
    holder = None if parent is None else next((e for e in parent.findall(tag) if e.find("rule") is None), None)
    return {} if holder is None else {p.get("name", ""): p.get("value", "") for p in holder.findall("nvpair")}


def _describe_resource(element: ET.Element, parents: dict[ET.Element, ET.Element], hidden: set[str]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    if element.tag == "primitive":
        result["agent"] = ":".join(element.get(n, "") for n in ("class", "provider", "type") if element.get(n))
        params = _pairs(element, "instance_attributes")
        if params:
            result["params"] = {n: HIDDEN if n in hidden else v for n, v in params.items()}
        operations = [_plain_tree(e) for e in element.iterfind("operations/op")]
        if operations:
            result["operations"] = operations
    else:
        result[element.tag] = [e.get("id") for e in element if e.tag in RESOURCE_TAGS]
    meta = _pairs(element, "meta_attributes")
    if meta:
        result["meta"] = meta
    return result


def _plain_tree(element: ET.Element) -> dict[str, Any]:
    result: dict[str, Any] = {k: v for k, v in element.attrib.items() if k != "id"}
    for child in element:
        if child.tag == "instance_attributes":
            result["params"] = {p.get("name", ""): p.get("value", "") for p in child.findall("nvpair")}
        elif child.tag == "resource_ref":
            result.setdefault("resources", []).append(child.get("id"))
        else:
            result.setdefault(child.tag, []).append(_plain_tree(child))
    return result


def changes(before: dict[str, Any], after: dict[str, Any], path: str = "") -> list[str]:
    """The difference of two descriptions as one line per change."""
    lines: list[str] = []
    for key in sorted(before.keys() | after.keys()):
        name = f"{path}{key}"
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            lines.extend(changes(old, new, f"{name}."))
        elif isinstance(new, dict) and old is None and path == "":
            lines.extend(changes({}, new, f"{name}."))
        elif old is None:
            lines.append(f"{name} added" if isinstance(new, (dict, list)) else f"{name} added: {new}")
        elif new is None:
            lines.append(f"{name} removed")
        else:
            lines.append(f"{name}: {old} -> {new}")
    return lines


def secrets_changed(before: ET.Element, after: ET.Element, secret_params: dict[str, dict[str, Any]]) -> list[str]:
    """Which hidden parameters get another value; their values are not told."""
    lines: list[str] = []
    for identifier, params in secret_params.items():
        old, new = (_pairs(t.find(f".//primitive[@id='{identifier}']"), "instance_attributes") for t in (before, after))
        lines.extend(
            f"resources.{identifier}.params.{name}: another secret"
            for name in params
            if name in old and old[name] != new.get(name)
        )
    return lines


def unmonitored(wish: dict[str, Any]) -> list[str]:
    """Primitives whose failure Pacemaker would not notice."""
    return [
        p["id"]
        for p in _items(wish, "primitives")
        if p.get("operations") is not None
        and not any(o["name"] == "monitor" and o.get("interval") for o in p["operations"])
    ]


# --- reading what the cluster says -----------------------------------------------------------------------------------


def new_complaints(old: str, new: str) -> list[str]:
    """What crm_verify holds against the new CIB and did not hold against the old one; its summaries are left out."""

    def lines(output: str) -> list[str]:
        cleaned = (
            re.sub(r"^(\([a-z_]+\)\s+)?(Entity: line \d+: )?(error: )?", "", line).strip()
            for line in output.splitlines()
        )
        return [
            line
            for line in dict.fromkeys(cleaned)
            if line
            and not re.match(
                r"(warning|notice|info): |crm_verify: |Configuration invalid|CIB did not pass schema validation", line
            )
        ]

    known = lines(old)
    return [line for line in lines(new) if line not in known]


def has_coordinator(status: ET.Element) -> bool:
    coordinator = status.find("summary/current_dc")
    return coordinator is not None and coordinator.get("present") == "true"


def failures(status: ET.Element, owner: str) -> dict[str, str]:
    """Failed actions of the owner's resources in `crm_mon --output-as=xml`: key (new for each failure) to text."""
    found: dict[str, str] = {}
    for failure in status.iterfind("failures/failure"):
        key = failure.get("op_key", "")
        match = re.fullmatch(r"(.+)_([a-z-]+)_(\d+)", key)
        name = (match.group(1) if match else key).split(":")[0]
        if owned(owner, name):
            words = [
                f"{name}: {match.group(2) if match else failure.get('task', 'action')} on {failure.get('node')}"
                f" failed: {failure.get('exitstatus', 'unknown error')}"
            ]
            if failure.get("exitreason"):
                words.append(f"({failure.get('exitreason')})")
            elif (failure.get("status") or "complete").lower() not in ("complete", "done"):
                words.append(f"({failure.get('status')})")
            found[f"{key} {failure.get('node')} {failure.get('call')} {failure.get('last-rc-change')}"] = " ".join(
                words
            )
    return found


def idle(status: ET.Element, cib: ET.Element, wish: dict[str, Any]) -> list[str]:
    """Wished resources that should be active (promoted, for a promotable clone) and are so nowhere."""
    if same(
        "x",
        _pairs(cib.find("configuration/crm_config"), "cluster_property_set").get("maintenance-mode", "false"),
        "true",
    ):
        return []
    active: dict[str, set[str]] = {}
    for resource in status.iter("resource"):
        if resource.get("active") == "true" and resource.get("failed") != "true":
            roles = active.setdefault(resource.get("id", "").split(":")[0], set())
            roles.add(normal("role", resource.get("role", "")))
    parents = _parents(cib)
    result = []
    for spec in _items(wish, "primitives"):
        link = cib.find(f".//primitive[@id='{spec['id']}']")
        chain: list[ET.Element] = []
        while link is not None and link.tag in RESOURCE_TAGS:
            chain.append(link)
            link = parents.get(link)
        meta: dict[str, str] = {}
        for element in chain:
            meta = {**_pairs(element, "meta_attributes"), **meta}
        target = normal("role", meta.get("target-role", "started"))
        if target == "stopped" or same("x", meta.get("is-managed", "true"), "false"):
            continue
        roles = active.get(spec["id"], set())
        promotable = same("x", meta.get("promotable", "false"), "true") and target != "unpromoted"
        if not roles or (promotable and "promoted" not in roles):
            result.append(spec["id"] + (" (not promoted)" if roles else ""))
    return result
