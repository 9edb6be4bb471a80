# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Redis behind Sentinels. Settings: sentinels, sentinel_password, master_name, user, password, replicas (how many).

Every Sentinel is asked and the newest configuration believed, as applications should: one that is cut off together with
the old master knows no better.
"""

from __future__ import annotations

import contextlib
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel, SentinelConnectionPool
from stream import Stream

NEEDS = {"redis": "redis"}
FAILURES = (RedisError, OSError)
# Nothing is retried, so that every failure is counted.
PATIENCE: dict[str, Any] = {"socket_timeout": 0.5, "socket_connect_timeout": 0.5, "retry": Retry(NoBackoff(), 0)}
WAIT_MS = 300


class NotReplicated(RedisError):
    """The master has the record, no replica has confirmed it."""


class Newest(Sentinel):
    """Asks every Sentinel and believes the newest configuration, not the first answer: a Sentinel that is cut off
    together with the old master knows no better until it is back."""

    def discover_master(self, service_name: str) -> tuple[str, int]:
        found = []
        for sentinel in self.sentinels:
            with contextlib.suppress(RedisError):
                found.append(sentinel.sentinel_master(service_name))
        newest = max(found, key=lambda state: int(state["config-epoch"]), default=None)
        if not newest or not self.check_master_state(newest, service_name):
            raise MasterNotFoundError(f"no Sentinel knows a master of {service_name} that works")
        return newest["ip"], int(newest["port"])


def master(settings: dict[str, Any]) -> Redis:
    at = [(item["address"], item["port"]) for item in settings["sentinels"]]
    sentinels = Newest(at, sentinel_kwargs={"password": settings["sentinel_password"], **PATIENCE})
    return sentinels.master_for(
        settings["master_name"], username=settings["user"], password=settings["password"], **PATIENCE
    )


class Client:
    failures = FAILURES

    def __init__(self, settings: dict[str, Any], key: str, confirmed: bool) -> None:
        self.redis, self.key, self.confirmed = master(settings), key, confirmed

    def write(self, number: int) -> str:
        try:
            pipe = self.redis.pipeline(transaction=False)
            pipe.rpush(self.key, number)
            if self.confirmed:
                pipe.execute_command("WAIT", 1, WAIT_MS)
            answers = pipe.execute()
            if self.confirmed and answers[1] < 1:
                raise NotReplicated
        except FAILURES as error:
            # A master that is cut off refuses to write and keeps its connections: ask for the master again.
            if not isinstance(error, NotReplicated):
                self.redis.connection_pool.disconnect()
            raise
        pool = self.redis.connection_pool
        assert isinstance(pool, SentinelConnectionPool)
        return str(pool.master_address[0])


def key(run: str, name: str) -> str:
    return f"drill:{run}:{name}"


def streams(settings: dict[str, Any], run: str) -> dict[str, Stream]:
    found = {
        "plain": Stream(
            "acknowledged by the master",
            lambda: Client(settings, key(run, "plain"), False),
            ["gap"],
            "replication is asynchronous: what the last master alone knew may be lost",
        )
    }
    if settings["replicas"]:
        found["confirmed"] = Stream(
            "acknowledged once a replica has it (WAIT 1)",
            lambda: Client(settings, key(run, "confirmed"), True),
            ["lost"],
            "waits while no replica is left",
        )
    return found


def prepare(_settings: dict[str, Any], _run: str) -> None:
    """Lists are made by their first record."""


def read(settings: dict[str, Any], run: str, name: str) -> list[int]:
    return [int(item) for item in master(settings).lrange(key(run, name), 0, -1)]


def versions(settings: dict[str, Any]) -> dict[str, str]:
    return {"redis": master(settings).info("server")["redis_version"]}


def clean(settings: dict[str, Any], run: str) -> None:
    for name in ("plain", "confirmed"):
        master(settings).expire(key(run, name), 3600)
