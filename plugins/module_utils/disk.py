# Copyright: (c) 2026, the cloudexit maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is on a disk and who uses it, found without changing anything. Disks are taken if it is nothing."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

# How far a disk's beginning is looked at for what libblkid does not know; as far as drbdmeta looks.
BEGINNING = 68 * 1024

# What lsblk is asked for; its versions in Debian 12 and 13 know all of these.
COLUMNS = "NAME,PATH,KNAME,TYPE,SIZE,FSTYPE,UUID,MOUNTPOINTS"  # without NAME lsblk draws no tree

Read = Callable[..., str]


@dataclass
class Disk:
    """A disk by the name that the inventory gave it."""

    path: str
    found: bool = False
    kernel_name: str = ""
    size: int = 0
    signatures: list[str] = field(default_factory=list)
    busy: bool = False
    mounted_at: str = ""
    used_by: str = ""

    @property
    def holds_data(self) -> bool:
        return bool(self.signatures) or self.busy


def parse_signatures(text: str) -> list[str]:
    """wipefs --json: what libblkid finds, in the order of the disk, e.g. ['xfs', 'drbd']."""
    found = json.loads(text or "{}").get("signatures") or []
    return [entry["type"] for entry in sorted(found, key=lambda entry: int(entry["offset"], 0))]


def block_devices(text: str) -> Iterator[dict[str, Any]]:
    """lsblk --json: every device with what is built on it, parents first."""
    queue = list(json.loads(text or "{}").get("blockdevices") or [])
    while queue:
        entry = queue.pop(0)
        yield entry
        queue[:0] = entry.get("children") or []


def find(text: str, path: str) -> dict[str, Any] | None:
    """The device with this path or kernel name out of lsblk's answer."""
    name = path.rpartition("/")[2]
    return next((entry for entry in block_devices(text) if path == entry["path"] or name == entry["kname"]), None)


def mount_points(entry: dict[str, Any]) -> list[str]:
    return [point for point in entry.get("mountpoints") or [] if point]


def use(entry: dict[str, Any]) -> str:
    """Who uses a device, in words for a message; '' if lsblk knows of nobody."""
    points = mount_points(entry)
    if "[SWAP]" in points:
        return "it is used as swap"
    if points:
        return f"it is mounted at {points[0]}"
    for child in entry.get("children") or []:
        kind, path = child.get("type") or "", child["path"]
        below = mount_points(child)
        mounted = f", mounted at {below[0]}" if below else ""
        if kind.startswith("raid") or kind == "linear":
            return f"it belongs to the array {path}{mounted}"
        if kind == "lvm":
            return f"LVM uses it for {path}{mounted}"
        if kind == "part":
            return f"it has the partition {path}{mounted}"
        return f"{path} ({kind or 'unknown'}) is built on it{mounted}"
    return ""


def held(path: str) -> bool:
    """Whether anybody holds the device itself: a mount, swap, md, LVM, DRBD."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_EXCL))
    except OSError as error:
        return error.errno == errno.EBUSY
    return False


def mounted_at(path: str) -> str:
    number = os.stat(path).st_rdev
    wanted = f"{os.major(number)}:{os.minor(number)}"
    with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
        return next((line.split()[4] for line in mounts if line.split()[2] == wanted), "")


def leftovers(path: str) -> list[str]:
    """What libblkid does not know and others would stumble over: a beginning that is not all zero."""
    with open(path, "rb") as disk:
        return ["unknown data"] if any(disk.read(BEGINNING)) else []


def probe(read: Read, path: str, listing: str | None = None) -> Disk:
    """Look at a disk. `read` runs a command and returns its output; `listing` is lsblk's answer, if there is one."""
    disk = Disk(path=path, found=os.path.exists(path))
    if not disk.found:
        return disk
    real = os.path.realpath(path)
    disk.kernel_name = os.path.basename(real)
    disk.signatures = parse_signatures(read("wipefs", "--json", real)) or leftovers(real)
    disk.busy = held(real)
    if disk.busy:
        disk.mounted_at = mounted_at(real)
    if listing is None:
        listing = read("lsblk", "--json", "--bytes", "--output", COLUMNS)
    entry = find(listing, real)
    if entry is not None:
        disk.size = int(entry["size"] or 0)
        disk.used_by = use(entry)
    if disk.busy and not disk.used_by:
        disk.used_by = f"it is mounted at {disk.mounted_at}" if disk.mounted_at else "DRBD or another program holds it"
    return disk
