# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A tiny web application: web.py PORT. It writes each order down, so that one taken twice is seen."""

from __future__ import annotations

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ORDERS = "/var/lib/orders"


class Application(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def reply(self, body: dict[str, object], status: int = 200) -> None:
        text = json.dumps({"node": os.uname().nodename, **body}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self) -> None:
        path, _mark, query = self.path.partition("?")
        if path == "/headers":
            self.reply({"headers": [[name.lower(), value] for name, value in self.headers.items()]})
        elif path == "/slow":
            time.sleep(float(query))
            self.reply({})
        elif path == "/orders":
            with open(ORDERS, encoding="ascii") as taken:
                self.reply({"orders": taken.read().split()})
        elif path in ("/", "/healthz"):
            self.reply({})
        else:
            self.reply({}, 404)

    def do_POST(self) -> None:
        order = self.rfile.read(int(self.headers["Content-Length"])).decode()
        with open(ORDERS, "a", encoding="ascii") as out:
            out.write(f"{order}\n")
        if self.path == "/broken":
            # The order is taken and the answer is lost: nobody may send it again.
            self.close_connection = True
            return
        self.reply({"order": order})

    def log_message(self, format: str, *args: object) -> None:
        pass


if __name__ == "__main__":
    open(ORDERS, "a", encoding="ascii").close()
    ThreadingHTTPServer.request_queue_size = 256
    ThreadingHTTPServer(("", int(sys.argv[1])), Application).serve_forever()
