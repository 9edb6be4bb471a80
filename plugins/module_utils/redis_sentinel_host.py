# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where Debian keeps Redis and Sentinel on a host."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ansible_collections.cloudexit.ha_stack.plugins.module_utils.redis_sentinel import conf_value


@dataclass(frozen=True)
class Place:
    """A service and its files."""

    unit: str
    conf: str
    binary: str
    directory: str
    log: str
    pid: str

    @property
    def dropin(self) -> str:
        return f"/etc/systemd/system/{self.unit}.d/cloudexit.conf"


DATA = Place(
    unit="redis-server.service",
    conf="/etc/redis/redis.conf",
    binary="/usr/bin/redis-server",
    directory="/var/lib/redis",
    log="/var/log/redis/redis-server.log",
    pid="/run/redis/redis-server.pid",
)
SENTINEL = Place(
    unit="redis-sentinel.service",
    conf="/etc/redis/sentinel.conf",
    binary="/usr/bin/redis-sentinel",
    directory="/var/lib/redis",
    log="/var/log/redis/redis-sentinel.log",
    pid="/run/sentinel/redis-sentinel.pid",
)


def read(path: str) -> str:
    """A file's text, empty if it is not there."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except FileNotFoundError:
        return ""


def known_passwords() -> list[str]:
    """The administrator's password as this host's servers have it, for the time before they learn a new one."""
    return [conf_value(read(DATA.conf), "masterauth"), conf_value(read(SENTINEL.conf), "sentinel", "sentinel-pass")]


def has_data(directory: str) -> bool:
    """Whether a data directory holds what a server would load or overwrite."""
    return os.path.exists(os.path.join(directory, "dump.rdb")) or bool(
        os.path.isdir(os.path.join(directory, "appendonlydir")) and os.listdir(os.path.join(directory, "appendonlydir"))
    )
