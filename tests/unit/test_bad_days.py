# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How the bad days are judged: who was primary when, who took writes, how long a gap may be."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

MOLECULE = Path(__file__).resolve().parents[2] / "molecule"
sys.path.insert(0, str(MOLECULE / "drbd_pcs_mysql"))

import bad_days  # noqa: E402
import watch  # noqa: E402
import writer  # noqa: E402


def roles(member: str, *samples: tuple[float, str]) -> list[watch.Sample]:
    return [watch.Sample(member, "role", at, f"{role}/UpToDate/Connected") for at, role in samples]


def test_a_line_that_a_power_cut_ended_is_left_out() -> None:
    lines = ["role 1.0 Primary/UpToDate/Connected .", "ack 1.1 db1-1-1 .", "role 1.2 Prim", "role", "role 2.0 none ."]
    found = watch.parse("db1", lines)
    assert [(s.kind, s.at, s.primary) for s in found] == [
        ("role", 1.0, True),
        ("ack", 1.1, False),
        ("role", 2.0, False),
    ]


class TestReigns:
    def test_from_the_last_look_that_said_otherwise_to_the_next_one(self) -> None:
        samples = roles("db1", (1, "Secondary"), (2, "Primary"), (3, "Primary"), (4, "Secondary"))
        assert watch.reigns(samples, {}) == [("db1", 1, 4)]

    def test_a_death_ends_it_even_if_nobody_looked_just_before(self) -> None:
        samples = roles("db1", (1, "Primary"), (20, "Secondary"))
        assert watch.reigns(samples, {"db1": [9.5]}) == [("db1", 1, 9.5)]

    def test_a_death_after_the_last_look(self) -> None:
        assert watch.reigns(roles("db1", (1, "Primary")), {"db1": [9.5]}) == [("db1", 1, 9.5)]

    def test_it_begins_after_a_death_at_the_earliest(self) -> None:
        samples = roles("db1", (1, "Secondary"), (20, "Primary"))
        assert watch.reigns(samples, {"db1": [9.5]}) == [("db1", 9.5, math.inf)]

    def test_without_an_end_it_lasts(self) -> None:
        assert watch.reigns(roles("db1", (1, "Primary"), (2, "Primary")), {}) == [("db1", 1, math.inf)]


class TestOverlaps:
    def test_a_failover(self) -> None:
        samples = roles("db1", (1, "Primary"), (8, "Primary"))
        samples += roles("db2", (1, "Secondary"), (12, "Secondary"), (12.02, "Primary"))
        assert watch.overlaps(watch.reigns(samples, {"db1": [11.0]})) == []

    def test_two_primaries(self) -> None:
        samples = roles("db1", (1, "Primary"), (8, "Primary"))
        samples += roles("db2", (1, "Secondary"), (10, "Secondary"), (10.02, "Primary"))
        assert watch.overlaps(watch.reigns(samples, {"db1": [11.0]})) == ["db1 and db2 for 1.000 s at 10.000"]

    def test_two_primaries_of_which_none_dies(self) -> None:
        samples = roles("db1", (1, "Primary"), (9, "Primary")) + roles("db2", (1, "Secondary"), (5, "Primary"))
        assert watch.overlaps(watch.reigns(samples, {})) == ["db1 and db2 for inf s at 1.000"]


def test_servers_that_take_turns_are_seen() -> None:
    samples = [watch.Sample(member, "ack", at, "x") for member, at in (("db1", 1), ("db2", 2), ("db1", 3), ("db1", 4))]
    assert watch.served(samples) == [("db1", 1, 1), ("db2", 2, 2), ("db1", 3, 4)]
    assert watch.twice(watch.served(samples)) == ["db1"]
    assert watch.twice(watch.served(samples[:2])) == []


def test_the_writers_log(tmp_path: Path) -> None:
    log = tmp_path / "w.log"
    log.write_text(
        "ack 1 1.000 1\nerr 2 2.000 (2013, 'Lost')\nack 3 3.000 2\nack 4 4.000 2\nack 5 5.0", encoding="utf-8"
    )
    notes = writer.read(log)
    assert [note.number for note in notes] == [1, 2, 3, 4]
    assert notes[1].text == "(2013, 'Lost')"
    assert writer.servers(notes) == [("1", 1.0, 1.0), ("2", 3.0, 4.0)]


def test_the_objective_is_the_roles() -> None:
    assert bad_days.objective() == 30


def test_the_table() -> None:
    day: dict[str, Any] = {
        "what": "the server is killed",
        "active": "db1",
        "gap_seconds": 7.25,
        "gap_allowed": 30.0,
        "acknowledged": 500,
        "lost": 0,
        "duplicated": 0,
        "unexpected": 0,
        "whole_again_seconds": 1.4,
        "again_seconds": 15.0,
        "wrong": [],
    }
    good, bad, short = bad_days.table(
        [
            day,
            {**day, "gap_allowed": None, "wrong": ["the disks differ: {}", "playbooks/mysql.yml changed db1: x"]},
            {key: value for key, value in day.items() if key != "again_seconds"},
        ]
    ).splitlines()[2:]
    assert good == "| the server is killed | db1 | 7.2 s (30 s) | 500 | 0 | 0 | 0 | 1 s | equal | 0 changed in 15 s |"
    assert bad == "| the server is killed | db1 | 7.2 s | 500 | 0 | 0 | 0 | 1 s | differ | 1 changed in 15 s |"
    assert short.endswith("| equal | – |")
