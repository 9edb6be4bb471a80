# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A client of the Redis protocol (RESP2) from the standard library alone: nothing to install on managed nodes."""

from __future__ import annotations

import socket
from types import TracebackType
from typing import Any


class RespError(Exception):
    """An error that the server answered; the first word is its code."""

    @property
    def code(self) -> str:
        return str(self).split(" ", 1)[0]


class Disconnected(OSError):
    """The server closed the connection in the middle of an answer."""


def encode(*words: str | bytes | int) -> bytes:
    """A command as the array of bulk strings that the protocol wants."""
    parts = [f"*{len(words)}\r\n".encode()]
    for word in words:
        raw = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(raw), raw))
    return b"".join(parts)


class Client:
    """One connection. Answers are str, int, None or (nested) lists of these."""

    def __init__(self, address: str, port: int, timeout: float = 3.0) -> None:
        self._socket = socket.create_connection((address, port), timeout=timeout)
        self._stream = self._socket.makefile("rb")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._stream.close()
        self._socket.close()

    def __call__(self, *words: str | bytes | int) -> Any:
        """Send one command, return its answer; an error answer is raised."""
        self._socket.sendall(encode(*words))
        answer = self._read()
        if isinstance(answer, RespError):
            raise answer
        return answer

    def _read(self) -> Any:
        line = self._stream.readline()
        if not line.endswith(b"\r\n"):
            raise Disconnected("the connection was closed in the middle of an answer")
        kind, rest = line[:1], line[1:-2].decode("utf-8", "replace")
        if kind == b"+":
            return rest
        if kind == b"-":
            return RespError(rest)
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return self._bulk(int(rest))
        if kind == b"*":
            return None if int(rest) < 0 else [self._read() for _item in range(int(rest))]
        raise Disconnected(f"not the Redis protocol: {line[:80]!r}")

    def _bulk(self, length: int) -> str | None:
        if length < 0:
            return None
        raw = self._stream.read(length + 2)
        if len(raw) != length + 2:
            raise Disconnected("the connection was closed in the middle of an answer")
        return raw[:-2].decode("utf-8", "replace")
