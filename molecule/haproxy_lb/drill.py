# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Clients that use the shop while something happens to it: drill.py --address VIP [--after SECONDS] COMMAND …

Some read on connections that they keep, some read something slow, some place numbered orders; nobody tries anything
twice. Runs the command once they are at it, goes on for some seconds after it, and prints as JSON what they saw.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import ssl
import subprocess
import sys
import threading
import time
import uuid

WARM_UP_SECONDS = 2
TIMEOUT_SECONDS = 20
READERS, SLOW_READERS, BUYERS = 4, 3, 2
# How long a client thinks between two requests.
READER_PAUSE, BUYER_PAUSE = 0.02, 0.05


class Client(threading.Thread):
    """One client with one connection, kept open as long as the server lets it."""

    def __init__(self, address: str, kind: str, until: threading.Event) -> None:
        super().__init__(daemon=True)
        self.address, self.kind, self.until = address, kind, until
        self.connection: http.client.HTTPSConnection | None = None
        self.good: list[float] = []
        self.errors: list[str] = []
        self.acknowledged: list[str] = []
        self.slowest = 0.0

    def request(self, method: str, path: str, body: str | None = None) -> None:
        if self.connection is None:
            context = ssl._create_unverified_context()
            self.connection = http.client.HTTPSConnection(self.address, timeout=TIMEOUT_SECONDS, context=context)
        try:
            self.connection.request(method, path, body)
            answer = self.connection.getresponse()
            answer.read()
            closing = answer.will_close
            if answer.status != 200:
                raise http.client.HTTPException(f"HTTP {answer.status}")
        except (OSError, http.client.HTTPException):
            self.connection.close()
            self.connection = None
            raise
        if closing:
            self.connection.close()
            self.connection = None

    def once(self) -> None:
        order = str(uuid.uuid4())
        begin = time.monotonic()
        try:
            if self.kind == "buyer":
                self.request("POST", "/order", order)
                self.acknowledged.append(order)
            else:
                self.request("GET", "/" if self.kind == "reader" else "/slow?1")
            self.good.append(time.monotonic())
        except (OSError, http.client.HTTPException) as error:
            self.errors.append(str(error) or type(error).__name__)
            # A refused connection fails at once; a client does not hammer.
            time.sleep(BUYER_PAUSE)
        self.slowest = max(self.slowest, time.monotonic() - begin)

    def run(self) -> None:
        while not self.until.is_set():
            self.once()
            self.until.wait(READER_PAUSE if self.kind == "reader" else BUYER_PAUSE)


def summary(clients: list[Client]) -> dict[str, object]:
    good = sorted(moment for client in clients for moment in client.good)
    return {
        "good": len(good),
        "failed": sum(len(client.errors) for client in clients),
        "errors": sorted({error for client in clients for error in client.errors}),
        "slowest_s": round(max(client.slowest for client in clients), 2),
        "longest_gap_s": round(max((b - a for a, b in itertools.pairwise(good)), default=0.0), 2),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", required=True)
    parser.add_argument("--after", type=float, default=5)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    until = threading.Event()
    kinds = ["reader"] * READERS + ["slow"] * SLOW_READERS + ["buyer"] * BUYERS
    clients = [Client(arguments.address, kind, until) for kind in kinds]
    for client in clients:
        client.start()
    time.sleep(WARM_UP_SECONDS)
    done = subprocess.run(arguments.command, capture_output=True, text=True, check=False)
    time.sleep(arguments.after)
    until.set()
    for client in clients:
        client.join(TIMEOUT_SECONDS + 1)
    buyers = [client for client in clients if client.kind == "buyer"]
    readers = [client for client in clients if client.kind != "buyer"]
    result = {
        "all": summary(clients),
        "readers": summary(readers),
        "buyers": summary(buyers),
        "orders": [order for client in buyers for order in client.acknowledged],
        "command": {"rc": done.returncode, "output": (done.stdout + done.stderr)[-3000:]},
    }
    print(json.dumps(result))
    return 0 if done.returncode == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
