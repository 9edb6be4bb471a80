# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The whole site under test: built, seen in a browser, rid of one node after the other while customers order."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STEPS = [
    ["molecule/lab", "site"],
    ["-m", "pytest", "molecule/site/tests"],
    ["molecule/site/drill.py"],
]


def main() -> int:
    for step in STEPS:
        print(f"==> {' '.join(step)}", flush=True)
        code = subprocess.call([sys.executable, *step], cwd=ROOT)
        if code != 0:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
