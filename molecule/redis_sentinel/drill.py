# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A client of the set, through its Sentinels as redis-py does it, while something happens to the set.

    drill.py cut REPORT              write numbered records, cut the master's power, go on until writes are taken again
    drill.py during REPORT COMMAND…  write numbered records while a command runs
    drill.py count REPORT            read the records of that report back

Settings come as JSON on standard input: sentinels, master_name, sentinel_password, user, password, nodes, lab, rto.
"""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from redis.sentinel import Sentinel

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lab import probe

LAB = [sys.executable, str(Path(__file__).resolve().parents[1] / "lab")]


def client(given: dict[str, Any]) -> tuple[Sentinel, Redis]:
    """The Sentinels, and the master whichever it is; nothing is retried, so that every failure is counted."""
    patience = {"socket_timeout": 0.5, "socket_connect_timeout": 0.5, "retry": Retry(NoBackoff(), 0)}
    sentinels = Sentinel(
        [(item["address"], item["port"]) for item in given["sentinels"]],
        sentinel_kwargs={"password": given["sentinel_password"], **patience},
    )
    master = sentinels.master_for(given["master_name"], username=given["user"], password=given["password"], **patience)
    return sentinels, master


def writer(given: dict[str, Any], run: str) -> Callable[[], probe.Send]:
    """What a client's process begins with."""

    def make() -> probe.Send:
        master = client(given)[1]
        return lambda number: master.set(f"drill:{run}:{number}", number, ex=3600) and None

    return make


def write(given: dict[str, Any], fault: list[str]) -> dict[str, Any]:
    """Write while the fault's command runs, and until writes are taken again."""
    run = uuid.uuid4().hex[:8]

    def disturb() -> subprocess.CompletedProcess[str]:
        return subprocess.run(fault, capture_output=True, text=True, check=False)

    tallies, ended = probe.run({"client": writer(given, run)}, (RedisError,), disturb)
    if ended.returncode:
        sys.exit(f"{' '.join(fault)} failed:\n{ended.stdout}{ended.stderr}")
    at = client(given)[0].discover_master(given["master_name"])[0]
    master = next(name for name, address in given["nodes"].items() if address == at)
    return {"run": run, "master": master, **asdict(tallies["client"])}


def cut(given: dict[str, Any]) -> dict[str, Any]:
    """The master loses its power."""
    at = client(given)[0].discover_master(given["master_name"])[0]
    victim = next(name for name, address in given["nodes"].items() if address == at)
    return {"victim": victim, **write(given, [*LAB, "power", "off", given["lab"], victim])}


def count(given: dict[str, Any], report: dict[str, Any]) -> dict[str, Any]:
    """What of the acknowledged records is there."""
    master = client(given)[1]
    tally = probe.Tally(*(report[name] for name in ("attempted", "acknowledged", "gap", "gap_at", "errors")))
    found = [n for n in range(1, tally.attempted + 1) if master.exists(f"drill:{report['run']}:{n}")]
    return probe.compare(tally, found)


def main() -> int:
    given = json.load(sys.stdin)
    path = Path(sys.argv[2])
    if sys.argv[1] == "cut":
        path.write_text(json.dumps(cut(given)), encoding="utf-8")
    elif sys.argv[1] == "during":
        path.write_text(json.dumps(write(given, sys.argv[3:])), encoding="utf-8")
    report = json.loads(path.read_text(encoding="utf-8"))
    report |= count(given, report)
    print(json.dumps(report))
    return 0 if report["lost"] == 0 and report["gap"] <= given["rto"] else 1


if __name__ == "__main__":
    sys.exit(main())
