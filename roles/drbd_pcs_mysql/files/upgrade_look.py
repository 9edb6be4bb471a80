# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which version of the server a host has and could have. Called with one JSON object, answers with one.

`package` is the server's; all installed packages of its source go with it. `stale` says whether the running server is
older than the installed one.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any


def run(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"}).stdout


def installed(package: str, listing: str) -> dict[str, str]:
    """Packages that come from the same source as `package`, with their versions."""
    rows = [line.split() for line in listing.splitlines() if len(line.split()) == 4 and line.endswith("installed")]
    source = next((row[1] for row in rows if row[0] == package), "")
    return {row[0]: row[2] for row in rows if row[1] == source}


def candidate(policy: str) -> str:
    match = re.search(r"^\s+Candidate: (\S+)", policy, re.MULTILINE)
    return match.group(1) if match else ""


def offered(policy: str, version: str) -> bool:
    return re.search(rf"^\s+(?:\*\*\* )?{re.escape(version)} \d+$", policy, re.MULTILINE) is not None


def stale(pid_file: Path) -> bool:
    try:
        return os.readlink(f"/proc/{pid_file.read_text(encoding='ascii').strip()}/exe").endswith(" (deleted)")
    except OSError:
        return False


def main() -> None:
    wish: dict[str, Any] = json.loads(sys.argv[1])
    listing = run("dpkg-query", "--show", "--showformat=${Package} ${source:Package} ${Version} ${db:Status-Status}\n")
    packages = installed(wish["package"], listing)
    policy = run("apt-cache", "policy", wish["package"])
    version = packages.get(wish["package"], "")
    print(
        json.dumps(
            {
                "installed": version,
                "wanted": wish["version"] or candidate(policy) or version,
                "offered": not wish["version"] or offered(policy, wish["version"]),
                "packages": sorted(packages),
                "stale": stale(Path(wish["pid"])),
            }
        )
    )


if __name__ == "__main__":
    main()
