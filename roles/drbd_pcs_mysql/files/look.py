# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Looks at a member of the pair before anything is done to it. Called with one JSON object, answers with one."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


def run(*argv: str) -> str:
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""


def memory_mib() -> int:
    match = re.search(r"^MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text(encoding="ascii"), re.MULTILINE)
    return int(match.group(1)) // 1024 if match else 0


def sized_for(settings_file: str) -> int:
    """MiB of memory for which the server's settings were written; 0 if there are none."""
    path = Path(settings_file)
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    match = re.search(r"^# Sized for (\d+) MiB", text, re.MULTILINE)
    return int(match.group(1)) if match else 0


def prefix(address: str) -> int:
    """Length of the network part of the address as this host has it; 0 if it does not have it."""
    for link in json.loads(run("ip", "-json", "-4", "address", "show") or "[]"):
        for entry in link.get("addr_info", []):
            if entry.get("local") == address:
                return int(entry["prefixlen"])
    return 0


def clustered(resource: str) -> bool:
    """Whether the cluster knows the resource, even while it is stopped on this host."""
    if run("cibadmin", "--query", "--local", "--xpath", f"//primitive[@id='{resource}']").strip():
        return True
    try:
        return f'<primitive id="{resource}"' in Path("/var/lib/pacemaker/cib/cib.xml").read_text(encoding="utf-8")
    except OSError:
        return False


def cluster_uses(program: str) -> bool:
    """Whether the server's resource has it as a parameter."""
    query = f"//nvpair[@name='client_binary' and @value='{program}']"
    return bool(run("cibadmin", "--query", "--local", "--xpath", query).strip())


def neighbour(vip: str) -> str:
    """Hardware address of whoever answers for the VIP."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.sendto(b"?", (vip, 9))
    except OSError:
        return ""
    time.sleep(1)
    entries = json.loads(run("ip", "-json", "neighbour", "show", vip) or "[]")
    return next((entry["lladdr"] for entry in entries if "lladdr" in entry), "")


def stranger(mount: str) -> str:
    """Something in the directory that the replicated disk would hide."""
    if os.path.ismount(mount) or not os.path.isdir(mount):
        return ""
    return next((os.path.join(mount, name) for name in sorted(os.listdir(mount)) if name != "lost+found"), "")


def missing_packages(packages: list[str]) -> list[str]:
    out = run("dpkg-query", "--show", "--showformat=${Package} ${Status}\n", *packages)
    present = {line.split()[0] for line in out.splitlines() if line.endswith(" installed")}
    return [package for package in packages if package not in present]


def figures(path: str) -> dict[str, Any]:
    """What was measured on the disk, if it was."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def certificate(folder: str) -> str:
    """The server's certificate, if its key is there, too."""
    try:
        return (Path(folder, "server.key").exists() and Path(folder, "server.crt").read_text(encoding="ascii")) or ""
    except OSError:
        return ""


def look(wish: dict[str, Any]) -> dict[str, Any]:
    known = clustered(wish["resource"])
    return {
        "node": os.uname().nodename,
        "memory_mib": memory_mib(),
        "sized_for": sized_for(wish["settings_file"]),
        "cores": os.cpu_count() or 1,
        "prefix": prefix(wish["address"]),
        "clustered": known,
        "look_known": known and cluster_uses(wish["look_program"]),
        "vip_held_by": "" if known else neighbour(wish["vip"]),
        "stranger": "" if known else stranger(wish["mount"]),
        "certificate": certificate(wish["tls"]),
        "iops": figures(wish["figures"]),
        "missing_packages": missing_packages(wish["packages"]),
        "startable_units": [
            unit for unit in wish["units"] if os.path.realpath(f"/etc/systemd/system/{unit}") != "/dev/null"
        ],
        "fence_devices": run("stonith_admin", "--list-registered").split() if known else [],
    }


if __name__ == "__main__":
    print(json.dumps(look(json.loads(sys.argv[1]))))
