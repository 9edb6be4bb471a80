# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A client of the Redis protocol (RESP2) from the standard library alone: nothing to install on managed nodes."""

from __future__ import annotations

from typing import Any

from ansible_collections.cloudexit.ha_stack.plugins.module_utils.line_client import Disconnected, LineClient


class RespError(Exception):
    """An error that the server answered; the first word is its code."""

    @property
    def code(self) -> str:
        return str(self).split(" ", 1)[0]


def encode(*words: str | bytes | int) -> bytes:
    """A command as the array of bulk strings that the protocol wants."""
    parts = [f"*{len(words)}\r\n".encode()]
    for word in words:
        raw = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(raw), raw))
    return b"".join(parts)


class Client(LineClient):
    """One connection. Answers are str, int, None or (nested) lists of these."""

    def __call__(self, *words: str | bytes | int) -> Any:
        """Send one command, return its answer; an error answer is raised."""
        self.send(encode(*words))
        answer = self._read()
        if isinstance(answer, RespError):
            raise answer
        return answer

    def _read(self) -> Any:
        line = self.line()
        kind, rest = line[:1], line[1:].decode("utf-8", "replace")
        if kind == b"+":
            return rest
        if kind == b"-":
            return RespError(rest)
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if int(rest) < 0 else self.block(int(rest)).decode("utf-8", "replace")
        if kind == b"*":
            return None if int(rest) < 0 else [self._read() for _item in range(int(rest))]
        raise Disconnected(f"not the Redis protocol: {line[:80]!r}")
