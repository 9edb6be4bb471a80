# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Clients of the CDN, each prints what it saw as JSON.

clients.py crowd URL --clients 1000                      all connect, then ask for one object in the same moment
clients.py zipf URL… --requests 20000 --objects 1000     objects /zipf/N by Zipf's law, each client on its connection
clients.py during --url URL [--after 5] COMMAND …        a steady load (molecule/lab/http_load.py) while a command runs

Certificates are not checked: the scenario's has no issuer.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import hashlib
import http.client
import itertools
import json
import random
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from pathlib import Path

LOAD = Path(__file__).resolve().parents[1] / "lab" / "http_load.py"
WARM_UP_SECONDS = 2
# Handshakes at a time, so that the clients' own processor is not what fails.
HANDSHAKES = 50
ZIPF_CLIENTS = 8


async def crowd(url: str, clients: int) -> dict[str, object]:
    where = urllib.parse.urlsplit(url)
    assert where.hostname
    context = ssl._create_unverified_context()
    gate, ready = asyncio.Event(), asyncio.Semaphore(HANDSHAKES)
    connected = 0
    seen: list[tuple[int, str, str, float]] = []

    async def one() -> None:
        nonlocal connected
        async with ready:
            reader, writer = await asyncio.open_connection(where.hostname, where.port or 443, ssl=context)
        connected += 1
        await gate.wait()
        begin = time.monotonic()
        writer.write(f"GET {where.path} HTTP/1.1\r\nHost: {where.hostname}\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        head, _blank, body = answer.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        if not lines[0].startswith("HTTP/1.1 "):
            raise ConnectionError("the connection broke")
        fields = dict(line.lower().split(": ", 1) for line in lines[1:])
        seen.append(
            (
                int(lines[0].split()[1]),
                fields.get("x-cache", ""),
                hashlib.sha256(body).hexdigest(),
                time.monotonic() - begin,
            )
        )
        writer.close()

    tasks = [asyncio.create_task(one()) for _number in range(clients)]
    while connected < clients and not any(task.done() for task in tasks):
        await asyncio.sleep(0.05)
    gate.set()
    failed = [str(result) for result in await asyncio.gather(*tasks, return_exceptions=True) if result]
    return {
        "clients": clients,
        "failed": len(failed),
        "errors": sorted(set(failed)),
        "statuses": collections.Counter(status for status, *_rest in seen),
        "cache": collections.Counter(cache for _status, cache, *_rest in seen),
        "contents": sorted({digest for _status, _cache, digest, _seconds in seen}),
        "slowest_s": round(max((seconds for *_rest, seconds in seen), default=0.0), 2),
    }


def zipf(urls: list[str], requests: int, objects: int, exponent: float) -> dict[str, object]:
    """Requests by Zipf's law: the n-th object is asked for in proportion to 1 / n ** exponent."""
    weights = list(itertools.accumulate(1 / rank**exponent for rank in range(1, objects + 1)))
    counts: collections.Counter[str] = collections.Counter()
    asked: set[int] = set()
    lock = threading.Lock()

    def client(number: int) -> None:
        dice = random.Random(number)
        where = urllib.parse.urlsplit(urls[number % len(urls)])
        assert where.hostname
        connection = http.client.HTTPSConnection(
            where.hostname, where.port or 443, timeout=30, context=ssl._create_unverified_context()
        )
        mine: collections.Counter[str] = collections.Counter()
        chosen = dice.choices(range(objects), cum_weights=weights, k=requests // ZIPF_CLIENTS)
        for name in chosen:
            connection.request("GET", f"{where.path}{name}")
            answer = connection.getresponse()
            answer.read()
            mine[answer.getheader("X-Cache", "-") if answer.status == 200 else f"HTTP {answer.status}"] += 1
        with lock:
            counts.update(mine)
            asked.update(chosen)

    begin = time.monotonic()
    threads = [threading.Thread(target=client, args=(number,)) for number in range(ZIPF_CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = sum(counts.values())
    return {
        "requests": total,
        "objects_asked": len(asked),
        "cache": counts,
        "hit_ratio": round(counts["HIT"] / total, 4),
        "seconds": round(time.monotonic() - begin, 1),
    }


def during(urls: list[str], after: float, rate: float, command: list[str]) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        stop = Path(folder, "stop")
        load = subprocess.Popen(
            [sys.executable, str(LOAD), "--rate", str(rate), "--stop", str(stop), *urls],
            stdout=subprocess.PIPE,
            text=True,
        )
        time.sleep(WARM_UP_SECONDS)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        time.sleep(after)
        stop.touch()
        seen = json.loads(load.communicate()[0])
    return {**seen, "rc": done.returncode, "output": (done.stdout + done.stderr)[-3000:]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    of_crowd = kinds.add_parser("crowd")
    of_crowd.add_argument("url")
    of_crowd.add_argument("--clients", type=int, default=1000)
    of_zipf = kinds.add_parser("zipf")
    of_zipf.add_argument("urls", nargs="+")
    of_zipf.add_argument("--requests", type=int, default=20000)
    of_zipf.add_argument("--objects", type=int, default=1000)
    of_zipf.add_argument("--exponent", type=float, default=1.0)
    of_during = kinds.add_parser("during")
    of_during.add_argument("--url", action="append", required=True)
    of_during.add_argument("--after", type=float, default=5)
    of_during.add_argument("--rate", type=float, default=50)
    of_during.add_argument("command", nargs=argparse.REMAINDER)
    chosen = parser.parse_args()
    if chosen.kind == "crowd":
        result = asyncio.run(crowd(chosen.url, chosen.clients))
    elif chosen.kind == "zipf":
        result = zipf(chosen.urls, chosen.requests, chosen.objects, chosen.exponent)
    else:
        result = during(chosen.url, chosen.after, chosen.rate, chosen.command)
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
