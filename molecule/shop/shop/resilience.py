# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What happens to a request whose database or session store went away.

A request is one transaction (ATOMIC_REQUESTS). If it is lost before its COMMIT was sent, the server has rolled it back
and it may be repeated, whatever its method: RetryMiddleware does, for a few seconds, on a new connection. If the COMMIT
was sent and its answer is missing, nobody knows: the client gets 503 and decides. Orders carry a key, so their clients
may simply repeat them.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, connections
from django.http import HttpRequest, HttpResponse, HttpResponseServerError, JsonResponse
from django.template import loader
from django.views import defaults

from shop.sessions import SessionsUnavailable

log = logging.getLogger("shop.resilience")

# Server is full, shuts down, killed the connection; cannot be reached, went away, broke off; proxy lost it.
CONNECTION_LOST = frozenset({1040, 1053, 1927, 2002, 2003, 2006, 2013, 2055, 4031})
# Lock wait timeout and deadlock: the transaction was rolled back, the connection is good.
ROLLED_BACK = frozenset({1205, 1213})
PAUSE = 0.2
# Statements that leave nothing behind when they run outside of a transaction.
HARMLESS = ("SELECT", "SET ", "BEGIN")


def lost(error: BaseException | None) -> str | None:
    """Which backend this error says is away ("database", "sessions"), or None if it says something else."""
    while error is not None:
        if isinstance(error, SessionsUnavailable):
            return "sessions"
        if isinstance(error, InterfaceError):
            return "database"
        if isinstance(error, OperationalError) and error.args and error.args[0] in CONNECTION_LOST | ROLLED_BACK:
            return "database"
        error = error.__cause__ or error.__context__
    return None


def server_error(request: HttpRequest) -> HttpResponse:
    """The handler of status 500: a lost backend is a 503 that says which one and when to come again."""
    backend = lost(sys.exc_info()[1])
    if backend is None:
        return defaults.server_error(request)
    request.lost_backend = backend  # type: ignore[attr-defined]
    response: HttpResponse
    if request.path.startswith("/api/"):
        response = JsonResponse({"error": "unavailable", "backend": backend}, status=503)
    else:
        response = HttpResponseServerError(loader.render_to_string("shop/unavailable.html"), status=503)
    response["Retry-After"] = "2"
    response["Cache-Control"] = "no-store"
    response["X-Unavailable"] = backend
    return response


class Commits:
    """Whether anything may have been committed on the default database since this was made."""

    def __init__(self) -> None:
        self.connection = connections["default"]
        self.before = getattr(self.connection, "commits", 0)
        self.wrote = False

    def possible(self) -> bool:
        return self.wrote or getattr(self.connection, "commits", 0) != self.before

    def watch(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        if not context["connection"].in_atomic_block and not sql.lstrip()[:6].upper().startswith(HARMLESS):
            self.wrote = True
        return execute(sql, params, many, context)

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        with self.connection.execute_wrapper(self.watch):
            yield


class RetryMiddleware:
    """Repeats a request that lost a backend, as long as it is certain that it has done nothing yet."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        deadline = time.monotonic() + settings.RETRY_SECONDS
        while True:
            commits = Commits()
            with commits.watched():
                response = self.get_response(request)
            backend = getattr(request, "lost_backend", None)
            if backend is None:
                return response
            if backend == "database":
                with contextlib.suppress(DatabaseError):
                    connections["default"].close()
            # An upload was read from the network and is gone.
            repeatable = not commits.possible() and not request.content_type.startswith("multipart/")
            if response.status_code != 503 or not repeatable or time.monotonic() + PAUSE > deadline:
                return response
            time.sleep(PAUSE)
            self.forget(request)

    @staticmethod
    def forget(request: HttpRequest) -> None:
        """What the inner middlewares left on the request; they make it anew."""
        for name in ("lost_backend", "_cached_user", "_acached_user", "_messages", "csrf_processing_done"):
            with contextlib.suppress(AttributeError):
                delattr(request, name)
        request.META.pop("CSRF_COOKIE_NEEDS_UPDATE", None)


class OutageFilter(logging.Filter):
    """An outage is one warning per request, not a traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        backend = lost(error)
        if backend:
            record.msg = f"{record.getMessage()}: {backend} unavailable: {error}"
            record.args = ()
            record.levelno, record.levelname = logging.WARNING, "WARNING"
            record.exc_info = record.exc_text = None
        return True
