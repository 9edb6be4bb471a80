# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""molecule/lab: build, power and remove the nodes of a lab.

python molecule/lab site               build the whole site (what `make site` runs)
python molecule/lab up LAB             its images, network and nodes; safe to repeat
python molecule/lab down [LAB|--all]   its nodes and network
python molecule/lab power off|on|cycle|freeze|thaw|status LAB NODE
python molecule/lab link cut|restore|status LAB NODE [--to NODE …] [--port tcp/7788 …] [--one-way]
python molecule/lab disk pull|put|new LAB NODE DISK   out, in again, or a new empty one, from the next boot on
python molecule/lab status             what runs
python molecule/lab inventory LAB      what Ansible sees
python molecule/lab ssh LAB NODE [COMMAND …]
python molecule/lab clean              everything the lab made on this host
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import docker.errors
from docker.models.containers import Container

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    __package__ = "lab"

from lab import cache, daemon, images, inventory, link, nodes, power, site, state, uml, wheels
from lab.definitions import LABEL, LABEL_NAME, Lab, LabError, load

START = time.monotonic()


def log(text: str) -> None:
    print(f"lab {time.monotonic() - START:6.1f} s  {text}", file=sys.stderr, flush=True)


def up(lab: Lab) -> None:
    daemon.check_rights()
    if not daemon.installed():
        # What cannot work on this machine is said before a package comes onto it.
        nodes.check_room(lab, daemon.DOCKER_ROOT)
        for subnet in lab.subnets:
            nodes.check_subnet(lab, subnet, nodes.routes())
    client = daemon.ensure(log)
    running = {node.name for node in client.containers.list(filters={"label": LABEL}, ignore_removed=True)}
    nodes.check_room(lab, client.info()["DockerRootDir"], running)
    with state.lock(f"lab-{lab.name}", shared_by_all_clones=True):
        nodes.ensure_networks(client, lab, log)
    wheels.ensure(lab, log)
    with state.lock("images", shared_by_all_clones=True):
        for release in sorted({*lab.releases, power.RELEASE}):
            images.build(client, log, release)
        for release, nftables in sorted({(node.release, node.nftables) for node in lab.nodes if node.kind == "vm"}):
            uml.build(client, log, release, nftables)
        cache.build(client, log)
    with state.lock(f"lab-{lab.name}", shared_by_all_clones=True):
        nodes.ensure_routed(client, lab)
        nodes.ensure_services(client, lab, log)
        for node in lab.nodes:
            nodes.ensure_node(client, lab, node, log)
    daemon.raise_limits()
    nodes.wait_ssh(lab.nodes)
    log(f"lab {lab.name}: {len(lab.nodes)} nodes answer")


def existing(lab: Lab, name: str) -> Container:
    container = nodes.find(daemon.connect(), lab.node(name).container)
    if container is None:
        raise LabError(f"lab {lab.name}: {name} does not exist: molecule/lab up {lab.name}")
    return container


def set_power(lab: Lab, action: str, name: str) -> None:
    """What a hand on the power cord does; the switch in the network does the same for the fence agents."""
    container = existing(lab, name)
    if action == "status":
        print({"running": "on", "paused": "frozen"}.get(container.status, "off"))
    if action in ("off", "cycle") and container.status in ("running", "paused"):
        container.kill(signal.SIGKILL)
        container.wait()
    if action in ("on", "cycle"):
        container.start()
    # All that runs in it stops between two instructions, a guest's kernel too; what it holds, it keeps.
    if action == "freeze":
        container.pause()
    if action == "thaw":
        container.unpause()


def set_link(lab: Lab, arguments: argparse.Namespace) -> None:
    container = existing(lab, arguments.node)
    if container.status not in ("running", "paused"):
        raise LabError(f"lab {lab.name}: {arguments.node} is off; its links are whole once it is on")
    if arguments.action == "cut":
        link.cut(log, container, lab, arguments.to, arguments.port, arguments.one_way)
    elif arguments.action == "restore":
        link.restore(container)
    else:
        print(link.status(container))


def change_disk(lab: Lab, action: str, name: str, disk: str) -> None:
    """A disk of a running node, such as ubdc, pulled out, put in again, or exchanged for an empty one."""
    node = lab.node(name)
    known = [f"ubd{chr(ord('b') + index)}" for index in range(len(node.disks))]
    if disk not in known:
        raise LabError(f"lab {lab.name}: {name} has no disk {disk!r}; it has {', '.join(known) or 'none'}")
    file = f"/disks/{known.index(disk) + 1}"
    command = {"pull": f"touch {file}.out", "put": f"rm -f {file}.out", "new": f"rm -f {file} {file}.out"}[action]
    container = existing(lab, name)
    if container.status != "running":
        raise LabError(f"lab {lab.name}: {name} must be on for this: molecule/lab power on {lab.name} {name}")
    code, said = container.exec_run(["sh", "-c", command])
    if code:
        raise LabError(f"lab {lab.name}: {command!r} on {name}: {said.decode().strip()}")


def status() -> None:
    client = daemon.connect()
    for container in client.containers.list(all=True, filters={"label": LABEL}, ignore_removed=True):
        print(f"{container.labels.get(LABEL_NAME, '-'):22} {container.name:42} {container.status}")


def clean() -> None:
    # Nodes of a host that was restarted are still there, though the daemon is not.
    if daemon.installed():
        client = daemon.start(log)
        nodes.remove(client, None, log)
        nodes.remove_images(client, log)
        client.close()
    daemon.undo(log)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="molecule/lab", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("up", "inventory"):
        commands.add_parser(name).add_argument("lab")
    down = commands.add_parser("down")
    down.add_argument("lab", nargs="?")
    down.add_argument("--all", action="store_true")
    switch = commands.add_parser("power")
    switch.add_argument("action", choices=("off", "on", "cycle", "freeze", "thaw", "status"))
    switch.add_argument("lab")
    switch.add_argument("node")
    disk = commands.add_parser("disk")
    disk.add_argument("action", choices=("pull", "put", "new"))
    disk.add_argument("lab")
    disk.add_argument("node")
    disk.add_argument("disk")
    cable = commands.add_parser("link")
    cable.add_argument("action", choices=("cut", "restore", "status"))
    cable.add_argument("lab")
    cable.add_argument("node")
    cable.add_argument(
        "--to", action="extend", nargs="+", default=[], metavar="NODE", help="nodes or VIPs; default all"
    )
    cable.add_argument("--port", action="extend", nargs="+", default=[], metavar="tcp/7788", help="default all")
    cable.add_argument("--one-way", action="store_true", help="only what NODE sends is lost")
    ssh = commands.add_parser("ssh")
    ssh.add_argument("lab")
    ssh.add_argument("node")
    ssh.add_argument("remote", nargs=argparse.REMAINDER)
    for name in ("site", "status", "clean"):
        commands.add_parser(name)
    arguments = parser.parse_args()

    if arguments.command == "site":
        site.build(load("site"), up)
    elif arguments.command == "up":
        up(load(arguments.lab))
    elif arguments.command == "down":
        if bool(arguments.lab) == arguments.all:
            raise LabError("say which lab, or --all")
        # Nodes of a host that was restarted are still there, though the daemon is not.
        if daemon.answers() or daemon.installed():
            nodes.remove(daemon.start(log), arguments.lab, log)
    elif arguments.command == "power":
        set_power(load(arguments.lab), arguments.action, arguments.node)
    elif arguments.command == "disk":
        change_disk(load(arguments.lab), arguments.action, arguments.node, arguments.disk)
    elif arguments.command == "link":
        set_link(load(arguments.lab), arguments)
    elif arguments.command == "inventory":
        print(json.dumps(inventory.build(load(arguments.lab)), indent=1))
    elif arguments.command == "ssh":
        node = load(arguments.lab).node(arguments.node)
        options = [
            "-o",
            "BatchMode=yes",
            "-o",
            "ConnectTimeout=5",
            "-i",
            str(state.client_key()),
            "-o",
            f"UserKnownHostsFile={state.known_hosts()}",
        ]
        return subprocess.call(["ssh", *options, f"root@{node.address}", *arguments.remote])
    elif arguments.command == "status":
        status()
    elif arguments.command == "clean":
        clean()
    return 0


def reason(error: Exception) -> str:
    """What is said of a failure in place of a traceback, with what to try."""
    if isinstance(error, subprocess.CalledProcessError):
        words = f"{error.stdout or ''}{error.stderr or ''}".strip()
        said = [f"`{' '.join(map(str, error.cmd))}` failed with exit status {error.returncode}", words[-2000:]]
        return "\n".join([*filter(None, said), "  try: that command by itself; then run the same again"])
    if isinstance(error, docker.errors.DockerException):
        return f"Docker: {error}\n  try: `docker info`, `docker ps -a`, .lab/dockerd.log; then run the same again"
    return str(error)


if __name__ == "__main__":
    # Neither Ctrl-C nor a failure prints a traceback; nothing half-made is ever used by the next run.
    try:
        sys.exit(main())
    except (LabError, subprocess.CalledProcessError, docker.errors.DockerException) as error:
        print(f"\nlab: {reason(error)}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("\nlab: interrupted; run the same command again to go on", file=sys.stderr)
        os._exit(130)
