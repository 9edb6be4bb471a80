# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Two connections that are kept open, and a look at ports. On the nodes:

talk.py serve PORT …                 answers on each port
talk.py talk ADDRESS PORT SECONDS REST   a transfer and a conversation, for at most so long, or until REST seconds
                                         after somebody made /run/talk.end; prints what became of them as JSON
talk.py asked ADDRESS PORT           the address that the other side sees
talk.py scan PORTS ADDRESS …         which TCP ports of PORTS (1-1024,3306) take a connection, as JSON by address

The transfer is a stream of numbers, each of which must follow the one before. The conversation asks a number every
50 ms and wants it back, as a websocket does. A connection that breaks is not opened again: that is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import socket
import struct
import sys
import threading
import time
from pathlib import Path

FRAME = struct.Struct("!Q")
BLOCK = 128  # numbers that are sent at once: 1 KiB
PAUSE = 0.05
SILENCE = 60.0  # seconds without an answer after which a client gives up
SCANS = 400
SCAN_SECONDS = 3.0
END = Path("/run/talk.end")


def serve_one(connection: socket.socket) -> None:
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        kind = connection.recv(1)
        number = 0
        if kind == b"W":
            connection.sendall(connection.getpeername()[0].encode())
        while kind == b"S":
            connection.sendall(b"".join(FRAME.pack(number + i) for i in range(BLOCK)))
            number += BLOCK
            time.sleep(PAUSE / 10)
        while kind == b"P" and (data := connection.recv(4096)):
            connection.sendall(data)


def serve(ports: list[int]) -> None:
    def quietly(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            serve_one(connection)

    def listen(port: int) -> None:
        with socket.create_server(("", port), backlog=50) as server:
            while True:
                connection, _peer = server.accept()
                threading.Thread(target=quietly, args=(connection,), daemon=True).start()

    for port in ports:
        threading.Thread(target=listen, args=(port,), daemon=True).start()
    threading.Event().wait()


def receive(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise ConnectionError("closed by the other side")
        data += part
    return data


def ends(seconds: float, rest: float, stop: threading.Event) -> None:
    """Sets `stop` when it is time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not END.exists():
        time.sleep(0.2)
    time.sleep(min(rest, max(0.0, end - time.monotonic())))
    stop.set()


def follow(kind: bytes, address: str, port: int, stop: threading.Event, result: dict[str, object]) -> None:
    """One connection's life; `longest` are the seconds between two arrivals, `at` is when that began."""
    begin = last = time.monotonic()
    result |= {"numbers": 0, "longest": 0.0, "at": 0.0, "error": ""}
    number = 0
    try:
        with socket.create_connection((address, port), timeout=SILENCE) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(kind)
            last = time.monotonic()
            while not stop.is_set():
                wanted = 1 if kind == b"P" else BLOCK
                if kind == b"P":
                    connection.sendall(FRAME.pack(number))
                data = receive(connection, FRAME.size * wanted)
                now = time.monotonic()
                for (got,) in FRAME.iter_unpack(data):
                    if got != number:
                        raise ConnectionError(f"number {got} came after {number - 1}")
                    number += 1
                result["numbers"] = number
                if now - last > float(str(result["longest"])):
                    result |= {"longest": round(now - last, 2), "at": round(last - begin, 2)}
                last = now
                if kind == b"P":
                    time.sleep(PAUSE)
    except OSError as err:
        result["error"] = f"{type(err).__name__}: {err}"


def talk(address: str, port: int, seconds: float, rest: float) -> dict[str, dict[str, object]]:
    results: dict[str, dict[str, object]] = {"transfer": {}, "conversation": {}}
    stop = threading.Event()
    threading.Thread(target=ends, args=(seconds, rest, stop), daemon=True).start()
    threads = [
        threading.Thread(target=follow, args=(kind, address, port, stop, results[name]))
        for name, kind in (("transfer", b"S"), ("conversation", b"P"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def ports_of(text: str) -> list[int]:
    found: list[int] = []
    for part in text.split(","):
        first, _dash, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


async def scan(ports: list[int], addresses: list[str]) -> dict[str, list[int]]:
    gate = asyncio.Semaphore(SCANS)
    found: dict[str, list[int]] = {address: [] for address in addresses}

    async def knock(address: str, port: int) -> None:
        async with gate:
            try:
                _reader, writer = await asyncio.wait_for(asyncio.open_connection(address, port), SCAN_SECONDS)
            except OSError:
                return
            found[address].append(port)
            writer.close()

    await asyncio.gather(*(knock(address, port) for address in addresses for port in ports))
    return {address: sorted(ports) for address, ports in found.items()}


def main() -> None:
    verb, *rest = sys.argv[1:]
    if verb == "serve":
        serve([int(port) for port in rest])
    elif verb == "talk":
        print(json.dumps(talk(rest[0], int(rest[1]), float(rest[2]), float(rest[3]))))
    elif verb == "asked":
        with socket.create_connection((rest[0], int(rest[1])), timeout=10) as connection:
            connection.sendall(b"W")
            print(connection.recv(64).decode())
    elif verb == "scan":
        resource.setrlimit(resource.RLIMIT_NOFILE, (SCANS * 2, SCANS * 2))
        print(json.dumps(asyncio.run(scan(ports_of(rest[0]), rest[1:]))))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
