# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One connection that is kept open, to a service that sends back what it gets. Settings: address, port.

Each record is a number of eight bytes that must come back. A connection that breaks is not opened again: whoever had it
before the fault has lost it, so the stream ends there and its gap lasts until the end.
"""

from __future__ import annotations

import socket
import struct
from typing import Any

from stream import Stream

NEEDS = {}
FAILURES = (OSError,)
FRAME = struct.Struct("!Q")
SILENCE = 60.0  # seconds without an answer after which the connection counts as broken


class Client:
    failures = FAILURES

    def __init__(self, settings: dict[str, Any]) -> None:
        self.address = str(settings["address"])
        self.connection = socket.create_connection((self.address, int(settings["port"])), timeout=SILENCE)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def write(self, number: int) -> str:
        self.connection.sendall(FRAME.pack(number))
        data = b""
        while len(data) < FRAME.size:
            part = self.connection.recv(FRAME.size - len(data))
            if not part:
                raise ConnectionError("closed by the other side")
            data += part
        if FRAME.unpack(data)[0] != number:
            raise ConnectionError("another number came back")
        return self.address


def streams(settings: dict[str, Any], _run: str) -> dict[str, Stream]:
    note = "the same connection from the beginning to the end; nothing is stored"
    return {"connection": Stream("numbers that came back", lambda: Client(settings), ["gap"], note, readable=False)}


def prepare(_settings: dict[str, Any], _run: str) -> None:
    """Nothing."""


def read(_settings: dict[str, Any], _run: str, _name: str) -> list[int]:
    return []


def versions(_settings: dict[str, Any]) -> dict[str, str]:
    return {}


def clean(_settings: dict[str, Any], _run: str) -> None:
    """Nothing."""
