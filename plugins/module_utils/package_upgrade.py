# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A service's Debian package: what is installed, what could be, what of it runs, and what speaks against an upgrade."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from typing import Any


def candidate(policy: str) -> str:
    """What apt would install, from `apt-cache policy`; '' if nothing."""
    match = re.search(r"^\s+Candidate: (\S+)", policy, re.MULTILINE)
    return match[1] if match and match[1] != "(none)" else ""


def offered(policy: str, version: str) -> bool:
    """Whether a source has this version, from `apt-cache policy`."""
    return re.search(rf"^\s+(?:\*\*\* )?{re.escape(version)} \d+$", policy, re.MULTILINE) is not None


def release(version: str) -> tuple[int, ...]:
    """Numbers of the upstream release: 5:8.0.2-3+deb13u3 is (8, 0, 2). ValueError for what is no such version."""
    match = re.match(r"(?:\d+:)?(\d+(?:\.\d+)+)", version)
    if not match:
        raise ValueError(f"{version!r} is not a version of a Debian package")
    return tuple(int(part) for part in match[1].split("."))


def binary(exec_start: str) -> str:
    """The program of a unit, from systemd's ExecStart={ path=… ; argv[]=… }; '' if there is none."""
    match = re.search(r"path=(\S+)", exec_start)
    return match[1] if match else ""


def replaced(path: str, started: int) -> bool:
    """Whether a file, or a link to it, came after the start of a process, in microseconds of the monotonic clock.

    What /proc/<pid>/exe says may be read with CAP_SYS_PTRACE only, which not even root has in a container.
    """
    try:
        came = max(os.stat(path).st_ctime, os.lstat(path).st_ctime)
    except OSError:
        return False
    return started > 0 and time.time() - time.monotonic() + started / 1e6 < came


def refusals(hosts: Mapping[str, Mapping[str, Any]], package: str, major: str, allowed: bool) -> list[str]:
    """What speaks against it, in words.

    `hosts`: name to what the module package_upgrade_info found there; `major`: the variable that permits another major
    version, '' if that is of no matter; `allowed`: its value.
    """
    found = []
    for name, host in hosts.items():
        before, after = host["installed"], host["wanted"]
        if not before:
            found.append(f"{package} is not installed on {name}: set it up first, an upgrade installs nothing")
        elif not host["offered"]:
            found.append(f"no source of {name} has {package} {after}: look at `apt-cache policy {package}` there")
        elif major and release(after) < release(before):
            found.append(
                f"{name} would go from {before} back to {after}, which need not understand the data that are there: "
                "name a later version"
            )
        elif major and release(after)[0] != release(before)[0] and not allowed:
            found.append(
                f"{name} would go from {before} to {after}, another major version, and there is no way back once the "
                f"first of them is master: read its release notes, take a copy of the data, then set {major}: true for "
                "this run"
            )
    wanted = {name: host["wanted"] for name, host in hosts.items() if host["installed"]}
    if len(set(wanted.values())) > 1:
        found.append(
            f"they would have different versions of {package} ("
            + ", ".join(f"{name}: {version}" for name, version in wanted.items())
            + "): give them the same package sources"
        )
    return found
