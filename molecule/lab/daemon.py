# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The Docker daemon and the host's packages: used if there, installed and started (and undone by clean) if not."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import docker
import docker.errors

from .definitions import STATE, LabError

SOCKET = Path("/var/run/docker.sock")
PID_FILE = Path("/var/run/docker.pid")
# Outside the clone, because the daemon and the packages are the host's: any clone may clean them.
HOST_STATE = Path("/var/lib/cloudexit-lab/host.json")
# Limits of the host that its defaults set too low for the lab: where, and how much is enough.
LIMITS = {
    # Every systemd of every node takes some. Where they are used up, a node hangs in its boot without a word; Debian's
    # default, 128, is enough for one site only.
    "inotify": (Path("/proc/sys/fs/inotify/max_user_instances"), 8192),
    # A process in a guest is one of the host, with a mapping for almost each page that it uses. With the default
    # of 65530 a database that had used 256 MiB crashed («stub syscall type 1 failed» in the guest's kernel log).
    "mappings": (Path("/proc/sys/vm/max_map_count"), 1048576),
    # With the older control groups all nodes weigh as much as one process of this machine: while Ansible worked,
    # guests were seen to stand still for 6 s. There from Docker's first container on.
    "cpu_shares": (Path("/sys/fs/cgroup/cpu/docker/cpu.shares"), 2048),
}
DOCKER_ROOT = "/var/lib/docker"
PACKAGES = {
    "dockerd": "docker.io",
    "mmdebstrap": "mmdebstrap",
    "iptables": "iptables",
    "ip": "iproute2",
    "ssh": "openssh-client",
}


def _host_state() -> dict[str, list[str] | int]:
    return json.loads(HOST_STATE.read_text(encoding="utf-8")) if HOST_STATE.exists() else {}


def _remember(**values: list[str] | int) -> None:
    HOST_STATE.parent.mkdir(parents=True, exist_ok=True)
    HOST_STATE.write_text(json.dumps({**_host_state(), **values}), encoding="utf-8")


def _comm(pid: int) -> str:
    """The name of a running process, "" if there is none or it is dead and only not yet reaped."""
    try:
        name, rest = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").split("(", 1)[1].rsplit(") ", 1)
    except OSError:
        return ""
    return "" if rest.startswith("Z") else name


def _installed(command: str) -> bool:
    """Whether a command is there, in the folders for administrators too, which a user's PATH may leave out."""
    return shutil.which(command, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is not None


def _missing_packages(wanted: Mapping[str, str]) -> list[str]:
    return [package for command, package in wanted.items() if not _installed(command)]


def _check_root_for(packages: list[str]) -> None:
    if packages and os.geteuid() != 0:
        raise LabError(f"not root, and {', '.join(packages)} missing: sudo apt-get install {' '.join(packages)}")


def check_rights() -> None:
    if os.geteuid() == 0:
        return
    if os.access(SOCKET, os.W_OK):
        _check_root_for(_missing_packages(PACKAGES))
        return
    raise LabError(
        "the lab needs Docker: run as root, or join the group that owns "
        f"{SOCKET} (sudo usermod -aG docker $USER, then log in again)"
    )


def install_packages(log, wanted: Mapping[str, str]) -> None:
    """Install the packages (command it brings → package) that the host lacks; `make clean` removes them again."""
    missing = _missing_packages(wanted)
    if not missing:
        return
    _check_root_for(missing)
    if not shutil.which("apt-get"):
        raise LabError(f"{', '.join(missing)} missing and there is no apt-get: install them by hand")
    log(f"installing {', '.join(missing)}")
    apt = ["apt-get", "-o", "DPkg::Lock::Timeout=120"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run([*apt, "-qq", "update"], check=True, env=environment)
    install = [*apt, "-qq", "install", "--no-install-recommends"]
    plan = subprocess.run(
        [*install, "--simulate", *missing], check=True, env=environment, capture_output=True, text=True
    )
    added = [
        line.split()[1] for line in plan.stdout.splitlines() if line.startswith("Inst ") and "[" not in line.split()[2]
    ]
    _remember(packages=sorted({*added, *_packages()}))
    # A policy against starting: the daemon is started below, in the way that fits the host.
    done = subprocess.run([*install, "-y", *missing], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"apt-get install {' '.join(missing)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def _packages() -> list[str]:
    found = _host_state().get("packages", [])
    return found if isinstance(found, list) else []


def installed() -> bool:
    return _installed("dockerd")


def answers() -> docker.DockerClient | None:
    with contextlib.suppress(docker.errors.DockerException, OSError):
        client = docker.from_env(timeout=120)
        if client.ping():
            return client
    return None


def connect() -> docker.DockerClient:
    """The running daemon, or a clear word that there is none."""
    client = answers()
    if client is None:
        raise LabError("the Docker daemon does not answer: `make site` starts it; its log is .lab/dockerd.log")
    return client


def raise_limits() -> None:
    """Give the nodes what LIMITS says; what was before is remembered for `undo`."""
    for name, (file, wanted) in LIMITS.items():
        if not file.exists():
            continue
        now = int(file.read_text(encoding="ascii"))
        if now < wanted and os.geteuid() == 0:
            _remember(**{name: now})
            file.write_text(str(wanted), encoding="ascii")


def ensure(log) -> docker.DockerClient:
    """A client of a running daemon; installs and starts Docker on a Debian host that has none."""
    check_rights()
    install_packages(log, PACKAGES)
    raise_limits()
    return start(log)


def start(log) -> docker.DockerClient:
    """A client of the daemon, which is started if it does not run."""
    client = answers()
    if client:
        return client
    if os.geteuid() != 0:
        raise LabError("the Docker daemon does not answer: sudo systemctl start docker, or be in the group docker")
    if Path("/run/systemd/system").exists():
        subprocess.run(["systemctl", "start", "docker"], check=True)
    else:
        _start_by_hand(log)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        client = answers()
        if client:
            return client
        time.sleep(0.2)
    raise LabError("the Docker daemon did not answer within 60 s: see .lab/dockerd.log")


def _start_by_hand(log) -> None:
    log("starting dockerd (this host has no systemd)")
    # A pid file of a daemon that was killed keeps the next one from starting if its number was given away again.
    for stale in (PID_FILE, Path("/var/run/docker/containerd/containerd.pid")):
        if stale.exists() and _comm(int(stale.read_text(encoding="utf-8"))) not in ("dockerd", "containerd"):
            stale.unlink()
    STATE.mkdir(exist_ok=True)
    with open(STATE / "dockerd.log", "ab") as out:
        process = subprocess.Popen(
            ["dockerd"], stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, cwd="/"
        )
    _remember(dockerd=process.pid)


def undo(log) -> None:
    """Stop the daemon and remove the packages, if it was the lab who brought them."""
    if os.geteuid() != 0 or not HOST_STATE.exists():
        return
    pid = _host_state().get("dockerd")
    if isinstance(pid, int) and _comm(pid) == "dockerd":
        log("stopping the dockerd that the lab started")
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 30
        while _comm(pid) == "dockerd" and time.monotonic() < deadline:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            time.sleep(0.1)
    for name, (file, _wanted) in LIMITS.items():
        before = _host_state().get(name)
        if isinstance(before, int) and file.exists():
            file.write_text(str(before), encoding="ascii")
    packages = _packages()
    if packages:
        log(f"removing the packages that the lab installed: {' '.join(packages)}")
        subprocess.run(["apt-get", "-qq", "purge", "-y", *packages], check=False, capture_output=True)
    HOST_STATE.unlink()
