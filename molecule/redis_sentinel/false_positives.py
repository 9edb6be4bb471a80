# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The price of a fast failover: which pauses of a healthy master cost it its role, for each down-after-milliseconds.

    false_positives.py [--after MS …] [--pause S …] [--tries N]

A measurement, not a test. The lab must run and be configured: molecule converge -s redis_sentinel. The master's process
is stopped (SIGSTOP) for the time of a pause, as a slow command, a fork with much memory or a host that swaps would do,
and goes on. Then the Sentinels are asked who is master. Results: .lab/reports/redis_false_positives.json and .md.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from redis import Redis

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "molecule"))

from lab import outcome, remote, state  # noqa: E402
from lab.definitions import Lab, LabError, load  # noqa: E402

NAME, DATA_PORT, SENTINEL_PORT = "main", 6379, 26379
SETTLED = 60  # seconds that the set may take to be whole again


class Watched:
    """The set, asked and set as its administrator."""

    def __init__(self, lab: Lab) -> None:
        self.password = state.lab_secrets(lab)["redis"]
        self.lab = lab
        self.sentinels = [self.ask(n.address, SENTINEL_PORT) for n in lab.nodes if "sentinel" in n.groups]
        self.data = {n.address: self.ask(n.address, DATA_PORT) for n in lab.nodes if "redis" in n.groups}
        self.names = {n.address: n.name for n in lab.nodes}

    def ask(self, address: str, port: int) -> Redis:
        return Redis(address, port, username="admin", password=self.password, socket_timeout=2, decode_responses=True)

    def masters(self) -> list[dict[str, str]]:
        return [sentinel.sentinel_master(NAME) for sentinel in self.sentinels]

    def master(self) -> str:
        """The address of the master, once all Sentinels agree, it is one, and the others follow."""
        end = time.monotonic() + SETTLED
        while time.monotonic() < end:
            shown = self.masters()
            addresses = {item["ip"] for item in shown}
            roles = {address: server.info("replication") for address, server in self.data.items()}
            following = [r for r in roles.values() if r["role"] == "slave" and r["master_link_status"] == "up"]
            seen = all(item["flags"] == "slave" for s in self.sentinels for item in s.sentinel_slaves(NAME)) and {
                item["flags"] for item in shown
            } == {"master"}
            if len(addresses) == 1 and len(following) == len(self.data) - 1 and seen:
                return str(addresses.pop())
            time.sleep(0.3)
        raise LabError(f"the set is not whole after {SETTLED} s: {self.masters()}")

    def after(self, milliseconds: int) -> None:
        for sentinel in self.sentinels:
            sentinel.execute_command("SENTINEL", "SET", NAME, "down-after-milliseconds", milliseconds)

    def survives(self, pause: float) -> bool:
        """Whether the master still is it after a pause of so many seconds."""
        master = self.master()
        kill = "systemctl kill redis-server --signal"
        remote.run(
            self.lab.node(self.names[master]), f"{kill}=STOP && sleep {pause} && {kill}=CONT", timeout=pause + 20
        )
        time.sleep(2)  # a failover that was begun
        return self.master() == master


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--after", type=int, nargs="+", default=[1000, 1500, 2000, 3000, 5000], metavar="MS")
    parser.add_argument("--pause", type=float, nargs="+", default=[0.5, 1, 1.5, 2, 3, 4, 6], metavar="S")
    parser.add_argument("--tries", type=int, default=1)
    arguments = parser.parse_args()
    watched = Watched(load("redis_sentinel"))
    kept = int(watched.masters()[0]["down-after-milliseconds"])
    moved: dict[int, dict[float, int]] = {}
    load_before = outcome.slowness()
    try:
        for after in arguments.after:
            watched.after(after)
            moved[after] = {}
            for pause in arguments.pause:
                lost = sum(not watched.survives(pause) for _try in range(arguments.tries))
                moved[after][pause] = lost
                print(f"down-after {after} ms, pause {pause} s: {lost} of {arguments.tries} moved", flush=True)
    finally:
        watched.after(kept)
    lines = [
        f"| pause of a master that is well | {' | '.join(f'{after} ms' for after in arguments.after)} |",
        "|---" * (len(arguments.after) + 1) + "|",
    ]
    for pause in arguments.pause:
        cells = [f"{moved[after][pause]} of {arguments.tries}" for after in arguments.after]
        lines.append(f"| {pause:g} s | {' | '.join(cells)} |")
    table = "\n".join(lines)
    print(table)
    outcome.save("redis_false_positives", {"moved": moved, "load": [load_before, outcome.slowness()]}, table)
    return 0


if __name__ == "__main__":
    outcome.end(main)
