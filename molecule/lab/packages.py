# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Debian packages that every node has before a role touches it: what a minimal VM comes with."""

from __future__ import annotations

COMMON = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "python3",
    "python3-apt",
    "openssh-server",
    "iproute2",
    "iputils-ping",
    "ca-certificates",
    "sudo",
    "procps",
    "kmod",
    "udev",
)
