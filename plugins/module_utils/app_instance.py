# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What app_instance decides: names, process states, what may be pruned; HTTP over a unix socket, Nginx' workers."""

from __future__ import annotations

import hashlib
import http.client
import re
import socket
from pathlib import Path

PLACEHOLDER = "@INSTANCE@"


def instance_id(release: str, files: dict[str, str]) -> str:
    """The name of an instance: 12 hex digits over its release and the texts of its files, by file name.

    Two nodes with the same release and settings have the same id; any change of either gives another one.
    """
    digest = hashlib.sha256(release.encode())
    for name in sorted(files):
        digest.update(f"\0{name}\0{files[name]}".encode())
    return digest.hexdigest()[:12]


def parse_status(text: str) -> dict[str, dict[str, str]]:
    """Output of `supervisorctl status` as group → process → state (RUNNING, STARTING, FATAL, …)."""
    found: dict[str, dict[str, str]] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[1].isupper():
            group, colon, process = words[0].partition(":")
            found.setdefault(group, {})[process if colon else group] = words[1]
    return found


def belongs(group: str, app: str) -> bool:
    """Whether supervisord's `group` is an instance of `app`, and not one of an application whose name is longer."""
    return bool(re.fullmatch(rf"{re.escape(app)}-[0-9a-f]{{12}}", group))


def to_prune(kept: int, instances: list[tuple[str, str, float]], current: str) -> tuple[list[str], set[str]]:
    """Which instances go, and which releases stay.

    `instances` are (id, release, time of its last switch or 0); the current one and the `kept` others that served most
    recently stay, and so do the releases they run. One that never served is nothing to go back to.
    """
    served = sorted((i for i in instances if i[0] != current and i[2]), key=lambda i: i[2], reverse=True)
    staying = served[: max(kept, 0)] + [i for i in instances if i[0] == current]
    return [i[0] for i in instances if i not in staying], {i[1] for i in staying}


def nginx_workers(master: int, proc: Path = Path("/proc")) -> dict[int, bool]:
    """Worker processes of the Nginx whose master is `master`: pid → whether it takes new connections."""
    found: dict[int, bool] = {}
    for place in proc.glob("[0-9]*"):
        try:
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            title = (place / "cmdline").read_text().rstrip("\0 ")
        except (OSError, ValueError, IndexError):
            continue  # it ended meanwhile
        if parent == master and title.startswith("nginx: worker process"):
            found[int(place.name)] = not title.endswith("is shutting down")
    return found


class UnixConnection(http.client.HTTPConnection):
    """HTTP to a server that listens on a unix socket."""

    def __init__(self, path: str, host: str, timeout: float) -> None:
        super().__init__(host, timeout=timeout)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def probe(path: str, host: str, url: str, timeout: float = 5.0) -> str:
    """ "" if GET `url` on the unix socket answers 200, else what it answered instead, in words."""
    connection = UnixConnection(path, host, timeout)
    try:
        connection.request("GET", url, headers={"X-Forwarded-Proto": "https"})
        answer = connection.getresponse()
        body = answer.read(300).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        connection.close()
    return "" if answer.status == 200 else f"HTTP {answer.status}: {' '.join(body.split())[:200]}"
