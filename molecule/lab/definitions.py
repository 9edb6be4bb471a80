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
LABEL_CLONE = "cloudexit.lab.clone"  # the working copy that made a network
RELEASES = {"12": "bookworm", "13": "trixie"}
POWER_ADDRESS = 2
CACHE_ADDRESS = 3
HOST_ADDRESS = 1


class LabError(Exception):
    """Something the person at the keyboard must know or do; its text is shown without a traceback."""


@dataclass(frozen=True)
class Node:
    """One host of a lab. `memory` in MiB and `disks` (sizes such as 3G) are for kind `vm` only."""

    lab: str
    name: str
    address: str
    kind: str = "container"
    release: str = "12"
    groups: tuple[str, ...] = ()
    memory: int = 1024
    disks: tuple[str, ...] = ()
    index: int = 0
    variables: dict[str, Any] = field(default_factory=dict)

    @property
    def container(self) -> str:
        return f"cloudexit-{self.lab}-{self.name}"

    @property
    def definition(self) -> str:
        """What cannot change in a node that exists."""
        hardware = f", {self.memory} MiB, disks {' '.join(self.disks) or 'none'}" if self.kind == "vm" else ""
        return f"{self.kind} {self.address}, Debian {self.release}{hardware}"


@dataclass(frozen=True)
class Lab:
    """A subnet with nodes, VIPs and the names of the secrets to generate."""

    name: str
    subnet: ipaddress.IPv4Network
    nodes: tuple[Node, ...]
    vips: dict[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    certificates: bool = False
    wheels: tuple[str, ...] = ()

    @property
    def network(self) -> str:
        return f"cloudexit-{self.name}"

    @property
    def labels(self) -> dict[str, str]:
        return {LABEL: "1", LABEL_NAME: self.name}

    def at(self, number: int) -> str:
        return str(self.subnet[number])

    def node(self, name: str) -> Node:
        for node in self.nodes:
            if node.name == name:
                return node
        raise LabError(f"lab {self.name}: no node {name!r}; it has {', '.join(n.name for n in self.nodes)}")

    @property
    def releases(self) -> tuple[str, ...]:
        return tuple(sorted({n.release for n in self.nodes}))


def parse(document: dict[str, Any], name: str, debian: str | None = None) -> Lab:
    """Build the lab `name` from the text of nodes.yml; raises LabError with the entry that is wrong."""
    if name not in document:
        raise LabError(f"no lab {name!r} in {NODES_FILE.name}; it has {', '.join(sorted(document))}")
    entry = document[name]
    subnet = ipaddress.IPv4Network(entry["subnet"])
    release = str(debian or entry.get("debian", 12))
    nodes: list[Node] = []
    for index, (node_name, spec) in enumerate(entry["nodes"].items()):
        node = Node(
            lab=name,
            name=node_name,
            address=str(subnet[spec["address"]]),
            kind=spec.get("kind", "container"),
            release=str(debian or spec.get("debian", release)),
            groups=tuple(spec.get("groups", ())),
            memory=spec.get("memory", 1024),
            disks=tuple(spec.get("disks", ())),
            index=index,
            variables=dict(spec.get("vars", {})),
        )
        if node.kind not in ("container", "vm"):
            raise LabError(f"lab {name}, node {node_name}: kind {node.kind!r} is neither container nor vm")
        if node.release not in RELEASES:
            raise LabError(f"lab {name}, node {node_name}: Debian {node.release!r} is not one of {', '.join(RELEASES)}")
        nodes.append(node)
    addresses = [n.address for n in nodes] + [str(subnet[v]) for v in entry.get("vips", {}).values()]
    twice = {a for a in addresses if addresses.count(a) > 1}
    reserved = {str(subnet[n]) for n in (HOST_ADDRESS, POWER_ADDRESS, CACHE_ADDRESS)} & set(addresses)
    if twice or reserved:
        raise LabError(f"lab {name}: address {', '.join(sorted(twice | reserved))} is used twice or reserved")
    return Lab(
        name=name,
        subnet=subnet,
        nodes=tuple(nodes),
        vips={k: str(subnet[v]) for k, v in entry.get("vips", {}).items()},
        secrets=tuple(entry.get("secrets", ())),
        certificates=bool(entry.get("certificates", False)),
        wheels=tuple(entry.get("wheels", ())),
    )


def document() -> dict[str, Any]:
    return yaml.safe_load(NODES_FILE.read_text(encoding="utf-8"))


def load(name: str) -> Lab:
    return parse(document(), name, os.environ.get("LAB_DEBIAN") or None)
