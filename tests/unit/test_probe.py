# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The drills' core counts what it should."""

from __future__ import annotations

from lab import probe


def test_a_tally_tells_lost_from_unconfirmed_and_unexpected() -> None:
    found = [1, 2, 2, 5, 9]
    assert probe.tally(6, [1, 2, 3], found) == {
        "attempted": 6,
        "acknowledged": 3,
        "lost": 1,
        "unexpected": 1,
        "duplicated": 1,
        "unconfirmed": 1,
    }


def test_the_longest_gap_is_between_neighbours() -> None:
    assert probe.longest_gap([0.0, 1.0, 4.5, 5.0]) == 3.5
    assert probe.longest_gap([1.0]) == 0.0


def test_a_probe_counts_refusals_and_goes_on() -> None:
    there: list[int] = []

    def write(number: int) -> None:
        if number % 2:
            raise TimeoutError
        there.append(number)

    with probe.Probe("test", write, (OSError,), pause=0.001) as running:
        assert running.wait_for_more(5, 10)
    report = running.report(there)
    assert report["acknowledged"] == len(there) >= 5
    assert report["lost"] == report["unexpected"] == report["duplicated"] == 0
    assert report["errors"]["TimeoutError"] >= 4


def test_a_table_has_a_row_for_each() -> None:
    assert probe.table([{"a": 1, "b_c": 2}], ["a", "b_c"]).splitlines() == ["| a | b c |", "|---|---|", "| 1 | 2 |"]
