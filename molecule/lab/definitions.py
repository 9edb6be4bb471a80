# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a lab consists of: molecule/nodes.yml read into dataclasses and checked."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
STATE = ROOT / ".lab"
NODES_FILE = ROOT / "molecule" / "nodes.yml"
LABEL = "cloudexit.lab"
LABEL_NAME = "cloudexit.lab.name"
LABEL_POWER = "cloudexit.lab.power"  # carried by nodes, whose power may be cut; not by the switch itself
LABEL_DEFINITION = "cloudexit.lab.definition"  # what a node was made as
LABEL_ROUTED = "cloudexit.lab.routed"  # a network whose nodes go out through another node
LABEL_CLONE = "cloudexit.lab.clone"  # the working copy that made a network
RELEASES = {"12": "bookworm", "13": "trixie"}
POWER_ADDRESS = 2
CACHE_ADDRESS = 3
HOST_ADDRESS = 1


class LabError(Exception):
    """Something the person at the keyboard must know or do; its text is shown without a traceback."""


@dataclass(frozen=True)
class Network:
    """A network of a lab. A bare one has no addresses: VLANs are made on it.

    `router` is the default gateway of the nodes whose own network it is, their only way out; "" for this machine.
    """

    name: str
    subnet: ipaddress.IPv4Network
    bare: bool = False
    internal: bool = False
    router: str = ""

    def at(self, number: int) -> str:
        return str(self.subnet[number])


@dataclass(frozen=True)
class Node:
    """One host of a lab. `memory` in MiB, `disks` (sizes such as 3G) and `nftables` (with WireGuard) are for `vm` only.

    `network` is the further network in which its address is; "" for the lab's own. `links` are its addresses in others
    by their names, on interfaces of these names (vec1, vec2, … in a vm, in this order). `gateway` is the network whose
    gateway is its default route: a name, "" for its own, or "none". `routes`: a container that may forward packets.
    """

    lab: str
    name: str
    address: str
    network: str = ""
    kind: str = "container"
    release: str = "12"
    groups: tuple[str, ...] = ()
    memory: int = 1024
    disks: tuple[str, ...] = ()
    nftables: bool = False
    links: dict[str, str] = field(default_factory=dict)
    gateway: str = ""
    routes: bool = False
    index: int = 0
    variables: dict[str, Any] = field(default_factory=dict)

    @property
    def container(self) -> str:
        return f"cloudexit-{self.lab}-{self.name}"

    @property
    def definition(self) -> str:
        """What cannot change in a node that exists."""
        hardware = f", {self.memory} MiB, disks {' '.join(self.disks) or 'none'}" if self.kind == "vm" else ""
        nftables = ", nftables" * self.nftables
        links = "".join(f", {name} {address}" for name, address in self.links.items()) + ", routes" * self.routes
        return f"{self.kind} {self.address}{links}, Debian {self.release}{hardware}{nftables}"


@dataclass(frozen=True)
class Lab:
    """A subnet with nodes, VIPs and the names of the secrets to generate. The network `cache` has the package cache."""

    name: str
    subnet: ipaddress.IPv4Network
    nodes: tuple[Node, ...]
    networks: dict[str, Network] = field(default_factory=dict)
    vips: dict[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    certificates: bool = False
    wheels: tuple[str, ...] = ()
    cache: str = ""

    @property
    def subnets(self) -> tuple[ipaddress.IPv4Network, ...]:
        return (self.subnet, *(network.subnet for network in self.networks.values()))

    def network(self, name: str = "") -> Network:
        """One of the further networks, or the lab's own."""
        return self.networks[name] if name else Network(f"cloudexit-{self.name}", self.subnet)

    @property
    def homes(self) -> tuple[Network, ...]:
        """The networks in which nodes have their addresses, the lab's own first."""
        return tuple(self.network(name) for name in dict.fromkeys(["", *(node.network for node in self.nodes)]))

    def gateway(self, node: Node) -> str:
        """Address of a node's default gateway, or none."""
        if node.gateway == "none":
            return "none"
        network = self.network(node.gateway or node.network)
        return network.router or network.at(HOST_ADDRESS)

    @property
    def labels(self) -> dict[str, str]:
        return {LABEL: "1", LABEL_NAME: self.name}

    def node(self, name: str) -> Node:
        for node in self.nodes:
            if node.name == name:
                return node
        raise LabError(f"lab {self.name}: no node {name!r}; it has {', '.join(n.name for n in self.nodes)}")

    @property
    def releases(self) -> tuple[str, ...]:
        return tuple(sorted({n.release for n in self.nodes}))


def address(place: int | dict[str, int], subnets: dict[str, ipaddress.IPv4Network]) -> str:
    """An address from its number in the lab's own subnet, or from {network: number}."""
    name, number = next(iter(place.items())) if isinstance(place, dict) else ("", place)
    return str(subnets[name][number])


def parse(document: dict[str, Any], name: str, debian: str | None = None) -> Lab:
    """Build the lab `name` from the text of nodes.yml; raises LabError with the entry that is wrong."""
    if name not in document:
        raise LabError(f"no lab {name!r} in {NODES_FILE.name}; it has {', '.join(sorted(document))}")
    entry = document[name]
    subnet = ipaddress.IPv4Network(entry["subnet"])
    release = str(debian or entry.get("debian", 12))
    networks = {
        key: Network(
            name=f"cloudexit-{name}-{key}",
            subnet=ipaddress.IPv4Network(spec["subnet"]),
            bare=bool(spec.get("bare", False)),
            internal=bool(spec.get("internal", spec.get("bare", False))),
            router=str(ipaddress.IPv4Network(spec["subnet"])[spec["router"]]) if "router" in spec else "",
        )
        for key, spec in entry.get("networks", {}).items()
    }
    subnets = {"": subnet} | {key: network.subnet for key, network in networks.items()}
    vips = {key: address(place, subnets) for key, place in entry.get("vips", {}).items()}
    nodes: list[Node] = []
    for index, (node_name, spec) in enumerate(entry["nodes"].items()):
        node = Node(
            lab=name,
            name=node_name,
            address=str(subnets[spec.get("network", "")][spec["address"]]),
            network=spec.get("network", ""),
            kind=spec.get("kind", "container"),
            release=str(debian or spec.get("debian", release)),
            groups=tuple(spec.get("groups", ())),
            memory=spec.get("memory", 1024),
            disks=tuple(spec.get("disks", ())),
            nftables=bool(spec.get("nftables", False)),
            links={key: str(networks[key].subnet[number]) for key, number in spec.get("links", {}).items()},
            gateway=spec.get("gateway", ""),
            routes=bool(spec.get("routes", False)),
            index=index,
            variables=dict(spec.get("vars", {})),
        )
        if node.kind not in ("container", "vm"):
            raise LabError(f"lab {name}, node {node_name}: kind {node.kind!r} is neither container nor vm")
        if node.release not in RELEASES:
            raise LabError(f"lab {name}, node {node_name}: Debian {node.release!r} is not one of {', '.join(RELEASES)}")
        nodes.append(node)
    addresses = [a for n in nodes for a in (n.address, *n.links.values())] + list(vips.values())
    twice = {a for a in addresses if addresses.count(a) > 1}
    own = (HOST_ADDRESS, POWER_ADDRESS, CACHE_ADDRESS)
    reserved = {str(each[n]) for each in subnets.values() for n in own} & set(addresses)
    if twice or reserved:
        raise LabError(f"lab {name}: address {', '.join(sorted(twice | reserved))} is used twice or reserved")
    return Lab(
        name=name,
        subnet=subnet,
        nodes=tuple(nodes),
        networks=networks,
        vips=vips,
        secrets=tuple(entry.get("secrets", ())),
        certificates=bool(entry.get("certificates", False)),
        wheels=tuple(entry.get("wheels", ())),
        cache=entry.get("cache", ""),
    )


def document() -> dict[str, Any]:
    return yaml.safe_load(NODES_FILE.read_text(encoding="utf-8"))


def load(name: str) -> Lab:
    return parse(document(), name, os.environ.get("LAB_DEBIAN") or None)
