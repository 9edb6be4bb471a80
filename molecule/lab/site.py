# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""`make site`: nodes, what a site has elsewhere, site.yml, verify.yml, then where the shop is.

Each step is timed, each failure comes with its reason.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from .definitions import ROOT, STATE, Lab, LabError

REPORTS = STATE / "reports"
BIN = Path(sys.executable).parent
REASON = re.compile(r"^(?:\[ERROR\]: |fatal: \[|.*UNREACHABLE!)")


def reasons(output: str) -> list[str]:
    """The lines of Ansible's output that say what went wrong, oldest first, each once."""
    return list(dict.fromkeys(line.strip() for line in output.splitlines() if REASON.match(line)))


def playbook(lab: Lab, name: str, *arguments: str, folder: str = "playbooks") -> str:
    """Run a playbook on the lab, by default the collection's, shown and logged; its output, or LabError."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    log_file = REPORTS / f"{lab.name}-{name}.log"
    command = [str(BIN / "ansible-playbook"), f"{folder}/{name}.yml", "-i", "inventories/lab", *arguments]
    environment = {**os.environ, "LAB_NAME": lab.name, "PYTHONUNBUFFERED": "1"}
    environment["PATH"] = f"{BIN}:{environment['PATH']}"
    lines: list[str] = []
    run = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert run.stdout is not None
    with run, open(log_file, "w", encoding="utf-8") as out:
        for line in run.stdout:
            out.write(line)
            lines.append(line)
            sys.stdout.write(line)
            sys.stdout.flush()
    output = "".join(lines)
    if run.returncode:
        found = "\n  ".join(reasons(output)[-6:]) or "see the log"
        raise LabError(
            f"{folder}/{name}.yml failed:\n  {found}\n"
            f"  log: {log_file.relative_to(ROOT)}\n"
            f"  try: run the same again, it goes on where it stopped; look at a node with "
            f"`molecule/lab ssh {lab.name} NODE`; start over with `molecule/lab down {lab.name}`"
        )
    return output


def changed(output: str) -> int:
    """How many tasks a playbook's recap reports as changed, over all hosts."""
    return sum(int(number) for number in re.findall(r"\bchanged=(\d+)", output))


def build(lab: Lab, up: Callable[[Lab], None]) -> None:
    """All of `make site`. Times go to .lab/reports/site-times.json, too."""
    steps: list[tuple[str, Callable[[], object]]] = [
        ("nodes", lambda: up(lab)),
        ("origin", lambda: playbook(lab, "origin", folder="molecule/site")),
        ("site.yml", lambda: playbook(lab, "site")),
        ("verify.yml", lambda: playbook(lab, "verify")),
    ]
    times: dict[str, float] = {}
    for number, (name, step) in enumerate(steps, 1):
        print(f"\n==> [{number}/{len(steps)}] {name}", flush=True)
        begin = time.monotonic()
        step()
        times[name] = round(time.monotonic() - begin, 1)
        print(f"==> {name}: {times[name]} s", flush=True)
    (REPORTS / "site-times.json").write_text(json.dumps(times), encoding="utf-8")
    print(f"\n{summary(lab)}\n\nTimes: {', '.join(f'{k} {v} s' for k, v in times.items())}")


def summary(lab: Lab) -> str:
    rows = [f"  {node.name:10} {node.address:15} {', '.join(node.groups)}" for node in lab.nodes]
    vips = [f"  {name + ' VIP':10} {address}" for name, address in lab.vips.items()]
    return "\n".join(
        [
            "What runs where:",
            *rows,
            *vips,
            "",
            f"The shop: https://{lab.vips['shop']}/   (the certificate is the lab's own)",
            f"Cut a node's power: .lab/venv/bin/python molecule/lab power off {lab.name} db1   (on: restore it)",
            "Passwords: .lab/secrets.json",
        ]
    )
