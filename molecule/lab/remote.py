# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Commands on a node over ssh, for drills and measurements."""

from __future__ import annotations

import subprocess

from . import state
from .definitions import LabError, Node

OPTIONS = ("BatchMode=yes", "ConnectTimeout=4", "ServerAliveInterval=2", "ServerAliveCountMax=3")


class RemoteError(LabError):
    """A node did not answer, or a command on it failed."""


def run(node: Node, command: str, timeout: float = 20) -> str:
    """Output of a shell command, run as root; RemoteError if it fails or the node does not answer in `timeout` s."""
    options = [f"-o{option}" for option in (*OPTIONS, f"UserKnownHostsFile={state.known_hosts()}")]
    line = ["ssh", *options, "-i", str(state.client_key()), f"root@{node.address}", command]
    try:
        done = subprocess.run(line, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise RemoteError(f"{node.name}: no answer to {command!r} in {timeout:g} s") from None
    if done.returncode != 0:
        raise RemoteError(f"{node.name}: {command!r}: {done.stderr.strip() or f'status {done.returncode}'}")
    return done.stdout
