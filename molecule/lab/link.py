# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Cables of nodes, cut and mended: rules of nftables in the network namespace of a node's container.

They sit on eth0, in front of a guest's bridge, so that they cut both kinds of nodes alike and no kernel in a node needs
to know nftables. The host's own nft is run in the namespace by a short-lived container of the node's image.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import docker
from docker.models.containers import Container

from . import daemon
from .definitions import CACHE_ADDRESS, HOST_ADDRESS, LABEL, POWER_ADDRESS, Lab, LabError

TABLE = "netdev cloudexit-cut"
PORT = re.compile(r"(tcp|udp)/([0-9]{1,5})")
PACKAGES = {"nft": "nftables"}


def peers(lab: Lab, names: Iterable[str]) -> list[str]:
    """Addresses of nodes and VIPs named `names`."""
    found = []
    for name in names:
        found.append(lab.vips[name] if name in lab.vips else lab.node(name).address)
    return found


def ports(texts: Iterable[str]) -> list[tuple[str, int]]:
    """tcp/7788 → ("tcp", 7788)"""
    found = []
    for text in texts:
        match = PORT.fullmatch(text)
        if not match or not 0 < int(match[2]) < 65536:
            raise LabError(f"{text!r} is not a port such as tcp/7788 or udp/5405")
        found.append((match[1], int(match[2])))
    return found


def rules(lab: Lab, to: Iterable[str], port: Iterable[str], one_way: bool) -> str:
    """A script for nft: this is cut and nothing else, from one packet to the next.

    Without `to`, everybody in the lab but this machine, the power switch and the package cache. A port is cut whichever
    side listens on it.
    """
    addresses = peers(lab, to)
    chosen = ports(port)
    if addresses:
        whom = [f"{{ {', '.join(addresses)} }}"]
    else:
        own = (HOST_ADDRESS, POWER_ADDRESS, CACHE_ADDRESS)
        spared = ", ".join(network.at(number) for network in lab.homes for number in own)
        subnets = [str(network.subnet) for network in lab.homes]
        whom = [subnets[0] if len(subnets) == 1 else f"{{ {', '.join(subnets)} }}", f"!= {{ {spared} }}"]
    lines = [f"table {TABLE}", f"delete table {TABLE}", f"table {TABLE} {{"]
    for hook, side in (("egress", "daddr"),) if one_way else (("egress", "daddr"), ("ingress", "saddr")):
        lines += [f"chain {hook} {{", f'type filter hook {hook} device "eth0" priority 0']
        match = " ".join(f"ip {side} {part}" for part in whom)
        for protocol, number in chosen:
            lines += [f"{match} {protocol} {end} {number} counter drop" for end in ("sport", "dport")]
        if not chosen:
            lines.append(f"{match} counter drop")
        lines.append("}")
    return "\n".join([*lines, "}", ""])


def drops(listing: str) -> list[str]:
    """What a listing of nft says is dropped, a line for each rule, as "egress: ip daddr 10.203.2.12 (7 packets)"."""
    found = []
    chain = ""
    for line in listing.splitlines():
        words = line.split()
        if words[:1] == ["chain"]:
            chain = words[1]
        elif words[-1:] == ["drop"]:
            match = re.fullmatch(r"\s*(.*) counter packets (\d+) bytes \d+ drop", line)
            found.append(f"{chain}: {match[1]} ({match[2]} packets)" if match else f"{chain}: {line.strip()}")
    return found


def _nft(client: docker.DockerClient, container: Container, *command: str) -> str:
    """The host's nft in a node's network namespace, which a member of Docker's group cannot enter by himself."""
    try:
        output = client.containers.run(
            container.image.id,
            entrypoint=["chroot", "/host", "nft"],
            command=list(command),
            network_mode=f"container:{container.id}",
            cap_add=["NET_ADMIN"],
            volumes={"/": {"bind": "/host", "mode": "ro"}},
            labels={LABEL: "1"},
            remove=True,
        )
    except docker.errors.ContainerError as error:
        raise LabError(f"nft in {container.name}: {error.stderr.decode().strip()}") from None
    return output.decode()


def _listing(client: docker.DockerClient, container: Container) -> str:
    return _nft(client, container, "list ruleset netdev")


def cut(log, container: Container, lab: Lab, to: Iterable[str], port: Iterable[str], one_way: bool) -> None:
    script = rules(lab, to, port, one_way)
    daemon.install_packages(log, PACKAGES)
    _nft(container.client, container, script)


def restore(container: Container) -> None:
    _nft(container.client, container, f"table {TABLE}\ndelete table {TABLE}\n")


def status(container: Container) -> str:
    return "\n".join(drops(_listing(container.client, container))) or "whole"
