# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What several modules ask of a host, and how they write its files."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

NEIGHBOUR_SECONDS = 1


def write(path: Path, text: str, mode: int) -> None:
    """Written, on disk and with its final mode before it has its name; its folder must be there."""
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as out:
        os.fchmod(out.fileno(), mode)
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    partial.rename(path)


RUNS = ("active", "activating", "reloading")  # words of ActiveState


def unit(module: AnsibleModule, name: str, *properties: str) -> dict[str, str]:
    """These properties of a unit, as `systemctl show` says them; of a unit that is not there, too."""
    shown = module.run_command(["systemctl", "show", f"--property={','.join(properties)}", name])[1]
    return dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)


def missing_packages(module: AnsibleModule, packages: list[str]) -> list[str]:
    """Those of Debian's packages that are not installed."""
    if not packages:
        return []
    _rc, out, _err = module.run_command(["dpkg-query", "--show", "--showformat=${Package} ${Status}\n", *packages])
    present = {line.split()[0] for line in out.splitlines() if line.endswith(" installed")}
    return [package for package in packages if package not in present]


def addresses(module: AnsibleModule) -> dict[str, int]:
    """The host's addresses with the lengths of their network parts."""
    _rc, out, _err = module.run_command(["ip", "-json", "address", "show"])
    return {
        entry["local"]: int(entry["prefixlen"])
        for link in json.loads(out or "[]")
        for entry in link.get("addr_info", [])
        if "local" in entry
    }


def neighbour(module: AnsibleModule, address: str) -> str:
    """Hardware address of whoever answers for an address; empty if nobody does."""
    try:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.sendto(b"?", (address, 9))
    except OSError:
        return ""
    deadline = time.monotonic() + NEIGHBOUR_SECONDS
    while time.monotonic() < deadline:
        _rc, out, _err = module.run_command(["ip", "-json", "neighbour", "show", address])
        for entry in json.loads(out or "[]"):
            if "lladdr" in entry and "FAILED" not in entry.get("state", []):
                return entry["lladdr"]
        time.sleep(NEIGHBOUR_SECONDS / 5)
    return ""
