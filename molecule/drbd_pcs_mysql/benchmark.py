# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the role's server settings and the replication do to throughput: sysbench, side by side on one node, in turns.

    benchmark.py settings [--iops 800] [--seconds 30] [--rounds 2]
        on the passive member, in a data directory of its own: Debian's default configuration, the same with a binary
        log that is as safe as ours, and ours; the disk is limited to --iops reads and as many writes (0: not limited)
    benchmark.py replication [--seconds 30] [--rounds 2]
        on the active member, through its socket: DRBD connected against disconnected

The lab must run and be configured (molecule converge -s drbd_pcs_mysql). Results are printed as tables and left in
.lab/reports/benchmark-<what>.json and .md. Figures of one machine: read the ratios.
"""

from __future__ import annotations

import argparse
import re
import shlex
import statistics
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "molecule"), str(ROOT / "molecule" / "drbd_pcs_mysql")]

from lab import outcome  # noqa: E402
from lab.definitions import LabError, load  # noqa: E402
from pair import Pair  # noqa: E402

TABLES = 4
ROWS = 300_000  # about 300 MiB: more than Debian's buffer pool of 128 MiB, less than ours
# Fit into any pool, because only writes are of interest; and twice, with their binary log, on the disk.
ROWS_REPLICATED = 50_000
HOME = "/var/tmp/benchmark"
SOCKET = f"{HOME}/socket"
MIXES = {
    "19 reads, 1 write": "oltp_read_write --point_selects=15 --non_index_updates=0 --delete_inserts=0",
    "14 reads, 4 writes (sysbench's own mix)": "oltp_read_write",
}
DEBIAN = "/etc/mysql/mariadb.conf.d/50-server.cnf"
OURS = "/etc/mysql/mariadb.conf.d/90-ha-stack.cnf"
CONFIGURATIONS = {
    "Debian's": (DEBIAN, ""),
    "Debian's + safe binary log": (DEBIAN, "--log-bin=binlog --sync-binlog=1 --binlog-format=ROW --server-id=1"),
    "ours": (OURS, ""),
}
PLACES = (
    f"--datadir={HOME}/data --socket={SOCKET} --pid-file={HOME}/pid --skip-networking --user=mysql "
    f"--log-error={HOME}/error.log --slow-query-log-file={HOME}/slow.log"
)
LINE = re.compile(r"transactions:\s+\d+\s+\((?P<tps>[\d.]+) per sec|95th percentile:\s+(?P<p95>[\d.]+)")


def parse(output: str) -> dict[str, float]:
    """`tps` (transactions a second) and `p95` (milliseconds) of sysbench's report; LabError if it has none."""
    found = {name: float(text) for match in LINE.finditer(output) for name, text in match.groupdict().items() if text}
    if set(found) != {"tps", "p95"}:
        raise LabError(f"sysbench reported nothing:\n{output[-1000:]}")
    return found


def command(script: str, socket: str, rows: int) -> str:
    return (
        f"sysbench {script} --db-driver=mysql --mysql-socket={socket} --mysql-user=root --mysql-db=sbtest "
        f"--tables={TABLES} --table-size={rows}"
    )


def sysbench(
    pair: Pair, member: str, mix: str, seconds: int, threads: int, socket: str, warm_up: int, rows: int = ROWS
) -> dict[str, float]:
    options = f"--rand-type=pareto --threads={threads} --mysql-ignore-errors=1213,1020,1205"
    line = f"{command(mix, socket, rows)} {options} --time="
    # A run that is thrown away warms up: Debian's sysbench has no option for it.
    warm = f"{line}{warm_up} run >/dev/null && " if warm_up else ""
    return parse(pair.ssh(member, f"{warm}{line}{seconds} run", timeout=seconds + warm_up + 120))


def prepare(pair: Pair, member: str, socket: str, rows: int = ROWS) -> None:
    pair.ssh(member, f"mariadb --socket={socket} -e 'CREATE OR REPLACE DATABASE sbtest'")
    pair.ssh(
        member,
        f"{command('oltp_read_write', socket, rows)} --threads=2 prepare",
        timeout=900,
    )


def install(pair: Pair, member: str) -> None:
    pair.ssh(
        member,
        "command -v sysbench || { apt-get update -q && apt-get install -qy --no-install-recommends sysbench; }",
        300,
    )


def serve(pair: Pair, member: str, file: str, options: str, iops: int) -> None:
    """Start the benchmark's own server with a configuration; its disk, /dev/ubda, limited as a unit's I/O."""
    limits = f"-p IOReadIOPSMax='/dev/ubda {iops}' -p IOWriteIOPSMax='/dev/ubda {iops}'" if iops else ""
    start = (
        f"sync; echo 3 > /proc/sys/vm/drop_caches; systemctl reset-failed benchmark 2>/dev/null; systemd-run --quiet "
        f"--unit=benchmark {limits} mariadbd --defaults-file={file} {PLACES} {options} && "
        f"for _ in $(seq 240); do mariadb --socket={SOCKET} -e 'SELECT 1' >/dev/null 2>&1 && exit 0; "
        f"sleep 0.5; done; tail -20 {HOME}/error.log >&2; exit 1"
    )
    pair.ssh(member, start, timeout=180)


def end(pair: Pair, member: str) -> None:
    pair.ssh(member, "systemctl stop benchmark", timeout=300)


def settings(pair: Pair, seconds: int, rounds: int, iops: int) -> dict[str, Any]:
    member = pair.other(pair.active())
    install(pair, member)
    setup = (
        f"systemctl stop benchmark 2>/dev/null; rm -rf {HOME} && install -d -o mysql -g mysql {HOME} && "
        f"mariadb-install-db --defaults-file={DEBIAN} --user=mysql --datadir={HOME}/data "
        "--auth-root-authentication-method=socket"
    )
    pair.ssh(member, setup, timeout=120)
    results: dict[str, dict[str, list[dict[str, float]]]] = {
        mix: {name: [] for name in CONFIGURATIONS} for mix in MIXES
    }
    try:
        serve(pair, member, OURS, "--skip-log-bin", 0)
        prepare(pair, member, SOCKET)
        end(pair, member)
        for _round in range(rounds):
            for name, (file, options) in CONFIGURATIONS.items():
                serve(pair, member, file, options, iops)
                for mix, script in MIXES.items():
                    found = sysbench(pair, member, script, seconds, 8, SOCKET, seconds // 2)
                    print(
                        f"{name:28} {mix:40} {found['tps']:8.1f} transactions/s, 95 %: {found['p95']:.1f} ms",
                        flush=True,
                    )
                    results[mix][name].append(found)
                end(pair, member)
    finally:
        pair.ssh(member, f"systemctl stop benchmark 2>/dev/null; rm -rf {HOME}", timeout=300)
    return {"iops": iops, "results": results}


def drbd(pair: Pair, active: str, connected: bool) -> None:
    """Connect or disconnect the replication, on the passive side, and wait until it is so."""
    passive = pair.other(active)
    pair.ssh(passive, "drbdadm adjust mysql" if connected else "drbdadm disconnect mysql", timeout=60)
    wanted = "UpToDate/UpToDate" if connected else "UpToDate/(DUnknown|Outdated)"
    look = f"drbdadm dstate mysql | grep -Eqx {shlex.quote(wanted)}"
    pair.ssh(active, f"for _ in $(seq 600); do {look} && exit 0; sleep 0.5; done; exit 1", 320)


def replication(pair: Pair, seconds: int, rounds: int) -> dict[str, Any]:
    active = pair.active()
    socket = "/run/mysqld/mysqld.sock"
    install(pair, active)
    names = ("connected", "disconnected")
    results: dict[str, dict[str, list[dict[str, float]]]] = {
        f"{threads} client{'s' * (threads > 1)}": {name: [] for name in names} for threads in (1, 8)
    }
    # The agents must not mend what is disconnected here on purpose.
    pair.ssh(active, "pcs property set maintenance-mode=true")
    try:
        prepare(pair, active, socket, ROWS_REPLICATED)
        for _round in range(rounds):
            for name in names:
                drbd(pair, active, name == "connected")
                for clients, found in results.items():
                    threads = int(clients.split()[0])
                    measured = sysbench(pair, active, "oltp_write_only", seconds, threads, socket, 5, ROWS_REPLICATED)
                    found[name].append(measured)
                    print(f"{name:14} {clients:10} {found[name][-1]}", flush=True)
    finally:
        try:
            drbd(pair, active, True)
        finally:
            away = "mariadb -e 'DROP DATABASE IF EXISTS sbtest'; pcs property set maintenance-mode=false"
            pair.ssh(active, away, timeout=120)
    ping = pair.ssh(active, f"ping -q -c 20 -i 0.1 {pair.lab.node(pair.other(active)).address}", 30)
    round_trip = float(ping.rsplit("=", 1)[1].split("/")[1])
    print(f"round trip between the members: {round_trip:.2f} ms")
    return {"round_trip_ms": round_trip, "results": results}


def table(results: dict[str, dict[str, list[dict[str, float]]]]) -> str:
    """Medians of the rounds, and each against the first configuration."""
    names = list(next(iter(results.values())))
    rows = ["| | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for mix, found in results.items():
        median = {n: {key: statistics.median(r[key] for r in found[n]) for key in ("tps", "p95")} for n in names}
        first = median[names[0]]
        cells = [
            f"{m['tps']:.0f}/s ({m['tps'] / first['tps']:.2f}×), "
            f"95 % in {m['p95']:.1f} ms ({m['p95'] / first['p95']:.2f}×)"
            for m in median.values()
        ]
        rows.append(f"| {mix} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("settings", "replication"))
    parser.add_argument("--seconds", type=int, default=30, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=2, help="all in turns, so often; the table has the medians")
    parser.add_argument("--iops", type=int, default=800, help="settings: limit of the disk; 0 is none")
    arguments = parser.parse_args()
    lab = load("drbd_pcs_mysql")
    pair = Pair(lab)
    pair.wait_healthy(60)
    if arguments.what == "settings":
        found = settings(pair, arguments.seconds, arguments.rounds, arguments.iops)
    else:
        found = replication(pair, arguments.seconds, arguments.rounds)
    outcome.save(f"benchmark-{arguments.what}", found, table(found["results"]))
    print(table(found["results"]))
    return 0


if __name__ == "__main__":
    outcome.end(main)
