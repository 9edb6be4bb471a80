#!/usr/bin/python
# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The probe of a drill: started, marked, waited for, stopped and judged."""

from __future__ import annotations

DOCUMENTATION = r"""
module: drill_probe
short_description: The probe of a drill, a real client that writes numbered records
version_added: 0.1.0
author: The cloudexit maintainers (@cloudexit)
description:
  - Starts the client of a tier as a process of its own, which outlives the controller and ends after O(seconds).
  - The client's settings go to its standard input, never to its command line or to a file.
  - A probe that dies is an error in every state.
attributes:
  check_mode:
    support: full
    description: Does nothing.
  diff_mode:
    support: none
    description: There is no text to compare.
  idempotent:
    support: none
    description: Each start is another run.
options:
  state:
    description:
      - V(checked) looks whether the Python of O(python) has what the client needs.
      - V(started) starts it.
      - V(marked) writes O(mark) with the time of now.
      - V(flowing) waits until every stream that is judged by its gap has been served for O(steady) seconds, never
        silent for more than O(silence).
      - V(stopped) ends it, lets it read its records back, and tells what became of them.
      - V(killed) ends it, whatever it is doing.
    type: str
    choices: [checked, started, marked, flowing, stopped, killed]
    required: true
  directory:
    description: Where the log of this run is, and nothing else.
    type: path
    required: true
  program:
    description: Folder of the probe's files on this host.
    type: path
    default: ~/.cache/cloudexit-drill/probe
  python:
    description: The interpreter that runs it.
    type: path
    default: /usr/bin/python3
  kind:
    description: Which client; a file C(of_KIND.py) of the program.
    type: str
  settings:
    description: What the client needs, secrets too; see the role C(drill).
    type: dict
    default: {}
  rate:
    description: Records that each stream attempts in a second.
    type: float
    default: 25
  seconds:
    description: After which the probe ends by itself.
    type: int
    default: 900
  steady:
    description: Seconds of undisturbed service that are waited for.
    type: float
    default: 3
  silence:
    description: Seconds without an acknowledgement that still count as undisturbed.
    type: float
    default: 1
  limit:
    description: Seconds after which waiting is given up.
    type: float
    default: 60
  mark:
    description: The name of a moment.
    type: str
"""

EXAMPLES = r"""
- name: Write to Redis until told otherwise
  cloudexit.ha_stack.drill_probe:
    state: started
    directory: ~/.cache/cloudexit-drill/run1
    kind: redis
    settings: "{{ settings }}"
"""

RETURN = r"""
served_by:
  description: Address that acknowledged last.
  returned: O(state=flowing)
  type: str
flowing:
  description: Whether it is served again.
  returned: O(state=flowing)
  type: bool
waited:
  description: Seconds.
  returned: O(state=flowing)
  type: float
refused:
  description: What the last attempts met with, by their number, where no client is served.
  returned: O(state=flowing)
  type: dict
missing:
  description: Python packages that the client needs and the interpreter has not.
  returned: O(state=checked)
  type: list
  elements: str
result:
  description: What became of the records; see C(plugins/module_utils/drill.py).
  returned: O(state=stopped)
  type: dict
"""

import json
import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import drill

DEAD = 3.0  # seconds without a sign of life
# In a session of its own, so that it outlives whoever started it; a shell would take its input away otherwise.
START = 'exec 3<&0; setsid "$1" "$2" "$3" <&3 >/dev/null 2>"$3/stderr" &'
READING = 150  # seconds that reading back may take


class Probe:
    """A run of the probe, as its folder tells."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module, self.given = module, module.params
        self.folder = Path(self.given["directory"])
        self.log = self.folder / "events.jsonl"

    def status(self) -> dict[str, Any]:
        """The last sign of life; the module fails if that is too old."""
        try:
            found: dict[str, Any] = json.loads((self.folder / "status.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            found = {"t": 0.0, "pid": 0, "phase": "none", "streams": {}}
        if (
            found["phase"] in ("starting", "writing", "reading")
            and time.monotonic() - found["t"] > DEAD
            and not self.lives(found)
        ):
            self.fail("the probe died")
        if found["phase"] == "fatal":
            self.fail(found["text"])
        return found

    def lives(self, status: dict[str, Any]) -> bool:
        try:
            return str(self.folder).encode() in Path(f"/proc/{status['pid']}/cmdline").read_bytes()
        except OSError:
            return False

    def fail(self, why: str) -> None:
        # Only the last line here: a traceback is for whoever looks into the file.
        errors, said = self.folder / "stderr", ""
        if errors.exists() and (text := errors.read_text(encoding="utf-8", errors="replace").strip()):
            last = text.splitlines()[-1]
            said = f" {'' if last in why else last + ' '}({errors})"
        self.module.fail_json(
            msg=f"drill_probe: {why}. A probe without an answer is no pass; its log is {self.log}.{said}"
        )

    def check(self) -> list[str]:
        command = [self.given["python"], self.given["program"], "--needs", self.given["kind"]]
        rc, out, err = self.module.run_command(command)
        if rc:
            self.module.fail_json(msg=f"drill_probe: {' '.join(command)}: {err.strip()}")
        return out.split()

    def start(self) -> None:
        given = self.given
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in self.folder.iterdir():
            path.unlink()
        settings = {name: given[name] for name in ("kind", "settings", "rate", "seconds")}
        rc, _out, err = self.module.run_command(
            ["/bin/sh", "-c", START, "sh", given["python"], given["program"], str(self.folder)],
            data=json.dumps(settings),
            cwd="/",
        )
        if rc:
            self.fail(f"the probe cannot be started: {err.strip()}")
        end = time.monotonic() + given["limit"]
        while self.status()["phase"] == "none":
            if time.monotonic() > end:
                self.fail("the probe did not start")
            time.sleep(0.1)

    def flow(self) -> tuple[bool, float, str]:
        """Wait until all streams flow: whether they do, after how long, by whom."""
        given, begin = self.given, time.monotonic()
        since = begin
        while True:
            status = self.status()
            now = time.monotonic()
            judged = [s for s in status["streams"].values() if "gap" in s["judge"]]
            if status["phase"] not in ("none", "starting", "writing"):
                self.fail(f"the probe has stopped writing by itself after {given['seconds']} s (drill_probe_seconds)")
            # By the probe's own time: one that stands still, because its host is busy, is no silence of the tier.
            if not judged or any(status["t"] - s["last"] > given["silence"] for s in judged):
                since = now
            if now - since >= given["steady"]:
                return True, now - begin, max(judged, key=lambda s: s["last"])["by"]
            if now - begin > given["limit"]:
                return False, now - begin, ""
            time.sleep(0.1)

    def refused(self) -> dict[str, int]:
        """What the last attempts met with, and how often each."""
        errors = [event["kind"] for event in drill.lines(self.log.read_text(encoding="utf-8")) if event["e"] == "err"]
        return dict(Counter(errors[-100:]))

    def mark(self, name: str) -> None:
        with (self.folder / "marks.jsonl").open("a", encoding="utf-8") as out:
            out.write(json.dumps({"m": name, "t": time.monotonic()}) + "\n")

    def stop(self) -> dict[str, Any]:
        (self.folder / "stop").touch()
        end = time.monotonic() + READING
        while self.status()["phase"] not in ("end", "fatal"):
            if time.monotonic() > end:
                self.fail(f"the probe did not read its records back in {READING} s")
            time.sleep(0.1)
        marks = self.folder / "marks.jsonl"
        try:
            return drill.analyse(
                drill.lines(self.log.read_text(encoding="utf-8")),
                drill.lines(marks.read_text(encoding="utf-8")) if marks.exists() else [],
            )
        except drill.ProbeError as error:
            self.fail(str(error))
            raise

    def kill(self) -> bool:
        """Whether there was one."""
        try:
            status = json.loads((self.folder / "status.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        if not self.lives(status):
            return False
        os.killpg(int(status["pid"]), signal.SIGKILL)
        return True


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            "state": {
                "type": "str",
                "choices": ["checked", "started", "marked", "flowing", "stopped", "killed"],
                "required": True,
            },
            "directory": {"type": "path", "required": True},
            "program": {"type": "path", "default": "~/.cache/cloudexit-drill/probe"},
            "python": {"type": "path", "default": "/usr/bin/python3"},
            "kind": {"type": "str"},
            "settings": {"type": "dict", "default": {}, "no_log": True},
            "rate": {"type": "float", "default": 25},
            "seconds": {"type": "int", "default": 900},
            "steady": {"type": "float", "default": 3},
            "silence": {"type": "float", "default": 1},
            "limit": {"type": "float", "default": 60},
            "mark": {"type": "str"},
        },
        required_if=[("state", "checked", ("kind",)), ("state", "started", ("kind",)), ("state", "marked", ("mark",))],
        supports_check_mode=True,
    )
    probe, state = Probe(module), module.params["state"]
    if state == "checked":
        module.exit_json(changed=False, missing=probe.check())
    if module.check_mode:
        module.exit_json(changed=False)
    if state == "started":
        probe.start()
        module.exit_json(changed=True)
    if state == "flowing":
        flowing, waited, by = probe.flow()
        refused = {} if flowing else probe.refused()
        module.exit_json(changed=False, flowing=flowing, served_by=by, waited=round(waited, 2), refused=refused)
    if state == "marked":
        probe.mark(module.params["mark"])
        module.exit_json(changed=False)
    if state == "killed":
        module.exit_json(changed=probe.kill())
    module.exit_json(changed=True, result=probe.stop())


if __name__ == "__main__":
    main()
