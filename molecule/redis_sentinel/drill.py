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
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from redis.sentinel import Sentinel

LAB = [sys.executable, str(Path(__file__).resolve().parents[1] / "lab")]
BEFORE, AFTER, PAUSE = 3.0, 5.0, 0.01  # seconds of writing before the fault and after it, and between records
LIMIT = 120.0  # seconds after which a fault that is not over is given up


def client(given: dict[str, Any]) -> tuple[Sentinel, Redis]:
    """The Sentinels, and the master whichever it is; nothing is retried, so that every failure is counted."""
    patience = {"socket_timeout": 0.5, "socket_connect_timeout": 0.5, "retry": Retry(NoBackoff(), 0)}
    sentinels = Sentinel(
        [(item["address"], item["port"]) for item in given["sentinels"]],
        sentinel_kwargs={"password": given["sentinel_password"], **patience},
    )
    master = sentinels.master_for(given["master_name"], username=given["user"], password=given["password"], **patience)
    return sentinels, master


def write(given: dict[str, Any], fault: list[str]) -> dict[str, Any]:
    """Write, start the fault's command after a while, write until it is over and for some seconds more."""
    sentinels, master = client(given)
    run, acknowledged, number = uuid.uuid4().hex[:8], [], 0
    errors: dict[str, int] = {}
    ended: list[subprocess.CompletedProcess[str]] = []

    def disturb() -> None:
        time.sleep(BEFORE)
        ended.append(subprocess.run(fault, capture_output=True, text=True, check=False))

    worker = threading.Thread(target=disturb)
    worker.start()
    last = over = time.monotonic()
    end, gap = last + BEFORE + LIMIT, 0.0
    while time.monotonic() < min(end, over + AFTER):
        number += 1
        try:
            master.set(f"drill:{run}:{number}", number, ex=3600)
        except RedisError as err:
            errors[type(err).__name__] = errors.get(type(err).__name__, 0) + 1
            over = time.monotonic()
        else:
            now = time.monotonic()
            gap, last = max(gap, now - last), now
            acknowledged.append(number)
        if worker.is_alive():
            over = time.monotonic()
        time.sleep(PAUSE)
    worker.join()
    if ended[0].returncode:
        sys.exit(f"{' '.join(fault)} failed:\n{ended[0].stdout}{ended[0].stderr}")
    at = sentinels.discover_master(given["master_name"])[0]
    return {
        "run": run,
        "master": next(name for name, address in given["nodes"].items() if address == at),
        "attempted": number,
        "acknowledged": acknowledged,
        "gap": round(gap, 2),
        "errors": errors,
    }


def cut(given: dict[str, Any]) -> dict[str, Any]:
    """The master loses its power."""
    at = client(given)[0].discover_master(given["master_name"])[0]
    victim = next(name for name, address in given["nodes"].items() if address == at)
    return {"victim": victim, **write(given, [*LAB, "power", "off", given["lab"], victim])}


def count(given: dict[str, Any], report: dict[str, Any]) -> dict[str, Any]:
    """What of the acknowledged records is there."""
    master = client(given)[1]
    run = report["run"]
    found = {n for n in range(1, report["attempted"] + 1) if master.exists(f"drill:{run}:{n}")}
    acknowledged = set(report["acknowledged"])
    return {"lost": len(acknowledged - found), "unexpected": len(found - acknowledged)}


def main() -> int:
    given = json.load(sys.stdin)
    path = Path(sys.argv[2])
    if sys.argv[1] == "cut":
        path.write_text(json.dumps(cut(given)), encoding="utf-8")
    elif sys.argv[1] == "during":
        path.write_text(json.dumps(write(given, sys.argv[3:])), encoding="utf-8")
    report = json.loads(path.read_text(encoding="utf-8"))
    report |= count(given, report)
    report["acknowledged"] = len(report["acknowledged"])
    print(json.dumps(report))
    return 0 if report["lost"] == 0 and report["gap"] <= given["rto"] else 1


if __name__ == "__main__":
    sys.exit(main())
