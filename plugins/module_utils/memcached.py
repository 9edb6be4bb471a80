# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""memcached: a tiny client of its text protocol, and the decisions about a host's processes."""

from __future__ import annotations

import hashlib
import socket
from dataclasses import dataclass, field

from ansible_collections.cloudexit.ha_stack.plugins.module_utils.line_client import LineClient

FINGERPRINT = "CLOUDEXIT_UNIT"


class MemcachedError(Exception):
    """What a process answered in place of what it should."""


class Client(LineClient):
    """One connection to one memcached process, enough to prove that it serves."""

    def _ask(self, request: bytes) -> str:
        self.send(request + b"\r\n")
        return self._text()

    def _text(self) -> str:
        return self.line().decode("utf-8", "replace")

    def version(self) -> str:
        return self._ask(b"version").removeprefix("VERSION ")

    def stats(self, what: str = "") -> dict[str, str]:
        line = self._ask(f"stats {what}".strip().encode())
        result: dict[str, str] = {}
        while line != "END":
            if not line.startswith("STAT "):
                raise MemcachedError(line)
            name, _blank, value = line[5:].partition(" ")
            result[name] = value
            line = self._text()
        return result

    def set(self, key: str, value: bytes, seconds: int) -> str:
        return self._ask(f"set {key} 0 {seconds} {len(value)}\r\n".encode() + value)

    def get(self, key: str) -> bytes | None:
        head = self._ask(f"get {key}".encode())
        if head == "END":
            return None
        if not head.startswith("VALUE "):
            raise MemcachedError(head)
        data = self.block(int(head.split()[3]))
        self.line()
        return data

    def delete(self, key: str) -> str:
        return self._ask(f"delete {key}".encode())


def fingerprint(unit: str) -> str:
    """What tells two texts of the unit apart."""
    return hashlib.sha256(unit.encode()).hexdigest()[:16]


def sealed(unit: str) -> str:
    """The unit with its own fingerprint in the environment of every process it starts."""
    return unit.replace("[Service]\n", f"[Service]\nEnvironment={FINGERPRINT}={fingerprint(unit)}\n", 1)


def seal_of(text: bytes, separator: bytes) -> str:
    """The fingerprint found in a unit file (separated by newlines) or in /proc/<pid>/environ (by zeros); or ''."""
    for part in text.split(separator):
        name, _equals, value = part.removeprefix(b"Environment=").partition(b"=")
        if name == FINGERPRINT.encode():
            return value.decode()
    return ""


@dataclass(frozen=True)
class Instance:
    """What systemd and /proc say about one process."""

    port: int
    active: bool
    enabled: bool
    seal: str = ""
    replaced: bool = False  # its program was replaced since its start


@dataclass
class Plan:
    """What to do on one host, in this order."""

    stop: list[int] = field(default_factory=list)
    start: list[int] = field(default_factory=list)
    enable: list[int] = field(default_factory=list)
    pending: list[int] = field(default_factory=list)

    @property
    def changes(self) -> bool:
        return bool(self.stop or self.start or self.enable)


def plan(wanted: list[int], found: list[Instance], seal: str) -> Plan:
    """Compare the processes that should run with those systemd knows; a running one is never restarted here."""
    known = {i.port: i for i in found}
    result = Plan()
    for port in sorted(wanted):
        now = known.get(port, Instance(port, False, False))
        if not now.active:
            result.start.append(port)
        elif now.seal != seal or now.replaced:
            result.pending.append(port)
        if not now.enabled:
            result.enable.append(port)
    result.stop = sorted(i.port for i in found if i.port not in wanted and (i.active or i.enabled))
    return result


def listeners(table: str, uid: int) -> list[tuple[str, int]]:
    """(address, port) of a user's listening TCP or bound UDP sockets in /proc/net/{tcp,tcp6,udp,udp6}."""
    found = []
    for line in table.splitlines()[1:]:
        part = line.split()
        if len(part) > 7 and part[3] in ("0A", "07") and int(part[7]) == uid:
            raw, port = part[1].split(":")
            found.append((_address(raw), int(port, 16)))
    return found


def _address(raw: str) -> str:
    """/proc/net prints an address as 32-bit words in the host's byte order (little-endian on Debian's common ports)."""
    words = [bytes.fromhex(raw[i : i + 8])[::-1] for i in range(0, len(raw), 8)]
    family = socket.AF_INET if len(words) == 1 else socket.AF_INET6
    return socket.inet_ntop(family, b"".join(words))
