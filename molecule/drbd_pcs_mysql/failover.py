# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where the seconds of a failover go: cuts or moves the active member under a writer, and takes the time apart.

    failover.py [--lab drbd_pcs_mysql] [--planned] [--times 3]

The lab must run and be configured (molecule converge -s drbd_pcs_mysql, or make site). A client writes numbered records
through the VIP. --planned runs playbooks/switchover.yml instead of the power cut. The parts are read from the journal
of the member that takes over; each is the time from the event before to this one, in seconds. Pacemaker
runs mostly shell scripts: how many processes were started in the meantime, and what one costs in the member's kernel
and on this machine, tells how much of the time is the lab's, whose members start processes slowly. Results are printed
as a table and left in .lab/reports/failover[-planned].json and .md. Exit status 1 if an acknowledged record is lost.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "molecule"), str(ROOT / "molecule" / "drbd_pcs_mysql")]

from lab import outcome  # noqa: E402
from lab.definitions import LabError, load  # noqa: E402
from pair import REPORTS, Pair, Writing  # noqa: E402

# What the journal says at the end of each part, in the order in which they are expected; the first match counts.
PARTS = (
    ("corosync: token lost", r"token timed out|A processor failed"),
    ("corosync: new membership", r"A new membership .* Members left"),
    ("fenced", r"pacemaker-fenced.*(?:Operation|fencing).*(?:reboot|off).*(?:OK|complete|succe)"),
    ("server stopped", r"Result of stop operation for mysql-server\b.*: ok"),
    ("filesystem unmounted", r"Result of stop operation for mysql-fs\b.*: ok"),
    ("DRBD demoted", r"Result of demote operation for mysql-drbd\b.*: ok"),
    ("DRBD promotion asked for", r"Requesting local execution of promote operation for mysql-drbd\b"),
    ("DRBD promoted", r"Result of promote operation for mysql-drbd\b.*: ok"),
    ("filesystem mounted", r"Result of start operation for mysql-fs\b.*: ok"),
    ("VIP up", r"Result of start operation for mysql-vip\b.*: ok"),
    ("server asked to start", r"Requesting local execution of start operation for mysql-server\b"),
)


@dataclass(frozen=True)
class Event:
    name: str
    at: float


def events(journals: Iterable[str], begin: float, end: float) -> list[Event]:
    """The parts' ends that journals (`journalctl --output=short-unix`) tell of between two times, in order of time."""
    found: dict[str, float] = {}
    lines: list[tuple[float, str]] = []
    for journal in journals:
        for line in journal.splitlines():
            stamp, _space, text = line.partition(" ")
            with contextlib.suppress(ValueError):
                lines.append((float(stamp), text))
    for at, text in sorted(lines):
        if not begin <= at <= end:
            continue
        for name, pattern in PARTS:
            if name not in found and re.search(pattern, text, re.IGNORECASE):
                found[name] = at
    return sorted((Event(name, at) for name, at in found.items()), key=lambda event: event.at)


def breakdown(begin: float, found: list[Event], end: float) -> dict[str, float]:
    """Seconds of each part between the last acknowledgement before (`begin`) and the first one after (`end`)."""
    parts: dict[str, float] = {}
    before = begin
    for event in found:
        parts[event.name] = round(event.at - before, 2)
        before = event.at
    parts["first commit"] = round(end - before, 2)
    return parts


COUNT = "awk '$1 == \"processes\" {print $2}' /proc/stat"
START = "for n in $(seq 200); do /bin/true; done"


def process_ms(run: Callable[[str], object]) -> float:
    """Milliseconds that it takes to start a process and wait for it, where `run` runs a command line with bash."""
    begin = time.monotonic()
    run("true")
    empty = time.monotonic()
    run(START)
    return round((time.monotonic() - empty - (empty - begin)) * 1000 / 200, 2)


def switch_over(pair: Pair) -> None:
    log = REPORTS / "failover-switchover.log"
    if not pair.play("playbooks/switchover.yml", log).good:
        raise LabError(f"playbooks/switchover.yml failed:\n{log.read_text(encoding='utf-8')[-2000:]}")


def measure(pair: Pair, planned: bool) -> dict[str, Any]:
    active = pair.active()
    survivor = pair.other(active)
    with Writing(pair, "failover-writer") as writing:
        time.sleep(4)
        # What is only in memory of the nodes' logs would be lost with their power.
        pair.ssh(active, "sync")
        cut = time.time()
        before = int(pair.ssh(survivor, COUNT))
        if planned:
            switch_over(pair)
        else:
            pair.power("off", active)
        writing.wait_back(cut, 120)
        started = int(pair.ssh(survivor, COUNT)) - before
        time.sleep(2)
    report = writing.report()
    journal = f"journalctl --output=short-unix --no-pager --since=@{int(cut) - 1} -u corosync -u pacemaker"
    journals = [pair.ssh(survivor, journal)] + ([pair.ssh(active, journal)] if planned else [])
    begin = report["gap_at"]
    end = begin + report["gap_seconds"]
    result = {
        "what": "planned switch-over" if planned else "power cut of the active member",
        "from": active,
        "to": survivor,
        **report,
        "parts": breakdown(begin, events(journals, begin, end), end),
    }
    result["whole_again_seconds"] = round(pair.wait_healthy(), 1)
    result["processes"] = started
    result["process_ms"] = process_ms(lambda line: pair.ssh(survivor, f"bash -c {shlex.quote(line)}"))
    result["process_ms_here"] = process_ms(lambda line: subprocess.run(["bash", "-c", line], check=True))
    return result


def table(results: list[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(name for result in results for name in result["parts"]))
    runs = " | ".join(f"{r['from']} → {r['to']}" for r in results)
    rows = [f"| {results[0]['what']} | {runs} |", "|---|" + "---|" * len(results)]
    for name in names:
        rows.append(f"| {name} | " + " | ".join(f"{r['parts'].get(name, 0):.2f}" for r in results) + " |")
    rows.append("| **gap, s** | " + " | ".join(f"**{r['gap_seconds']:.2f}**" for r in results) + " |")
    cost = (f"{r['processes']} × {r['process_ms']} ms ({r['process_ms_here']} ms)" for r in results)
    rows.append("| processes started in it, at a cost of (on this machine) | " + " | ".join(cost) + " |")
    rows.append("| acknowledged / lost | " + " | ".join(f"{r['acknowledged']} / {r['lost']}" for r in results) + " |")
    rows.append("| whole again after, s | " + " | ".join(f"{r['whole_again_seconds']:.0f}" for r in results) + " |")
    return "\n".join(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lab", default="drbd_pcs_mysql", help="drbd_pcs_mysql or site")
    parser.add_argument("--planned", action="store_true", help="a switch-over instead of a power cut")
    parser.add_argument("--times", type=int, default=1, help="how often, back and forth")
    arguments = parser.parse_args()
    pair = Pair(load(arguments.lab))
    pair.wait_healthy(20)
    results = [measure(pair, arguments.planned) for _time in range(arguments.times)]
    outcome.save("failover-planned" if arguments.planned else "failover", results, table(results))
    print(table(results))
    return 1 if any(result["lost"] for result in results) else 0


if __name__ == "__main__":
    outcome.end(main)
