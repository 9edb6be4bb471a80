# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What people look at and say about products, in MongoDB: how often a page was seen, and reviews.

The shop sells without them. While no primary answers, a page says so in place of the reviews, and for AWAY_SECONDS
nobody asks again, so that pages stay as fast as they were. Views are counted in memory and added once a second:
a process that is killed takes the last second's along. A review is acknowledged by the set's default write concern.
"""

from __future__ import annotations

import functools
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from pymongo import DESCENDING, MongoClient, UpdateOne
from pymongo.errors import PyMongoError

AWAY_SECONDS = 3.0
FLUSH_SECONDS = 1.0
SHOWN = 20  # reviews on a page
PRODUCT_PAGE = re.compile(r"^/catalogue/[^/]+_(\d+)/$")

Result = TypeVar("Result")


class OpinionsUnavailable(Exception):
    """No primary took the command in time."""


@functools.cache
def database() -> Any:
    """One client per process, made on first use; it is thread-safe and follows elections by itself."""
    client: MongoClient[dict[str, Any]] = MongoClient(
        [f"{host}:{port}" for host, port in settings.MONGO_SERVERS],
        replicaSet=settings.MONGO_REPLICA_SET,
        username=settings.MONGO_USERNAME,
        password=settings.MONGO_PASSWORD,
        authSource="admin",
        tls=bool(settings.MONGO_TLS_CA),
        **({"tlsCAFile": settings.MONGO_TLS_CA} if settings.MONGO_TLS_CA else {}),
        # A customer waits for these; an election within a second is within them, a longer one is an outage.
        serverSelectionTimeoutMS=settings.MONGO_TIMEOUT_MS,
        connectTimeoutMS=settings.MONGO_TIMEOUT_MS,
        socketTimeoutMS=settings.MONGO_TIMEOUT_MS,
        heartbeatFrequencyMS=1000,
        retryWrites=True,
    )
    return client[settings.MONGO_DATABASE]


_away_until = 0.0


def asked(question: Callable[[Any], Result]) -> Result:
    """Ask the database, unless it did not answer a moment ago."""
    global _away_until
    if time.monotonic() < _away_until:
        raise OpinionsUnavailable("no primary answered a moment ago")
    try:
        return question(database())
    except PyMongoError as error:
        _away_until = time.monotonic() + AWAY_SECONDS
        raise OpinionsUnavailable(f"{type(error).__name__}: {error}") from error


def about(product: int) -> dict[str, Any]:
    """`views` and the newest `reviews` (name, stars, text, written) of a product."""

    def question(there: Any) -> dict[str, Any]:
        seen = there.views.find_one({"_id": product}) or {}
        reviews = there.reviews.find({"product": product}).sort("written", DESCENDING).limit(SHOWN)
        return {"views": seen.get("views", 0), "reviews": list(reviews)}

    return asked(question)


def review(product: int, name: str, stars: int, text: str) -> None:
    asked(
        lambda there: there.reviews.insert_one(
            {"product": product, "name": name, "stars": stars, "text": text, "written": datetime.now(UTC)}
        )
    )


class Views:
    """Counts of product pages that were shown, added to the database by a thread of their own."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()
        self.lock = threading.Lock()
        self.thread: threading.Thread | None = None

    def add(self, product: int) -> None:
        with self.lock:
            self.counts[product] += 1
            if self.thread is None:
                self.thread = threading.Thread(target=self.run, daemon=True)
                self.thread.start()

    def run(self) -> None:
        while True:
            time.sleep(FLUSH_SECONDS)
            self.flush()

    def flush(self) -> None:
        with self.lock:
            taken, self.counts = self.counts, Counter()
        if not taken:
            return
        try:
            asked(
                lambda there: there.views.bulk_write(
                    [UpdateOne({"_id": key}, {"$inc": {"views": n}}, upsert=True) for key, n in taken.items()],
                    ordered=False,
                )
            )
        except OpinionsUnavailable:
            with self.lock:  # there are as many keys as products, so this does not grow
                self.counts.update(taken)


views = Views()


class ViewsMiddleware:
    """Outside of the page cache, which would hide all views but one."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        page = PRODUCT_PAGE.match(request.path)
        if page and request.method == "GET" and response.status_code == 200 and settings.MONGO_SERVERS:
            views.add(int(page[1]))
        return response
