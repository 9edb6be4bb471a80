# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where the time of a run went, out of the events that ansible.posix.jsonl wrote."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "molecule" / "site"))

from times import grouped, local, moment, parse, report

BEGIN = moment("2026-11-28T01:00:00.000000Z")


def at(second: float) -> dict[str, str]:
    return {"start": f"2026-11-28T01:00:{second:09.6f}Z"}


def task(number: int, name: str, second: float) -> dict[str, Any]:
    path = f"/x/ansible_collections/cloudexit/ha_stack/roles/r/tasks/main.yml:{number}"
    return {"task": {"id": str(number), "name": name, "path": path, "duration": at(second)}}


def result(number: int, host: str, **said: Any) -> dict[str, Any]:
    return {"_event": "v2_runner_on_ok", **task(number, "", 0), "hosts": {host: said}}


EVENTS: list[dict[str, Any]] = [
    {"_event": "v2_playbook_on_play_start", "play": {"duration": at(1)}},
    {"_event": "v2_playbook_on_task_start", **task(1, "cloudexit.ha_stack.redis_sentinel : Look", 1.5)},
    result(1, "redis1", action="cloudexit.ha_stack.redis_sentinel_info"),
    result(1, "redis2", action="ansible.builtin.apt", changed=True),
    {"_event": "v2_playbook_on_task_start", **task(2, "cloudexit.ha_stack.redis_sentinel : Check", 4)},
    result(2, "redis1", action="ansible.builtin.assert"),
    {"_event": "v2_playbook_on_task_start", **task(3, "Loop", 4.5)},
    result(3, "redis1", action="ansible.builtin.command", results=[{"rc": 0}, {"rc": 0}, {"skipped": True}]),
    result(3, "redis2", action="ansible.builtin.command", skipped=True),
]
LINES = ["[WARNING]: no event", *map(json.dumps, EVENTS)]


def test_each_task_lasts_until_the_next() -> None:
    run = parse(LINES, BEGIN, BEGIN + 9)
    assert [(t.role, t.name, round(t.seconds, 3)) for t in run.tasks] == [
        ("redis_sentinel", "Look", 2.5),
        ("redis_sentinel", "Check", 0.5),
        ("playbooks", "Loop", 4.5),
    ]
    assert run.tasks[0].place == "roles/r/tasks/main.yml:1"
    assert run.seconds == 9


def test_runs_on_hosts_are_counted_with_each_item_and_without_what_ran_here() -> None:
    run = parse(LINES, BEGIN, BEGIN + 9)
    assert [(t.modules, t.hosts, t.skipped, t.changed) for t in run.tasks] == [(2, 2, 0, 1), (0, 1, 0, 0), (2, 2, 1, 0)]
    assert local("ansible.builtin.set_fact") and not local("cloudexit.ha_stack.redis_sentinel_check")


def test_what_failed_is_told() -> None:
    failed = {**result(3, "redis1", action="ansible.builtin.command", msg="no"), "_event": "v2_runner_on_failed"}
    assert parse([*LINES, json.dumps(failed)], BEGIN, BEGIN + 9).failed == ["redis1: Loop: no"]


def test_the_tables_say_where_it_went() -> None:
    text = report(parse(LINES, BEGIN, BEGIN + 9), "site.yml", 2)
    assert text.startswith("site.yml: 9.0 s. 2 tasks ran something on hosts, 4 times in all: 7.0 s, 1.75 s each.")
    assert "1 tasks ran nothing there (checks, includes, skipped): 0.5 s. The rest, 1.5 s," in text
    assert "| playbooks | 4.5 | 50% | 1 | 0 | 2 |" in text
    assert "| redis_sentinel | 3.0 | 33% | 2 | 0 | 2 |" in text
    assert text.splitlines()[-1] == "| Look | redis_sentinel | 2.5 | 1 | 2 |"
    assert list(grouped(parse(LINES, BEGIN, BEGIN + 9).tasks, "role")) == ["redis_sentinel", "playbooks"]
