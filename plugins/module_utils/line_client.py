# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A TCP connection that is read by lines, for protocols that end theirs with CR LF (Redis, memcached)."""

from __future__ import annotations

import socket
from types import TracebackType
from typing import Self


class Disconnected(OSError):
    """The server closed the connection in the middle of an answer, or answered in another protocol."""


class LineClient:
    """One connection."""

    def __init__(self, address: str, port: int, timeout: float = 3.0) -> None:
        self._socket = socket.create_connection((address, port), timeout=timeout)
        self._stream = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._stream.close()
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def line(self) -> bytes:
        """The next line, without its end."""
        return self._whole(self._stream.readline())

    def block(self, length: int) -> bytes:
        """So many bytes, whatever is in them, and the line's end after them, which is left out."""
        raw = self._stream.read(length + 2)
        return self._whole(raw if len(raw) == length + 2 else b"")

    @staticmethod
    def _whole(raw: bytes) -> bytes:
        if not raw.endswith(b"\r\n"):
            raise Disconnected("the connection was closed in the middle of an answer")
        return raw[:-2]
