# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a drill's clients count."""

from __future__ import annotations

import json
import time
from pathlib import Path

from lab import probe


def test_a_gap_is_seen_and_failures_are_not_acknowledged() -> None:
    begin = time.monotonic()

    def make() -> probe.Send:
        def send(_number: int) -> None:
            if 0.5 < time.monotonic() - begin < 1.3:
                raise OSError

        return send

    tallies, done = probe.run(
        {"a": make, "b": lambda: lambda _number: None}, (OSError,), lambda: "x", before=0.3, after=0.3
    )
    assert done == "x"
    assert tallies["b"].gap < 0.5 and tallies["b"].errors == {}
    broken = tallies["a"]
    assert 0.7 < broken.gap < 1.5
    assert broken.errors["OSError"] == broken.attempted - len(broken.acknowledged)


def test_one_that_is_never_served_again_is_stopped_and_its_gap_says_so() -> None:
    begin = time.monotonic()

    def send(_number: int) -> None:
        if time.monotonic() - begin > 0.3:
            raise OSError

    tallies, _done = probe.run(
        {"a": lambda: send}, (OSError,), lambda: time.sleep(0.3), before=0.2, after=0.1, limit=1.0
    )
    assert tallies["a"].gap > 0.8


def test_lost_unexpected_duplicated(tmp_path: Path) -> None:
    tally = probe.Tally(5, [1, 2, 4], 0.25, 0.0, {"Late": 2})
    row = probe.compare(tally, [2, 4, 4, 5])
    assert (row["lost"], row["unexpected"], row["duplicated"]) == (1, 1, 1)
    probe.report(tmp_path / "x", {"kill": row}, lab="l")
    assert json.loads((tmp_path / "x.json").read_text())["results"]["kill"]["lost"] == 1
    assert "| kill | 5 | 3 | 1 | 1 | 1 | 0.25 |" in (tmp_path / "x.md").read_text()
