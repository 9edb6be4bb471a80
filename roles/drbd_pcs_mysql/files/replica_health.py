# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Says over HTTP whether this read replica may be asked, for a load balancer, and how far behind it is, for monitoring.

replica_health.py ADDRESS PORT MAX_LAG_SECONDS SOCKET

    GET /          200 if both replication threads run and the lag is at most MAX_LAG_SECONDS, else 503 with the reason
    GET /metrics   mysql_replica_lag_seconds (-1 while unknown), mysql_replica_running: Prometheus' text format

The lag is the server's Seconds_Behind_Master: the age of what is being applied; 0 when nothing is left to apply.
"""

from __future__ import annotations

import http.server
import math
import sys
import threading
import time
from typing import Any

import pymysql
import pymysql.cursors

THREADS = ("Slave_IO_Running", "Slave_SQL_Running")


class Replica:
    """One connection to the local server, kept; opened again when it breaks."""

    def __init__(self, socket: str) -> None:
        self.socket = socket
        self.lock = threading.Lock()
        self.connection: Any = None
        self.contact = -math.inf  # when both threads last ran, by the monotonic clock

    def status(self) -> dict[str, Any]:
        """SHOW REPLICA STATUS; pymysql.Error if the server does not answer in 2 s."""
        with self.lock:
            try:
                if self.connection is None:
                    self.connection = pymysql.connect(
                        unix_socket=self.socket,
                        user="mysql",
                        read_timeout=2,
                        connect_timeout=2,
                        cursorclass=pymysql.cursors.DictCursor,
                    )
                with self.connection.cursor() as cursor:
                    cursor.execute("SHOW REPLICA STATUS")
                    found = cursor.fetchone() or {}
            except (pymysql.Error, OSError):
                if self.connection is not None:
                    self.connection._force_close()
                self.connection = None
                raise
            if all(found.get(name) == "Yes" for name in THREADS):
                self.contact = time.monotonic()
            return found


def judge(status: dict[str, Any], max_lag: float, silence: float) -> tuple[int, str, float, bool]:
    """HTTP status, sentence, lag in seconds (-1 if unknown) and whether it replicates.

    `silence` is for how many seconds the threads have not been seen to run. While the primary fails over, what is here
    is as new as can be had; a replica that hears nothing for longer than the allowed lag may be any time behind.
    """
    if not status:
        return 503, "this server is no replica", -1, False
    stopped = [name for name in THREADS if status.get(name) != "Yes"]
    lag = status.get("Seconds_Behind_Master")
    if stopped == ["Slave_IO_Running"] and status["Slave_IO_Running"] == "Connecting" and silence <= max_lag:
        return 200, f"the primary is away for {silence:.0f} s", -1, False
    if stopped:
        said = status.get("Last_SQL_Error") or status.get("Last_IO_Error") or "it was stopped by hand"
        return 503, f"{', '.join(stopped)} is not Yes: {said}", -1, False
    if lag is None or lag > max_lag:
        return 503, f"{lag} s behind, {max_lag:g} are allowed", -1 if lag is None else float(lag), True
    return 200, f"{lag} s behind", float(lag), True


def handler(replica: Replica, max_lag: float) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                code, text, lag, running = judge(replica.status(), max_lag, time.monotonic() - replica.contact)
            except (pymysql.Error, OSError) as error:
                code, text, lag, running = 503, f"the server does not answer: {error}", -1.0, False
            if self.path == "/metrics":
                code = 200
                text = (
                    "# TYPE mysql_replica_lag_seconds gauge\n"
                    f"mysql_replica_lag_seconds {lag:g}\n"
                    "# TYPE mysql_replica_running gauge\n"
                    f"mysql_replica_running {int(running)}"
                )
            body = f"{text}\n".encode()
            self.send_response(code)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_OPTIONS = do_HEAD = do_GET

        def log_message(self, *_arguments: Any) -> None:
            """A check every second is not worth a line."""

    return Handler


def main() -> None:
    address, port, max_lag, socket = sys.argv[1:5]
    server = http.server.ThreadingHTTPServer((address, int(port)), handler(Replica(socket), float(max_lag)))
    server.serve_forever()


if __name__ == "__main__":
    main()
