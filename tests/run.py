# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""`make test`: every check and test, two at a time, the whole site alone at the end; each timed, limited and logged.

    python tests/run.py [STEP …]      all steps but those on demand, or those named (lint … <scenario> … site)

With all steps (LAB_SHORT) a scenario that has much to try leaves a part out, and what the site does as well
(.config/molecule/short.yml); named, it tries all.

A step that fails shows the end of its log, and the next one runs. Times go to .lab/reports/test-times.md.
"""

from __future__ import annotations

import concurrent.futures
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
REPORTS = ROOT / ".lab" / "reports"
PYTHON = str(BIN / "python")
LAB = [PYTHON, "molecule/lab"]
TAIL = 60
REASON_LENGTH = 400
LANES = 2
QUICK = ("lint", "sanity", "unit", "shop")  # need no lab
ALONE = "site"  # its drills measure times
# Only by name: a whole run takes an hour without the first two; the third needs Zentyal's source, see its page; the
# fourth builds the whole site once more, on four hosts, and was not yet seen to pass; the fifth runs playbooks that
# other scenarios run, in AWX's way; the last was not run whole.
ON_DEMAND = ("mysql_operations", "zentyal_nat", "zentyal_engine", "staging", "awx", "drill")
REASON = re.compile(r"\s*(fatal:|\[ERROR\]|FAILED |E  |\S+: (error|failed)|\w+: .* failed:|stopped:)")
LONG = {"drbd_pcs_mysql": 5400, "staging": 5400, "drill": 5400}  # all of the bad days; a whole site; every fault
# The longest begin, so that no lane ends with one of them while the other has nothing left.
FIRST = ("drbd_pcs_mysql", "mongo_replset", "nginx_cdn", "rabbitmq_mirror", "redis_sentinel")


@dataclass(frozen=True)
class Step:
    """Commands that run one after the other; `limit` is in seconds for all of them."""

    name: str
    commands: tuple[tuple[str, ...], ...]
    limit: int = 600


def steps(short: bool) -> list[Step]:
    """All there are; `short`: as they are in a run of all of them."""
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
    configs = [".config/molecule/config.yml"] + [".config/molecule/short.yml"] * short
    molecule = (str(BIN / "molecule"), *(word for config in configs for word in ("-c", config)))
    scenarios = sorted(path.parent.name for path in ROOT.glob("molecule/*/molecule.yml"))
    for scenario in sorted(scenarios, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST)):
        command = (*molecule, "test", "-s", scenario)
        reset = (*molecule, "reset", "-s", scenario)
        found.append(Step(scenario, (reset, command), limit=LONG.get(scenario, 1800)))
    if (ROOT / "molecule/site/run.py").exists():
        found.append(Step("site", ((PYTHON, "molecule/site/run.py"),), limit=2700))
    return found


class Runner:
    """Runs steps, each with its log; two may run at once. What they started can be ended from outside."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.running: set[subprocess.Popen[bytes]] = set()
        self.results: list[tuple[str, float, bool]] = []

    def command(self, command: tuple[str, ...], log: IO[str], seconds: float) -> int:
        """Exit status of a command whose output goes to the log; -1 if it takes too long."""
        environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "NO_COLOR": "1", "ANSIBLE_FORCE_COLOR": "0"}
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
        self.running.add(process)
        try:
            return process.wait(timeout=max(1.0, seconds))
        except subprocess.TimeoutExpired:
            log.write("\nstopped: the step took too long\n")
            os.killpg(process.pid, signal.SIGKILL)
            return -1
        finally:
            self.running.discard(process)

    def step(self, step: Step) -> None:
        begin = time.monotonic()
        print(f"==> {step.name}", flush=True)
        log_file = REPORTS / f"test-{step.name}.log"
        with open(log_file, "w", encoding="utf-8") as log:
            good = all(self.command(c, log, begin + step.limit - time.monotonic()) == 0 for c in step.commands)
        seconds = time.monotonic() - begin
        with self.lock:
            self.results.append((step.name, seconds, good))
            print(f"    {step.name}: {'ok' if good else 'FAILED'} {seconds:.0f} s", flush=True)
            if not good:
                lines = log_file.read_text(encoding="utf-8", errors="replace").splitlines()
                print("\n".join(f"    | {line}" for line in lines[-TAIL:]))
                print(f"    the whole log: {log_file.relative_to(ROOT)}", flush=True)
        if not good and step.name not in QUICK:
            subprocess.run([*LAB, "down", step.name], cwd=ROOT, check=False)

    def reason(self, name: str) -> str:
        """The error that ended a step, on one line of at most `REASON_LENGTH` characters.

        It is the last one in the log: those before it were asked for, by tests of what is refused.
        """
        lines = (REPORTS / f"test-{name}.log").read_text(encoding="utf-8", errors="replace").splitlines()
        at = max((number for number, line in enumerate(lines) if REASON.match(line)), default=max(0, len(lines) - 3))
        return f"{name}: {' '.join(' '.join(lines[at : at + 6]).split())}"[:REASON_LENGTH]

    def end(self) -> None:
        for process in list(self.running):
            os.killpg(process.pid, signal.SIGKILL)


def main() -> int:
    wanted = sys.argv[1:]
    if not wanted:
        os.environ["LAB_SHORT"] = "1"
    known = steps("LAB_SHORT" in os.environ)
    chosen = [step for step in known if step.name in wanted or (not wanted and step.name not in ON_DEMAND)]
    unknown = set(wanted) - {step.name for step in chosen}
    if unknown:
        print(f"no step {', '.join(sorted(unknown))}; there are {', '.join(step.name for step in known)}")
        return 2
    REPORTS.mkdir(parents=True, exist_ok=True)
    # What a run that was killed, or another clone, left behind must not be in the way.
    subprocess.run([*LAB, "down", "--all"], cwd=ROOT, check=False)
    begin = time.monotonic()
    runner = Runner()
    pool = concurrent.futures.ThreadPoolExecutor(LANES)
    try:
        for future in [pool.submit(runner.step, step) for step in chosen if step.name != ALONE]:
            future.result()
        for step in chosen:
            if step.name == ALONE:
                runner.step(step)
    except KeyboardInterrupt:
        pool.shutdown(wait=False, cancel_futures=True)
        runner.end()
        print("interrupted; what the steps left is removed by the next run, or by `make clean`")
        return 130
    table = ["| step | seconds | result |", "|---|---|---|"]
    table += [f"| {name} | {seconds:.0f} | {'ok' if good else 'failed'} |" for name, seconds, good in runner.results]
    (REPORTS / "test-times.md").write_text("\n".join(table) + "\n", encoding="utf-8")
    failed = [name for name, _seconds, good in runner.results if not good]
    print("\n".join(table))
    print(f"total {time.monotonic() - begin:.0f} s\n")
    print(f"{len(chosen) - len(failed)} passed, {len(failed)} failed {' '.join(failed)}")
    # At the very end: of a long output that is what is kept and read.
    for name in failed:
        print(runner.reason(name))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
