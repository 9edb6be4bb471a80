# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The price of a short net_ticktime: which pauses of a healthy member have the others give it up.

    false_positives.py [--ticktime S …] [--pause S …]

A measurement, not a test. The lab must run and be configured: molecule converge -s rabbitmq_mirror. All members are
told the tick time, then one member's process is stopped (SIGSTOP) for the time of a pause, as a virtual machine stands
still that is moved or has a snapshot taken, and goes on. Another member's log tells whether it was given up; all are
asked whether they count each other as running again. A member that does not come back by itself is restarted. Results:
.lab/reports/rabbitmq_false_positives.json and .md.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "molecule"))

from lab import outcome, remote  # noqa: E402
from lab.definitions import Lab, LabError, load  # noqa: E402

PID = "$(cat /var/lib/rabbitmq/mnesia/*.pid)"
ASK = """
cd /var/lib/rabbitmq
echo '{}' | runuser -u rabbitmq -- env HOME=$PWD erl_call -name $(basename mnesia/*.pid .pid) -timeout 10 -e
"""
RUNNING = "length(rabbit_mnesia:cluster_nodes(running))."
GIVEN_UP = 'cat /var/log/rabbitmq/rabbit@*.log | grep -c "rabbit on node .rabbit@{}. down" || true'
ITSELF = 30  # seconds in which a member that was given up may come back by itself
SETTLED = 120  # seconds that the cluster may take to be whole again


class Watched:
    """The cluster; its second member is the one that stands still."""

    def __init__(self, lab: Lab) -> None:
        self.nodes = [node for node in lab.nodes if "rabbitmq" in node.groups]
        self.eye, self.victim = self.nodes[:2]

    def running(self) -> int:
        """How many members each member counts as running, the lowest of their answers."""
        answers = [remote.run(node, ASK.format(RUNNING)) for node in self.nodes]
        return min(int(answer.strip().removeprefix("{ok, ").removesuffix("}")) for answer in answers)

    def given_up(self) -> int:
        """How many times the member was given up so far."""
        return int(remote.run(self.eye, GIVEN_UP.format(self.victim.address)))

    def whole(self, seconds: float = SETTLED) -> bool:
        """Whether every member runs as each sees it, within so many seconds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                if self.running() == len(self.nodes):
                    return True
            except (LabError, ValueError):
                pass  # a server that starts
            time.sleep(1)
        return False

    def pause(self, ticktime: int, pause: float) -> str:
        """What became of a member that stood still for so many seconds."""
        if not self.whole():
            raise LabError(f"the cluster is not whole after {SETTLED} s")
        before = self.given_up()
        for node in self.nodes:
            remote.run(node, ASK.format(f"net_kernel:set_net_ticktime({ticktime}, 0)."))
        time.sleep(2)
        remote.run(self.victim, f"kill -STOP {PID} && sleep {pause} && kill -CONT {PID}", timeout=pause + 20)
        time.sleep(3)  # what the others have to say to it
        if self.given_up() == before:
            return "stays"
        if self.whole(ITSELF):
            return "given up, back by itself"
        remote.run(self.victim, "systemctl restart rabbitmq-server", timeout=SETTLED)
        return "given up, until it is restarted"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ticktime", type=int, nargs="+", default=[8, 15], metavar="S")
    parser.add_argument("--pause", type=float, nargs="+", default=[5, 6.5, 9.5, 12.5, 17.5], metavar="S")
    arguments = parser.parse_args()
    watched = Watched(load("rabbitmq_mirror"))
    seen: dict[int, dict[float, str]] = {}
    for ticktime in arguments.ticktime:
        seen[ticktime] = {}
        for pause in arguments.pause:
            seen[ticktime][pause] = watched.pause(ticktime, pause)
            print(f"net_ticktime {ticktime} s, pause {pause:g} s: {seen[ticktime][pause]}", flush=True)
    watched.whole()
    lines = [f"| pause | {' | '.join(f'net_ticktime {t} s' for t in seen)} |", "|---" * (len(seen) + 1) + "|"]
    for pause in arguments.pause:
        lines.append(f"| {pause:g} s | {' | '.join(row[pause] for row in seen.values())} |")
    table = "\n".join(lines)
    print(table)
    outcome.save("rabbitmq_false_positives", {"seen": seen, "load": outcome.slowness()}, table)
    return 0


if __name__ == "__main__":
    outcome.end(main)
