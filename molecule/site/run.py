# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The whole site under test: built from nothing, run again, seen in a browser; on demand, drilled.

run.py [STEP …]     all steps, or those named; a table of times goes to .lab/reports/site-test.md
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "molecule"))

from lab import site  # noqa: E402
from lab.definitions import LabError, load  # noqa: E402

REPORTS = ROOT / ".lab" / "reports"
# Chromium for the browser's walk, if the machine has none.
BROWSER = "command -v chromedriver || (apt-get -qq update && apt-get -qq install -y chromium chromium-driver)"


def command(*arguments: str) -> None:
    code = subprocess.call([sys.executable, *arguments], cwd=ROOT)
    if code != 0:
        raise LabError(f"{' '.join(arguments)}: exit status {code}")


def nothing_changed(*arguments: str) -> None:
    number = site.changed(site.playbook(load("site"), "site", *arguments))
    if number:
        raise LabError(f"site.yml {' '.join(arguments)} on the finished site reports {number} changed tasks; must be 0")


def browser() -> None:
    subprocess.run(["sh", "-c", BROWSER], check=True, stdout=subprocess.DEVNULL)
    command("-m", "pytest", "molecule/site/tests")


STEPS: dict[str, Callable[[], object]] = {
    "no leftovers": lambda: command("molecule/lab", "down", "site"),
    "empty nodes": lambda: command("molecule/lab", "up", "site"),
    "check on empty nodes": lambda: site.playbook(load("site"), "site", "--check", "--diff"),
    "make site": lambda: command("molecule/lab", "site"),
    "second run": nothing_changed,
    "check on the finished site": lambda: nothing_changed("--check", "--diff"),
    "browser": browser,
    "drills": lambda: command("molecule/site/drill.py"),
}


def main() -> int:
    chosen = sys.argv[1:] or [name for name in STEPS if name != "drills"]
    rows = ["| step | seconds |", "|---|---|"]
    REPORTS.mkdir(parents=True, exist_ok=True)
    try:
        for name in chosen:
            print(f"\n==> site: {name}", flush=True)
            begin = time.monotonic()
            STEPS[name]()
            rows.append(f"| {name} | {time.monotonic() - begin:.0f} |")
            print(f"==> site: {name}: {time.monotonic() - begin:.0f} s", flush=True)
    except LabError as error:
        print(f"\nsite: {name} failed: {error}", flush=True)
        return 1
    finally:
        (REPORTS / "site-test.md").write_text("\n".join(rows) + "\n", encoding="utf-8")
    print("\n".join(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
