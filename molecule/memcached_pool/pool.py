# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The pool as the shop's client sees it: pymemcache's HashClient, with the settings of molecule/shop/shop/settings.py.

    pool.py movement FILE     fill the pool, stop a process, count which keys are elsewhere, against the ideal 1/N
    pool.py hang FILE         stop a process in its tracks (SIGSTOP): how long a request waits, per client setting

FILE holds JSON: lab, servers ([{name, port, server}], in the order that clients are given). Results:
.lab/reports/memcached_movement.json and .md, memcached_hang.json and .md. Exit status 1: far more or fewer keys moved
than 1/N; a client with the shop's settings waited longer than those say.
"""

from __future__ import annotations

import argparse
import ast
import itertools
import json
import sys
import threading
import time
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

from pymemcache.client.hash import HashClient
from pymemcache.client.rendezvous import RendezvousHash

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "molecule"))

from lab import outcome, remote  # noqa: E402
from lab.definitions import LabError, load  # noqa: E402

SETTINGS = ROOT / "molecule" / "shop" / "shop" / "settings.py"
KEYS = 20000
HANG = 12.0  # seconds; longer than the shop's dead_timeout, so that its client tries the process again meanwhile


def shop_options() -> dict[str, Any]:
    """MEMCACHED_OPTIONS of the shop's settings, which cannot be imported without the shop's environment."""
    for statement in ast.parse(SETTINGS.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "MEMCACHED_OPTIONS":
            options: dict[str, Any] = ast.literal_eval(statement.value)
            return options
    raise LabError(f"no MEMCACHED_OPTIONS in {SETTINGS}")


class Pool:
    def __init__(self, given: dict[str, Any]) -> None:
        self.lab = load(given["lab"])
        self.servers: list[dict[str, Any]] = given["servers"]

    def client(self, servers: list[str], **options: Any) -> HashClient:
        return HashClient(servers, **options)

    @property
    def names(self) -> list[str]:
        return [item["server"] for item in self.servers]

    def systemctl(self, server: dict[str, Any], *words: str) -> None:
        remote.run(self.lab.node(server["name"]), f"systemctl {' '.join(words)} memcached@{server['port']}")


def keys() -> list[str]:
    return [f"shop:1:page:{number}" for number in range(KEYS)]


# Movement ---------------------------------------------------------------------


def places(servers: list[str]) -> list[str]:
    """Where the shop's client looks for each key, given these servers."""
    ring = RendezvousHash(servers)
    return [str(ring.get_node(key)) for key in keys()]


def modulo(servers: list[str]) -> list[str]:
    """Where a client without consistent hashing looks: the remainder of a key's hash by the number of servers."""
    return [servers[zlib.crc32(key.encode()) % len(servers)] for key in keys()]


def moved(before: list[str], after: list[str]) -> float:
    return sum(a != b for a, b in zip(before, after, strict=True)) / len(before)


def read_back(client: HashClient) -> int:
    """How many keys are found."""
    found = 0
    for some in chunks(keys(), 200):
        found += len(client.get_many(some))
    return found


def chunks(items: list[str], size: int) -> list[list[str]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def movement(pool: Pool) -> int:
    """The pool itself is asked: keys are written, a process stopped, keys read."""
    count = len(pool.names)
    client = pool.client(pool.names, **shop_options())
    for some in chunks(keys(), 200):
        client.set_many(dict.fromkeys(some, b"x"), expire=600)
    whole = read_back(client)
    lost = pool.servers[0]
    share = Counter(places(pool.names))
    pool.systemctl(lost, "stop")
    try:
        left = read_back(pool.client(pool.names, **shop_options()))
    finally:
        pool.systemctl(lost, "start")
    rest = [name for name in pool.names if name != lost["server"]]
    more = [*pool.names, "192.0.2.1:11211"]
    shifted = list(reversed(pool.names))
    rows = {
        "a process is lost: misses, as read from the pool": (1 - left / whole, 1 / count),
        "a process is lost: keys elsewhere": (moved(places(pool.names), places(rest)), 1 / count),
        "a process is added": (moved(places(pool.names), places(more)), 1 / (count + 1)),
        "the list in another order": (moved(places(pool.names), places(shifted)), 0.0),
        "by remainder instead: a process is lost": (moved(modulo(pool.names), modulo(rest)), 1 / count),
        "by remainder instead: the list in another order": (moved(modulo(pool.names), modulo(shifted)), 0.0),
    }
    lines = [f"| {count} processes, {KEYS} keys | moved | ideal |", "|---|---|---|"]
    lines += [f"| {name} | {part:.3f} | {ideal:.3f} |" for name, (part, ideal) in rows.items()]
    shares = ", ".join(f"{name} {share[name] / KEYS:.3f}" for name in pool.names)
    table = "\n".join([*lines, "", f"Shares of the processes: {shares}; found before the loss: {whole} of {KEYS}."])
    print(table)
    outcome.save("memcached_movement", {"rows": rows, "shares": share, "found": whole}, table)
    ours = list(rows.values())[:3]
    return 0 if whole == KEYS and rows["the list in another order"][0] == 0 and all(near(*row) for row in ours) else 1


def near(part: float, ideal: float) -> bool:
    """Within a fifth: hashing spreads keys over few processes that evenly."""
    return abs(part - ideal) <= ideal / 5


# Hang -------------------------------------------------------------------------


def waits(client: HashClient, asked: list[str], until: threading.Event) -> list[float]:
    """Ask for keys in turns; how long each request took, in seconds."""
    taken = []
    for key in itertools.cycle(asked):
        if until.wait(0.02):
            return taken
        begin = time.monotonic()
        client.get(key)
        taken.append(time.monotonic() - begin)
    raise AssertionError


def hang(pool: Pool) -> int:
    """Clients that differ in one setting ask for keys of all processes while one of these does not answer."""
    shop = shop_options()
    variants = {
        "the shop's": shop,
        "with timeout 1": {**shop, "timeout": 1.0},
        "with retry_attempts 2": {**shop, "retry_attempts": 2},
        "with dead_timeout 2": {**shop, "dead_timeout": 2},
        "without timeout, pymemcache's default": {**shop, "timeout": None},
    }
    stopped = pool.servers[0]
    asked = keys()[:200]
    rows = {}
    for name, options in variants.items():
        client = pool.client(pool.names, **options)
        for key in asked:
            client.set(key, b"x")
        over = threading.Event()

        def mend(over: threading.Event = over) -> None:
            pool.systemctl(stopped, "kill", "--signal=CONT")
            over.set()

        pool.systemctl(stopped, "kill", "--signal=STOP")
        timer = threading.Timer(HANG, mend)
        timer.start()
        rows[name] = waits(client, asked, over)
        timer.join()
    lines = [
        f"| settings, a process hangs for {HANG:g} s | longest request | requests over 50 ms | waited in all |",
        "|---|---|---|---|",
    ]
    for name, taken in rows.items():
        slow = [t for t in taken if t > 0.05]
        lines.append(f"| {name} | {max(taken):.2f} s | {len(slow)} of {len(taken)} | {sum(slow):.1f} s |")
    table = "\n".join(lines)
    print(table)
    outcome.save("memcached_hang", {name: sorted(taken)[-20:] for name, taken in rows.items()}, table)
    limit = shop["timeout"] + shop["connect_timeout"] + 0.2 * outcome.slowness()
    return 0 if max(rows["the shop's"]) <= limit else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("movement", "hang"))
    parser.add_argument("file", type=Path)
    arguments = parser.parse_args()
    pool = Pool(json.loads(arguments.file.read_text(encoding="utf-8")))
    return movement(pool) if arguments.what == "movement" else hang(pool)


if __name__ == "__main__":
    outcome.end(main)
