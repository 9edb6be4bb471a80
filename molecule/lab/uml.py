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
from pathlib import Path
from typing import Any

import docker

from . import images
from .definitions import LABEL, Lab, LabError, Node
from .files import archive

REPOSITORY = "cloudexit-lab/uml"
VOLUME = "cloudexit-lab-guests"
HERE = Path(__file__).parent / "guest"
PACKAGES = ("user-mode-linux", "iproute2", "util-linux", "e2fsprogs", "kmod", "tar", "procps")
DISK_SIZE = "6G"


def _hash(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]


def _text(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def image() -> str:
    return f"{REPOSITORY}:{_hash(*PACKAGES, _text('boot.sh'))}"


def guest(release: str) -> str:
    """File name of the guest's root file system in the volume."""
    return f"guest-{release}-{_hash(image(), images.definition(release), _text('build.sh'), _text('node.sh'))}.ext4"


def build(client: docker.DockerClient, log, release: str) -> None:
    """The container's image and the guest's root file system; each built only if its definition is new."""
    if not client.images.list(name=image()):
        log("building the image of nodes with kernels of their own")
        # Unstable's Release file may be older than it promises on a frozen mirror; signatures stay checked.
        options = ['--aptopt=Acquire::Check-Valid-Until "false"', f"--customize-hook=copy-in {HERE / 'boot.sh'} /"]
        images.import_debian(client, image(), "sid", PACKAGES, options, 'CMD ["sh", "/boot.sh"]')
    client.volumes.create(VOLUME, labels={LABEL: "1"})
    _build_guest(client, log, release)


def _build_guest(client: docker.DockerClient, log, release: str) -> None:
    # The script comes first, so that /build is there for the file system that is put beside it.
    tool = client.containers.create(
        image(),
        command=["sh", "/build.sh", f"/images/{guest(release)}", DISK_SIZE],
        volumes={VOLUME: {"bind": "/images", "mode": "rw"}},
        labels={LABEL: "1"},
        network_mode="none",
    )
    node = client.containers.create(images.name(release), labels={LABEL: "1"})
    try:
        # A file's name carries the hash of its definition, so the one that is there is the right one.
        tool.put_archive("/", archive({"build.sh": ('[ ! -s "$1" ]', 0o755)}))
        tool.start()
        if tool.wait()["StatusCode"]:
            return
        log(f"building the file system of Debian {release} guests")
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


def resolvers() -> list[str]:
    """The host's name servers that a guest can reach, which a loopback address is not."""
    for path in (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf")):
        if path.exists():
            found = [
                line.split()[1]
                for line in path.read_text(encoding="utf-8").splitlines()
                if line.startswith("nameserver ")
            ]
            found = [address for address in found if not address.startswith("127.") and ":" not in address]
            if found:
                return found[:3]
    return []


def container_args(node: Node, lab: Lab) -> dict[str, Any]:
    """Arguments of docker's create for a node of kind vm; its seed (keys, apt settings) is put in afterwards."""
    return {
        "image": image(),
        "environment": {
            "NODE_NAME": node.name,
            "NODE_GUEST": f"/images/{guest(node.release)}",
            "NODE_MEMORY": f"{node.memory}M",
            "NODE_DISKS": " ".join(node.disks),
            "NODE_CPU": str(node.index % (os.cpu_count() or 1)),
            "NODE_DNS": ",".join(resolvers()),
            "TMPDIR": "/uml",
        },
        "cap_add": ["NET_ADMIN"],
        "devices": ["/dev/net/tun"],
        "security_opt": ["seccomp=unconfined"],
        "tmpfs": {"/uml": f"exec,size={node.memory + 256}m"},
        "volumes": {VOLUME: {"bind": "/images", "mode": "ro"}},
    }
