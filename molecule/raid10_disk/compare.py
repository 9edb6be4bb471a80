# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What RAID10 of four disks is worth against RAID1 of two: random reads and writes on the same throttled disks.

    compare.py [--lab raid10_disk] [--node disk1] [--disks ubdl ubdm ubdn ubdo] [--iops 200] [--seconds 4]
               [--profiles random_read random_write]

The lab must be up (molecule/lab up raid10_disk). On one node, one disk, a RAID1 of the first two and a RAID10 of all
four are made and measured with iops_check's profiles at queue depths 1 to 64, while the kernel lets each disk do --iops
reads and as many writes per second. The disks must be empty and are so afterwards. The limit of the ratio is 2.0: twice
the disks. A table is printed, and the figures are left in .lab/reports/raid.json and .md.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "molecule"), str(ROOT / ".lab" / "collections")]

from ansible_collections.cloudexit.ha_stack.plugins.module_utils import iops_check  # noqa: E402
from lab import outcome, remote  # noqa: E402
from lab.definitions import LabError, Node, load  # noqa: E402

DEPTHS = (1, 2, 4, 8, 16, 32, 64)
SIZE_MIB = 256
NAME = "compare"


def ssh(node: Node, command: str, timeout: float = 300) -> str:
    return remote.run(node, command, timeout)


def throttled(disks: list[str], iops: int, command: list[str]) -> str:
    """The command, with each disk limited: reads and writes have a budget each, and md passes them through."""
    limits = [f"--property=IO{kind}IOPSMax={disk} {iops}" for disk in disks for kind in ("Read", "Write")]
    return shlex.join(["systemd-run", "--quiet", "--pipe", "--wait", *limits, *command])


def empty(node: Node, disks: list[str]) -> None:
    for disk in disks:
        found = ssh(node, f"wipefs --noheadings {disk}; cmp --bytes=1M {disk} /dev/zero")
        if found.strip():
            raise LabError(f"{disk} on {node.name} holds something, and is not overwritten:\n{found}")


def measure(node: Node, target: str, disks: list[str], wish: argparse.Namespace) -> dict[str, dict[int, Any]]:
    run = iops_check.Run(
        target,
        "random_read",
        ramp_seconds=1,
        seconds=wish.seconds,
        offset=iops_check.MARGIN,
        size=SIZE_MIB * iops_check.MIB,
    )
    ssh(node, shlex.join(iops_check.fill(run)))
    found: dict[str, dict[int, Any]] = {}
    for profile in wish.profiles:
        for depth in DEPTHS:
            command = iops_check.command(replace(run, profile=profile, queue_depth=depth))
            result = iops_check.parse(ssh(node, throttled(disks, wish.iops, command)))
            found.setdefault(profile, {})[depth] = result[profile.removeprefix("random_")]
            print(f"{target} {profile} depth {depth}: {found[profile][depth]['iops']:.0f}", file=sys.stderr, flush=True)
    return found


def array(node: Node, level: str, disks: list[str], wish: argparse.Namespace) -> dict[str, dict[int, Any]]:
    layout = ["--layout=n2"] if level == "10" else []
    command = ["mdadm", "--create", f"/dev/md/{NAME}", "--run", "--homehost=any", f"--name={NAME}", f"--level={level}"]
    command += [f"--raid-devices={len(disks)}", "--bitmap=internal", *layout, *disks]
    ssh(node, f"{shlex.join(command)} </dev/null; mdadm --wait /dev/md/{NAME} || true; udevadm settle")
    try:
        return measure(node, f"/dev/md/{NAME}", disks, wish)
    finally:
        ssh(node, f"mdadm --stop /dev/md/{NAME}")
        clear(node, disks)


def clear(node: Node, disks: list[str]) -> None:
    ssh(node, "; ".join(f"wipefs --all --quiet {disk}; blkdiscard --zeroout {disk}" for disk in disks))


def table(found: dict[str, dict[str, dict[int, Any]]], profile: str) -> str:
    rows = [
        f"| {profile.replace('_', ' ')}s, queue depth | one disk | RAID1 of 2 | RAID10 of 4 | ratio (limit 2.0) "
        "| p99 RAID1, ms | p99 RAID10, ms |",
        "|---|---|---|---|---|---|---|",
    ]
    for depth in DEPTHS:
        one, mirror, stripe = (found[kind][profile][depth] for kind in ("disk", "raid1", "raid10"))
        rows.append(
            f"| {depth} | {one['iops']:.0f} | {mirror['iops']:.0f} | {stripe['iops']:.0f} "
            f"| {stripe['iops'] / mirror['iops']:.2f} | {mirror['latency_us']['p99'] / 1000:.0f} "
            f"| {stripe['latency_us']['p99'] / 1000:.0f} |"
        )
    return "\n".join(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lab", default="raid10_disk")
    parser.add_argument("--node", default="disk1")
    parser.add_argument("--disks", nargs=4, default=["ubdl", "ubdm", "ubdn", "ubdo"])
    parser.add_argument("--iops", type=int, default=200, help="reads, and writes, that a disk may do per second")
    parser.add_argument("--seconds", type=int, default=4, help="for each figure")
    parser.add_argument("--profiles", nargs="+", choices=("random_read", "random_write"), default=["random_read"])
    arguments = parser.parse_args()
    node = load(arguments.lab).node(arguments.node)
    disks = [f"/dev/{disk}" for disk in arguments.disks]
    packages = "mdadm fio"
    ssh(
        node,
        f"dpkg -s {packages} >/dev/null 2>&1 || (apt-get update -qq && DEBIAN_FRONTEND=noninteractive "
        f"apt-get install -qq --no-install-recommends {packages} >/dev/null)",
    )
    empty(node, disks)
    found: dict[str, dict[str, dict[int, Any]]] = {}
    try:
        found["disk"] = measure(node, disks[0], disks, arguments)
    finally:
        clear(node, disks[:1])
    found["raid1"] = array(node, "1", disks[:2], arguments)
    found["raid10"] = array(node, "10", disks, arguments)
    tables = "\n\n".join(table(found, profile) for profile in arguments.profiles)
    outcome.save("raid", found, tables)
    print(tables)
    return 0


if __name__ == "__main__":
    outcome.end(main)
