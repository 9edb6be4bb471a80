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
    LABEL,
    LABEL_CLONE,
    LABEL_DEFINITION,
    LABEL_NAME,
    LABEL_POWER,
    POWER_ADDRESS,
    ROOT,
    Lab,
    LabError,
    Node,
)
from .files import archive

Log = Callable[[str], None]
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


def check_subnet(lab: Lab, found: list[dict[str, Any]]) -> None:
    """`found` is the output of `ip -json route`; the lab's own bridge must be gone from it."""
    for route in found:
        destination = route.get("dst", "default")
        if destination == "default":
            continue
        if ipaddress.ip_network(destination, strict=False).overlaps(lab.subnet):
            raise LabError(
                f"lab {lab.name}: subnet {lab.subnet} overlaps {destination} on {route.get('dev')}: "
                f"remove that route or change `subnet` of {lab.name} in molecule/nodes.yml"
            )


def ensure_network(client: docker.DockerClient, lab: Lab, log: Log) -> None:
    for network in client.networks.list(names=[lab.network]):
        if network.name == lab.network:
            clone = network.attrs["Labels"].get(LABEL_CLONE, str(ROOT))
            if clone != str(ROOT):
                raise LabError(
                    f"lab {lab.name} was made from {clone}, whose keys its nodes know: "
                    f"`molecule/lab down {lab.name}` (here or there) removes them, then run the same again"
                )
            config = network.attrs["IPAM"]["Config"]
            if config and config[0]["Subnet"] == str(lab.subnet):
                return
            raise LabError(f"network {lab.network} has another subnet than {lab.subnet}: molecule/lab down {lab.name}")
    check_subnet(lab, routes())
    log(f"network {lab.network} {lab.subnet}")
    pool = docker.types.IPAMPool(subnet=str(lab.subnet), gateway=lab.at(1))
    client.networks.create(
        lab.network,
        driver="bridge",
        ipam=docker.types.IPAMConfig(pool_configs=[pool]),
        labels={**lab.labels, LABEL_CLONE: str(ROOT)},
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


def files_for(lab: Lab) -> dict[str, tuple[str, int]]:
    """Path → (content, mode) of what differs from lab to lab and so is not in the image."""
    return {
        "root/.ssh/authorized_keys": (state.client_key().with_suffix(".pub").read_text(encoding="utf-8"), 0o600),
        "etc/ssh/ssh_host_ed25519_key": (state.host_key().read_text(encoding="utf-8"), 0o600),
        "etc/ssh/ssh_host_ed25519_key.pub": (state.host_key().with_suffix(".pub").read_text(encoding="utf-8"), 0o644),
        **{path.lstrip("/"): (text, mode) for path, (text, mode) in cache.node_files(lab.at(CACHE_ADDRESS)).items()},
    }


def _create(
    client: docker.DockerClient, lab: Lab, name: str, hostname: str, address: str, args: dict[str, Any]
) -> Container:
    networking = {
        lab.network: client.api.create_endpoint_config(ipv4_address=address, aliases=[hostname]),
    }
    labels = {**args.pop("labels", {}), **lab.labels}
    return client.containers.create(
        name=name,
        hostname=hostname,
        network=lab.network,
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
        args = uml.container_args(node, uml.guest(client, node.release)) if vm else container_args(node)
        args["labels"] = {LABEL_POWER: lab.name, LABEL_DEFINITION: node.definition}
        container = _create(client, lab, node.container, node.name, node.address, args)
        seed = archive(files_for(lab))
        container.put_archive("/", archive(uml.files(seed)) if vm else seed)
    if container.status != "running":
        container.start()


def ensure_services(client: docker.DockerClient, lab: Lab, log: Log) -> None:
    """The power switch, and the shared package cache's leg in this lab's network."""
    name = power.container_name(lab.name)
    container = find_started(client, name)
    if container is None:
        log(f"power switch {lab.at(POWER_ADDRESS)}")
        container = _create(client, lab, name, "power", lab.at(POWER_ADDRESS), power.container_args(lab.name))
        container.put_archive("/", archive(power.files()))
    if container.status != "running":
        container.start()
    with state.lock("cache", shared_by_all_clones=True):
        cache.ensure(client, log, lab.network, lab.at(CACHE_ADDRESS))


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
    for network in client.networks.list(filters={"label": label}):
        network.reload()
        for endpoint in network.attrs.get("Containers", {}):
            network.disconnect(endpoint, force=True)
        network.remove()


def remove_images(client: docker.DockerClient, log: Log) -> None:
    for image in client.images.list(filters={"label": f"{LABEL}=1"}):
        log(f"removing image {', '.join(image.tags) or image.short_id}")
        client.images.remove(image.id, force=True)
    for volume in client.volumes.list(filters={"label": f"{LABEL}=1"}):
        log(f"removing volume {volume.name}")
        volume.remove(force=True)
