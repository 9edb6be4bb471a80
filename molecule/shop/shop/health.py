# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""/healthz: does this process serve. /healthz/deep: do its backends, each by name, and if not, why.

The balancer asks /healthz: a lost database must not take every web node out of its rotation at once.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.db import connections
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse

from shop import opinions, queue, sessions


class HealthMiddleware:
    """The first of all, so that a probe needs neither the right host name nor TLS."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path == "/healthz":
            reverse("catalogue:index")  # raises if the application's addresses do not load
            return HttpResponse("ok\n", content_type="text/plain", headers={"Cache-Control": "no-store"})
        if request.path == "/healthz/deep":
            return deep()
        return self.get_response(request)


def database() -> dict[str, Any]:
    """A connection of its own: what a new request would meet."""
    try:
        with connections["default"].cursor() as cursor:
            cursor.execute("SELECT COUNT(*) FROM django_site")
            cursor.fetchone()
    finally:
        connections.close_all()
    return {}


def session_store() -> dict[str, Any]:
    """Writes: a master that became a replica would still read."""
    if not settings.REDIS_SENTINELS:
        return {"where": "database"}
    value = secrets.token_hex(8)
    name = f"{sessions.PREFIX}healthz"
    sessions.patiently(lambda redis: redis.set(name, value, ex=60), patience=0)
    if sessions.patiently(lambda redis: redis.exists(name), patience=0) != 1:
        raise RuntimeError("what was written could not be read")
    host, port = sessions.master().connection_pool.master_address or ("?", "?")  # type: ignore[attr-defined]
    return {"master": f"{host}:{port}"}


def page_cache() -> dict[str, Any]:
    """Every server of the pool on its own; the client would hide a dead one."""
    if not settings.MEMCACHED_SERVERS:
        return {"where": "process memory"}
    from pymemcache.client.base import Client

    servers: dict[str, str] = {}
    for server in settings.MEMCACHED_SERVERS:
        client = Client(server, connect_timeout=0.3, timeout=0.3)
        try:
            client.version()
            servers[server] = "ok"
        except Exception as error:
            servers[server] = reason(error)
        finally:
            client.close()
    dead = [server for server, state in servers.items() if state != "ok"]
    if dead:
        raise PoolDegraded(f"{len(dead)} of {len(servers)} servers away: {', '.join(dead)}")
    cache.set("healthz", "1", 60)
    return {"servers": len(servers)}


class PoolDegraded(Exception):
    """Some servers of a pool are away; nothing is wrong yet."""


def order_queue() -> dict[str, Any]:
    """Every broker on its own: the client would hide a dead one."""
    if not settings.RABBITMQ_SERVERS:
        return {"where": "at once"}
    from kombu import Connection

    depth, dead = 0, []
    for (host, port), url in zip(settings.RABBITMQ_SERVERS, queue.urls(), strict=True):
        try:
            with Connection(url, connect_timeout=0.5) as broker:
                _name, depth, _workers = broker.default_channel.queue_declare(queue.QUEUE, passive=True)
        except Exception as error:
            dead.append(f"{host}:{port} ({reason(error)})")
    if dead:
        raise PoolDegraded(f"{len(dead)} of {len(settings.RABBITMQ_SERVERS)} brokers away: {', '.join(dead)}")
    return {"brokers": len(settings.RABBITMQ_SERVERS), "waiting": depth}


def opinion_store() -> dict[str, Any]:
    """Writes: a primary that lost its majority would still read."""
    if not settings.MONGO_SERVERS:
        return {"where": "nowhere"}
    there = opinions.database()
    there.healthz.replace_one({"_id": "healthz"}, {"asked": time.time()}, upsert=True)
    host, port = there.client.primary or ("?", "?")
    return {"primary": f"{host}:{port}"}


# name, check, whether the shop cannot do without
CHECKS: list[tuple[str, Callable[[], dict[str, Any]], bool]] = [
    ("database", database, True),
    ("sessions", session_store, True),
    ("cache", page_cache, False),
    ("queue", order_queue, False),
    ("opinions", opinion_store, False),
]


def reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def run(check: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    begin = time.monotonic()
    try:
        result = {"ok": True, **check()}
    except Exception as error:
        result = {"ok": False, "error": reason(error)}
    return {**result, "ms": round((time.monotonic() - begin) * 1000, 1)}


def deep() -> JsonResponse:
    with ThreadPoolExecutor(len(CHECKS)) as pool:
        results = list(pool.map(run, [check for _name, check, _needed in CHECKS]))
    checked = zip(CHECKS, results, strict=True)
    backends = {name: {**result, "needed": needed} for (name, _check, needed), result in checked}
    serving = all(backend["ok"] for backend in backends.values() if backend["needed"])
    status = "failed" if not serving else "ok" if all(b["ok"] for b in backends.values()) else "degraded"
    response = JsonResponse({"status": status, "backends": backends}, status=200 if serving else 503)
    response["Cache-Control"] = "no-store"
    return response
