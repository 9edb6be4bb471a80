# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Looks at packages, filesystems, mounts and mdadm.conf of a host. Called with one JSON object, answers with one."""

from __future__ import annotations

import glob
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any


def run(*argv: str) -> str:
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""


def missing_packages(packages: list[str]) -> list[str]:
    out = run("dpkg-query", "--show", "--showformat=${Package} ${Status}\n", *packages)
    present = {line.split()[0] for line in out.splitlines() if line.endswith(" installed")}
    return [package for package in packages if package not in present]


def mounts() -> dict[str, tuple[str, str]]:
    """Mount point → (major:minor, source); the last mount of a place is the one that is seen."""
    found = {}
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        words = line.split()
        found[words[4]] = (words[2], words[words.index("-") + 2])
    return found


def number(path: str) -> str:
    try:
        device = os.stat(path).st_rdev
    except OSError:
        return ""
    return f"{os.major(device)}:{os.minor(device)}"


def config_lines(config: str) -> list[str]:
    """The lines of mdadm.conf; none if it is not there."""
    try:
        return Path(config).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def foreign_program(lines: list[str], hook: str) -> str:
    """Another program than ours in mdadm.conf, which takes only one."""
    programs = [line.split()[1] for line in lines if line.split()[:1] == ["PROGRAM"] and len(line.split()) > 1]
    return next((program for program in programs if program != hook), "")


def behind(config: str, watched: list[str]) -> list[str]:
    """What was made from an older mdadm.conf, or is not there yet: images of the initramfs, and the monitor."""
    try:
        written = os.stat(config).st_mtime
    except OSError:
        return [config]
    found = []
    if shutil.which("update-initramfs"):
        found += [image for image in sorted(glob.glob("/boot/initrd.img-*")) if os.stat(image).st_mtime < written]
    if watched:
        show = run(
            "systemctl", "show", "--timestamp=us", "--property=ActiveState,ActiveEnterTimestamp", "mdmonitor.service"
        )
        unit = dict(line.partition("=")[::2] for line in show.splitlines())
        since = run("date", "+%s.%6N", "--date", unit.get("ActiveEnterTimestamp") or "@0").strip()
        if unit.get("ActiveState") != "active" or float(since or 0) < written:
            found.append("mdmonitor.service")
    return found


def look(wish: dict[str, Any]) -> dict[str, Any]:
    places = mounts()
    arrays = {}
    wrong = []
    for array in wish["arrays"]:
        path, mount, wanted = array["path"], array["mount"], array["filesystem"]
        device = number(path)
        probe = dict(
            line.partition("=")[::2] for line in run("blkid", "--probe", "--output", "export", path).splitlines()
        )
        kind = probe.get("TYPE", "") if device else ""
        if wanted != "none" and kind and kind != wanted:
            wrong.append(
                f"{path} holds {kind}, and {wanted} is wanted. It is not overwritten: correct the filesystem of "
                f"{array['name']} in the inventory, or move what is on it away and `wipefs --all {path}`"
            )
        at, source = places.get(mount, ("", ""))
        if at and at != device:
            wrong.append(f"the mount point {mount} of {array['name']} is in use: {source} is mounted there")
        elif mount and not at and os.path.isdir(mount) and os.listdir(mount):
            first = os.path.join(mount, sorted(os.listdir(mount))[0])
            wrong.append(
                f"the mount point {mount} of {array['name']} is not empty, there is {first}, which would be hidden. "
                "Move it away or choose another place"
            )
        arrays[array["name"]] = {
            "found": bool(device),
            "filesystem": kind,
            "uuid": probe.get("UUID", "") if device else "",
            "mounted": bool(at) and at == device,
        }
    lines = config_lines(wish["config"])
    program = foreign_program(lines, wish["hook"])
    if program:
        wrong.append(
            f"{wish['config']} has PROGRAM {program}, and mdadm takes only one. Remove the line, and call that program "
            "from elsewhere if it is still needed (this role's writes to the journal and a metric)"
        )
    return {
        "arrays": arrays,
        "behind": behind(wish["config"], wish["watched"]),
        "config_lines": lines,
        "missing_packages": missing_packages(wish["packages"]),
        "wrong": wrong,
    }


if __name__ == "__main__":
    print(json.dumps(look(json.loads(sys.argv[1]))))
