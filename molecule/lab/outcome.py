# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What drills and measurements share: what another run of a playbook changed, whether a cluster is whole, reports."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from .definitions import ROOT, Lab, LabError

BIN = Path(sys.executable).parent
REPORTS = ROOT / ".lab" / "reports"


@dataclass(frozen=True)
class Play:
    """A run of a playbook; `unreachable` and `failed` are hosts, as its recap has them."""

    good: bool
    changed: list[str]
    seconds: float
    unreachable: list[str]
    failed: list[str]


def play(lab: Lab, playbook: str, arguments: Sequence[str], log: Path) -> Play:
    """Run a playbook on a lab's nodes, its output into a file."""
    environment = {**os.environ, "LAB_NAME": lab.name, "PATH": f"{BIN}:{os.environ['PATH']}"}
    environment |= {"ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1"}
    begin = time.monotonic()
    with log.open("w", encoding="utf-8") as out:
        command = [str(BIN / "ansible-playbook"), playbook, *arguments]
        code = subprocess.call(command, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT)
    seconds = round(time.monotonic() - begin, 1)
    text = log.read_text(encoding="utf-8")
    return Play(code == 0, changes(text), seconds, recap(text, "unreachable"), recap(text, "failed"))


def recap(output: str, column: str) -> list[str]:
    """Hosts that a playbook's recap counts at least one of `column` for."""
    return re.findall(rf"^(\S+) +: ok=.* {column}=[1-9]", output, re.MULTILINE)


def changes(output: str) -> list[str]:
    """Tasks and hosts that a playbook's output says were changed."""
    found: list[str] = []
    task = ""
    for line in output.splitlines():
        started = re.match(r"(?:TASK|RUNNING HANDLER) \[(.*)\]", line)
        if started:
            task = started[1]
        changed = re.match(r"changed: \[([^\]]+)\]", line)
        if changed:
            found.append(f"{changed[1]}: {task}")
    return found


def cluster_complaints(xml: str, members: list[str]) -> list[str]:
    """What crm_mon's XML tells of that is not well."""
    tree = ElementTree.fromstring(xml)
    nodes = {node.get("name"): node for node in tree.iterfind("./nodes/node")}
    found = [
        f"{name} is not online" for name in members if name not in nodes or nodes[name].get("online") != "true"
    ] + [f"{name} is {flag}" for name, n in nodes.items() for flag in ("unclean", "standby") if n.get(flag) == "true"]
    for resource in tree.iterfind("./resources//resource"):
        what = "failed" if resource.get("failed") == "true" else str(resource.get("role")).lower()
        if what in ("failed", "stopped"):
            found.append(f"resource {resource.get('id')} is {what}")
    return found


def slowness(load: float | None = None) -> float:
    """How many times longer than on hosts of their own the nodes of a lab may take, which share the machine with
    whatever else runs: as many as there are processes that want a CPU, 3 at most. `load`: the machine's by default."""
    return min(3.0, max(1.0, (max(os.getloadavg()[:2]) if load is None else load) / (os.cpu_count() or 1)))


def save(name: str, results: Any, table: str) -> None:
    """Leave the results in .lab/reports/<name>.json, and the Markdown table in <name>.md."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    (REPORTS / f"{name}.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    (REPORTS / f"{name}.md").write_text(table.rstrip("\n") + "\n", encoding="utf-8")


def end(main: Callable[[], int], *errors: type[Exception]) -> None:
    """Run a command to its exit status; 2 for a LabError or one of `errors`: what was to be shown was not tried."""
    refusals: tuple[type[Exception], ...] = (LabError, *errors)
    try:
        sys.exit(main())
    except refusals as problem:
        print(f"{Path(sys.argv[0]).stem}: {problem}", file=sys.stderr)
        sys.exit(2)
