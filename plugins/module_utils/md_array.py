# Copyright: (c) 2026, the cloudexit maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known about md arrays of level 0, 1 and 10: parse, classify, plan. Nothing here touches a system."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from typing import Any

from .disk import Disk

LEVELS = ("10", "1", "0")
CHUNK_KIB = 512
# Names that mdadm, udev and a path take without quoting; a superblock has room for 32 characters, `any:` included.
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,27}")
_LAYOUT = re.compile(r"([nfo])([2-9])")
_COPIES = {"near": "n", "far": "f", "offset": "o"}
_FLAGS = {"F": "faulty", "S": "spare", "R": "replacement"}
_ACTIONS = {"resync": "resyncing", "recovery": "recovering", "reshape": "reshaping", "check": "checking"}


@dataclass
class Member:
    path: str
    slot: int | None = None
    state: str = "active"  # active, rebuilding, replacement, spare, faulty


@dataclass
class Array:
    """A running (or half-assembled) array, from /proc/mdstat and mdadm --detail --export."""

    kernel_name: str
    running: bool = True
    level: str = ""
    devices: int = 0
    active: int = 0
    layout: str = ""
    chunk_kib: int = 0
    bitmap: bool = False
    uuid: str = ""
    name: str = ""
    action: str = ""
    done_percent: float | None = None
    minutes_left: float | None = None
    members: list[Member] = field(default_factory=list)

    def paths(self, *states: str) -> list[str]:
        return [member.path for member in self.members if not states or member.state in states]


_NONE = Array("", running=False)


@dataclass
class Wanted:
    name: str
    level: str
    devices: list[str]
    spares: list[str] = field(default_factory=list)
    layout: str = "n2"
    chunk_kib: int = CHUNK_KIB
    bitmap: bool = True
    tolerance_percent: float = 1.0
    wipe_variable: str = "allow_wipe"
    allow_wipe: bool = False

    @property
    def path(self) -> str:
        return f"/dev/md/{self.name}"

    @property
    def all(self) -> list[str]:
        return [*self.devices, *self.spares]


@dataclass
class View:
    """Everything the decision needs, read without changing anything. `real` are the devices' paths without symlinks."""

    array: Array | None = None
    disks: dict[str, Disk] = field(default_factory=dict)
    real: dict[str, str] = field(default_factory=dict)
    superblocks: dict[str, dict[str, str]] = field(default_factory=dict)

    def member(self, device: str) -> Member | None:
        path = self.real.get(device, device)
        return next((m for m in self.array.members if m.path == path), None) if self.array else None

    def uuid_of(self, device: str) -> str:
        return self.superblocks.get(device, {}).get("MD_UUID", "")


@dataclass
class Plan:
    """What to do, in this order, or why not; `notes` say what is left to a person."""

    commands: list[list[str]] = field(default_factory=list)
    refusal: str = ""
    notes: list[str] = field(default_factory=list)


def parse_export(text: str) -> dict[str, str]:
    """mdadm --detail --export or --examine --export: names and values."""
    pairs = (line.partition("=") for line in text.splitlines())
    return {name.strip(): value.strip() for name, equals, value in pairs if equals}


def name_of(export: dict[str, str]) -> str:
    """The array's own name without the host's: `mysql` of `any:mysql` or `db1:mysql`."""
    return export.get("MD_NAME", "").rpartition(":")[2]


def parse_mdstat(text: str) -> list[Array]:
    """/proc/mdstat. Members are named by the kernel there: `path` is /dev/<that name>; slots come with the details."""
    arrays: list[Array] = []
    for line in text.splitlines():
        head = re.match(r"(md\S+) : (active|inactive)(?: \([\w-]+\))*(?: (raid\d+|linear))? ?(.*)", line)
        if head:
            array = Array(head.group(1), head.group(2) == "active", (head.group(3) or "").removeprefix("raid"))
            for name, _number, flags in re.findall(r"(\S+?)\[(\d+)\]((?:\(\w\))*)", head.group(4)):
                states = [_FLAGS[flag] for flag in re.findall(r"\w", flags) if flag in _FLAGS]
                array.members.append(Member(f"/dev/{name.replace('!', '/')}", None, states[0] if states else "active"))
            arrays.append(array)
        elif arrays and line.startswith(" "):
            _details(arrays[-1], line)
    return arrays


def _details(array: Array, line: str) -> None:
    if match := re.search(r"\[(\d+)/(\d+)\]", line):
        array.devices, array.active = int(match.group(1)), int(match.group(2))
    if match := re.search(r"(\d+)[kK] chunks?", line):
        array.chunk_kib = int(match.group(1))
    if match := re.search(r"(\d) (near|far|offset)-copies", line):
        array.layout = _COPIES[match.group(2)] + match.group(1)
    if "bitmap:" in line:
        array.bitmap = True
    if match := re.search(r"(resync|recovery|reshape|check)\s*=\s*(PENDING|DELAYED|[\d.]+%)", line):
        array.action = match.group(1)
        array.done_percent = float(match.group(2)[:-1]) if match.group(2).endswith("%") else 0.0
    if match := re.search(r"finish=([\d.]+)min", line):
        array.minutes_left = float(match.group(1))


def add_details(array: Array, export: dict[str, str], states: dict[str, str]) -> Array:
    """What only mdadm --detail --export knows: UUID, name, and which slot a member has.

    `states` are the members' states in sysfs: only there is one that is still being filled not `in_sync`.
    """
    array.uuid = export.get("MD_UUID", "")
    array.name = name_of(export)
    array.level = export.get("MD_LEVEL", array.level).removeprefix("raid")
    array.devices = int(export.get("MD_DEVICES", array.devices))
    if array.level == "0":
        array.active = len(array.members)
        array.devices = array.devices or array.active
    for key, path in export.items():
        if not (key.startswith("MD_DEVICE_") and key.endswith("_DEV")):
            continue
        role = export.get(key[: -len("DEV")] + "ROLE", "")
        for member in array.members:
            if member.path == path and role.isdigit():
                member.slot = int(role)
    for member in array.members:
        word = states.get(member.path.rpartition("/")[2], "in_sync")
        if member.state == "active" and member.slot is not None and "in_sync" not in word:
            member.state = "rebuilding"
    return array


def find(arrays: list[Array], name: str, devices: list[str]) -> Array | None:
    """The array of that name; or the one without it, as md127 after a careless boot, that is made of these devices."""
    for array in arrays:
        if array.name == name:
            return array
    return next((array for array in arrays if devices and set(devices) <= set(array.paths())), None)


def wrong(wanted: Wanted) -> str:
    """Why nothing like that can be built, whatever the disks; '' if it can."""
    count = len(wanted.devices)
    shown = ", ".join(wanted.devices) or "none"
    if not NAME.fullmatch(wanted.name):
        return f"the array's name {wanted.name!r} is not 1 to 28 letters, digits, - and _, a letter first"
    if wanted.level not in LEVELS:
        return f"level {wanted.level!r} is none of {', '.join(LEVELS)}"
    twice = sorted({device for device in wanted.all if wanted.all.count(device) > 1})
    if twice:
        return f"{twice[0]} is named twice ({', '.join(wanted.all)}). Each disk once"
    if wanted.level == "0" and wanted.spares:
        return f"level 0 has no redundancy and no use for a spare ({', '.join(wanted.spares)}). Leave spares empty"
    needed = 2
    if wanted.level == "10":
        match = _LAYOUT.fullmatch(wanted.layout)
        if not match:
            return f"layout {wanted.layout!r} is not n, f or o and the number of copies, as in n2, f2, o2"
        kind, copies = match.group(1), int(match.group(2))
        needed = 2 * copies if kind == "n" else max(2, copies)
        if count >= needed and kind == "n" and count % copies:
            return (
                f"layout {wanted.layout} keeps {copies} copies side by side and {count} devices ({shown}) cannot be "
                "divided "
                f"by {copies}: one is missing or too many. Layouts f{copies} and o{copies} take any number"
            )
    if count < needed:
        hint = " (two disks are a RAID1: level 1)" if wanted.level == "10" and count == 2 else ""
        layout = f" with layout {wanted.layout}" if wanted.level == "10" else ""
        return f"level {wanted.level}{layout} needs at least {needed} devices, there are {count} ({shown}){hint}"
    if wanted.level != "1" and (wanted.chunk_kib < 4 or wanted.chunk_kib & (wanted.chunk_kib - 1)):
        return f"chunk is {wanted.chunk_kib} KiB; it must be a power of two, at least 4"
    return ""


def wrong_together(arrays: list[Wanted], mounts: list[str]) -> list[str]:
    """What is wrong between arrays of one host, in words."""
    found = []
    names = [array.name for array in arrays]
    found += [f"two arrays are called {name!r}" for name in sorted(set(names)) if names.count(name) > 1]
    owners: dict[str, str] = {}
    for array in arrays:
        for device in dict.fromkeys(array.all):
            if owners.get(device, array.name) != array.name:
                found.append(f"{device} is named twice: in {owners[device]} and in {array.name}. Each disk once")
            owners.setdefault(device, array.name)
    used = [mount for mount in mounts if mount]
    found += [f"two arrays are to be mounted at {mount}" for mount in sorted(set(used)) if used.count(mount) > 1]
    return found


def differences(view: View, wanted: Wanted) -> list[str]:
    """How a running array differs from the wanted one in what cannot be changed here, in words."""
    array = view.array
    if array is None:
        return []
    found = []
    if array.level != wanted.level:
        found.append(f"level {array.level}, wanted {wanted.level}")
    if array.devices and array.devices != len(wanted.devices):
        found.append(f"{array.devices} devices, wanted {len(wanted.devices)}")
    if array.layout and wanted.level == "10" and array.layout != wanted.layout:
        found.append(f"layout {array.layout}, wanted {wanted.layout}")
    if array.chunk_kib and wanted.level != "1" and array.chunk_kib != wanted.chunk_kib:
        found.append(f"chunk {array.chunk_kib} KiB, wanted {wanted.chunk_kib}")
    return found


def strangers(view: View, wanted: Wanted) -> list[str]:
    """Members of the array that the inventory does not name, faulty ones left out."""
    named = {view.real.get(device, device) for device in wanted.all}
    members = view.array.members if view.array else []
    return [member.path for member in members if member.path not in named and member.state != "faulty"]


def outside(view: View, wanted: Wanted) -> list[str]:
    """Devices of the inventory that are not in the array (a faulty member is not in it any more)."""
    return [d for d in wanted.all if (member := view.member(d)) is None or member.state == "faulty"]


def classify(view: View, wanted: Wanted) -> str:
    """The one word that everything else is decided by."""
    array = view.array
    if array is None or not array.running:
        here = [disk for disk in wanted.all if view.disks[disk].found]
        ours = {view.uuid_of(disk) for disk in here if name_of(view.superblocks.get(disk, {})) == wanted.name}
        if ours:
            whole = len(ours) == 1 and all(view.uuid_of(disk) in ours for disk in wanted.devices)
            return "stopped" if whole else "incomplete"
        if len(here) < len(wanted.all):
            return "missing"
        return "foreign" if any(view.disks[disk].holds_data for disk in here) else "absent"
    if array.name != wanted.name or differences(view, wanted) or strangers(view, wanted):
        return "different"
    if array.action in _ACTIONS:
        return _ACTIONS[array.action]
    return "degraded" if array.active < array.devices else "clean"


def _holds(view: View, wanted: Wanted, device: str) -> str:
    """Why a device is not taken; '' if it is empty, or may be wiped."""
    disk = view.disks[device]
    if disk.busy or disk.used_by:
        return f"{device} is in use: {disk.used_by}. A disk in use is never taken for {wanted.name} (`lsblk {device}`)."
    if disk.signatures and not wanted.allow_wipe:
        other = view.superblocks.get(device, {})
        of_array = f" of the array {other['MD_NAME']}, UUID {other['MD_UUID']}" if "MD_NAME" in other else ""
        if "linux_raid_member" in disk.signatures and not other:
            of_array = (
                "; mdadm is not installed to say of which array: `apt-get install mdadm`, then run the same again"
            )
        return (
            f"{device} holds data (found: {', '.join(disk.signatures)}{of_array}). It is not overwritten. Check with "
            f"`wipefs {device}`; if it may go, set {wanted.wipe_variable}: true for this run."
        )
    return ""


def _too_small(view: View, wanted: Wanted) -> str:
    sizes = {device: view.disks[device].size for device in wanted.all if view.disks[device].size}
    if not sizes:
        return ""
    small, large = min(sizes, key=lambda d: sizes[d]), max(sizes, key=lambda d: sizes[d])
    percent = 100 * (1 - sizes[small] / sizes[large])
    if percent <= wanted.tolerance_percent:
        return ""
    return (
        f"{small} ({sizes[small] >> 20} MiB) is {percent:.1f} % smaller than {large} ({sizes[large] >> 20} MiB), "
        f"{wanted.tolerance_percent:g} % are tolerated: every disk would be used only as far as the smallest goes. "
        "Take disks of one size, or raise size_tolerance_percent."
    )


def wipe(device: str) -> list[list[str]]:
    return [["wipefs", "--all", device], ["blkdiscard", "--zeroout", "--length", "1MiB", device]]


def create(wanted: Wanted, uuid: str) -> list[str]:
    """The name is recorded without a host's, so that it is the same in a rescue system or after a new host name."""
    command = ["mdadm", "--create", wanted.path, "--run", "--metadata=1.2", f"--name={wanted.name}", "--homehost=any"]
    command += [f"--uuid={uuid}", f"--level={wanted.level}", f"--raid-devices={len(wanted.devices)}"]
    if wanted.level == "10":
        command.append(f"--layout={wanted.layout}")
    if wanted.level != "1":
        command.append(f"--chunk={wanted.chunk_kib}")
    if wanted.level != "0":
        command.append(f"--bitmap={'internal' if wanted.bitmap else 'none'}")
    if wanted.spares:
        command.append(f"--spare-devices={len(wanted.spares)}")
    return [*command, *wanted.all]


def plan_present(view: View, wanted: Wanted, uuid: str = "") -> Plan:
    """What a run may do by itself: create on empty disks, assemble, take a lost member back, add a spare."""
    word = classify(view, wanted)
    array = view.array
    if why := wrong(wanted):
        return Plan(refusal=f"{why}.")
    if word == "missing":
        gone = [device for device in wanted.all if not view.disks[device].found]
        return Plan(
            refusal=f"{', '.join(gone)} {'is' if len(gone) == 1 else 'are'} not there. Attach the disk for "
            f"{wanted.name}, "
            "or correct the inventory (`lsblk`)."
        )
    if word in ("foreign", "absent"):
        why = next((reason for device in wanted.all if (reason := _holds(view, wanted, device))), "")
        if why or (why := _too_small(view, wanted)):
            return Plan(refusal=why)
        dirty = [device for device in wanted.all if view.disks[device].signatures]
        return Plan([step for device in dirty for step in wipe(device)] + [create(wanted, uuid)])
    if word == "incomplete":
        return Plan(refusal=_incomplete(view, wanted))
    if word == "stopped":
        uuid = view.uuid_of(wanted.devices[0])
        stop = [["mdadm", "--stop", f"/dev/{array.kernel_name}"]] if array else []
        return Plan([*stop, ["mdadm", "--assemble", wanted.path, f"--uuid={uuid}"]])
    array = array or _NONE
    if word == "different":
        return Plan(refusal=_different(view, wanted))
    plan = Plan()
    for device in outside(view, wanted):
        _take_back(view, wanted, device, plan)
    if array.bitmap != wanted.bitmap and wanted.level != "0" and word == "clean" and not plan.commands:
        plan.commands.append(["mdadm", "--grow", wanted.path, f"--bitmap={'internal' if wanted.bitmap else 'none'}"])
    return plan


def _take_back(view: View, wanted: Wanted, device: str, plan: Plan) -> None:
    """A device of the inventory that is not in the running array: what may be done about it without being asked."""
    array, disk, member = view.array or _NONE, view.disks[device], view.member(device)
    degraded = array.active < array.devices
    if member is not None:
        plan.notes.append(
            f"{device} has failed in {wanted.name}: `journalctl -k --grep md`. Replace it with "
            "playbooks/replace_disk.yml."
        )
    elif not disk.found:
        plan.notes.append(
            f"{device} of {wanted.name} is not there. Put a disk in, then run playbooks/replace_disk.yml."
        )
    elif view.uuid_of(device) == array.uuid and not degraded:
        plan.notes.append(
            f"{device} was part of {wanted.name} once and is not now. If it failed, put another one in its place; if "
            "it is "
            f"sound: `mdadm --zero-superblock {device}; blkdiscard --zeroout --length 1MiB {device}`, then run the "
            "same again."
        )
    elif view.uuid_of(device) == array.uuid and not disk.used_by:
        plan.commands.append(["mdadm", "--manage", wanted.path, "--re-add", device])
    elif device in wanted.spares or not degraded:
        if why := _holds(view, wanted, device) or _too_small(view, wanted):
            plan.refusal = plan.refusal or why
            return
        plan.commands += wipe(device) if disk.signatures else []
        plan.commands.append(["mdadm", "--manage", wanted.path, "--add", device])
    else:
        plan.notes.append(
            f"{wanted.name} lacks a disk and {device} is not part of it. If that is the new one, run "
            "playbooks/replace_disk.yml."
        )


def _incomplete(view: View, wanted: Wanted) -> str:
    without = []
    for device in wanted.devices:
        if not view.disks[device].found:
            without.append(f"{device} is not there")
        elif name_of(view.superblocks.get(device, {})) != wanted.name:
            without.append(f"{device} is not a member")
    reason = ", ".join(without) or "its disks carry different UUIDs"
    rest = [device for device in wanted.all if name_of(view.superblocks.get(device, {})) == wanted.name]
    return (
        f"the array {wanted.name} is stopped and not complete: {reason}. It is not started without its newest "
        "members by "
        f"itself. Compare the event counts (`mdadm --examine {' '.join(rest)} | grep -E 'dev|Events'`); if the "
        "missing disk is "
        f"lost for good: `mdadm --assemble --run {wanted.path} {' '.join(rest)}`, then run playbooks/replace_disk.yml."
    )


def _different(view: View, wanted: Wanted) -> str:
    array = view.array or _NONE
    if array.name != wanted.name:
        return (
            f"{', '.join(wanted.devices)} are the array {array.name or array.kernel_name} (UUID {array.uuid}), which "
            "is not "
            f"taken for {wanted.name}. Correct the name in the inventory."
        )
    found = differences(view, wanted)
    if found:
        return (
            f"the array {wanted.name} exists with {'; '.join(found)}. It is not rebuilt over its data. Correct the "
            "inventory "
            f"to what is there (`mdadm --detail {wanted.path}`), or move the data away and stop the array first."
        )
    other = strangers(view, wanted)
    return (
        f"the array {wanted.name} has {', '.join(other)}, which the inventory does not name. If the disks named there "
        f"({', '.join(outside(view, wanted)) or 'none new'}) are to take their place: playbooks/replace_disk.yml."
    )


def plan_replaced(view: View, wanted: Wanted, failed: Collection[str] = ()) -> Plan:
    """Bring the disks of a running array to those of the inventory, never with less redundancy than before.

    `failed` are paths of members that were faulty before: they are removed and not taken back.
    """
    word, array = classify(view, wanted), view.array
    name = wanted.name
    if why := wrong(wanted):
        return Plan(refusal=f"{why}.")
    if array is None or not array.running:
        return Plan(refusal=f"the array {name} does not run ({word}); only a disk of a running one is replaced.")
    if array.name != name or differences(view, wanted):
        return Plan(refusal=_different(view, wanted))
    if copying(view):
        left = f", {array.minutes_left:g} minutes left" if array.minutes_left else ""
        return Plan(
            refusal=f"the array {name} is {_ACTIONS[array.action]} ({array.done_percent or 0:g} %{left}). Until that "
            "is "
            "through it cannot afford to lose a disk. Wait (`cat /proc/mdstat`), then run the same again."
        )
    faulty, leaving, new = array.paths("faulty"), strangers(view, wanted), outside(view, wanted)
    empty_slots = array.devices - array.active
    new = [device for device in new if view.real.get(device, device) not in {*failed, *faulty}]
    if not empty_slots:  # a member of before may be out because it failed: it is no spare
        new = [device for device in new if view.uuid_of(device) != array.uuid]
    remove = [["mdadm", "--manage", wanted.path, "--remove", "failed"]] if faulty else []
    if wanted.level == "0" and (new or leaving):
        return Plan(
            refusal=f"{name} is a RAID0, which has no redundancy: no disk of it can be replaced without losing all."
        )
    if not new and not leaving:
        if empty_slots:
            spot = f" ({', '.join(faulty)} failed)" if faulty else ""
            return Plan(
                refusal=f"the array {name} lacks {empty_slots} of {array.devices} disks{spot}, and the inventory "
                "names no new "
                "disk for it. Put one in and name it in raid10_disk_arrays; one of the old name that is still in the "
                "array "
                f"as failed: `mdadm --manage {wanted.path} --remove failed` before it is pulled out."
            )
        return Plan(remove)
    spare_leaving = [path for path in leaving if path in array.paths("spare")]
    working = [path for path in leaving if path not in spare_leaving]
    if working and empty_slots:
        return Plan(
            refusal=f"the array {name} lacks {empty_slots} of {array.devices} disks and cannot afford to give up "
            f"{', '.join(working)}, too. Keep it in the inventory, fill the empty place first."
        )
    if len(working) > len(new):
        return Plan(
            refusal=f"the inventory no longer names {', '.join(working)} of the array {name} and gives "
            f"{'no disk' if not new else 'only ' + ', '.join(new)} instead. Name a new disk for each."
        )
    if len(working) > 1:
        return Plan(
            refusal=f"{', '.join(working)} of {name} are to be replaced at once. One after another: change one first."
        )
    for device in new:
        disk = view.disks[device]
        if not disk.found:
            return Plan(
                refusal=f"{device} is not there. Attach the new disk for {name}, or correct the inventory (`lsblk`)."
            )
        if view.uuid_of(device) != array.uuid and (why := _holds(view, wanted, device)):
            return Plan(refusal=why)
        smallest = min((d.size for p, d in view.disks.items() if view.member(p) and d.size), default=0)
        if disk.size < smallest * (1 - wanted.tolerance_percent / 100):
            return Plan(
                refusal=f"{device} ({disk.size >> 20} MiB) is smaller than the disks of {name} ({smallest >> 20} MiB). "
                "Take one at least as large."
            )
    plan = Plan(remove)
    plan.commands += [["mdadm", "--manage", wanted.path, "--remove", path] for path in spare_leaving]
    for device in new:
        if view.uuid_of(device) != array.uuid:
            plan.commands += wipe(device) if view.disks[device].signatures else []
        plan.commands.append(["mdadm", "--manage", wanted.path, "--add", device])
    if working:
        # The new one is filled while the old one still works. When the copy is whole md calls the old one faulty, and
        # the same plan, made again, removes it.
        plan.commands.append(["mdadm", "--manage", wanted.path, "--replace", working[0], "--with", new[0]])
    return plan


def copying(view: View) -> bool:
    return bool(view.array and view.array.action in ("resync", "recovery", "reshape"))


def done(view: View) -> float:
    return (view.array.done_percent if view.array else None) or 0.0


def identity(view: View, wanted: Wanted) -> str:
    """UUID of the array, running or not; '' if there is none yet."""
    if classify(view, wanted) in ("absent", "missing", "foreign"):
        return ""
    return (view.array.uuid if view.array else "") or next(filter(None, map(view.uuid_of, wanted.all)), "")


def array_line(wanted: Wanted, uuid: str) -> str:
    return f"ARRAY {wanted.path} metadata=1.2 UUID={uuid}"


def with_array_line(text: str, wanted: Wanted, uuid: str) -> str:
    """mdadm.conf with exactly one line for the array: neither its UUID nor its name is in another one."""
    line = array_line(wanted, uuid)
    lines = []
    for old in text.splitlines():
        words = old.split()
        same = words[:1] == ["ARRAY"] and (
            f"uuid={uuid}".lower() in [word.lower() for word in words] or wanted.path in words or wanted.name in words
        )
        if not same:
            lines.append(old)
        elif old == line and line not in lines:
            lines.append(line)
    if line not in lines:
        lines.append(line)
    return "\n".join(lines) + "\n"


def report(view: View, wanted: Wanted) -> dict[str, Any]:
    array = view.array or _NONE
    result = asdict(array)
    result["device"] = f"/dev/{array.kernel_name}" if array.kernel_name else ""
    del result["kernel_name"]
    result["class"] = classify(view, wanted)
    result["missing"] = outside(view, wanted) if array.running else [d for d in wanted.all if not view.disks[d].found]
    result["spares"] = array.paths("spare")
    result["faulty"] = array.paths("faulty")
    return result
