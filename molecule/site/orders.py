# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Customers who order all the time: places numbered orders through the balancer, then looks which of them exist.

    orders.py run URL --log FILE [--rate 12] [--workers 6] [--seconds 60]
    orders.py readback URL --log FILE

The token is taken from the environment (ORDER_API_TOKEN). An order is attempted with the same key until it is
acknowledged: 201, or 200 if an earlier attempt had been placed without our hearing of it. Everything goes to FILE, one
JSON object a line, with monotonic times. readback prints one JSON object and exits 1 if an acknowledged order is lost,
an order exists that nobody attempted, or one exists twice; 2 if the client itself failed.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import os
import secrets
import signal
import ssl
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any, NamedTuple, TextIO
from urllib.parse import quote, urlsplit

# Orders of one product wait for each other at its stock, so the customers like different things.
SKUS = ("NOTEBOOK-OCEAN", "MUG-OCEAN", "CANDLE-IVORY", "PLANT-OCEAN", "TEAPOT-ROSE", "CLOCK-OCEAN", "LAMP-AMBER")
# Answers that repeating does not change: no such address, wrong token, sold out.
HOPELESS = frozenset({401, 403, 404, 405, 409})


class ProbeError(Exception):
    """The client cannot do its work; nothing is known about the site."""


class Shop:
    """One customer: a kept connection and a session."""

    def __init__(self, url: str, token: str, timeout: float) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ProbeError(f"{url!r} is not the address of a shop; give https://HOST")
        self._target = (parts.hostname, parts.port)
        self._timeout = timeout
        self._context: ssl.SSLContext | None = None
        if parts.scheme == "https":
            # The lab's certificate is its own. Whom we talk to is not what is tested here.
            self._context = ssl.create_default_context()
            self._context.check_hostname = False
            self._context.verify_mode = ssl.CERT_NONE
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._connection: http.client.HTTPConnection | None = None
        self.session = ""

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Status and answer. OSError and http.client.HTTPException pass through; the connection is then gone."""
        status, raw = self._exchange(method, path, body)
        try:
            answer = json.loads(raw)
        except ValueError:
            answer = {}
        return status, answer if isinstance(answer, dict) else {}

    def page(self, path: str) -> tuple[int, str]:
        """Status and text of a page."""
        status, raw = self._exchange("GET", path, None)
        return status, raw.decode(errors="replace")

    def _exchange(self, method: str, path: str, body: dict[str, Any] | None) -> tuple[int, bytes]:
        host, port = self._target
        if self._connection is None:
            self._connection = (
                http.client.HTTPSConnection(host, port, timeout=self._timeout, context=self._context)
                if self._context
                else http.client.HTTPConnection(host, port, timeout=self._timeout)
            )
        headers = {**self._headers, **({"Cookie": f"sessionid={self.session}"} if self.session else {})}
        try:
            self._connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            response = self._connection.getresponse()
            raw = response.read()
        except BaseException:
            self.close()
            raise
        for cookie in response.headers.get_all("Set-Cookie") or []:
            morsel = SimpleCookie(cookie).get("sessionid")
            if morsel is not None:
                self.session = morsel.value
        return response.status, raw


def kind(error: Exception) -> str:
    """A short name of what went wrong, to count by."""
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, (ConnectionError, http.client.RemoteDisconnected, ssl.SSLError)):
        return "connection broken"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return type(error).__name__


class Probe:
    """Several customers who together order `rate` times a second, until stopped."""

    def __init__(
        self, url: str, token: str, log: TextIO, rate: float = 12, workers: int = 6, timeout: float = 5
    ) -> None:
        self.run = f"run-{secrets.token_hex(4)}-"
        self._shops = [Shop(url, token, timeout) for _worker in range(workers)]
        self._log = log
        self._lock = threading.Lock()
        self._period = 1 / rate
        self._due = time.monotonic()
        self._numbers = itertools.count(1)
        self._stopping = threading.Event()
        self._giving_up = threading.Event()
        self._failure: str | None = None
        self._threads = [threading.Thread(target=self._work, args=[shop], daemon=True) for shop in self._shops]
        self.acknowledged: list[float] = []

    def start(self) -> None:
        self._write("start", run=self.run, workers=len(self._shops), rate=1 / self._period)
        for thread in self._threads:
            thread.start()

    def stop(self, grace: float = 30) -> None:
        """No new orders; those under way get `grace` seconds more. Raises ProbeError if the client itself failed."""
        self._write("stop")
        self._stopping.set()
        deadline = time.monotonic() + grace
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._giving_up.set()
        for thread in self._threads:
            thread.join(15)
        self.check()
        self._write("end")

    def check(self) -> None:
        """Raise if a customer is dead who should be ordering."""
        if self._failure is None and not self._stopping.is_set() and not all(t.is_alive() for t in self._threads):
            self._failure = "a worker ended by itself"
        if self._failure is not None:
            raise ProbeError(self._failure)

    def _write(self, event: str, **values: Any) -> None:
        now = time.monotonic()
        with self._lock:
            if event == "ack":
                self.acknowledged.append(now)
            self._log.write(json.dumps({"event": event, "t": round(now, 4), **values}) + "\n")
            self._log.flush()

    def _next(self) -> tuple[int, float]:
        """The next number and when it is due. Time lost in an outage is not made up for by a burst."""
        with self._lock:
            due = max(self._due, time.monotonic())
            self._due = due + self._period
            return next(self._numbers), due

    def _work(self, shop: Shop) -> None:
        try:
            while not self._stopping.is_set():
                number, due = self._next()
                if self._stopping.wait(max(0.0, due - time.monotonic())):
                    return
                self._order(shop, number)
        except Exception as error:
            self._failure = f"{type(error).__name__}: {error}"
        finally:
            shop.close()

    def _order(self, shop: Shop, number: int) -> None:
        key = f"{self.run}{number}"
        self._write("try", n=number)
        tries = 0
        while not self._giving_up.is_set():
            tries += 1
            had_session = shop.session
            try:
                status, answer = shop.ask("POST", "/api/orders", {"key": key, "sku": SKUS[number % len(SKUS)]})
            except (OSError, http.client.HTTPException) as error:
                self._write("error", n=number, kind=kind(error))
            else:
                if status in (200, 201) and answer.get("key") == key and answer.get("number"):
                    new_session = bool(had_session) and shop.session != had_session
                    self._write(
                        "ack", n=number, number=answer["number"], status=status, tries=tries, new_session=new_session
                    )
                    return
                if status in HOPELESS:
                    raise ProbeError(f"the shop refuses with {status}: {answer.get('error', 'no reason given')}")
                backend = answer.get("backend")
                self._write("error", n=number, kind=f"http {status}{f' {backend}' if backend else ''}")
                if status == 400:
                    shop.session = ""
            self._giving_up.wait(0.2)


class Order(NamedTuple):
    """An order as the shop has it."""

    key: str
    number: str
    status: str


def stored(url: str, token: str, run: str, patience: float = 90) -> tuple[list[Order], int]:
    """Every order of a run that the shop has, and how many keys it has more than once."""
    shop = Shop(url, token, 15)
    deadline = time.monotonic() + patience
    found: list[Order] = []
    since: int | None = 0
    duplicated = 0
    while since is not None:
        try:
            status, answer = shop.ask("GET", f"/api/orders?prefix={quote(run)}&since={since}")
            problem = f"http {status}"
        except (OSError, http.client.HTTPException) as error:
            status, answer, problem = 0, {}, kind(error)
        if status == 200:
            found += [Order(order["key"], order["number"], order["status"]) for order in answer["orders"]]
            since, duplicated = answer["next"], answer["duplicated"]
        elif time.monotonic() > deadline:
            raise ProbeError(f"the orders cannot be read back: {problem}")
        else:
            time.sleep(1)
    shop.close()
    return found, duplicated


def unshipped(url: str, token: str, run: str, patience: float = 120) -> int:
    """How many orders of a run the workers have not shipped, once none is left or the patience is over."""
    deadline = time.monotonic() + patience
    while True:
        left = sum(order.status != "Shipped" for order in stored(url, token, run)[0])
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(2)


def longest_gap(begin: float, end: float, times: Iterable[float]) -> tuple[float, float]:
    """The longest time without an acknowledgement, and when it began, in seconds from the beginning."""
    moments = [begin, *sorted(t for t in times if begin <= t <= end), end]
    return max((later - earlier, earlier - begin) for earlier, later in itertools.pairwise(moments))


def analyse(events: list[dict[str, Any]], orders: list[Order], duplicated: int) -> dict[str, Any]:
    """What became of a run. Raises ProbeError if the log does not tell of a whole one."""
    first = events[0] if events else {}
    if first.get("event") != "start" or events[-1]["event"] != "end":
        raise ProbeError("the log has no beginning or no end: the client died")
    stop = next(event for event in events if event["event"] == "stop")
    tries = {event["n"]: event["t"] for event in events if event["event"] == "try"}
    acks = {event["n"]: event for event in events if event["event"] == "ack"}
    run = first["run"]
    if not acks:
        raise ProbeError(f"none of {len(tries)} orders was acknowledged: {dict(errors(events))}")
    numbers: dict[str, list[str]] = {}
    for order in orders:
        numbers.setdefault(order.key, []).append(order.number)
    # An order that is there under another number than the acknowledged one is lost as well.
    lost = [n for n, ack in acks.items() if ack["number"] not in numbers.get(f"{run}{n}", [])]
    attempted = {f"{run}{n}" for n in tries}
    gap, at = longest_gap(first["t"], stop["t"], (ack["t"] for ack in acks.values()))
    latencies = sorted(ack["t"] - tries[n] for n, ack in acks.items())
    return {
        "attempted": len(tries),
        "acknowledged": len(acks),
        "lost": len(lost),
        "unexpected": len(set(numbers) - attempted),
        "duplicated": max(duplicated, sum(len(found) > 1 for found in numbers.values())),
        "placed_but_not_acknowledged": len((set(numbers) & attempted) - {f"{run}{n}" for n in acks}),
        "longest_gap_s": round(gap, 2),
        "longest_gap_at_s": round(at, 2),
        "seconds": round(stop["t"] - first["t"], 1),
        "latency_ms": {
            name: round(latencies[min(len(latencies) - 1, int(len(latencies) * share))] * 1000)
            for name, share in (("median", 0.5), ("p99", 0.99), ("max", 1.0))
        },
        "repeated": sum(ack["tries"] > 1 for ack in acks.values()),
        "sessions_lost": sum(ack["new_session"] for ack in acks.values()),
        "errors": dict(errors(events)),
        "lost_keys": [f"{run}{n}" for n in lost[:20]],
    }


def errors(events: list[dict[str, Any]]) -> Counter[str]:
    return Counter(event["kind"] for event in events if event["event"] == "error")


def failed(result: dict[str, Any]) -> bool:
    return bool(result["lost"] or result["unexpected"] or result["duplicated"])


def read_log(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("run", "readback"):
        command = commands.add_parser(name)
        command.add_argument("url")
        command.add_argument("--log", type=Path, required=True)
        if name == "run":
            command.add_argument("--rate", type=float, default=12, help="orders a second")
            command.add_argument("--workers", type=int, default=6)
            command.add_argument("--timeout", type=float, default=5, help="seconds that one attempt may take")
            command.add_argument("--seconds", type=float, default=60)
    arguments = parser.parse_args()
    token = os.environ.get("ORDER_API_TOKEN", "")
    if not token:
        raise ProbeError("ORDER_API_TOKEN is not set in the environment")
    if arguments.command == "run":
        ended = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: ended.set())
        with open(arguments.log, "w", encoding="utf-8") as log:
            probe = Probe(arguments.url, token, log, arguments.rate, arguments.workers, arguments.timeout)
            probe.start()
            deadline = time.monotonic() + arguments.seconds
            while time.monotonic() < deadline and not ended.wait(0.5):
                probe.check()
            probe.stop()
    events = read_log(arguments.log)
    if not events:
        raise ProbeError(f"{arguments.log} is empty")
    result = analyse(events, *stored(arguments.url, token, events[0]["run"]))
    print(json.dumps(result, indent=1))
    return int(failed(result))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ProbeError as error:
        print(f"orders: {error}", file=sys.stderr)
        sys.exit(2)
