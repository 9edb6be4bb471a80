# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Images of plain nodes, made from Debian's packages by mmdebstrap and named by a hash of their definition."""

from __future__ import annotations

import contextlib
import hashlib
import shlex
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

import docker
import docker.errors

from .definitions import LABEL, RELEASES, LabError
from .packages import COMMON

REPOSITORY = "cloudexit-lab/node"
CA_FOLDER = Path("/usr/local/share/ca-certificates")
# What a host does by itself and a short-lived node must not: it only costs CPU.
MASKED = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "fstrim.timer",
    "getty.target",
    "console-getty.service",
    "systemd-udevd.service",
    "systemd-udev-trigger.service",
    "systemd-logind.service",
)
# A host's package lists are there already when somebody runs a playbook on it for the first time.
OPTIONS = ("--skip=cleanup/apt/lists", '--aptopt=Acquire::Languages "none"')
SSHD = "PermitRootLogin prohibit-password\nPasswordAuthentication no\nUseDNS no\nMaxSessions 50\nMaxStartups 50\n"


def extra_ca() -> list[Path]:
    """The host's own certificate authorities: what it needs to reach package registries, its nodes need too."""
    return sorted(CA_FOLDER.glob("*.crt")) if CA_FOLDER.is_dir() else []


def hooks() -> list[str]:
    """Shell commands that make a bare Debian tree (in "$1") a node of the lab."""
    commands = [
        'rm -f "$1"/etc/ssh/ssh_host_* "$1"/etc/machine-id; touch "$1"/etc/machine-id',
        f'printf %s {shlex.quote(SSHD)} > "$1"/etc/ssh/sshd_config.d/lab.conf',
        f'chroot "$1" systemctl mask {" ".join(MASKED)}',
        'mkdir -p -m 700 "$1"/root/.ssh; chroot "$1" systemctl enable ssh.service',
        # No service may start merely because its package was unpacked into the image.
        'printf "APT::Install-Recommends \\"false\\";\\nAcquire::Retries \\"3\\";\\n" > "$1"/etc/apt/apt.conf.d/80lab',
        'printf "force-unsafe-io\\n" > "$1"/etc/dpkg/dpkg.cfg.d/lab',
    ]
    if extra_ca():
        commands.append(
            f'cp {" ".join(shlex.quote(str(p)) for p in extra_ca())} "$1"{CA_FOLDER}/; '
            'chroot "$1" update-ca-certificates >/dev/null'
        )
    return commands


def definition(release: str) -> str:
    text = "\n".join([release, *COMMON, *OPTIONS, *hooks(), *(p.read_text(encoding="utf-8") for p in extra_ca())])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def name(release: str) -> str:
    return f"{REPOSITORY}:{release}-{definition(release)}"


def build(client: docker.DockerClient, log, release: str) -> str:
    """The image of a plain node, built if its definition is new; older ones of this release are dropped."""
    image = name(release)
    if client.images.list(name=image):
        return image
    log(f"building the image of Debian {release} nodes")
    options = [*OPTIONS, *(f"--customize-hook={hook}" for hook in hooks())]
    import_debian(client, image, RELEASES[release], COMMON, options, 'CMD ["/sbin/init"]')
    drop_others(client, image, f"{release}-")
    return image


def drop_others(client: docker.DockerClient, image: str, begin: str = "") -> None:
    """Remove unused older definitions of `image`: those of its repository whose tags begin with `begin`."""
    repository = image.partition(":")[0]
    for other in client.images.list(name=repository, filters={"label": LABEL}):
        for tag in other.tags:
            if tag != image and tag.startswith(f"{repository}:{begin}"):
                with contextlib.suppress(docker.errors.APIError):
                    client.images.remove(tag)


def import_debian(
    client: docker.DockerClient, image: str, suite: str, packages: Iterable[str], options: Iterable[str], *changes: str
) -> None:
    """Make `image` of a Debian `suite` with `packages`; raises LabError with what mmdebstrap said."""
    with tempfile.TemporaryDirectory() as folder:
        tar = Path(folder) / "root.tar"
        command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(packages)}", *options]
        made = subprocess.run([*command, suite, str(tar)], capture_output=True, text=True, check=False)
        if made.returncode:
            raise LabError(
                f"mmdebstrap {suite} for {image} failed:\n{made.stderr[-3000:]}\n"
                "Are Debian's mirrors reachable from here? `apt-get update` tells; then run the same again"
            )
        repository, tag = image.split(":")
        client.api.import_image_from_file(
            str(tar), repository=repository, tag=tag, changes=[*changes, f'LABEL {LABEL}="1"']
        )
