# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The CDN's figures for Prometheus: nginx_cdn_metrics.py ADDRESS PORT CACHE_PATH.

Counts the lines that Nginx adds to its access log, when somebody asks and every few seconds, so that requests pay
nothing for it. Counters begin with this process, as Prometheus expects of counters. A line is
`cache-status status bytes seconds …`; what is not is counted as unreadable. Listens on ADDRESS only, serves /metrics.
"""

from __future__ import annotations

import collections
import contextlib
import http.client
import os
import re
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LOG = "/var/log/nginx-cdn/access.log"
STATUS_SOCKET = "/run/nginx-cdn/status.sock"
EVERY_SECONDS = 5
BLOCK = 1 << 20
SERVED = ("HIT", "STALE", "UPDATING", "REVALIDATED")
STUB = re.compile(
    r"Active connections: (\d+)\s+server accepts handled requests\s+(\d+) (\d+) (\d+)\s+Reading: (\d+) Writing: (\d+)"
    r" Waiting: (\d+)"
)


class Counts:
    """What the log has said since this process began."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.requests: collections.Counter[str] = collections.Counter()
        self.sent: collections.Counter[str] = collections.Counter()
        self.statuses: collections.Counter[str] = collections.Counter()
        self.seconds = 0.0
        self.unreadable = 0
        self.file = None
        self.rest = b""

    def take(self, lines: list[bytes]) -> None:
        for line in lines:
            fields = line.split(b" ", 4)
            try:
                cache, status, sent, seconds = fields[0].decode("ascii"), fields[1], int(fields[2]), float(fields[3])
            except (IndexError, ValueError):
                self.unreadable += 1
                continue
            self.requests[cache] += 1
            self.sent[cache] += sent
            self.statuses[status[:1].decode("ascii", "replace") + "xx"] += 1
            self.seconds += seconds

    def read_on(self) -> None:
        assert self.file is not None
        while block := self.file.read(BLOCK):
            lines = (self.rest + block).split(b"\n")
            self.rest = lines.pop()
            self.take(lines)

    def update(self, first: bool = False) -> None:
        """Read what is new; after a rotation, the end of the old file and then the new one."""
        with self.lock, contextlib.suppress(OSError):
            if self.file is not None:
                self.read_on()
                now, mine = os.stat(LOG), os.fstat(self.file.fileno())
                if (now.st_dev, now.st_ino) == (mine.st_dev, mine.st_ino) and now.st_size >= self.file.tell():
                    return
                self.file.close()
                self.rest = b""
                self.file = None
            self.file = open(LOG, "rb", buffering=0)  # noqa: SIM115  # read on for hours
            if first:
                self.file.seek(0, os.SEEK_END)
            self.read_on()


def stub_status() -> tuple[str, ...] | None:
    connection = http.client.HTTPConnection("localhost", timeout=2)
    try:
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(2)
        connection.sock.connect(STATUS_SOCKET)
        connection.request("GET", "/status", headers={"Connection": "close"})
        match = STUB.search(connection.getresponse().read().decode("ascii", "replace"))
        return match.groups() if match else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def page(counts: Counts, cache_path: str) -> str:
    lines: list[str] = []

    def metric(name: str, kind: str, text: str, values: dict[str, float]) -> None:
        lines.extend((f"# HELP {name} {text}", f"# TYPE {name} {kind}"))
        lines.extend(f"{name}{labels} {value:.10g}" for labels, value in values.items())

    with counts.lock:
        metric(
            "nginx_cdn_requests_total",
            "counter",
            "Requests by what the cache said; - never came to the cache.",
            {f'{{cache="{cache}"}}': count for cache, count in sorted(counts.requests.items())},
        )
        metric(
            "nginx_cdn_sent_bytes_total",
            "counter",
            "Bytes sent to clients by what the cache said.",
            {f'{{cache="{cache}"}}': count for cache, count in sorted(counts.sent.items())},
        )
        metric(
            "nginx_cdn_responses_total",
            "counter",
            "Responses by class of their status.",
            {f'{{class="{status}"}}': count for status, count in sorted(counts.statuses.items())},
        )
        metric("nginx_cdn_request_seconds_total", "counter", "Time that requests took.", {"": counts.seconds})
        metric("nginx_cdn_unreadable_lines_total", "counter", "Lines of another form.", {"": counts.unreadable})
        total = sum(count for cache, count in counts.requests.items() if cache != "-")
        if total:
            share = sum(counts.requests[cache] for cache in SERVED) / total
            metric("nginx_cdn_hit_ratio", "gauge", "Share of them that the cache answered.", {"": share})
    status = stub_status()
    metric("nginx_cdn_up", "gauge", "Whether Nginx answers.", {"": 1 if status else 0})
    if status:
        active, accepted, handled, _requests, reading, writing, waiting = (int(number) for number in status)
        metric("nginx_cdn_connections_accepted_total", "counter", "Connections.", {"": accepted})
        metric("nginx_cdn_connections_dropped_total", "counter", "Refused, too many.", {"": accepted - handled})
        states = {"active": active, "reading": reading, "writing": writing, "waiting": waiting}
        metric("nginx_cdn_connections", "gauge", "Connections now.", {f'{{state="{s}"}}': n for s, n in states.items()})
    with contextlib.suppress(OSError):
        disk = os.statvfs(cache_path)
        metric(
            "nginx_cdn_filesystem_bytes",
            "gauge",
            "Size of the cache's file system.",
            {"": disk.f_blocks * disk.f_frsize},
        )
        metric("nginx_cdn_filesystem_free_bytes", "gauge", "Free in it.", {"": disk.f_bavail * disk.f_frsize})
    return "\n".join(lines) + "\n"


class Server(ThreadingHTTPServer):
    counts = Counts()
    cache_path = ""


class Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10

    def do_GET(self) -> None:
        assert isinstance(self.server, Server)
        known = self.path == "/metrics"
        if known:
            self.server.counts.update()
        body = (page(self.server.counts, self.server.cache_path) if known else "see /metrics\n").encode()
        self.send_response(200 if known else 404)
        self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def main() -> None:
    address, port, cache_path = sys.argv[1:4]
    Server.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
    server = Server((address, int(port)), Page)
    server.cache_path = cache_path
    server.counts.update(first=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    while True:
        time.sleep(EVERY_SECONDS)
        server.counts.update()


if __name__ == "__main__":
    main()
