# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How the modules of nginx_cdn look at a host, its files, and the Nginx that runs there."""

from __future__ import annotations

import http.client
import os
import socket
import time
from pathlib import Path

from ansible_collections.cloudexit.ha_stack.plugins.module_utils import nginx_cdn
from ansible_collections.cloudexit.ha_stack.plugins.module_utils.package_upgrade import replaced

MODULES = Path("/usr/lib/nginx/modules")
TIMEOUT = 3.0


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a socket of this host."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def running(timeout: float = TIMEOUT) -> str:
    """The generation that Nginx runs, as a worker says; '' if none answers."""
    connection = UnixConnection(nginx_cdn.STATUS_SOCKET, timeout)
    try:
        connection.request("GET", "/generation", headers={"Connection": "close"})
        return connection.getresponse().read().decode("ascii", "replace").strip()
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        connection.close()


def written() -> str:
    """The generation that the link points to; '' if there is none."""
    try:
        return os.readlink(nginx_cdn.CURRENT)
    except OSError:
        return ""


def generations() -> list[str]:
    names = os.listdir(nginx_cdn.HOME) if nginx_cdn.HOME.is_dir() else []
    return sorted(name for name in names if nginx_cdn.GENERATION.fullmatch(name))


def files_of(name: str) -> list[str]:
    folder = nginx_cdn.HOME / name
    return sorted(os.listdir(folder)) if name and folder.is_dir() else []


def master() -> int:
    """The process that systemd knows; 0 if there is none."""
    try:
        number = int(nginx_cdn.PID.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0
    return number if Path(f"/proc/{number}").exists() else 0


def started(process: int) -> int:
    """When a process began, in microseconds of the monotonic clock; 0 if it is gone."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0
    # Ticks since boot, which counts sleep; the monotonic clock does not.
    asleep = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
    return int((int(fields[19]) / os.sysconf("SC_CLK_TCK") - asleep) * 1e6)


def stale() -> bool:
    """Whether Nginx or one of its modules was installed after the running master began."""
    began = started(master())
    files = [nginx_cdn.BINARY, *(str(path) for path in sorted(MODULES.glob("*.so")))]
    return began > 0 and any(replaced(file, began) for file in files)
