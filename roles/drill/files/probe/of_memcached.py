# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A pool of memcached with a client that hashes consistently. Settings: servers ([address:port], in the order of all
clients), options (of pymemcache's HashClient)."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from pymemcache.client.base import Client as Single
from pymemcache.client.hash import HashClient
from pymemcache.exceptions import MemcacheError
from stream import Stream

NEEDS = {"pymemcache": "pymemcache"}
FAILURES = (MemcacheError, OSError)
HOUR = 3600


class Refused(MemcacheError):
    """Not stored."""


class Client:
    failures = FAILURES

    def __init__(self, settings: dict[str, Any], run: str) -> None:
        self.pool, self.run = HashClient(settings["servers"], **settings["options"]), run

    def write(self, number: int) -> str:
        name = key(self.run, number)
        # An answer, not silence: without noreply a server that is gone is noticed.
        if not self.pool.set(name, value(self.run, number), expire=HOUR, noreply=False):
            raise Refused
        return str(self.pool.hasher.get_node(name))


def key(run: str, number: int) -> str:
    return f"drill:{run}:{number}"


def value(run: str, number: int) -> bytes:
    return f"{run}:{number}".encode()


def streams(settings: dict[str, Any], run: str) -> dict[str, Stream]:
    return {
        "cache": Stream(
            "stored in the pool",
            lambda: Client(settings, run),
            ["gap"],
            "a cache may forget what a dead process held; what it answers must be right",
        )
    }


def prepare(_settings: dict[str, Any], _run: str) -> None:
    """Nothing."""


def read(settings: dict[str, Any], run: str, _name: str) -> list[int]:
    """Numbers whose value is right on any process; one that answers with another value counts as -number, which nobody
    attempted."""
    found: dict[int, int] = {}
    for server in settings["servers"]:
        address, _colon, port = server.rpartition(":")
        with closing(Single((address, int(port)), connect_timeout=2, timeout=2)) as single:
            start, misses = 1, 0
            # keys are spread over the servers: only a long stretch without one is the end
            while misses < 20:
                names = {key(run, number): number for number in range(start, start + 200)}
                got = single.get_many(list(names))
                for name, data in got.items():
                    number = names[name]
                    found[number] = number if data == value(run, number) else -number
                misses = 0 if got else misses + 1
                start += 200
    return list(found.values())


def versions(settings: dict[str, Any]) -> dict[str, str]:
    address, _colon, port = settings["servers"][0].rpartition(":")
    with closing(Single((address, int(port)), connect_timeout=2, timeout=2)) as single:
        return {"memcached": single.version().decode()}


def clean(_settings: dict[str, Any], _run: str) -> None:
    """The records expire within the hour."""
