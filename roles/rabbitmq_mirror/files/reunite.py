# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Restarts this member of a RabbitMQ cluster after it hung for so long that the others gave it up.

Then all are connected again, but each side holds the other for lost, and pause_minority, which looks at connections,
has nothing to do. Called with this node's name and those of all members; runs for ever.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

PERIOD = 5.0  # seconds between two looks, each of which is one small program
PATIENCE = 5.0  # seconds that a node may take to answer
LOOKS = 2  # in a row, before anything is done: RabbitMQ may be about to mend it
REST = 120.0  # seconds after a restart

Ask = Callable[[str], "set[str] | None"]


def lost_by(node: str) -> set[str] | None:
    """Members that a node holds for lost; None: it does not answer, as while it starts, hangs or has paused itself."""
    call = ["erl_call", "-name", node, "-a", "rabbit_node_monitor partitions []"]
    environment = {"HOME": "/var/lib/rabbitmq", "PATH": os.environ.get("PATH", os.defpath)}  # of the cookie
    try:
        done = subprocess.run(
            call, capture_output=True, text=True, timeout=PATIENCE, user="rabbitmq", env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        return None
    if done.returncode or not done.stdout.startswith("["):
        return None
    return set(re.findall(r"[^\s\[\],']+", done.stdout))


def cut_off(node: str, members: Sequence[str], ask: Ask = lost_by) -> list[str]:
    """The members that `node` has lost although it runs, while they are a majority, answer and have each other."""
    lost = ask(node) or set()
    if len(lost) * 2 <= len(members):
        return []
    answers = [ask(other) for other in sorted(lost)]
    return sorted(lost) if all(answer is not None and answer <= {node} for answer in answers) else []


def main() -> None:
    node, *members = sys.argv[1:]
    seen = 0
    while True:
        time.sleep(PERIOD)
        lost = cut_off(node, members)
        seen = seen + 1 if lost else 0
        if seen == LOOKS:
            print(f"{node} and {', '.join(lost)} answer, and hold each other for lost: restarting it", flush=True)
            # Not only the application: after that, the members noticed the next loss of a node 20 s late.
            subprocess.run(["systemctl", "restart", "rabbitmq-server.service"], check=False)
            seen = 0
            time.sleep(REST)


if __name__ == "__main__":
    main()
