# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The clients of drills count right."""

from __future__ import annotations

import time

from lab.records import Writer, gap, judged


def test_what_is_there_is_judged() -> None:
    assert judged([1, 2, 3, 5], [1, 3, 3, 4]) == {"acknowledged": 4, "lost": 2, "unexpected": 1, "duplicated": 1}
    assert judged([], []) == {"acknowledged": 0, "lost": 0, "unexpected": 0, "duplicated": 0}


def test_the_gap_counts_from_the_begin_and_to_the_end() -> None:
    assert gap([1.0, 2.0, 5.0], 0.0, 6.0) == 3.0
    assert gap([1.0], 0.0, 9.0) == 8.0
    assert gap([4.0], 0.0, 5.0) == 4.0
    assert gap([], 0.0, 7.0) == 7.0


def test_a_writer_tells_refused_from_acknowledged() -> None:
    def write(number: int) -> bool:
        if number % 3 == 0:
            raise OSError
        return number % 3 == 1

    writer = Writer(write, (OSError,), pause=0.001)
    writer.start()
    while writer.attempted < 9:
        time.sleep(0.001)
    middle = time.monotonic()
    writer.stop()
    report = writer.report([number for number, _at in writer.acknowledged if number > 1] + [2])
    assert (report["lost"], report["unexpected"], report["duplicated"]) == (1, 1, 0)
    assert report["errors"]["OSError"] == report["attempted"] // 3
    assert report["acknowledged"] + sum(report["errors"].values()) == report["attempted"]
    assert writer.since(middle) < 9
