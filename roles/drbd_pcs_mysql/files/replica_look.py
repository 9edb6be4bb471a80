# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Looks at a read replica before anything is done to it. Called with one JSON object, answers with one.

`data` is absent (nothing there), ours (copied by this role), or foreign (somebody's); `fresh` if it was copied and
never followed the primary yet. `replicates` says whether both replication threads run, `error` what they say if not.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

# The server's own stop of a thread, as opposed to a primary that is away for a moment.
STOPPED = ("Last_SQL_Error", "Last_IO_Error")


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
    for link in json.loads(run("ip", "-json", "-4", "address", "show") or "[]"):
        for entry in link.get("addr_info", []):
            if entry.get("local") == address:
                return int(entry["prefixlen"])
    return 0


def missing_packages(packages: list[str]) -> list[str]:
    out = run("dpkg-query", "--show", "--showformat=${Package} ${Status}\n", *packages)
    present = {line.split()[0] for line in out.splitlines() if line.endswith(" installed")}
    return [package for package in packages if package not in present]


def data(datadir: Path, markers: list[str]) -> str:
    if not datadir.is_dir() or not any(datadir.iterdir()):
        return "absent"
    return "ours" if any(Path(marker).exists() for marker in markers) else "foreign"


def free_mib(path: Path) -> int:
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free // 2**20


def status(text: str) -> dict[str, str]:
    """SHOW REPLICA STATUS\\G as a dictionary."""
    pairs = (line.strip().split(":", 1) for line in text.splitlines() if ":" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def look(wish: dict[str, Any]) -> dict[str, Any]:
    datadir = Path(wish["datadir"])
    found = status(run(wish["client"], "--socket", wish["socket"], "--execute", "SHOW REPLICA STATUS\\G"))
    return {
        "memory_mib": memory_mib(),
        "sized_for": sized_for(wish["settings_file"]),
        "cores": os.cpu_count() or 1,
        "prefix": prefix(wish["address"]),
        "missing_packages": missing_packages(wish["packages"]),
        "data": data(datadir, wish["markers"]),
        "fresh": Path(wish["markers"][0]).exists(),
        "free_mib": free_mib(datadir),
        "source": f"{found.get('Master_Host', '')}:{found.get('Master_Port', '')}",
        "user": found.get("Master_User", ""),
        "certificates": found.get("Master_SSL_CA_File", ""),
        "replicates": {found.get("Slave_IO_Running"), found.get("Slave_SQL_Running")} == {"Yes"},
        "running": bool(run(wish["client"], "--socket", wish["socket"], "--execute", "SELECT 1")),
        "error": " ".join(filter(None, (found.get(name, "") for name in STOPPED))),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(look(json.loads(sys.argv[1]))))
