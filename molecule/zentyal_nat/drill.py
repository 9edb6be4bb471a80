# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Connections through the firewalls, kept open while something happens to the active one.

    drill.py [DRILL …]    all of DRILLS, or those named

Four pairs of hosts talk at a time: from outside through a published port and through WireGuard, from inside out with
the VIP's address, and between two VLANs; each with a transfer and with a conversation (talk.py). A connection that
breaks is not opened again and fails the drill. Whoever comes through WireGuard may have to wait for longer: see TUNNEL.
Settings come as JSON on standard input: lab, rto (seconds). Results: .lab/reports/firewall.json and firewall.md. Exit
status 1 if a connection broke or stood still for too long.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "molecule"))

from lab import outcome, remote  # noqa: E402
from lab.definitions import LabError, Node, load  # noqa: E402

MEMBERS = ("fw1", "fw2")
VIP = "10.203.15.100"
# Seconds after which a peer that gets no answers begins a session anew, with whoever has the address by then
# (KEEPALIVE_TIMEOUT + REKEY_TIMEOUT of WireGuard's protocol), and TCP's next repetition after that.
TUNNEL = 30.0


@dataclass(frozen=True)
class Talk:
    """A connection from a host; `more` seconds than the others it may stand still."""

    host: str
    address: str
    port: int
    more: float = 0.0


TALKS = {
    "in (published port)": Talk("net1", "10.203.15.100", 443),
    "out (NAT)": Talk("app1", "10.203.15.61", 80),
    "across (VLAN 10 to 20)": Talk("app1", "10.203.120.51", 3306),
    "in (WireGuard)": Talk("net1", "10.203.120.51", 5432, TUNNEL),
}
WARM_UP = 4.0
AFTER = 6.0  # seconds that connections go on after the last event
KNOWN = 30.0  # seconds within which it must know their connections then
LIMIT = 120.0  # seconds until a lost member is back and well


class Drills:
    def __init__(self, given: dict[str, Any]) -> None:
        self.lab = load(given["lab"])
        self.allowed = float(given["rto"])
        self.rows: list[dict[str, Any]] = []

    def node(self, name: str) -> Node:
        return self.lab.node(name)

    def active(self) -> str:
        for name in MEMBERS:
            try:
                if VIP in remote.run(self.node(name), "ip -4 -br address show dev vec1", timeout=20):
                    return name
            except LabError:
                continue
        raise LabError("no firewall has the VIP")

    def complaints(self, through: str) -> list[str]:
        found = outcome.cluster_complaints(remote.run(self.node(through), "crm_mon --as-xml --inactive"), list(MEMBERS))
        for name in MEMBERS:
            if "active (running)" not in remote.run(self.node(name), "systemctl status conntrackd || true"):
                found.append(f"conntrackd on {name} does not run")
        return found

    def wait_known(self, name: str) -> None:
        """Until the kernel of this member knows all connections of the drill."""
        wanted = 2 * len(TALKS)
        ports = "|".join(str(talk.port) for talk in TALKS.values())
        count = f"conntrack -L -p tcp --state ESTABLISHED 2>/dev/null | grep -cE 'dport=({ports}) ' || true"
        end = time.monotonic() + KNOWN
        while (known := int(remote.run(self.node(name), count))) < wanted:
            if time.monotonic() > end:
                raise LabError(f"{name} knows {known} of {wanted} connections {KNOWN:.0f} s after it came back")
            time.sleep(1)

    def wait_whole(self) -> None:
        """Until both members are well, and the one that came back knows the other's connections."""
        end = time.monotonic() + LIMIT
        found = ["nobody answered"]
        while time.monotonic() < end:
            try:
                found = self.complaints(self.active())
            except LabError as error:
                found = [str(error)]
            if not found:
                return
            time.sleep(1)
        raise LabError(f"{LIMIT:.0f} s later: {'; '.join(found)}")

    def wait_tunnel(self) -> None:
        """Until the peer has a session with whoever has the address by now; only the peer begins one, see TUNNEL."""
        end = time.monotonic() + 2 * TUNNEL
        scan = "python3 /usr/local/lib/talk.py scan 5432 10.203.120.51"
        while "5432" not in remote.run(self.node("net1"), scan):
            if time.monotonic() > end:
                raise LabError(f"nobody comes in through WireGuard, {2 * TUNNEL:.0f} s after the last event")

    def power_cut(self) -> str:
        name = self.active()
        subprocess.run(
            [sys.executable, str(ROOT / "molecule" / "lab"), "power", "off", self.lab.name, name],
            check=True,
            timeout=60,
        )
        return name

    # --- drills -------------------------------------------------------------------------------------------------------

    def planned(self) -> None:
        """The active member is put aside by hand."""

        def event() -> None:
            name = self.active()
            remote.run(self.node(name), f"pcs node standby {name} --wait=60", timeout=70)
            time.sleep(2)
            remote.run(self.node(name), f"pcs node unstandby {name} --wait=60", timeout=70)

        self.drill("the active one put aside (pcs node standby)", 30, event)

    def two_power_cuts(self) -> None:
        """The active member loses its power; once it is back, the other does: connections live through both."""

        def event() -> None:
            first = self.power_cut()
            end = time.monotonic() + 60
            while self.active_or_none() in (None, first) and time.monotonic() < end:
                time.sleep(0.5)
            self.wait_whole()
            self.wait_known(first)
            self.power_cut()

        self.drill("power cut of the active one, then of its successor", 150, event)

    def active_or_none(self) -> str | None:
        try:
            return self.active()
        except LabError:
            return None

    def drill(self, what: str, seconds: float, event: Callable[[], None]) -> None:
        """Talk for at most `seconds` while the event happens; a row for each connection."""
        self.wait_whole()
        self.wait_tunnel()
        hosts = {talk.host for talk in TALKS.values()}
        with tempfile.TemporaryDirectory() as folder:
            talks: dict[str, tuple[subprocess.Popen[str], IO[str]]] = {}
            for name, talk in TALKS.items():
                out: IO[str] = (Path(folder) / str(len(talks))).open("w+", encoding="utf-8")
                command = f"python3 /usr/local/lib/talk.py talk {talk.address} {talk.port} {seconds:g} {AFTER:g}"
                talks[name] = (remote.start(self.node(talk.host), command, "", out), out)
            time.sleep(WARM_UP)
            event()
            for host in hosts:
                remote.run(self.node(host), "touch /run/talk.end")
            for name, (process, out) in talks.items():
                code = process.wait(timeout=seconds + 90)
                out.seek(0)
                text = out.read()
                out.close()
                if code or not text:
                    raise LabError(f"{what}: the client {name} failed itself (status {code}): that is no result")
                for kind, result in json.loads(text).items():
                    self.rows.append({"drill": what, "talk": name, "connection": f"{name}, {kind}", **result})
        for host in hosts:
            remote.run(self.node(host), "rm -f /run/talk.end")
        self.wait_whole()

    def bad(self) -> list[str]:
        slowness = outcome.slowness()

        def allowed(row: dict[str, Any]) -> float:
            return (self.allowed + TALKS[row["talk"]].more) * slowness

        return [
            f"{row['drill']}: {row['connection']}: {row['error'] or str(row['longest']) + ' s of silence'}"
            for row in self.rows
            if row["error"] or row["longest"] > allowed(row) or row["numbers"] < 100
        ]


def table(rows: list[dict[str, Any]]) -> str:
    lines = ["| what happens | connection | numbers | longest silence | broke |", "|---|---|---|---|---|"]
    for row in rows:
        lines.append(
            f"| {row['drill']} | {row['connection']} | {row['numbers']} | {row['longest']} s | {row['error'] or 'no'} |"
        )
    return "\n".join(lines)


DRILLS = ("planned", "two_power_cuts")


def main() -> int:
    drills = Drills(json.load(sys.stdin))
    for name in sys.argv[1:] or DRILLS:
        getattr(drills, name)()
    shown = table(drills.rows)
    outcome.save("firewall", drills.rows, shown)
    print(shown)
    for line in drills.bad():
        print(line, file=sys.stderr)
    return 1 if drills.bad() else 0


if __name__ == "__main__":
    outcome.end(main)
