# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where the time of a run goes: of a whole site on which there is nothing to do, by role and by task.

    times.py [LAB] [--name NAME] [--top N] [-- ARGUMENT …]     arguments of ansible-playbook, such as --tags

The run is measured through the callback ansible.posix.jsonl, which tells of each task when it began and of each host
what it ran. A task lasts until the next one begins. Tables go to .lab/reports/NAME.md and .json, by default
`times-LAB`. Exit status 1: the run failed, or changed something and is no measure.
"""

from __future__ import annotations

import argparse
import collections
import datetime
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "molecule"))

from lab import inventory, outcome  # noqa: E402
from lab.definitions import LabError, load  # noqa: E402

# What runs in ansible-playbook itself, without a word to the host
LOCAL = (
    *("assert", "debug", "set_fact", "fail", "meta", "add_host", "group_by", "include_vars", "validate_argument_spec"),
    *("include_tasks", "include_role", "import_tasks", "import_role", "pause"),
)


@dataclass
class Task:
    """A task of a run. `modules` counts what was run on hosts, each item of a loop by itself."""

    role: str
    name: str
    place: str
    start: float
    seconds: float = 0.0
    hosts: int = 0
    modules: int = 0
    skipped: int = 0
    changed: int = 0


@dataclass
class Run:
    """What is known of a run; `begin` is when ansible-playbook was started, `end` when it ended, in seconds."""

    begin: float
    end: float
    tasks: list[Task] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return self.end - self.begin


def moment(text: str) -> float:
    """Seconds since the epoch of the callback's UTC time."""
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def local(action: str) -> bool:
    return action.rpartition(".")[2] in LOCAL


def parse(lines: Iterable[str], begin: float, end: float) -> Run:
    """The run that these events tell of; lines that are no events are left out."""
    run = Run(begin, end)
    by_id: dict[str, Task] = {}
    marks: list[float] = []
    for line in lines:
        if not line.startswith("{"):
            continue
        event = json.loads(line)
        kind = event["_event"]
        if kind == "v2_playbook_on_play_start":
            marks.append(moment(event["play"]["duration"]["start"]))
            continue
        told = event.get("task", {})
        # A strategy other than Ansible's own tells of a task's start only with its first host.
        if told and told["id"] not in by_id:
            role, split, name = told["name"].partition(" : ")
            if not split:
                role, name = "playbooks", told["name"]
            place = told["path"].partition("/ha_stack/")[2] or told["path"]
            by_id[told["id"]] = Task(role.rpartition(".")[2], name, place, moment(told["duration"]["start"]))
            run.tasks.append(by_id[told["id"]])
            marks.append(run.tasks[-1].start)
        if kind.startswith("v2_runner_on_") and kind != "v2_runner_on_start":
            task = by_id[event["task"]["id"]]
            for host, result in event["hosts"].items():
                task.hosts += 1
                items = [item for item in result.get("results", []) if isinstance(item, dict)] or [result]
                done = [item for item in items if not item.get("skipped")]
                task.skipped += not done
                task.changed += any(item.get("changed") for item in items)
                task.modules += 0 if local(result.get("action", "")) else len(done)
                if kind in ("v2_runner_on_failed", "v2_runner_on_unreachable"):
                    run.failed.append(f"{host}: {task.name}: {result.get('msg', '')}")
    marks = sorted([*marks, end])
    for task in run.tasks:
        task.seconds = next(mark for mark in marks if mark > task.start) - task.start
    return run


def rows(title: str, groups: dict[str, list[Task]], whole: float) -> Iterator[str]:
    yield f"| {title} | seconds | share | tasks | skipped | runs on hosts |"
    yield "|---|---|---|---|---|---|"
    for name, tasks in sorted(groups.items(), key=lambda item: -sum(task.seconds for task in item[1])):
        seconds = sum(task.seconds for task in tasks)
        skipped = sum(bool(task.hosts) and task.skipped == task.hosts for task in tasks)
        modules = sum(task.modules for task in tasks)
        yield f"| {name} | {seconds:.1f} | {seconds / whole:.0%} | {len(tasks)} | {skipped} | {modules} |"


def grouped(tasks: Iterable[Task], key: str) -> dict[str, list[Task]]:
    found: dict[str, list[Task]] = collections.defaultdict(list)
    for task in tasks:
        found[getattr(task, key)].append(task)
    return found


def report(run: Run, title: str, top: int) -> str:
    """The tables, in Markdown."""
    on_hosts = [task for task in run.tasks if task.modules]
    here = [task for task in run.tasks if not task.modules]
    modules = sum(task.modules for task in on_hosts)
    spent, idle = sum(task.seconds for task in on_hosts), sum(task.seconds for task in here)
    lines = [
        f"{title}: {run.seconds:.1f} s. {len(on_hosts)} tasks ran something on hosts, {modules} times in all: "
        f"{spent:.1f} s, {spent / max(modules, 1):.2f} s each. {len(here)} tasks ran nothing there (checks, includes, "
        f"skipped): {idle:.1f} s. The rest, {run.seconds - spent - idle:.1f} s, is the start of ansible-playbook.",
        "",
        *rows("role", grouped(run.tasks, "role"), run.seconds),
        "",
        f"The {top} that cost most; a task that ran more than once counts with all its runs.",
        "",
        "| task | role | seconds | times | runs on hosts |",
        "|---|---|---|---|---|",
    ]
    places = sorted(grouped(run.tasks, "place").values(), key=lambda tasks: -sum(task.seconds for task in tasks))
    for tasks in places[:top]:
        seconds, ran = sum(task.seconds for task in tasks), sum(task.modules for task in tasks)
        lines.append(f"| {tasks[0].name} | {tasks[0].role} | {seconds:.1f} | {len(tasks)} | {ran} |")
    return "\n".join(lines)


def measure(lab_name: str, arguments: list[str]) -> Run:
    """A run of site.yml; its output stays in .lab/reports/times.log."""
    lab = load(lab_name)
    environment: dict[str, Any] = {**os.environ, "LAB_NAME": lab.name, "PATH": f"{outcome.BIN}:{os.environ['PATH']}"}
    environment |= {"ANSIBLE_STDOUT_CALLBACK": "ansible.posix.jsonl", "ANSIBLE_NOCOLOR": "1"}
    outcome.REPORTS.mkdir(parents=True, exist_ok=True)
    log = outcome.REPORTS / "times.log"
    with inventory.sources(lab) as sources, log.open("w", encoding="utf-8") as out:
        command = [str(outcome.BIN / "ansible-playbook"), *sources, "playbooks/site.yml", *arguments]
        begin = time.time()
        code = subprocess.call(command, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT)
        end = time.time()
    run = parse(log.read_text(encoding="utf-8").splitlines(), begin, end)
    if code:
        raise LabError(f"site.yml failed: {'; '.join(run.failed[:3]) or log}; see {log.relative_to(ROOT)}")
    return run


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("lab", nargs="?", default="site")
    parser.add_argument("--name")
    parser.add_argument("--top", type=int, default=20)
    words = sys.argv[1:]
    split = words.index("--") if "--" in words else len(words)
    given = parser.parse_args(words[:split])
    run = measure(given.lab, words[split + 1 :])
    table = report(run, " ".join(["site.yml", *words[split + 1 :]]), given.top)
    outcome.save(given.name or f"times-{given.lab}", [task.__dict__ for task in run.tasks], table)
    print(table)
    changed = [f"{task.role}: {task.name}" for task in run.tasks if task.changed]
    print("".join(f"\nNOT SO: changed by {name}" for name in changed))
    return 1 if changed else 0


if __name__ == "__main__":
    outcome.end(main)
