# Copyright: (c) 2026, the cloudexit maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known about DRBD 8.4 and 9: parse, classify, render, plan. Nothing here touches a system."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from typing import Any

# The current UUID of metadata that never saw data (UUID_JUST_CREATED in the kernel module).
UUID_JUST_CREATED = "0000000000000004"

# 8.4 has one word for what 9 calls connection and replication. These are the ones without a peer.
_UNCONNECTED = {"WFConnection": "Connecting", "WFReportParams": "Connecting"}
_NO_PEER = {
    "StandAlone",
    "Disconnecting",
    "Unconnected",
    "Timeout",
    "BrokenPipe",
    "NetworkFailure",
    "ProtocolError",
    "TearDown",
}
_VERIFYING = {"VerifyS", "VerifyT"}
_SYNCING = {
    "StartingSyncS",
    "StartingSyncT",
    "WFBitMapS",
    "WFBitMapT",
    "WFSyncUUID",
    "SyncSource",
    "SyncTarget",
    "PausedSyncS",
    "PausedSyncT",
    "Ahead",
    "Behind",
}


@dataclass
class Status:
    """One resource with one volume and one peer, in the words of DRBD 9, whichever version it came from."""

    role: str = "Unknown"
    disk: str = "DUnknown"
    connection: str = "Unconfigured"
    replication: str = "Off"
    peer_role: str = "Unknown"
    peer_disk: str = "DUnknown"
    suspended: bool = False
    done_percent: float | None = None
    out_of_sync_kib: int = 0


@dataclass
class View:
    """Everything the decision needs, read without changing anything."""

    name: str
    device: str
    minor: int
    device_found: bool = True
    mounted_at: str = ""
    busy: bool = False
    configured: bool = False
    signatures: list[str] = field(default_factory=list)
    status: Status | None = None
    fresh: bool = False
    klass: str = ""

    def report(self) -> dict[str, Any]:
        result = asdict(self)
        result["class"] = result.pop("klass")
        result.update(asdict(self.status or Status()))
        del result["status"]
        return result


def parse_version(text: str) -> tuple[int, ...]:
    """The kernel module's version out of /proc/drbd, modinfo or drbdadm --version; () if it does not say."""
    match = re.search(r"DRBD_KERNEL_VERSION_CODE=0x(\w\w)(\w\w)(\w\w)", text)
    if match and int(match.group(1), 16):
        return tuple(int(part, 16) for part in match.groups())
    match = re.search(r"(?:^|version:?\s*)(\d+)\.(\d+)\.(\d+)", text, re.MULTILINE)
    return tuple(int(part) for part in match.groups()) if match else ()


def parse_proc(text: str, minor: int) -> Status | None:
    """DRBD 8.4: /proc/drbd. None if the minor is not configured."""
    match = re.search(rf"^\s*{minor}: cs:(\w+)(.*(?:\n(?!\s*\d+: ).*)*)", text, re.MULTILINE)
    if not match or match.group(1) == "Unconfigured":
        return None
    word, rest = match.groups()
    status = Status()
    if word in _NO_PEER or word in _UNCONNECTED:
        status.connection = _UNCONNECTED.get(word, word)
    else:
        status.connection = "Connected"
        status.replication = "Established" if word == "Connected" else word
    roles = re.search(r"ro:(\w+)/(\w+) ds:(\w+)/(\w+)\s+(?:[ABC]\s+)?(\S+)", rest)
    if roles:
        status.role, status.peer_role, status.disk, status.peer_disk = roles.group(1, 2, 3, 4)
        status.suspended = roles.group(5).startswith("s")
    oos = re.search(r"\boos:(\d+)", rest)
    status.out_of_sync_kib = int(oos.group(1)) if oos else 0
    done = re.search(r"(?:sync'ed|verified):\s*([\d.]+)%", rest)
    status.done_percent = float(done.group(1)) if done else None
    return status


def parse_json(text: str, name: str) -> Status | None:
    """DRBD 9: drbdsetup status --json --statistics. None if the resource is not configured."""
    for resource in json.loads(text or "[]"):
        if resource.get("name") != name:
            continue
        device = (resource.get("devices") or [{}])[0]
        status = Status(
            role=resource.get("role", "Unknown"),
            disk=device.get("disk-state", "DUnknown"),
            suspended=bool(resource.get("suspended", False)),
        )
        connection = (resource.get("connections") or [{}])[0]
        volume = (connection.get("peer_devices") or [{}])[0]
        status.connection = connection.get("connection-state", "StandAlone")
        status.peer_role = connection.get("peer-role", "Unknown")
        status.replication = volume.get("replication-state", "Off")
        status.peer_disk = volume.get("peer-disk-state", "DUnknown")
        status.out_of_sync_kib = int(volume.get("out-of-sync", 0))
        done = volume.get("percent-in-sync")
        if status.replication in _SYNCING | _VERIFYING and done is not None:
            status.done_percent = float(done)
        return status
    return None


def is_fresh(generation: str) -> bool:
    """drbdadm get-gi, or the uuid lines of dump-md: true while nothing was ever written."""
    match = re.search(r"\b(?:0x)?([0-9A-Fa-f]{16})\b", generation)
    return bool(match) and match.group(1).upper() == UUID_JUST_CREATED  # type: ignore[union-attr]


def classify(view: View, adopt: bool = False) -> str:
    """The one word that everything else is decided by.

    DRBD metadata on a disk of a host without our configuration is somebody's data as well, unless it is adopted.
    """
    status = view.status
    if status is None:
        if not view.device_found:
            return "missing"
        if "drbd" in view.signatures and (view.configured or adopt):
            return "stopped"
        return "foreign" if view.signatures or view.busy else "absent"
    if status.disk in ("Diskless", "Failed", "Detaching"):
        return "diskless"
    if status.connection == "StandAlone":
        return "standalone"
    if status.replication in _SYNCING:
        return "syncing"
    if view.fresh and status.disk == "Inconsistent":
        return "forming"
    if status.connection == "Connected" and status.disk == status.peer_disk == "UpToDate":
        return "connected"
    return "degraded"


def refusal(view: View, wanted: str, wipe_variable: str) -> str:
    """Why not to act, and what to do; '' if nothing speaks against it. wanted: present or initialized."""
    status = view.status
    if view.klass == "missing":
        return f"{view.device} is not there. Attach the disk for {view.name}, or correct the variable that names it."
    if view.klass == "foreign":
        if view.mounted_at:
            return f"{view.device} is mounted at {view.mounted_at}. A disk in use is never taken for {view.name}."
        if view.busy:
            return (
                f"{view.device} is in use: a partition of it, RAID, LVM or swap (`lsblk {view.device}`). "
                f"A disk in use is never taken for {view.name}."
            )
        return (
            f"{view.device} holds data (found: {', '.join(view.signatures)}). It is not overwritten. "
            f"Check with `wipefs {view.device}`; if it may go, set {wipe_variable}: true for this run."
            + (
                f" If it is {view.name}'s own disk and only the system around it is new, "
                f"set {wipe_variable.replace('allow_wipe', 'adopt')}: true instead."
                if "drbd" in view.signatures
                else ""
            )
        )
    if view.klass == "standalone":
        return (
            f"{view.name} is StandAlone ({status.role if status else ''}, disk {status.disk if status else ''}): "
            f"the two halves were written to separately (split brain), or somebody ran `drbdadm disconnect`. "
            f"Look for `Split-Brain detected` in `journalctl -k`. If there is none: `drbdadm connect {view.name}`. "
            f"If there is one, choose the node whose changes are to be thrown away and run there: "
            f"`drbdadm secondary {view.name}; drbdadm connect --discard-my-data {view.name}`, "
            f"and on the other one: `drbdadm connect {view.name}`."
        )
    if view.klass == "diskless":
        return (
            f"{view.name} runs without its disk {view.device} (state {status.disk if status else ''}). "
            "Look at `journalctl -k`, replace the disk, then "
            f"`drbdadm create-md {view.name}; drbdadm attach {view.name}`."
        )
    if wanted == "initialized" and view.klass not in ("forming", "connected", "syncing"):
        return (
            f"{view.name} cannot be initialised: it is {view.klass}, and both halves must be connected for that. "
            f"See `drbdadm status {view.name}` on both nodes."
        )
    return ""


def verifying(status: Status) -> bool:
    return status.replication in _VERIFYING


def broken_off(status: Status | None) -> str:
    """Why an online verification, or the resync after it, cannot end well; '' while it can."""
    if status is None:
        return "the resource is down"
    if status.connection != "Connected":
        return f"the connection is {status.connection}"
    if status.disk != "UpToDate" or status.peer_disk not in ("UpToDate", "Inconsistent"):
        return f"the disks are {status.disk}/{status.peer_disk}"
    return ""


def first_sync(view: View) -> bool:
    """Skip the first sync? Only when both halves are connected, Inconsistent, and never held data."""
    status = view.status
    return bool(
        status
        and view.fresh
        and status.connection == "Connected"
        and status.disk == status.peer_disk == "Inconsistent"
        and status.replication in ("Established", "Off")
    )


@dataclass(frozen=True)
class Member:
    name: str
    address: str
    device: str


def handlers(version: tuple[int, ...], fence: str, unfence: str) -> dict[str, str]:
    """The event after a resync is called differently in 8.4 and 9, and so is drbd-utils' script for it.

    In 8.4 both events are set: the kernel calls the one, the resource agent's unfence_if_all_uptodate the other. The
    agent lets the script remove only what it takes for its own, compared word by word; by default it says Master.
    """
    if not fence:
        return {}
    script = "crm-unfence-peer.9.sh" if version >= (9,) else "crm-unfence-peer.sh"
    unfence = unfence or f"/usr/lib/drbd/{script} --role=Promoted"
    found = {"fence-peer": fence, "unfence-peer": unfence}
    return found if version >= (9,) else {**found, "after-resync-target": unfence}


def _section(name: str, options: dict[str, Any], indent: str = "    ") -> list[str]:
    if not options:
        return []
    lines = [f"{indent}{name} {{"]
    for key in sorted(options):
        value = options[key]
        text = ("yes" if value else "no") if isinstance(value, bool) else str(value)
        lines.append(f"{indent}    {key} {_quoted(text)};")
    return [*lines, f"{indent}}}"]


def _quoted(text: str) -> str:
    return text if re.fullmatch(r"[\w.-]+", text) else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def render(
    name: str,
    minor: int,
    port: int,
    members: list[Member],
    version: tuple[int, ...],
    net: dict[str, Any],
    disk: dict[str, Any],
    fencing: str,
    hooks: dict[str, str],
) -> str:
    """The resource file: 8.4 wants `fencing` in disk and no node ids, 9 wants it in net and the ids."""
    nine = version >= (9,)
    net = {"protocol": "C", **net}
    disk = dict(disk)
    (net if nine else disk)["fencing"] = fencing
    lines = [
        "# Written by cloudexit.ha_stack.drbd_resource; changes made here are overwritten.",
        f"resource {name} {{",
        *_section("net", net),
        *_section("disk", disk),
        *_section("handlers", hooks),
    ]
    for number, member in enumerate(members):
        lines += [
            f"    on {member.name} {{",
            *([f"        node-id {number};"] if nine else []),
            f"        device /dev/drbd{minor} minor {minor};",
            f"        disk {member.device};",
            "        meta-disk internal;",
            f"        address ipv4 {member.address}:{port};",
            "    }",
        ]
    return "\n".join([*lines, "}", ""])
