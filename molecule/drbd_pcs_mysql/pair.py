# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A running database pair of a lab, and the client that writes through its VIP: for drills and measurements."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "molecule"), str(ROOT / "molecule" / "drbd_pcs_mysql")]

import writer  # noqa: E402
from lab import outcome, remote, state  # noqa: E402
from lab.definitions import Lab, LabError  # noqa: E402

REPORTS = outcome.REPORTS
VARIABLES = ROOT / "molecule" / "drbd_pcs_mysql" / "group_vars" / "all.yml"
LOOK = "crm_mon -1 -r --output-as=xml; cibadmin -Q -o constraints | grep drbd-fence; cat /proc/drbd"


class Pair:
    """The two members: who is active now, whether all is well, how to get at them."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.members = [node.name for node in lab.nodes if "mysql" in node.groups]
        self.vip = lab.vips["mysql"]
        REPORTS.mkdir(parents=True, exist_ok=True)

    def ssh(self, member: str, command: str, timeout: float = 20) -> str:
        return remote.run(self.lab.node(member), command, timeout)

    def other(self, member: str) -> str:
        return next(name for name in self.members if name != member)

    def active(self) -> str:
        """The member with the VIP; LabError if there is none."""
        for member in self.members:
            with contextlib.suppress(remote.RemoteError):
                if f" {self.vip}/" in self.ssh(member, "ip -o -4 address"):
                    return member
        raise LabError("no member has the VIP; ask one: crm_mon -1")

    def complaints(self) -> list[str]:
        """Whatever is not as it should be; empty if the pair is whole."""
        try:
            said = self.ssh(self.active(), LOOK)
        except LabError as error:
            return [str(error)]
        xml, end, rest = said.partition("</pacemaker-result>")
        found = outcome.cluster_complaints(xml + end, self.members)
        found += ["a constraint of DRBD's fence handler is left"] if "drbd-fence-by-handler" in rest else []
        states = re.findall(r"\bcs:(\S+) ro:\S+ ds:(\S+)", rest) or [("absent", "")]
        return found + [f"DRBD is {a} {b}" for a, b in states if (a, b) != ("Connected", "UpToDate/UpToDate")]

    def wait_healthy(self, limit: float = 180) -> float:
        """Seconds until the pair is whole; LabError after `limit`."""
        begin = time.monotonic()
        while found := self.complaints():
            if time.monotonic() - begin > limit:
                raise LabError(f"the pair is not whole after {limit:g} s: {'; '.join(found)}")
            time.sleep(1)
        return time.monotonic() - begin

    def lab_command(self, *arguments: str) -> None:
        subprocess.run([sys.executable, "molecule/lab", *arguments], cwd=ROOT, check=True)

    def power(self, action: str, member: str) -> None:
        self.lab_command("power", action, self.lab.name, member)

    def play(self, playbook: str, log: Path) -> outcome.Play:
        """The site's variables are in its inventory, the scenarios' in a file."""
        site = ["-i", "inventories/lab"]
        scenario = ["-i", "molecule/lab/inventory.sh", "--extra-vars", f"@{VARIABLES}"]
        return outcome.play(self.lab, playbook, site if self.lab.name == "site" else scenario, log)


class Writing:
    """A writer that runs while the block does; afterwards what became of its records."""

    def __init__(self, pair: Pair, name: str, limit: int = 300) -> None:
        self.log = REPORTS / f"{name}.log"
        self.limit = limit
        self.where = [pair.vip, "shop", "shop", str(self.log)]
        self.environment = {**os.environ, "MYSQL_PWD": state.lab_secrets(pair.lab)["mysql_shop"]}
        self.program = [sys.executable, str(Path(writer.__file__))]

    def __enter__(self) -> Writing:
        self.log.unlink(missing_ok=True)
        self.process = subprocess.Popen([*self.program, "run", *self.where, str(self.limit)], env=self.environment)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.log.with_suffix(".stop").touch()
        self.process.wait(timeout=30)

    def notes(self) -> list[writer.Note]:
        return writer.read(self.log) if self.log.exists() else []

    def wait_back(self, since: float, limit: float) -> None:
        """Until a write was acknowledged after one that failed after `since`; LabError after `limit` s."""
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            notes = [note for note in self.notes() if note.at > since]
            broken = next((note.at for note in notes if note.kind == "err"), None)
            if broken and any(note.kind == "ack" and note.at > broken for note in notes):
                return
            time.sleep(0.3)
        raise LabError(f"no write was acknowledged within {limit:g} s after the failure")

    def report(self) -> dict[str, Any]:
        return json.loads(
            subprocess.check_output([*self.program, "report", *self.where], env=self.environment, text=True)
        )
