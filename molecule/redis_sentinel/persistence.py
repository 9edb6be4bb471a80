# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the append-only file costs sessions: writes a second with none, one synced every second, one synced always.

    persistence.py [--rounds N] [--requests N] [--clients N] [--bytes N] [--node NODE]

A measurement, not a test. The lab must run and be configured: molecule converge -s redis_sentinel. Servers of their
own run side by side on one node, one per setting, and redis-benchmark asks one after the other, N rounds of it, so that
what else the machine does hits all alike. A write is a session's: SETEX of some hundred bytes for two weeks. The
figures are medians of the rounds. Results: .lab/reports/redis_persistence.json and .md.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "molecule"))

from lab import outcome, remote  # noqa: E402
from lab.definitions import LabError, Node, load  # noqa: E402

SETTINGS = {  # name, its server's options
    "no file": "--appendonly no",
    "no": "--appendonly yes --appendfsync no",
    "everysec": "--appendonly yes --appendfsync everysec",
    "always": "--appendonly yes --appendfsync always",
}
FIRST_PORT = 7000
FOLDER = "/var/lib/redis-persistence"  # on the disk that /var/lib/redis is on
FORTNIGHT = 14 * 86400


def start(node: Node) -> None:
    for number, options in enumerate(SETTINGS.values()):
        port = FIRST_PORT + number
        remote.run(
            node,
            f"mkdir -p {FOLDER}/{port} && redis-server --port {port} --bind 127.0.0.1 --save '' --daemonize yes"
            f" --dir {FOLDER}/{port} --pidfile {FOLDER}/{port}/pid {options}"
            f" && for _ in $(seq 50); do redis-cli -p {port} ping 2>/dev/null && exit; sleep 0.1; done; exit 1",
        )


def stop(node: Node) -> None:
    ports = " ".join(str(FIRST_PORT + number) for number in range(len(SETTINGS)))
    remote.run(node, f"for p in {ports}; do redis-cli -p $p shutdown nosave 2>/dev/null; done; rm -rf {FOLDER}", 30)


def measure(node: Node, port: int, given: argparse.Namespace) -> tuple[float, float]:
    """(writes a second, milliseconds within which 99 % were answered)"""
    remote.run(node, f"redis-cli -p {port} flushall")
    output = remote.run(
        node,
        f"redis-benchmark -p {port} -n {given.requests} -c {given.clients} -r 100000 --csv"
        f" SETEX session:__rand_int__ {FORTNIGHT} {'x' * given.bytes}",
        timeout=300,
    )
    rows = list(csv.DictReader(output.splitlines()))
    if len(rows) != 1:
        raise LabError(f"redis-benchmark said {output!r}")
    return float(rows[0]["rps"]), float(rows[0]["p99_latency_ms"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=20000)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--bytes", type=int, default=400)
    parser.add_argument("--node", default="redis1")
    given = parser.parse_args()
    node = load("redis_sentinel").node(given.node)
    load_before = outcome.slowness()
    figures: dict[str, list[tuple[float, float]]] = {name: [] for name in SETTINGS}
    try:
        stop(node)
        start(node)
        for number in range(given.rounds):
            for place, name in enumerate(SETTINGS):
                figures[name].append(measure(node, FIRST_PORT + place, given))
            print(f"round {number + 1}: {', '.join(f'{n} {figures[n][-1][0]:.0f}/s' for n in SETTINGS)}", flush=True)
    finally:
        stop(node)
    rates = {name: statistics.median(rate for rate, _ms in rounds) for name, rounds in figures.items()}
    lines = ["| append-only file, synced | writes a second | ratio | 99 % within |", "|---|---|---|---|"]
    for name, rate in rates.items():
        slow = statistics.median(ms for _rate, ms in figures[name])
        lines.append(f"| {name} | {rate:.0f} | {rate / rates['no file']:.2f} | {slow:.1f} ms |")
    table = "\n".join(lines)
    print(table)
    results = {"figures": figures, "given": vars(given), "load": [load_before, outcome.slowness()]}
    outcome.save("redis_persistence", results, table)
    return 0


if __name__ == "__main__":
    outcome.end(main)
