# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The firewall's policy in Zentyal's terms, and what has to change in a Zentyal for it.

C(wanted) makes interfaces, objects, services and rows of Zentyal's tables of the resolved policy. C(plan) compares them
with what roles/zentyal_nat/files/zentyal_policy.pl read from a live Zentyal. Rows, objects, services and VLANs whose
description or name begins with C(OWN) are the policy's; all others are left alone, behind the policy's.

The resolved policy, networks and addresses being texts such as 10.0.0.0/24:

zones       name, interface, vlan (or null), parent (of a VLAN; the interface if not given), networks, external, and
            this host's address: address (with the length of the network's part), or addresses (by member) and prefix
objects     name, zone, addresses
flows       name, from_zone, sources, to_zone, destinations, protocol, ports; a zone may be "firewall". No sources is
            everybody in the zone, no destinations everything in it, no ports any port
forwards    name, zone, address, protocol, port, to_zone, to_address, to_port, sources (none: anybody)
nat_out     from_zone, networks, to_zone, address
management  zone, sources, port
bastion     sources that may reach the management's port from external zones; may be missing
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

OWN = "cloudexit: "
FIREWALL = "firewall"

INNER = "ToInternetRuleTable"
INWARD = "ExternalToInternalRuleTable"
FROM_INSIDE = "InternalToEBoxRuleTable"
FROM_OUTSIDE = "ExternalToEBoxRuleTable"
OUTPUT = "EBoxOutputRuleTable"
FORWARDS = "RedirectsTable"
NAT = "SNAT"
# As Zentyal's web interface calls them.
TABLES = {
    INNER: "Filtering rules for internal networks",
    INWARD: "Filtering rules from external networks to internal networks",
    FROM_INSIDE: "Filtering rules from internal networks to Zentyal",
    FROM_OUTSIDE: "Filtering rules from external networks to Zentyal",
    OUTPUT: "Filtering rules for traffic coming out from Zentyal",
    FORWARDS: "Port forwarding",
    NAT: "SNAT",
}
# Services that Zentyal itself makes.
ANY_SERVICE = "any"
ANY_PORT = {"tcp": "any TCP", "udp": "any UDP", "icmp": "any ICMP"}
WEBADMIN = "zentyal_webadmin"

Row = dict[str, Any]


class Refused(Exception):
    """What Zentyal cannot express, or what it has that is in the way; the text says what was seen and what to do."""


@dataclass
class Wanted:
    interfaces: dict[str, dict[str, Any]] = field(default_factory=dict)  # by Zentyal's name: address, netmask, external
    vlans: dict[str, dict[str, str]] = field(default_factory=dict)  # by number: name (label), interface (parent)
    objects: dict[str, list[str]] = field(default_factory=dict)
    services: dict[str, list[dict[str, str]]] = field(default_factory=dict)  # protocol, source, destination
    tables: dict[str, list[Row]] = field(default_factory=lambda: {name: [] for name in TABLES})
    management: str = ""  # the interface that Ansible comes through


@dataclass
class Plan:
    changes: dict[str, Any] = field(default_factory=dict)  # for zentyal_policy.pl
    texts: list[str] = field(default_factory=list)  # the same for people
    warnings: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)  # rules which are not the policy's
    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)


# --- what the policy is in Zentyal's terms --------------------------------------------------------------------------


def collapsed(addresses: Iterable[str]) -> list[str]:
    """Sorted, without what others contain: Zentyal's objects have no members that overlap."""
    return [str(net) for net in ipaddress.collapse_addresses(ipaddress.IPv4Network(text) for text in addresses)]


class Translator:
    """Makes Wanted of a resolved policy."""

    def __init__(self, policy: Mapping[str, Any], member: str) -> None:
        self.policy = policy
        self.member = member
        self.zones = {zone["name"]: zone for zone in policy["zones"]}
        self.external = [name for name, zone in self.zones.items() if zone["external"]]
        self.inside = collapsed(net for zone in self.zones.values() if not zone["external"] for net in zone["networks"])
        self.made = Wanted()
        self.known = {tuple(collapsed(entry["addresses"])): entry["name"] for entry in policy["objects"]}

    # --- interfaces

    def interface(self, zone: Mapping[str, Any]) -> str:
        return zone["interface"] if zone.get("vlan") is None else f"vlan{zone['vlan']}"

    def parent(self, zone: Mapping[str, Any]) -> str:
        return zone.get("parent") or zone["interface"]

    def address(self, zone: Mapping[str, Any]) -> ipaddress.IPv4Interface:
        given = zone.get("address")
        if not given:
            own = (zone.get("addresses") or {}).get(self.member)
            if own is None:
                raise Refused(f"the zone {zone['name']} has no address for {self.member}")
            given = f"{own}/{zone['prefix']}"
        return ipaddress.IPv4Interface(given)

    def interfaces(self) -> None:
        trunks = {self.parent(zone): zone for zone in self.zones.values() if zone.get("vlan") is not None}
        for zone in self.zones.values():
            if zone.get("vlan") is None and zone["interface"] in trunks:
                other = trunks[zone["interface"]]
                raise Refused(
                    f"the zone {zone['name']} is on {zone['interface']} without a VLAN and the zone {other['name']} in "
                    f"VLAN {other['vlan']} of it: an interface of Zentyal's either has an address or carries VLANs. "
                    f"Give the zone {zone['name']} a VLAN, or an interface of its own"
                )
            name = self.interface(zone)
            if name in self.made.interfaces:
                raise Refused(f"two zones have the interface {name}; Zentyal has one VLAN {zone.get('vlan')} in all")
            address = self.address(zone)
            self.made.interfaces[name] = {
                "address": str(address.ip),
                "netmask": str(address.netmask),
                "external": int(bool(zone["external"])),
            }
            if zone.get("vlan") is not None:
                self.made.vlans[str(zone["vlan"])] = {"name": OWN + zone["name"], "interface": self.parent(zone)}
        self.made.management = self.interface(self.zones[self.policy["management"]["zone"]])

    # --- parts of rows

    def side(self, addresses: Sequence[str], name: str) -> dict[str, Any]:
        """Any, one address, or an object: the policy's own if it has just these addresses, else one called `name`."""
        nets = collapsed(addresses)
        if not nets or nets == ["0.0.0.0/0"]:
            return {"type": "any", "value": None, "inverse": 0}
        if len(nets) == 1 and tuple(nets) not in self.known:
            return {"type": "ipaddr", "value": nets[0], "inverse": 0}
        for net in nets:
            if net.endswith(".0/32"):
                raise Refused(f"{name} has the address {net}: members of Zentyal's objects do not end with .0")
        found = OWN + self.known.get(tuple(nets), name)
        if self.made.objects.setdefault(found, nets) != nets:
            raise Refused(
                f"two different groups of addresses would be Zentyal's object {found!r}: rename a flow or an object"
            )
        return {"type": "object", "value": found, "inverse": 0}

    def whom(self, flow: Mapping[str, Any], key: str, zone: str) -> dict[str, Any]:
        """The side of a flow that `key` (sources, destinations) gives; all of the zone if that is empty."""
        if flow[key]:
            return self.side(flow[key], f"{flow['name']} {key}")
        if zone not in self.external:
            return self.side(self.zones[zone]["networks"], f"zone {zone}")
        if len(self.external) > 1:
            raise Refused(
                f"the flow {flow['name']} has all of the zone {zone} as its {key}: Zentyal's filter knows addresses, "
                f"not interfaces, and cannot tell {' from '.join(self.external)}. Name addresses in the flow"
            )
        return self.side([], zone)

    def service(self, protocol: str, ports: Sequence[Any]) -> dict[str, Any]:
        if protocol not in ANY_PORT:
            raise Refused(f"Zentyal's services have no protocol {protocol!r} with this engine: tcp, udp or icmp")
        if not ports or protocol == "icmp":
            return {"name": ANY_PORT[protocol], "inverse": 0}
        texts = [str(port).replace("-", ":") for port in ports]
        name = f"{OWN}{protocol}/{','.join(map(str, ports))}"
        self.made.services[name] = [{"protocol": protocol, "source": "any", "destination": text} for text in texts]
        return {"name": name, "inverse": 0}

    def add(self, table: str, name: str, decision: str, service: dict[str, Any], **sides: dict[str, Any]) -> None:
        row = {"decision": decision, "service": service, "description": OWN + name, **sides}
        if row not in self.made.tables[table]:
            self.made.tables[table].append(row)

    def deny(self, table: str, name: str, **sides: dict[str, Any]) -> None:
        self.add(table, name, "deny", {"name": ANY_SERVICE, "inverse": 0}, **sides)

    # --- tables

    def flow(self, flow: Mapping[str, Any]) -> None:
        start, end = flow["from_zone"], flow["to_zone"]
        service = self.service(flow["protocol"], flow["ports"])
        if start == end:
            raise Refused(f"the flow {flow['name']} stays in {start}, which no firewall sees")
        if start == FIREWALL:
            self.add(OUTPUT, flow["name"], "accept", service, destination=self.whom(flow, "destinations", end))
            return
        source = self.whom(flow, "sources", start)
        if end == FIREWALL:
            self.add(
                FROM_OUTSIDE if start in self.external else FROM_INSIDE, flow["name"], "accept", service, source=source
            )
            return
        if start in self.external and end in self.external:
            raise Refused(
                f"the flow {flow['name']} goes from {start} to {end}, which are both external: Zentyal has no rules "
                "between external networks. Mark one of the zones as internal"
            )
        destination = self.whom(flow, "destinations", end)
        table = INWARD if start in self.external else INNER
        self.add(table, flow["name"], "accept", service, source=source, destination=destination)

    def filters(self) -> None:
        everybody = self.side([], "everybody")
        inside = self.side(self.inside, "inside")
        management = self.policy["management"]
        ssh = self.service("tcp", [management["port"]])
        gate = FROM_OUTSIDE if management["zone"] in self.external else FROM_INSIDE
        sources = self.side(management["sources"], "management")
        self.add(gate, "management", "accept", ssh, source=sources)
        self.add(gate, "management, web interface", "accept", {"name": WEBADMIN, "inverse": 0}, source=sources)
        if self.policy.get("bastion"):
            self.add(FROM_OUTSIDE, "bastion", "accept", ssh, source=self.side(self.policy["bastion"], "bastion"))
        for table in (FROM_INSIDE, FROM_OUTSIDE):
            self.add(table, "ping", "accept", self.service("icmp", []), source=everybody)
        leaving = [flow for flow in self.policy["flows"] if flow["to_zone"] in self.external]
        for flow in self.policy["flows"]:
            if flow not in leaving:
                self.flow(flow)
        # What may go out to everybody may not go to the other inner zones by that.
        self.deny(INNER, "between zones", source=inside, destination=inside)
        for flow in leaving:
            self.flow(flow)
        # From everybody, not only from the zones: a forged address is in none of them.
        for table in (INNER, INWARD):
            self.deny(table, "everything else", source=everybody, destination=everybody)
        for table in (FROM_INSIDE, FROM_OUTSIDE):
            self.deny(table, "everything else", source=everybody)

    def translations(self) -> None:
        for forward in self.policy["forwards"]:
            self.made.tables[FORWARDS].append(
                {
                    "interface": self.interface(self.zones[forward["zone"]]),
                    "origDest": {"type": "ipaddr", "value": f"{forward['address']}/32", "inverse": 0},
                    "protocol": forward["protocol"],
                    "port": str(forward["port"]),
                    "source": self.side(forward["sources"], f"{forward['name']} sources"),
                    "to_address": forward["to_address"],
                    "to_port": str(forward["to_port"]),
                    # The target sees who asks.
                    "snat": "0",
                    "log": 0,
                    "description": OWN + forward["name"],
                }
            )
        for entry in self.policy["nat_out"]:
            for net in entry["networks"]:
                self.made.tables[NAT].append(
                    {
                        "snat": entry["address"],
                        "interface": self.interface(self.zones[entry["to_zone"]]),
                        "source": {"type": "ipaddr", "value": net, "inverse": 0},
                        "destination": {"type": "any", "value": None, "inverse": 0},
                        "service": {"name": ANY_SERVICE, "inverse": 0},
                        "log": 0,
                        "description": f"{OWN}{entry['from_zone']} to {entry['to_zone']}",
                    }
                )

    def all(self) -> Wanted:
        self.interfaces()
        for entry in self.policy["objects"]:
            self.made.objects[OWN + entry["name"]] = collapsed(entry["addresses"])
        self.filters()
        self.translations()
        return self.made


def wanted(policy: Mapping[str, Any], member: str) -> Wanted:
    """What Zentyal on `member` has to have for the resolved policy; raises Refused."""
    return Translator(policy, member).all()


# --- what is in the way ---------------------------------------------------------------------------------------------


def refusals(live: Mapping[str, Any], want: Wanted, enable: bool) -> list[str]:
    """Why nothing may be changed in this Zentyal: each with what was seen and what to do."""
    found = []
    if live["first_install"]:
        found.append(
            "Zentyal's installation is not finished (/var/lib/zentyal/.first is there): saving would switch on all "
            "of its modules. Finish it in its web interface first"
        )
    off = [name for name, module in live["modules"].items() if not module["enabled"]]
    if off and not enable:
        found.append(
            f"Zentyal's modules {', '.join(off)} are switched off, so that rules would be saved and have no effect. "
            "Switch them on in its web interface (Module Status), or allow it with zentyal_nat_zentyal_enable: true"
        )
    if live["changed"]:
        found.append(
            f"somebody has changes in Zentyal which are not saved, in {', '.join(live['changed'])}; saving the policy "
            "would publish them, too. Save or discard them in its web interface, or with "
            "/usr/share/zentyal/global-action --action saveAllModules (or revokeAllModules), and run again"
        )
    services = {service["name"] for service in live["services"]}
    used = {row["service"]["name"] for rows in want.tables.values() for row in rows if "service" in row}
    for name in sorted(used - services - set(want.services)):
        found.append(f"Zentyal lacks its own service {name!r}: dpkg-reconfigure zentyal-network makes it again")
    return [*found, *_interface_refusals(live, want)]


def _interface_refusals(live: Mapping[str, Any], want: Wanted) -> list[str]:
    found = []
    there = live["interfaces"]
    for number, vlan in want.vlans.items():
        parent = there.get(vlan["interface"])
        known = live["vlans"].get(number)
        if parent is None:
            found.append(
                f"VLAN {number} is to be on {vlan['interface']}, which Zentyal has not; it has "
                f"{', '.join(sorted(there))}"
            )
        elif parent["method"] not in ("trunk", "notset"):
            found.append(
                f"VLAN {number} is to be on {vlan['interface']}, which Zentyal uses itself ({parent['method']}"
                + (f", {parent['address']}" if parent["address"] else "")
                + "): an interface with VLANs has no address there. Unset it in Network > Interfaces"
            )
        if known and known["interface"] != vlan["interface"]:
            found.append(
                f"VLAN {number} is on {known['interface']} in Zentyal and on {vlan['interface']} in the policy. Remove "
                "it in Network > Interfaces"
            )
    for name, interface in want.interfaces.items():
        now = there.get(name)
        if now is None:
            if name.removeprefix("vlan") not in want.vlans:
                found.append(
                    f"the policy has the interface {name}, which Zentyal has not; it has {', '.join(sorted(there))}"
                )
        elif now["method"] not in ("static", "notset"):
            found.append(
                f"the interface {name} is {now['method']} in Zentyal, the policy gives it {interface['address']}. Make "
                "it static in Network > Interfaces, with its gateway, and save"
            )
        elif name == want.management and now["method"] == "static" and _differs(now, interface, "address", "netmask"):
            found.append(
                f"the interface {name}, which Ansible comes through, has {now['address']} ({now['netmask']}) in "
                f"Zentyal and {interface['address']} ({interface['netmask']}) in the policy: the change would cut this "
                "connection. Change the policy, or the address in Zentyal by hand"
            )
    return found


def _differs(one: Mapping[str, Any], other: Mapping[str, Any], *keys: str) -> bool:
    return any(one.get(key) != other.get(key) for key in keys)


# --- what has to change ---------------------------------------------------------------------------------------------


def is_own(row: Mapping[str, Any]) -> bool:
    return str(row.get("description", "")).startswith(OWN)


def content(row: Mapping[str, Any]) -> Row:
    return {key: value for key, value in row.items() if key != "id"}


def line(table: str, row: Mapping[str, Any]) -> str:
    """A row for people."""

    def side(key: str) -> str:
        value = row[key]
        name = value["type"] if value["value"] is None else str(value["value"])
        return f"not {name}" if value["inverse"] else name

    service = row.get("service", {})
    what = f"{'not ' if service.get('inverse') else ''}{service.get('name')}"
    if table == FORWARDS:
        text = (
            f"{row['interface']} {side('source')} -> {side('origDest')} {row['protocol']}/{row['port']} "
            f"=> {row['to_address']}:{row['to_port']}{' with SNAT' if row['snat'] == '1' else ''}"
        )
    elif table == NAT:
        text = f"{row['interface']} {side('source')} -> {side('destination')} {what} => {row['snat']}"
    else:
        ends = [side(key) for key in ("source", "destination") if key in row]
        text = f"{row['decision']} {' -> '.join(ends)} {what}"
    return f"{text}{' logged' if row.get('log') else ''} ({row['description'] or 'no description'})"


def _plan_tables(live: Mapping[str, Any], want: Wanted, plan: Plan) -> None:
    for table, rows in want.tables.items():
        now = live["tables"][table]
        own = [row for row in now if is_own(row)]
        others = [row for row in now if not is_own(row)]
        plan.foreign += [f"{TABLES[table]}: {line(table, row)}" for row in others]
        heading = f"{TABLES[table]}:"
        plan.before += [heading, *(f"  {line(table, row)}" for row in now)]
        plan.after += [heading, *(f"  {line(table, row)}" for row in [*rows, *others])]
        if [content(row) for row in now[: len(rows)]] == rows and len(own) == len(rows):
            continue
        left = list(own)
        result: list[Row] = []
        for row in rows:
            same = next((one for one in left if content(one) == row), None)
            if same is None:
                plan.texts.append(f"add to {TABLES[table]}: {line(table, row)}")
                result.append(row)
            else:
                left.remove(same)
                result.append({"id": same["id"]})
        plan.texts += [f"remove from {TABLES[table]}: {line(table, row)}" for row in left]
        if not left and all("id" in row for row in result):
            plan.texts.append(f"put the policy's rules first, in its order, in {TABLES[table]}")
        change = {"table": table, "remove": [row["id"] for row in left], "rows": result}
        plan.changes.setdefault("tables", []).append(change)


def _plan_objects(live: Mapping[str, Any], want: Wanted, plan: Plan) -> None:
    there = {entry["name"]: entry for entry in live["objects"]}
    for name, addresses in want.objects.items():
        members = there.get(name, {"members": []})["members"]
        # A member with a MAC address would let nobody else in.
        fitting = {one["address"] for one in members if one["address"] in addresses and not one["mac"]}
        add = [address for address in addresses if address not in fitting]
        remove = [one for one in members if one["address"] not in fitting]
        plan.after.append(f"object {name}: {', '.join(sorted(addresses))}")
        if name not in there or add or remove:
            plan.texts.append(
                f"object {name}: "
                + ", ".join([*(f"add {one}" for one in add), *(f"remove {one['address']}" for one in remove)])
            )
            plan.changes.setdefault("objects", []).append(
                {"name": name, "create": name not in there, "add": add, "remove": [one["id"] for one in remove]}
            )
    for name, entry in there.items():
        if not name.startswith(OWN):
            continue
        plan.before.append(f"object {name}: {', '.join(sorted(one['address'] for one in entry['members']))}")
        if name not in want.objects:
            _plan_removal(live, plan, "object", entry, ("source", "destination", "origDest"))


def _plan_services(live: Mapping[str, Any], want: Wanted, plan: Plan) -> None:
    there = {entry["name"]: entry for entry in live["services"]}
    for name, ports in want.services.items():
        text = ", ".join(f"{port['protocol']}/{port['destination']}" for port in ports)
        plan.after.append(f"service {name}: {text}")
        if name not in there or there[name]["ports"] != ports:
            plan.texts.append(f"service {name}: {text}")
            plan.changes.setdefault("services", []).append(
                {"name": name, "create": name not in there, "ports": ports, "description": f"{OWN}from the policy"}
            )
    for name, entry in there.items():
        if not name.startswith(OWN):
            continue
        found = (f"{port['protocol']}/{port['destination']}" for port in entry["ports"])
        plan.before.append(f"service {name}: {', '.join(found)}")
        if name not in want.services:
            _plan_removal(live, plan, "service", entry, ("service",))


def _plan_removal(
    live: Mapping[str, Any], plan: Plan, kind: str, entry: Mapping[str, Any], keys: Sequence[str]
) -> None:
    """An object or a service that the policy needs no longer; kept while a rule of somebody else needs it."""
    for table, rows in live["tables"].items():
        for row in rows:
            names = [row[key].get("name", row[key].get("value")) for key in keys if key in row]
            if entry["name"] in names and not is_own(row):
                plan.warnings.append(
                    f"the {kind} {entry['name']!r} is no longer in the policy and stays, because a rule which is not "
                    f"the policy's uses it: {TABLES[table]}: {line(table, row)}"
                )
                plan.after.append(
                    next(text for text in reversed(plan.before) if text.startswith(f"{kind} {entry['name']}:"))
                )
                return
    plan.texts.append(f"remove the {kind} {entry['name']}")
    plan.changes.setdefault(f"remove_{kind}s", []).append(entry["id"])


def _interface_line(name: str, interface: Mapping[str, Any]) -> str:
    kind = "external" if interface["external"] else "internal"
    return f"interface {name}: {interface['address']}/{interface['netmask']}, {kind}"


def _plan_interfaces(live: Mapping[str, Any], want: Wanted, plan: Plan) -> None:
    steps: list[dict[str, Any]] = []
    for parent in dict.fromkeys(vlan["interface"] for vlan in want.vlans.values()):
        if live["interfaces"][parent]["method"] != "trunk":
            steps.append({"do": "trunk", "name": parent})
            plan.texts.append(f"interface {parent}: carry VLANs")
    for number, vlan in want.vlans.items():
        if number not in live["vlans"]:
            steps.append({"do": "vlan", "id": int(number), "label": vlan["name"], "parent": vlan["interface"]})
            plan.texts.append(f"VLAN {number} on {vlan['interface']}")
    for name, interface in want.interfaces.items():
        now = live["interfaces"].get(name, {"method": "notset"})
        plan.after.append(_interface_line(name, interface))
        if now["method"] == "static":
            plan.before.append(_interface_line(name, now))
        if now["method"] != "static" or _differs(now, interface, "address", "netmask", "external"):
            steps.append({"do": "static", "name": name, **interface})
            plan.texts.append(plan.after[-1])
    if steps:
        plan.changes["interfaces"] = steps
    for number, vlan in live["vlans"].items():
        if vlan["name"].startswith(OWN) and number not in want.vlans:
            plan.texts.append(f"remove VLAN {number} from {vlan['interface']}")
            plan.changes.setdefault("remove_vlans", []).append({"do": "remove_vlan", "id": int(number)})


def _plan_unapplied(
    live: Mapping[str, Any], want: Wanted, kernel: Mapping[str, Sequence[str]], unfinished: bool, plan: Plan
) -> None:
    """What Zentyal has saved and the host does not have: after a save that failed, or a hand on iptables."""
    if unfinished:
        plan.texts.append("finish the save that failed in an earlier run")
        plan.changes["publish"] = ["network", "firewall"]
        return
    if live["missing"]:
        plan.texts.append(
            f"put {len(live['missing'])} rules into the kernel which Zentyal has and it lacks: {live['missing'][0]}"
        )
        plan.changes.setdefault("publish", []).append("firewall")
    for name, interface in want.interfaces.items():
        now = live["interfaces"].get(name)
        if not now or _differs(now, interface, "address"):
            continue
        if name not in kernel:
            plan.warnings.append(
                f"Zentyal has {interface['address']} on {name}, but this host has no such interface. Next: zs network "
                f"restart; ip link show {name}"
            )
        elif interface["address"] not in kernel[name]:
            plan.texts.append(f"give {name} the address {interface['address']}, which Zentyal has and the kernel lacks")
            publish = plan.changes.setdefault("publish", [])
            if "network" not in publish:
                publish.append("network")


def plan(live: Mapping[str, Any], want: Wanted, kernel: Mapping[str, Sequence[str]], unfinished: bool = False) -> Plan:
    """What makes of the live Zentyal what is wanted.

    `kernel` has the addresses of each interface of the host; `unfinished`: an earlier run's save failed or was cut off.
    No change is an empty C(changes).
    """
    made = Plan()
    off = [name for name, module in live["modules"].items() if not module["enabled"]]
    if off:
        made.changes["enable"] = off
        made.texts.append(f"switch on Zentyal's modules {', '.join(off)}")
    _plan_interfaces(live, want, made)
    _plan_objects(live, want, made)
    _plan_services(live, want, made)
    made.before.sort()
    made.after.sort()
    _plan_tables(live, want, made)
    _plan_unapplied(live, want, kernel, unfinished, made)
    if live["nameservers"]:
        made.warnings.append(
            f"Zentyal lets everybody inside ask its own name servers ({', '.join(live['nameservers'])}), whatever the "
            "policy says: a rule that it always makes"
        )
    return made


def lost(want: Wanted, before: Mapping[str, Sequence[str]], after: Mapping[str, Sequence[str]]) -> list[str]:
    """Warnings about addresses which are not Zentyal's, and which the host had before a save and has not after it."""
    return [
        f"saving took {address} from {name}: netplan removes addresses that it does not know. A cluster puts its own "
        "back when it looks again; work on one firewall at a time, the passive one first"
        for name, interface in want.interfaces.items()
        for address in before.get(name, [])
        if address != interface["address"] and address not in after.get(name, [])
    ]
