# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A cached object against the same file from bare Nginx on the same node, in turns.

bench.py EDGE_NODE CLIENT_NODE ADDRESS --rounds 3 --seconds 4      (nodes: names of containers)

wrk asks over TLS from the client's node. Prints as JSON, for each path, the requests a second of both and the processor
time that their workers spent on one request, with the ratios. On a busy machine both move by more than the two differ.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys

PATHS = ("/pages/1k", "/pages/100k")
SERVERS = {"cdn": (443, "/run/nginx-cdn/nginx.pid"), "bare": (8443, "/run/nginx.pid")}
TICK = os.sysconf("SC_CLK_TCK")
TICKS = "for w in $(cat /proc/$(cat {pid})/task/$(cat {pid})/children); do cut -d')' -f2 /proc/$w/stat; done"


def on(node: str, *command: str) -> str:
    return subprocess.run(("docker", "exec", node, *command), capture_output=True, text=True, check=True).stdout


def used(node: str, pid: str) -> float:
    """Seconds of processor time of a server's workers."""
    lines = on(node, "sh", "-c", TICKS.format(pid=pid)).splitlines()
    return sum(int(fields[11]) + int(fields[12]) for fields in map(str.split, lines)) / TICK


def turn(edge: str, client: str, address: str, server: str, path: str, seconds: int) -> tuple[float, float]:
    """Requests a second, and microseconds of processor time for each."""
    port, pid = SERVERS[server]
    before = used(edge, pid)
    said = on(client, "wrk", "-t1", "-c16", f"-d{seconds}s", f"https://{address}:{port}{path}")
    spent = used(edge, pid) - before
    count = re.search(r"(\d+) requests in", said)
    rate = re.search(r"Requests/sec:\s+(\S+)", said)
    assert count and rate and "Non-2xx" not in said, said
    return float(rate[1]), spent / int(count[1]) * 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("edge")
    parser.add_argument("client")
    parser.add_argument("address")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    chosen = parser.parse_args()
    found = {}
    for path in PATHS:
        turns: dict[str, list[tuple[float, float]]] = {server: [] for server in SERVERS}
        for _round in range(chosen.rounds):
            for server in SERVERS:
                turns[server].append(turn(chosen.edge, chosen.client, chosen.address, server, path, chosen.seconds))
        rate, cost = (
            {server: statistics.median(each[i] for each in turns[server]) for server in SERVERS} for i in (0, 1)
        )
        found[path] = {
            "requests_per_second": {server: round(value) for server, value in rate.items()},
            "rate_ratio": round(rate["cdn"] / rate["bare"], 3),
            "microseconds_per_request": {server: round(value, 1) for server, value in cost.items()},
            "cost_ratio": round(cost["bare"] / cost["cdn"], 3),
        }
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
