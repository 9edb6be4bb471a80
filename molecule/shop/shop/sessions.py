# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Sessions in Redis, whose master the Sentinels name.

Each call is bounded: short socket timeouts, a new look at the Sentinels after every failure, and an end after
PATIENCE seconds. RetryMiddleware repeats the whole request when that end comes before anything was committed.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, TypeVar

from django.conf import settings
from django.contrib.sessions.backends.base import CreateError, SessionBase, UpdateError
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, ConnectionError, ReadOnlyError, RedisError, TimeoutError
from redis.retry import Retry
from redis.sentinel import Sentinel

PREFIX = "shop:session:"
PATIENCE = 1.5
PAUSE = 0.1
# The master is away, not yet promoted, still loading, or has just become a replica. All others are our own mistakes.
PASSING = (ConnectionError, TimeoutError, ReadOnlyError, BusyLoadingError)

Result = TypeVar("Result")


class SessionsUnavailable(Exception):
    """No master took the command in time."""


@functools.cache
def master() -> Redis:
    """A client that asks the Sentinels for the master whenever it connects. One per process; it is thread-safe."""
    common = {
        "socket_timeout": settings.REDIS_TIMEOUT,
        "socket_connect_timeout": settings.REDIS_TIMEOUT,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }
    sentinel = Sentinel(
        settings.REDIS_SENTINELS,
        sentinel_kwargs={
            **common,
            "username": settings.SENTINEL_USERNAME,
            "password": settings.SENTINEL_PASSWORD,
            "decode_responses": True,
        },
        username=settings.REDIS_USERNAME,
        password=settings.REDIS_PASSWORD,
        health_check_interval=5,
        **common,
    )
    client: Redis = sentinel.master_for(settings.REDIS_MASTER_NAME)
    return client


def patiently(command: Callable[[Redis], Result], patience: float | None = None) -> Result:
    """Run a command on the master, whoever that is by then."""
    deadline = time.monotonic() + (PATIENCE if patience is None else patience)
    while True:
        try:
            return command(master())
        except PASSING as error:
            if time.monotonic() + PAUSE > deadline:
                raise SessionsUnavailable(f"{type(error).__name__}: {error}") from error
            time.sleep(PAUSE)
        except RedisError as error:
            raise SessionsUnavailable(f"{type(error).__name__}: {error}") from error


class SessionStore(SessionBase):
    """Django's session engine; settings name this module."""

    @property
    def name(self) -> str:
        return PREFIX + str(self._get_or_create_session_key())

    def exists(self, session_key: str) -> bool:
        return bool(patiently(lambda redis: redis.exists(PREFIX + session_key)))

    def load(self) -> dict[str, Any]:
        stored = patiently(lambda redis: redis.get(self.name))
        if stored is None:
            self._session_key = None
            return {}
        return dict(self.decode(stored.decode() if isinstance(stored, bytes) else str(stored)))

    def create(self) -> None:
        while True:
            self._session_key = self._get_new_session_key()
            try:
                self.save(must_create=True)
            except CreateError:
                continue
            self.modified = True
            return

    def save(self, must_create: bool = False) -> None:
        if self.session_key is None:
            return self.create()
        data = self.encode(self._get_session(no_load=must_create))
        age = self.get_expiry_age()
        # xx: a session that was ended meanwhile (logout elsewhere) must not come back.
        stored = patiently(lambda redis: redis.set(self.name, data, ex=max(age, 1), nx=must_create, xx=not must_create))
        if not stored:
            raise CreateError if must_create else UpdateError

    def delete(self, session_key: str | None = None) -> None:
        key = session_key or self.session_key
        if key:
            patiently(lambda redis: redis.delete(PREFIX + key))

    @classmethod
    def clear_expired(cls) -> None:
        """Redis does."""
