# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Networks and nodes of one lab: made, found again, powered, removed."""

from __future__ import annotations

import ipaddress
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

import docker
import docker.errors
import docker.types
from docker.models.containers import Container

from . import cache, images, power, state, uml
from .definitions import (
    CACHE_ADDRESS,
    HOST_ADDRESS,
    LABEL,
    LABEL_CLONE,
    LABEL_DEFINITION,
    LABEL_NAME,
    LABEL_POWER,
    LABEL_ROUTED,
    POWER_ADDRESS,
    ROOT,
    Lab,
    LabError,
    Network,
    Node,
)
from .files import archive

Log = Callable[[str], None]
MARK = "cloudexit-lab-"  # the comment of a lab's rules in this machine's iptables, with its name
CONTAINER_MEMORY = 400  # MiB a plain node of the site was seen to use at most, rounded up
DISK_GIB = 1.0  # GiB a node was seen to write, rounded up


def check_room(lab: Lab, docker_root: str, running: Collection[str] = ()) -> None:
    """Refuse before anything is created what cannot fit; what runs already has its room."""
    waiting = [node for node in lab.nodes if node.container not in running]
    if not waiting:
        return
    needed = sum(n.memory if n.kind == "vm" else CONTAINER_MEMORY for n in waiting)
    with open("/proc/meminfo", encoding="ascii") as handle:
        available = next(int(line.split()[1]) // 1024 for line in handle if line.startswith("MemAvailable"))
    if available < needed:
        raise LabError(
            f"lab {lab.name} needs {needed} MiB of memory, {available} MiB are available: "
            "stop another lab (`molecule/lab status`, `molecule/lab down <lab>`) or use a larger machine"
        )
    # Before Docker is there, the folder that its own will be made in.
    folder = next(path for path in (Path(docker_root), *Path(docker_root).parents) if path.exists())
    free = shutil.disk_usage(folder).free / 2**30
    wanted = 4 + DISK_GIB * len(waiting)
    if free < wanted:
        raise LabError(
            f"lab {lab.name} needs {wanted:.0f} GiB in {docker_root}, {free:.1f} GiB are free: "
            "`make clean` removes old images, `docker system df` shows who uses the rest"
        )


def routes() -> list[dict[str, Any]]:
    """This machine's routes; none are seen before `ip` is installed."""
    if not shutil.which("ip"):
        return []
    shown = subprocess.run(["ip", "-json", "-4", "route"], check=True, capture_output=True, text=True).stdout
    return json.loads(shown)


def check_subnet(lab: Lab, subnet: ipaddress.IPv4Network, found: list[dict[str, Any]]) -> None:
    """`found` is the output of `ip -json route`; the lab's own bridge must be gone from it."""
    for route in found:
        destination = route.get("dst", "default")
        if destination == "default":
            continue
        if ipaddress.ip_network(destination, strict=False).overlaps(subnet):
            raise LabError(
                f"lab {lab.name}: subnet {subnet} overlaps {destination} on {route.get('dev')}: "
                f"remove that route or change `subnet` of {lab.name} in molecule/nodes.yml"
            )


def ensure_networks(client: docker.DockerClient, lab: Lab, log: Log) -> None:
    for network in (lab.network(), *lab.networks.values()):
        ensure_network(client, lab, network, log)


def routed_rules(lab: Lab) -> list[str]:
    """iptables' words of what Docker must leave alone: with br_netfilter, it takes what a router of the lab passes on
    for its own way out, and puts this machine's address into it."""
    inner = [network for network in lab.networks.values() if network.router]
    outer = [network for network in (lab.network(), *lab.networks.values()) if not network.router and not network.bare]
    mark = f"-m comment --comment {MARK}{lab.name}"
    return [f"POSTROUTING -s {one.subnet} -d {other.subnet} {mark} -j ACCEPT" for one in outer for other in inner]


def on_host(client: docker.DockerClient, image: str, script: str) -> None:
    """A script of this machine's programs in its own network, which a member of Docker's group cannot run himself."""
    client.containers.run(
        image,
        entrypoint=["chroot", "/host", "sh", "-ec"],
        command=[script],
        network_mode="host",
        cap_add=["NET_ADMIN"],
        volumes={"/": {"bind": "/host", "mode": "ro"}},
        labels={LABEL: "1"},
        remove=True,
    )


def ensure_routed(client: docker.DockerClient, lab: Lab) -> None:
    found = routed_rules(lab)
    if found:
        nat = "iptables -w -t nat"
        lines = [f"{nat} -C {rule} 2>/dev/null || {nat} -I {rule}" for rule in found]
        on_host(client, images.name(power.RELEASE), "\n".join(lines))


def forget_routed(client: docker.DockerClient, lab_name: str | None) -> None:
    """Without the rules of a lab, or of all."""
    image = images.name(power.RELEASE)
    if client.images.list(name=image):
        mark = f"{MARK}{lab_name} " if lab_name else MARK
        script = f"iptables-save -t nat | grep -F '{mark}' | sed 's/^-A/-D/' | xargs -rL1 iptables -w -t nat"
        on_host(client, image, script)


def ensure_network(client: docker.DockerClient, lab: Lab, network: Network, log: Log) -> None:
    for found in client.networks.list(names=[network.name]):
        if found.name == network.name:
            clone = found.attrs["Labels"].get(LABEL_CLONE, str(ROOT))
            if clone != str(ROOT):
                raise LabError(
                    f"lab {lab.name} was made from {clone}, whose keys its nodes know: "
                    f"`molecule/lab down {lab.name}` (here or there) removes them, then run the same again"
                )
            config = found.attrs["IPAM"]["Config"]
            if config and config[0]["Subnet"] == str(network.subnet):
                return
            raise LabError(
                f"network {network.name} has another subnet than {network.subnet}: molecule/lab down {lab.name}"
            )
    check_subnet(lab, network.subnet, routes())
    log(f"network {network.name} {network.subnet}")
    pool = docker.types.IPAMPool(subnet=str(network.subnet), gateway=network.at(HOST_ADDRESS))
    # Where there is a router, this machine is none.
    options = {"com.docker.network.bridge.enable_ip_masquerade": "false"} if network.router else {}
    client.networks.create(
        network.name,
        driver="bridge",
        internal=network.internal,
        options=options,
        ipam=docker.types.IPAMConfig(pool_configs=[pool]),
        labels={**lab.labels, LABEL_CLONE: str(ROOT), **({LABEL_ROUTED: "1"} if network.router else {})},
        check_duplicate=True,
    )


def container_args(node: Node) -> dict[str, Any]:
    """What makes a container a plain systemd node: see the lab's README for why each is there."""
    return {
        "image": images.name(node.release),
        "cap_add": ["SYS_ADMIN", "NET_ADMIN"],
        "security_opt": ["seccomp=unconfined"],
        "cgroupns": "private",
        "stop_signal": "SIGRTMIN+3",
        "tmpfs": {"/run": "exec", "/run/lock": "", "/tmp": "exec"},
    }


NETWORK_UNIT = """[Unit]
Description=Interfaces and way out of this node of the lab
DefaultDependencies=no
Before=network-pre.target network.target ssh.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -e /usr/local/sbin/lab-network
"""


def network_files(lab: Lab, node: Node) -> dict[str, tuple[str, int]]:
    """What makes a container's interfaces and routes at each boot what its entry says, where Docker does otherwise."""
    lines = []
    for name, address in node.links.items():
        # Docker gives further interfaces their names by chance.
        lines += [
            f"old=$(ip -4 -o address | awk '$4 ~ \"^{address}/\" {{print $2}}')",
            f'if [ "$old" != {name} ]; then ip link set "$old" down; ip link set "$old" name {name}; fi',
            f"ip link set {name} up",
        ]
    gateway = lab.gateway(node)
    if gateway == "none":
        lines.append("ip route flush default")
    elif node.links or gateway != lab.network(node.network).at(HOST_ADDRESS):
        lines.append(f"ip route replace default via {gateway}")
    if node.routes:
        # What systemd-sysctl.service does at a host's boot; here its condition, a /proc/sys to write to, was not met.
        lines += ["mount -o remount,rw /proc/sys", "/lib/systemd/systemd-sysctl --prefix=/net || true"]
    if not lines:
        return {}
    return {
        "usr/local/sbin/lab-network": ("\n".join([*lines, ""]), 0o755),
        "etc/systemd/system/lab-network.service": (NETWORK_UNIT, 0o644),
        "etc/systemd/system/sysinit.target.d/lab.conf": ("[Unit]\nWants=lab-network.service\n", 0o644),
    }


def files_for(lab: Lab) -> dict[str, tuple[str, int]]:
    """Path → (content, mode) of what differs from lab to lab and so is not in the image."""
    packages = cache.node_files(lab.network(lab.cache).at(CACHE_ADDRESS))
    return {
        "root/.ssh/authorized_keys": (state.client_key().with_suffix(".pub").read_text(encoding="utf-8"), 0o600),
        "etc/ssh/ssh_host_ed25519_key": (state.host_key().read_text(encoding="utf-8"), 0o600),
        "etc/ssh/ssh_host_ed25519_key.pub": (state.host_key().with_suffix(".pub").read_text(encoding="utf-8"), 0o644),
        **{path.lstrip("/"): (text, mode) for path, (text, mode) in packages.items()},
    }


def _create(
    client: docker.DockerClient, lab: Lab, name: str, hostname: str, network: str, address: str, args: dict[str, Any]
) -> Container:
    networking = {network: client.api.create_endpoint_config(ipv4_address=address, aliases=[hostname])}
    labels = {**args.pop("labels", {}), **lab.labels}
    return client.containers.create(
        name=name,
        hostname=hostname,
        network=network,
        networking_config=networking,
        labels=labels,
        detach=True,
        **args,
    )


def find(client: docker.DockerClient, name: str) -> Container | None:
    try:
        return client.containers.get(name)
    except docker.errors.NotFound:
        return None


def find_started(client: docker.DockerClient, name: str) -> Container | None:
    """As find; one that was never started belongs to a run that was interrupted, lacks its files, and is removed."""
    container = find(client, name)
    if container is not None and container.status == "created":
        container.remove(force=True, v=True)
        return None
    return container


def ensure_node(client: docker.DockerClient, lab: Lab, node: Node, log: Log) -> None:
    container = find_started(client, node.container)
    if container is not None:
        made = container.labels.get(LABEL_DEFINITION, node.definition)
        if made != node.definition:
            raise LabError(
                f"node {node.name} was made as {made!r} and is {node.definition!r} now: "
                f"`molecule/lab down {lab.name}` removes the old nodes with their data, then run the same again"
            )
    else:
        log(f"node {node.name} {node.address} Debian {node.release}{' with a kernel of its own' * (node.kind == 'vm')}")
        vm = node.kind == "vm"
        args = (
            uml.container_args(lab, node, uml.guest(client, node.release, node.nftables))
            if vm
            else container_args(node)
        )
        args["labels"] = {LABEL_POWER: lab.name, LABEL_DEFINITION: node.definition}
        home = lab.network(node.network).name
        container = _create(client, lab, node.container, node.name, home, node.address, args)
        for name, address in node.links.items():
            client.networks.get(lab.networks[name].name).connect(container, ipv4_address=address)
        files = files_for(lab)
        container.put_archive("/", archive(uml.files(archive(files)) if vm else files | network_files(lab, node)))
    if container.status != "running":
        container.start()


def ensure_services(client: docker.DockerClient, lab: Lab, log: Log) -> None:
    """The power switch in each network that has nodes, and the shared package cache's leg in one."""
    name = power.container_name(lab.name)
    container = find_started(client, name)
    if container is None:
        home, *others = lab.homes
        log(f"power switch {home.at(POWER_ADDRESS)}")
        arguments = power.container_args(lab.name)
        container = _create(client, lab, name, "power", home.name, home.at(POWER_ADDRESS), arguments)
        for network in others:
            client.networks.get(network.name).connect(container, ipv4_address=network.at(POWER_ADDRESS))
        container.put_archive("/", archive(power.files()))
    if container.status != "running":
        container.start()
    with state.lock("cache", shared_by_all_clones=True):
        network = lab.network(lab.cache)
        cache.ensure(client, log, network.name, network.at(CACHE_ADDRESS))


def wait_ssh(nodes: Iterable[Node], timeout: float = 90) -> None:
    deadline = time.monotonic() + timeout
    for node in nodes:
        while True:
            try:
                with socket.create_connection((node.address, 22), timeout=2) as connection:
                    if connection.recv(4) == b"SSH-":
                        break
            except OSError:
                pass
            if time.monotonic() > deadline:
                raise LabError(
                    f"node {node.name} ({node.address}) does not answer on ssh after {timeout:.0f} s: "
                    f"docker logs --tail 50 {node.container}"
                )
            time.sleep(0.2)


def remove(client: docker.DockerClient, lab_name: str | None, log: Log) -> None:
    """Containers and networks of one lab, or of all labs with None; volumes and images stay."""
    label = f"{LABEL_NAME}={lab_name}" if lab_name else LABEL
    for container in client.containers.list(all=True, filters={"label": label}, ignore_removed=True):
        log(f"removing {container.name}")
        container.remove(force=True, v=True)
    routed = False
    for network in client.networks.list(filters={"label": label}):
        network.reload()
        routed = routed or LABEL_ROUTED in network.attrs["Labels"]
        for endpoint in network.attrs.get("Containers", {}):
            network.disconnect(endpoint, force=True)
        network.remove()
    if routed:
        forget_routed(client, lab_name)


def remove_images(client: docker.DockerClient, log: Log) -> None:
    for image in client.images.list(filters={"label": f"{LABEL}=1"}):
        log(f"removing image {', '.join(image.tags) or image.short_id}")
        client.images.remove(image.id, force=True)
    for volume in client.volumes.list(filters={"label": f"{LABEL}=1"}):
        log(f"removing volume {volume.name}")
        volume.remove(force=True)
