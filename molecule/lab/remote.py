# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Commands on a node over ssh, for drills and measurements."""

from __future__ import annotations

import contextlib
import subprocess
from typing import IO

from . import state
from .definitions import LabError, Node

OPTIONS = ("BatchMode=yes", "ConnectTimeout=4", "ServerAliveInterval=2", "ServerAliveCountMax=3")


class RemoteError(LabError):
    """A node did not answer, or a command on it failed."""


def _command(node: Node, command: str) -> list[str]:
    options = [f"-o{option}" for option in (*OPTIONS, f"UserKnownHostsFile={state.known_hosts()}")]
    return ["ssh", *options, "-i", str(state.client_key()), f"root@{node.address}", command]


def run(node: Node, command: str, timeout: float = 20) -> str:
    """Output of a shell command, run as root; RemoteError if it fails or the node does not answer in `timeout` s."""
    try:
        done = subprocess.run(_command(node, command), capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise RemoteError(f"{node.name}: no answer to {command!r} in {timeout:g} s") from None
    if done.returncode != 0:
        raise RemoteError(f"{node.name}: {command!r}: {done.stderr.strip() or f'status {done.returncode}'}")
    return done.stdout


def start(node: Node, command: str, stdin: str, stdout: IO[str]) -> subprocess.Popen[str]:
    """The command started; it ends with the node, or soon after."""
    process = subprocess.Popen(
        _command(node, command), stdin=subprocess.PIPE, stdout=stdout, stderr=subprocess.DEVNULL, text=True
    )
    with contextlib.suppress(BrokenPipeError):
        assert process.stdin
        process.stdin.write(stdin)
        process.stdin.close()
    return process
