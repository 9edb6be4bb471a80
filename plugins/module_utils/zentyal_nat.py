# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The firewall's policy: checked, resolved into flows between zones, and written as a rule set or as a table.

A policy is a dict with the keys C(zones), C(objects), C(services), C(flows), C(forwards), C(nat), C(management),
C(bastion), C(wireguard), C(members), C(engine) (see the role's argument specs for their shapes). C(resolve) makes of it
what both engines apply:

zones       name, interface (with the VLAN's number), parent, vlan, network, addresses (by member), vip, external,
            tunnel
objects     name, zone, addresses
flows       name, from_zone, sources, to_zone, destinations, protocol, ports, description
forwards    name, zone, address, protocol, port, to_zone, to_address, to_port, sources
nat_out     from_zone, networks, to_zone, address
management  zone, sources, port
wireguard   interface, address, port, peers (name, public_key, address); empty without peers

Networks and addresses are texts such as 10.0.0.0/24; a single address has /32. An empty list of ports is any port, an
empty list of sources is everybody in the zone, of destinations everything in it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

NAME = re.compile(r"[a-z][a-z0-9_-]*")
PROTOCOLS = ("tcp", "udp", "icmp")
FIREWALL = "firewall"  # the pair itself, as a side of a flow
# Services that need not be named in every inventory.
KNOWN_SERVICES = {
    "ssh": ("tcp/22",),
    "http": ("tcp/80",),
    "https": ("tcp/443",),
    "dns": ("udp/53", "tcp/53"),
    "ntp": ("udp/123",),
    "ping": ("icmp",),
}
# Linux' longest name of an interface.
INTERFACE_LENGTH = 15
PEERS = "zentyal_nat_wireguard_peers"
WIREGUARD = "wireguard"  # the zone of those who come through it
WIREGUARD_KEY = re.compile(r"[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=")  # 32 bytes

Network = ipaddress.IPv4Network


class Wrong(Exception):
    """Something in the policy that cannot be applied; the text names it, the value seen, and what to do."""


def network(text: Any, where: str) -> Network:
    try:
        return ipaddress.IPv4Network(str(text))
    except ValueError as err:
        raise Wrong(f"{where} is {text!r}, which is no IPv4 address or network: {err}") from None


def address(text: Any, where: str) -> ipaddress.IPv4Address:
    try:
        return ipaddress.IPv4Address(str(text))
    except ValueError:
        raise Wrong(f"{where} is {text!r}, which is no IPv4 address") from None


def ports_of(value: Any, where: str) -> list[str]:
    """Ports and ranges (8000-8010) as texts."""
    found = []
    for text in value if isinstance(value, list | tuple) else [value]:
        ends = str(text).split("-")
        if len(ends) > 2 or not all(end.isdigit() and 0 < int(end) < 65536 for end in ends):
            raise Wrong(f"{where} is {text!r}: a port is a number from 1 to 65535, a range is 8000-8010")
        if len(ends) == 2 and int(ends[0]) >= int(ends[1]):
            raise Wrong(f"{where} is {text!r}: a range begins with the smaller port")
        found.append(str(text))
    return found


def by_name(entries: Iterable[Mapping[str, Any]], variable: str) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for number, entry in enumerate(entries):
        name = str(entry.get("name", ""))
        if not NAME.fullmatch(name):
            raise Wrong(f"{variable}[{number}].name is {name!r}: use small letters, digits, - and _")
        if name in found:
            raise Wrong(f"{variable} has two entries with the name {name!r}")
        found[name] = entry
    return found


# --- zones ------------------------------------------------------------------------------------------------------------


def zone_of(name: str, entry: Mapping[str, Any], members: Sequence[str], engine: str) -> dict[str, Any]:
    where = f"zentyal_nat_zones[{name}]"
    vlan = entry.get("vlan")
    parent = str(entry["interface"])
    interface = parent
    if vlan is not None:
        if not 1 <= int(vlan) <= 4094:
            raise Wrong(f"{where}.vlan is {vlan}: numbers of VLANs go from 1 to 4094")
        # Zentyal has a name of its own for them.
        interface = f"vlan{int(vlan)}" if engine == "zentyal" else f"{parent}.{int(vlan)}"
    if len(interface) > INTERFACE_LENGTH:
        raise Wrong(f"{where}: the interface {interface!r} has more than {INTERFACE_LENGTH} letters")
    net = network(entry["network"], f"{where}.network")
    own = {}
    for member in members:
        given = (entry.get("addresses") or {}).get(member)
        if given is None:
            raise Wrong(f"{where}.addresses has none for {member}: each member needs an address of its own in {net}")
        own[member] = address(given, f"{where}.addresses.{member}")
    vip = address(entry["vip"], f"{where}.vip") if entry.get("vip") else None
    for what, one in [*(("address", value) for value in own.values()), *([("vip", vip)] if vip else [])]:
        if one not in net or one in (net.network_address, net.broadcast_address):
            raise Wrong(f"{where}: the {what} {one} is no host's address in {net}")
    taken = [*own.values(), *([vip] if vip else [])]
    if len(set(taken)) != len(taken):
        raise Wrong(f"{where}: {', '.join(map(str, taken))}: an address is used twice")
    return {
        "name": name,
        "interface": interface,
        "parent": parent,
        "vlan": None if vlan is None else int(vlan),
        "network": str(net),
        "networks": [str(net), *(str(network(n, f"{where}.routed")) for n in entry.get("routed") or [])],
        "addresses": {member: str(one) for member, one in own.items()},
        "prefix": net.prefixlen,
        "vip": str(vip) if vip else None,
        "external": bool(entry.get("external")),
        "tunnel": False,
    }


def tunnel_of(given: Mapping[str, Any], members: Sequence[str], engine: str) -> dict[str, Any]:
    """The zone of the peers that come through WireGuard; the firewall's address is the first one, on all members."""
    if engine != "nftables":
        raise Wrong(
            f"zentyal_nat_wireguard_peers needs the engine nftables, this is {engine}: the role does not speak with "
            "Zentyal's own VPN module"
        )
    if not given.get("key"):
        raise Wrong(
            "zentyal_nat_wireguard_private_key is not set: make one with `wg genkey` and put it into the vault; peers "
            "need what `wg pubkey` makes of it"
        )
    if not WIREGUARD_KEY.fullmatch(str(given["key"])):
        raise Wrong(
            "zentyal_nat_wireguard_private_key is no key of WireGuard (44 characters): make one with `wg genkey`"
        )
    net = network(given.get("network") or "", "zentyal_nat_wireguard_network")
    if net.prefixlen > 30:
        raise Wrong(f"zentyal_nat_wireguard_network is {net}: there is no room for the firewall and a peer")
    interface = str(given["interface"])
    if len(interface) > INTERFACE_LENGTH:
        raise Wrong(
            f"zentyal_nat_name makes an interface named {interface!r}, which has more than {INTERFACE_LENGTH} letters"
        )
    return {
        "name": WIREGUARD,
        "interface": interface,
        "parent": interface,
        "vlan": None,
        "network": str(net),
        "networks": [str(net)],
        "addresses": {member: str(net[1]) for member in members},
        "prefix": net.prefixlen,
        "vip": None,
        "external": False,
        "tunnel": True,
    }


def zones_of(policy: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    members = list(policy["members"])
    entries = by_name(policy["zones"], "zentyal_nat_zones")
    if FIREWALL in entries:
        raise Wrong(f"zentyal_nat_zones has one named {FIREWALL!r}, which is the firewall's own name in flows")
    zones = {name: zone_of(name, entry, members, policy["engine"]) for name, entry in entries.items()}
    if not zones:
        raise Wrong("zentyal_nat_zones is empty: the firewall does not know what it stands between")
    given = policy.get("wireguard") or {}
    if given.get("peers"):
        if WIREGUARD in entries:
            raise Wrong(
                f"zentyal_nat_zones has one named {WIREGUARD!r}, which is the zone of zentyal_nat_wireguard_peers"
            )
        zones[WIREGUARD] = tunnel_of(given, members, policy["engine"])
    seen: dict[str, str] = {}
    ranges: list[tuple[Network, str]] = []
    for zone in zones.values():
        if zone["interface"] in seen:
            raise Wrong(
                f"the zones {seen[zone['interface']]} and {zone['name']} have the same interface {zone['interface']}"
            )
        seen[zone["interface"]] = zone["name"]
        for text in zone["networks"]:
            net = Network(text)
            for other, owner in ranges:
                if net.overlaps(other):
                    raise Wrong(
                        f"{net} of the zone {zone['name']} overlaps {other} of {owner}: a packet's zone would be chance"
                    )
            ranges.append((net, zone["name"]))
    return zones


# --- sides of flows ---------------------------------------------------------------------------------------------------


class Resolver:
    """The policy's names, and what they stand for."""

    def __init__(self, policy: Mapping[str, Any]) -> None:
        self.policy = policy
        self.zones = zones_of(policy)
        self.external = [zone["name"] for zone in self.zones.values() if zone["external"]]
        self.objects: dict[str, dict[str, Any]] = {}
        for name, entry in by_name(policy.get("objects") or [], "zentyal_nat_objects").items():
            if name in self.zones or name == FIREWALL:
                raise Wrong(f"zentyal_nat_objects has {name!r}, which is a zone's name")
            where = f"zentyal_nat_objects[{name}].addresses"
            found = [network(text, where) for text in entry.get("addresses") or []]
            if not found:
                raise Wrong(f"{where} is empty: a rule for nobody would be a rule for everybody")
            zones = {self.zone_of_network(net, where, entry.get("zone")) for net in found}
            if len(zones) > 1:
                raise Wrong(
                    f"{where}: the addresses are in the zones {', '.join(sorted(zones))}: make an object for each"
                )
            self.objects[name] = {"name": name, "zone": zones.pop(), "addresses": [str(net) for net in found]}
        self.peers = self.wireguard_peers()
        for peer in self.peers:
            self.objects[peer["name"]] = {
                "name": peer["name"],
                "zone": WIREGUARD,
                "addresses": [f"{peer['address']}/32"],
            }
        self.services = {
            name: [self.port_entry(part, name) for part in parts] for name, parts in KNOWN_SERVICES.items()
        }
        for name, entry in by_name(policy.get("services") or [], "zentyal_nat_services").items():
            where = f"zentyal_nat_services[{name}]"
            self.services[name] = [self.port_entry(part, where) for part in entry.get("ports") or []]
            if not self.services[name]:
                raise Wrong(f"{where}.ports is empty")

    def wireguard_peers(self) -> list[dict[str, str]]:
        """name, public_key and address of each; their names are objects of the policy."""
        found: list[dict[str, str]] = []
        for name, entry in by_name((self.policy.get("wireguard") or {}).get("peers") or [], PEERS).items():
            where = f"{PEERS}[{name}]"
            if name in self.zones or name in self.objects or name == FIREWALL:
                raise Wrong(f"{where}: a zone or an object has this name already")
            key, tunnel = str(entry.get("public_key", "")), self.zones[WIREGUARD]
            if not WIREGUARD_KEY.fullmatch(key):
                raise Wrong(
                    f"{where}.public_key is {key!r}, which is no key of WireGuard: the peer's `wg pubkey` says it"
                )
            one, net = address(entry.get("address"), f"{where}.address"), Network(tunnel["network"])
            if one not in net or one in (net.network_address, net[1], net.broadcast_address):
                raise Wrong(f"{where}.address is {one}: it must be in {net}, where {net[1]} is the firewall's own")
            for other in found:
                if key == other["public_key"] or str(one) == other["address"]:
                    raise Wrong(
                        f"{where} and {other['name']} have the same key or address: only the last would get through"
                    )
            found.append({"name": name, "public_key": key, "address": str(one)})
        return found

    def wireguard(self) -> dict[str, Any]:
        if not self.peers:
            return {}
        if not any(self.zones[name]["vip"] for name in self.external):
            raise Wrong(
                "zentyal_nat_wireguard_peers: no external zone has a vip, so there is nothing that peers could ask"
            )
        tunnel, given = self.zones[WIREGUARD], self.policy["wireguard"]
        return {
            "interface": tunnel["interface"],
            "address": f"{next(iter(tunnel['addresses'].values()))}/{tunnel['prefix']}",
            "port": int(ports_of(given["port"], "zentyal_nat_wireguard_port")[0]),
            "peers": self.peers,
        }

    def port_entry(self, entry: Any, where: str) -> dict[str, Any]:
        """{protocol, ports} of "tcp/443", "udp/8000-8010", "icmp", "tcp" (any port)."""
        protocol, _slash, port = str(entry).partition("/")
        if protocol not in PROTOCOLS or (port and protocol == "icmp"):
            raise Wrong(f"{where}: {entry!r} is no service: write tcp/443, udp/123, tcp/8000-8010, or icmp")
        return {"protocol": protocol, "ports": ports_of(port, where) if port else []}

    def zone_of_network(self, net: Network, where: str, given: str | None = None) -> str:
        """The zone whose network holds `net`; else the one given; else the external one."""
        for zone in self.zones.values():
            if any(net.subnet_of(Network(text)) for text in zone["networks"]):
                if given and given != zone["name"]:
                    raise Wrong(f"{where}: {net} is in the zone {zone['name']}, not in {given}")
                return zone["name"]
        for zone in self.zones.values():
            if any(net.overlaps(Network(text)) for text in zone["networks"]) and net.prefixlen:
                raise Wrong(f"{where}: {net} is larger than the network of the zone {zone['name']}, which it overlaps")
        chosen = given or (self.external[0] if len(self.external) == 1 else None)
        if chosen not in self.zones:
            raise Wrong(
                f"{where}: {net} is in no zone's network"
                + (f", and there is no zone {given!r}" if given else ": give the zone, or mark one as external")
            )
        if not self.zones[chosen]["external"]:
            raise Wrong(f"{where}: {net} is not in {', '.join(self.zones[chosen]['networks'])} of the zone {chosen}")
        return chosen

    def side(self, text: Any, where: str) -> tuple[str, list[str]]:
        """Zone and addresses of a zone, an object, the firewall, or an address."""
        name = str(text)
        if name == FIREWALL:
            return FIREWALL, []
        if name in self.zones:
            return name, []
        if name in self.objects:
            return self.objects[name]["zone"], self.objects[name]["addresses"]
        if re.match(r"\d", name):
            net = network(name, where)
            return self.zone_of_network(net, where), [str(net)]
        known = ", ".join([*self.zones, *self.objects, FIREWALL])
        raise Wrong(f"{where} is {name!r}, which is no zone, object or address; there are: {known}")

    def sides(self, value: Any, where: str) -> Iterator[tuple[str, list[str]]]:
        """As side, of one or of a list; those of one zone in one."""
        found: dict[str, list[str]] = {}
        for text in value if isinstance(value, list | tuple) else [value]:
            zone, addresses = self.side(text, where)
            if zone in found and (not addresses or not found[zone]):
                found[zone] = []
            else:
                found[zone] = found.get(zone, []) + [one for one in addresses if one not in found.get(zone, [])]
        yield from found.items()

    # --- flows --------------------------------------------------------------------------------------------------------

    def targets(self, entry: Mapping[str, Any], where: str) -> Iterator[tuple[str, list[str], str, list[str]]]:
        """Zone, addresses, protocol and ports of a flow's other side."""
        endpoints = entry.get("endpoints")
        if endpoints is not None:
            if entry.get("to") or entry.get("services"):
                raise Wrong(f"{where}: give either endpoints, or to and services")
            grouped: dict[tuple[str, str, int], list[str]] = {}
            for end in endpoints:
                zone, addresses = self.side(end["address"], f"{where}.endpoints[{end.get('name')}].address")
                key = (zone, str(end.get("protocol", "tcp")), int(end["port"]))
                grouped.setdefault(key, [])
                grouped[key] += [one for one in addresses if one not in grouped[key]]
            if not grouped:
                raise Wrong(f"{where}.endpoints is empty: does the tier's group have hosts?")
            for (zone, protocol, port), addresses in grouped.items():
                yield zone, addresses, protocol, [str(port)]
            return
        if not entry.get("to"):
            raise Wrong(f"{where} says neither to whom it goes (to, services) nor which endpoints")
        for zone, addresses in self.sides(entry["to"], f"{where}.to"):
            for protocol, ports in self.services_of(entry, where):
                yield zone, addresses, protocol, ports

    def services_of(self, entry: Mapping[str, Any], where: str) -> Iterator[tuple[str, list[str]]]:
        if not entry.get("services"):
            raise Wrong(
                f"{where}.services is empty: name services, or write [tcp/443]; what is meant to be open has a name"
            )
        merged: dict[str, list[str] | None] = {}
        for name in entry["services"]:
            parts = self.services.get(str(name)) or [self.port_entry(name, f"{where}.services")]
            for part in parts:
                known = merged.get(part["protocol"], [])
                # Any port takes in each one.
                if part["ports"] and known is not None:
                    merged[part["protocol"]] = known + [port for port in part["ports"] if port not in known]
                else:
                    merged[part["protocol"]] = None
        for protocol, ports in merged.items():
            yield protocol, ports or []

    def flows(self) -> list[dict[str, Any]]:
        found = []
        for name, entry in by_name(self.policy.get("flows") or [], "zentyal_nat_flows").items():
            where = f"zentyal_nat_flows[{name}]"
            if not entry.get("from"):
                raise Wrong(f"{where}.from is empty: name a zone, an object or an address")
            for from_zone, sources in self.sides(entry["from"], f"{where}.from"):
                for to_zone, destinations, protocol, ports in self.targets(entry, where):
                    if from_zone == to_zone:
                        # Neighbours reach each other without the firewall: it could neither allow nor deny it.
                        continue
                    found.append(
                        {
                            "name": name,
                            "from_zone": from_zone,
                            "sources": sources,
                            "to_zone": to_zone,
                            "destinations": destinations,
                            "protocol": protocol,
                            "ports": ports,
                            "description": str(entry.get("description") or ""),
                        }
                    )
        return found

    def forwards(self) -> list[dict[str, Any]]:
        found = []
        taken: dict[tuple[str, str, str], str] = {}
        for name, entry in by_name(self.policy.get("forwards") or [], "zentyal_nat_forwards").items():
            where = f"zentyal_nat_forwards[{name}]"
            zone = self.zones.get(str(entry.get("zone") or (self.external[0] if len(self.external) == 1 else "")))
            if zone is None:
                raise Wrong(
                    f"{where}.zone is {entry.get('zone')!r}: name the zone whose VIP is asked: {', '.join(self.zones)}"
                )
            if not zone["vip"]:
                raise Wrong(f"{where}: the zone {zone['name']} has no vip, so nothing could be asked there")
            end = entry.get("endpoint") or {}
            target = entry.get("to") or end.get("address")
            if not target:
                raise Wrong(f"{where} has no target: give to and to_port, or an endpoint of a tier")
            to = address(target, f"{where}.to")
            to_zone = self.zone_of_network(Network(f"{to}/32"), f"{where}.to")
            if to_zone == zone["name"]:
                raise Wrong(f"{where}: {to} is in the zone {to_zone} that it is asked from")
            port = int(ports_of(entry.get("port"), f"{where}.port")[0])
            protocol = str(entry.get("protocol") or end.get("protocol") or "tcp")
            if protocol not in ("tcp", "udp"):
                raise Wrong(f"{where}.protocol is {protocol!r}: only tcp and udp have ports")
            key = (zone["name"], protocol, str(port))
            if key in taken:
                raise Wrong(f"{where} and {taken[key]} both take {protocol}/{port} of the zone {zone['name']}")
            taken[key] = where
            found.append(
                {
                    "name": name,
                    "zone": zone["name"],
                    "address": zone["vip"],
                    "protocol": protocol,
                    "port": port,
                    "to_zone": to_zone,
                    "to_address": str(to),
                    "to_port": int(entry.get("to_port") or end.get("port") or port),
                    "sources": [str(network(text, f"{where}.sources")) for text in entry.get("sources") or []],
                }
            )
        return found

    def nat_out(self) -> list[dict[str, Any]]:
        found = []
        for zone in (self.zones[name] for name in self.external):
            for name in self.policy.get("nat") or []:
                if name not in self.zones:
                    raise Wrong(f"zentyal_nat_out has {name!r}, which is no zone; there are: {', '.join(self.zones)}")
                if name in self.external:
                    raise Wrong(f"zentyal_nat_out has {name!r}, which is external itself")
                if not zone["vip"]:
                    raise Wrong(f"zentyal_nat_out: the zone {zone['name']} has no vip to go out with")
                if not self.zones[name]["vip"] and not self.zones[name]["tunnel"]:
                    raise Wrong(f"zentyal_nat_out: the zone {name} has no vip: its hosts need one as their gateway")
                found.append(
                    {
                        "from_zone": name,
                        "networks": self.zones[name]["networks"],
                        "to_zone": zone["name"],
                        "address": zone["vip"],
                    }
                )
        return found

    def management(self) -> dict[str, Any]:
        given = self.policy["management"]
        name = str(given["zone"])
        if name not in self.zones:
            raise Wrong(
                f"zentyal_nat_management_zone is {name!r}, which is no zone: name the one where Ansible and the other "
                f"members of the cluster are; there are: {', '.join(self.zones)}"
            )
        sources = [str(network(text, "zentyal_nat_management_sources")) for text in given.get("sources") or []]
        port = int(ports_of(given["port"], "zentyal_nat_management_port")[0])
        return {"zone": name, "sources": sources or self.zones[name]["networks"], "port": port}


def resolve(policy: Mapping[str, Any]) -> dict[str, Any]:
    """What the policy means; raises Wrong with the first thing in it that cannot be applied."""
    resolver = Resolver(policy)
    return {
        "zones": list(resolver.zones.values()),
        "objects": list(resolver.objects.values()),
        "flows": resolver.flows(),
        "forwards": resolver.forwards(),
        "nat_out": resolver.nat_out(),
        "management": resolver.management(),
        "bastion": [str(network(text, "zentyal_nat_bastion_sources")) for text in policy.get("bastion") or []],
        "wireguard": resolver.wireguard(),
    }


def admits(resolved: Mapping[str, Any], client: str) -> bool:
    """Whether somebody at the address `client` may open an ssh connection to the firewall."""
    one = ipaddress.ip_address(client)
    external = any(zone["external"] for zone in resolved["zones"])
    sources = resolved["management"]["sources"] + (resolved["bastion"] if external else [])
    return any(one in Network(text) for text in sources)


def passes(resolved: Mapping[str, Any], source: str, destination: str, port: int, protocol: str = "tcp") -> bool:
    """Whether `source` reaches a port of `destination`: as a neighbour, or because a flow says so."""

    def zone_of(one: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str | None:
        for zone in resolved["zones"]:
            if any(one in Network(text) for text in zone["networks"]):
                return str(zone["name"])
        return next((str(zone["name"]) for zone in resolved["zones"] if zone["external"]), None)

    def among(one: ipaddress.IPv4Address | ipaddress.IPv6Address, networks: Sequence[str]) -> bool:
        return not networks or any(one in Network(text) for text in networks)

    def open_port(ports: Sequence[str]) -> bool:
        ranges = [[int(end) for end in str(text).split("-")] for text in ports]
        return not ports or any(ends[0] <= port <= ends[-1] for ends in ranges)

    client, server = ipaddress.ip_address(source), ipaddress.ip_address(destination)
    ways = zone_of(client), zone_of(server)
    return ways[0] == ways[1] or any(
        (flow["from_zone"], flow["to_zone"]) == ways
        and flow["protocol"] == protocol
        and among(client, flow["sources"])
        and among(server, flow["destinations"])
        and open_port(flow["ports"])
        for flow in resolved["flows"]
    )


# --- for the auditor --------------------------------------------------------------------------------------------------


def rows(resolved: Mapping[str, Any]) -> list[dict[str, str]]:
    """Every flow that is allowed, one row each: from, to, service, nat, name, description; all texts."""

    def whom(zone: str, addresses: Sequence[str]) -> str:
        return f"{zone}: {', '.join(one.removesuffix('/32') for one in addresses)}" if addresses else f"{zone}: all"

    def service(protocol: str, ports: Sequence[Any]) -> str:
        return f"{protocol}/{', '.join(map(str, ports))}" if ports else protocol

    nat = {(entry["from_zone"], entry["to_zone"]): entry["address"] for entry in resolved["nat_out"]}
    found = []
    for forward in resolved["forwards"]:
        found.append(
            {
                "from": whom(forward["zone"], forward["sources"]),
                "to": whom(forward["to_zone"], [forward["to_address"]]),
                "service": service(forward["protocol"], [forward["to_port"]]),
                "nat": f"asked at {forward['address']}:{forward['port']}",
                "name": forward["name"],
                "description": "",
            }
        )
    for flow in resolved["flows"]:
        address_out = nat.get((flow["from_zone"], flow["to_zone"]))
        found.append(
            {
                "from": whom(flow["from_zone"], flow["sources"]),
                "to": whom(flow["to_zone"], flow["destinations"]),
                "service": service(flow["protocol"], flow["ports"]),
                "nat": f"goes out as {address_out}" if address_out else "",
                "name": flow["name"],
                "description": flow["description"],
            }
        )
    manage = resolved["management"]
    found.append(
        {
            "from": whom(manage["zone"], manage["sources"]),
            "to": f"{FIREWALL}: all",
            "service": f"tcp/{manage['port']}",
            "nat": "",
            "name": "management",
            "description": "Ansible and the people on call",
        }
    )
    for zone in resolved["zones"]:
        if zone["external"] and resolved["bastion"]:
            found.append(
                {
                    "from": whom(zone["name"], resolved["bastion"]),
                    "to": f"{FIREWALL}: {zone['vip'] or 'all'}",
                    "service": f"tcp/{manage['port']}",
                    "nat": "",
                    "name": "bastion",
                    "description": "ssh to the firewall and through it (ssh -J)",
                }
            )
        if zone["external"] and zone["vip"] and resolved["wireguard"]:
            peers = ", ".join(peer["name"] for peer in resolved["wireguard"]["peers"])
            found.append(
                {
                    "from": whom(zone["name"], []),
                    "to": f"{FIREWALL}: {zone['vip']}",
                    "service": f"udp/{resolved['wireguard']['port']}",
                    "nat": "",
                    "name": WIREGUARD,
                    "description": f"only for the keys of {peers}",
                }
            )
    return found


def table(resolved: Mapping[str, Any]) -> str:
    """The rows as a Markdown table, with what is denied said first."""
    lines = [
        "Everything between two zones that is not listed here is dropped, in both directions; "
        "answers to what is listed pass.",
        "",
        "| from | to | service | address translation | name | what for |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows(resolved):
        lines.append(
            f"| {row['from']} | {row['to']} | {row['service']} | {row['nat']} | {row['name']} | {row['description']} |"
        )
    return "\n".join([*lines, ""])
