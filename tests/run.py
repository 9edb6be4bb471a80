# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""`make test`: every check and test in order, each timed, limited and logged.

    python tests/run.py [STEP …]      all steps, or those named (lint … <scenario> … site)

A step that fails shows the end of its log, and the next one runs. Times go to .lab/reports/test-times.md.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
REPORTS = ROOT / ".lab" / "reports"
PYTHON = str(BIN / "python")
LAB = [PYTHON, "molecule/lab"]
TAIL = 60


@dataclass(frozen=True)
class Step:
    """Commands that run one after the other; `limit` is in seconds for all of them."""

    name: str
    commands: tuple[tuple[str, ...], ...]
    limit: int = 600


def steps() -> list[Step]:
    lint = (
        (str(BIN / "ruff"), "check", "."),
        (str(BIN / "ruff"), "format", "--check", "."),
        (str(BIN / "mypy"), "molecule/lab", "tests"),
        (str(BIN / "mypy"), "molecule/site", "molecule/shop/shop"),
        (str(BIN / "mypy"), "-p", "ansible_collections.cloudexit.ha_stack.plugins"),
        (str(BIN / "yamllint"), "."),
        (str(BIN / "antsibull-changelog"), "lint"),
        (str(BIN / "ansible-lint"), "--nocolor"),
    )
    found = [
        Step("lint", lint),
        Step("sanity", ((PYTHON, "tests/sanity.py"),)),
        Step("unit", ((str(BIN / "pytest"), "tests/unit"),)),
        Step("shop", ((PYTHON, "tests/shop.py"),)),
    ]
    for scenario in sorted(path.parent.name for path in ROOT.glob("molecule/*/molecule.yml")):
        command = (str(BIN / "molecule"), "test", "-s", scenario)
        found.append(Step(scenario, ((str(BIN / "molecule"), "reset", "-s", scenario), command), limit=900))
    if (ROOT / "molecule/site/run.py").exists():
        found.append(Step("site", ((PYTHON, "molecule/site/run.py"),), limit=2700))
    return found


def run(step: Step, log_file: Path) -> bool:
    """Whether all commands of the step succeeded within its time; everything they print goes to the log."""
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "NO_COLOR": "1", "ANSIBLE_FORCE_COLOR": "0"}
    deadline = time.monotonic() + step.limit
    with open(log_file, "w", encoding="utf-8") as log:
        for command in step.commands:
            log.write(f"$ {' '.join(command)}\n")
            log.flush()
            # A group of its own, so that a step which hangs is ended with all that it started.
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            try:
                code = process.wait(timeout=max(1.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.write(f"\nstopped: the step took longer than {step.limit} s\n")
                code = -1
            except KeyboardInterrupt:
                os.killpg(process.pid, signal.SIGKILL)
                raise
            if code != 0:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                return False
    return True


def main() -> int:
    wanted = sys.argv[1:]
    chosen = [step for step in steps() if step.name in wanted or not wanted]
    unknown = set(wanted) - {step.name for step in chosen}
    if unknown:
        print(f"no step {', '.join(sorted(unknown))}; there are {', '.join(step.name for step in steps())}")
        return 2
    REPORTS.mkdir(parents=True, exist_ok=True)
    # What a run that was killed, or another clone, left behind must not be in the way.
    subprocess.run([*LAB, "down", "--all"], cwd=ROOT, check=False)
    results: list[tuple[str, float, bool]] = []
    for number, step in enumerate(chosen, 1):
        print(f"==> [{number}/{len(chosen)}] {step.name}", flush=True)
        begin = time.monotonic()
        log_file = REPORTS / f"test-{step.name}.log"
        good = run(step, log_file)
        results.append((step.name, time.monotonic() - begin, good))
        print(f"    {'ok' if good else 'FAILED'} {results[-1][1]:.0f} s", flush=True)
        if not good:
            lines = log_file.read_text(encoding="utf-8", errors="replace").splitlines()
            print("\n".join(f"    | {line}" for line in lines[-TAIL:]))
            print(f"    the whole log: {log_file.relative_to(ROOT)}", flush=True)
            if step.name not in ("lint", "sanity", "unit"):
                subprocess.run([*LAB, "down", step.name], cwd=ROOT, check=False)
    table = ["| step | seconds | result |", "|---|---|---|"]
    table += [f"| {name} | {seconds:.0f} | {'ok' if good else 'failed'} |" for name, seconds, good in results]
    (REPORTS / "test-times.md").write_text("\n".join(table) + "\n", encoding="utf-8")
    passed = sum(good for _name, _seconds, good in results)
    print("\n".join(table))
    print(f"total {sum(seconds for _name, seconds, _good in results):.0f} s\n")
    print(f"{passed} passed, {len(results) - passed} failed")
    return 0 if passed == len(results) else 1


if __name__ == "__main__":
    sys.exit(main())
