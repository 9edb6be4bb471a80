# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Nodes with a kernel of their own: User Mode Linux inside a container, whose address the guest takes over.

The container is Debian unstable (older UML kernels do not run on current CPUs); the guest is the plain node's file
system of Debian 12 or 13, plus the kernel's modules. `docker kill` of the container is a power cut.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import docker

from . import images
from .definitions import LABEL, RELEASES, Lab, LabError, Node
from .files import archive

REPOSITORY = "cloudexit-lab/uml"
VOLUME = "cloudexit-lab-guests"
HERE = Path(__file__).parent / "guest"
PACKAGES = ("user-mode-linux", "iproute2", "util-linux", "e2fsprogs", "kmod", "tar", "procps")
DISK_SIZE = "6G"
RESOLV_CONF = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))
# What building modules needs: nftables', of which those of Debian's own UML kernel know bridges only, and WireGuard's.
MODULE_PACKAGES = ("gcc", "make", "flex", "bison", "bc", "xz-utils", "libc6-dev")
PUBLIC_DNS = ("1.1.1.1", "8.8.8.8")  # where the host's own server is on its loopback; Docker does the same


def _hash(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]


def _text(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def image() -> str:
    return f"{REPOSITORY}:{_hash(*PACKAGES)}"


def guest(client: docker.DockerClient, release: str, nftables: bool = False) -> str:
    """File name of the guest's root file system in the volume; another one for each kernel, whose modules it holds."""
    more = modules() if nftables else ""
    kernel = client.images.get(image()).id
    return (
        f"guest-{release}-{_hash(kernel, images.definition(release), _text('build.sh'), _text('node.sh'), more)}.ext4"
    )


def modules() -> str:
    """File name in the volume of the modules that Debian's UML kernel lacks."""
    return f"modules-{_hash(image(), *MODULE_PACKAGES, _text('modules.sh'))}.tar"


def build_modules(client: docker.DockerClient, log) -> None:
    """The modules of nftables and WireGuard, where they are not there yet."""
    tool = client.containers.create(
        image(),
        command=["sh", "/modules.sh", modules(), *MODULE_PACKAGES],
        volumes={VOLUME: {"bind": "/images", "mode": "rw"}},
        labels={LABEL: "1"},
    )
    try:
        tool.put_archive("/", archive({"modules.sh": ('[ ! -s "/images/$1" ]', 0o755)}))
        tool.start()
        if tool.wait()["StatusCode"]:
            return
        log("building the modules of nftables and WireGuard for guests that are firewalls: a minute or two, once")
        tool.put_archive("/", archive({"modules.sh": (_text("modules.sh"), 0o755)}))
        tool.start()
        if tool.wait(timeout=1200)["StatusCode"]:
            raise LabError(f"building the modules of nftables and WireGuard failed:\n{tool.logs().decode()[-3000:]}")
    finally:
        tool.remove(force=True)


def build(client: docker.DockerClient, log, release: str, nftables: bool = False) -> None:
    """The container's image and the guest's root file system; each built only if its definition is new."""
    if not client.images.list(name=image()):
        log("building the image of nodes with kernels of their own")
        # Unstable's Release file may be older than it promises on a frozen mirror; signatures stay checked.
        options = ['--aptopt=Acquire::Check-Valid-Until "false"']
        images.import_debian(client, image(), "sid", PACKAGES, options, 'CMD ["/boot.sh"]')
        images.drop_others(client, image())
    client.volumes.create(VOLUME, labels={LABEL: "1"})
    if nftables:
        build_modules(client, log)
    _build_guest(client, log, release, nftables)


def _in_use(client: docker.DockerClient) -> list[str]:
    """Files in the volume that some container boots from, running or not."""
    nodes = client.containers.list(all=True, filters={"label": LABEL}, ignore_removed=True)
    variables = [line.partition("=") for node in nodes for line in node.attrs["Config"]["Env"] or ()]
    return sorted({Path(value).name for name, _equals, value in variables if name == "NODE_GUEST"})


def _build_guest(client: docker.DockerClient, log, release: str, nftables: bool) -> None:
    file = guest(client, release, nftables)
    known = (guest(client, release, nft) for release in RELEASES for nft in (False, True))
    keep = {*_in_use(client), *known, modules()} - {file}
    tool = client.containers.create(
        image(),
        command=["sh", "/build.sh", file, DISK_SIZE, *sorted(keep)],
        environment={"MODULES": f"/images/{modules()}" if nftables else ""},
        volumes={VOLUME: {"bind": "/images", "mode": "rw"}},
        labels={LABEL: "1"},
        network_mode="none",
    )
    node = client.containers.create(images.name(release), labels={LABEL: "1"})
    try:
        # A file's name carries the hash of its definition, so the one that is there is the right one.
        tool.put_archive("/", archive({"build.sh": ('[ ! -s "/images/$1" ]', 0o755)}))
        tool.start()
        if tool.wait()["StatusCode"]:
            return
        log(f"building the file system of Debian {release} guests{' with nftables' * nftables}")
        tool.put_archive(
            "/", archive({"build.sh": (_text("build.sh"), 0o755), "root/.node": (_text("node.sh"), 0o755)})
        )
        with tempfile.TemporaryFile() as export:
            for chunk in node.export():
                export.write(chunk)
            export.seek(0)
            tool.put_archive("/root", export)
        tool.start()
        if tool.wait(timeout=180)["StatusCode"]:
            raise LabError(f"building the guest of Debian {release} failed:\n{tool.logs().decode()[-3000:]}")
    finally:
        tool.remove(force=True)
        node.remove(force=True)


def resolvers(files: Iterable[Path] = RESOLV_CONF) -> list[str]:
    """The host's name servers that a guest can reach, which a loopback address is not."""
    for path in files:
        if path.exists():
            found = [
                line.split()[1]
                for line in path.read_text(encoding="utf-8").splitlines()
                if line.startswith("nameserver ")
            ]
            found = [address for address in found if not address.startswith("127.") and ":" not in address]
            if found:
                return found[:3]
    return list(PUBLIC_DNS)


def files(seed: bytes) -> dict[str, tuple[str | bytes, int]]:
    """What is put into a node's container; `seed` is a tar that its guest unpacks at the first boot."""
    return {"boot.sh": (_text("boot.sh"), 0o755), "seed.tar": (seed, 0o600)}


def container_args(lab: Lab, node: Node, guest_file: str) -> dict[str, Any]:
    """Arguments of docker's create for a node of kind vm, without its files."""
    cpus = sorted(os.sched_getaffinity(0))
    bare = [address for name, address in node.links.items() if lab.networks[name].bare]
    return {
        "image": image(),
        "environment": {
            "NODE_NAME": node.name,
            "NODE_GUEST": guest_file,
            "NODE_MEMORY": f"{node.memory}M",
            "NODE_DISKS": " ".join(node.disks),
            "NODE_CPU": str(cpus[node.index % len(cpus)]),
            "NODE_DNS": ",".join(resolvers()),
            "NODE_GATEWAY": lab.gateway(node),
            "NODE_LINKS": " ".join([node.address, *node.links.values()]),
            "NODE_BARE": " ".join(bare),
            "TMPDIR": "/uml",
        },
        "stop_signal": "SIGKILL",
        # A kernel that stands still is taken for dead by its neighbours.
        "cpu_shares": 4096,
        "cap_add": ["NET_ADMIN"],
        "devices": ["/dev/net/tun"],
        "tmpfs": {"/uml": f"exec,size={node.memory + 256}m"},
        "volumes": {VOLUME: {"bind": "/images", "mode": "ro"}},
    }
