# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The package cache that all nodes of all labs share: one apt-cacher-ng container with a leg in each lab's network."""

from __future__ import annotations

import hashlib

import docker
import docker.errors

from . import images
from .definitions import LABEL

NAME = "cloudexit-cache"
VOLUME = "cloudexit-lab-cache"
PORT = 3142
COMMAND = "chown apt-cacher-ng: /var/cache/apt-cacher-ng && exec su -s /bin/sh apt-cacher-ng -c " + (
    f"'exec apt-cacher-ng -c /etc/apt-cacher-ng ForeGround=1 Port:{PORT} VerboseLog:0 LogDir:/tmp ReuseConnections:1'"
)


def image() -> str:
    return f"cloudexit-lab/cache:{hashlib.sha256(COMMAND.encode()).hexdigest()[:12]}"


def build(client: docker.DockerClient, log) -> None:
    if client.images.list(name=image()):
        return
    log("building the image of the package cache")
    images.import_debian(client, image(), "bookworm", ("apt-cacher-ng", "ca-certificates"), ())
    images.drop_others(client, image())


def ensure(client: docker.DockerClient, log, network: str, address: str) -> None:
    """The running cache with `address` in `network`."""
    try:
        container = client.containers.get(NAME)
        # A stopped one may have a leg in a network that is gone, and would not start; its packages are in VOLUME.
        if container.status != "running" or container.attrs["Config"]["Image"] != image():
            container.remove(force=True)
            raise docker.errors.NotFound("an older definition")
    except docker.errors.NotFound:
        log("package cache")
        client.volumes.create(VOLUME, labels={LABEL: "1"})
        container = client.containers.create(
            image(),
            name=NAME,
            command=["sh", "-c", COMMAND],
            labels={LABEL: "1"},
            volumes={VOLUME: {"bind": "/var/cache/apt-cacher-ng", "mode": "rw"}},
            restart_policy={"Name": "unless-stopped"},
            init=True,
        )
        container.start()
        container.reload()
    if network not in container.attrs["NetworkSettings"]["Networks"]:
        client.networks.get(network).connect(container, ipv4_address=address)


def node_files(address: str) -> dict[str, tuple[str, int]]:
    """Path → (content, mode): apt asks the cache, and goes straight to the mirrors while the cache is away."""
    detect = (
        "#!/bin/sh\n"
        f"if timeout 1 bash -c '</dev/tcp/{address}/{PORT}' 2>/dev/null; then echo http://{address}:{PORT}; "
        "else echo DIRECT; fi\n"
    )
    return {
        "/usr/local/bin/lab-apt-proxy": (detect, 0o755),
        "/etc/apt/apt.conf.d/81lab-proxy": (
            'Acquire::http::Proxy-Auto-Detect "/usr/local/bin/lab-apt-proxy";\n',
            0o644,
        ),
    }
