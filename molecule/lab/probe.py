# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The core of every drill: a client that writes numbered records while something happens, and the tally afterwards.

What a record is and how it is written is the drill's; here is what is counted, in the shape of Jepsen's reports:
attempted, acknowledged, lost, unexpected, duplicated, and the longest gap between two acknowledgements.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

PAUSE = 0.01  # seconds between two records


@dataclass
class Probe:
    """Writes record 1, 2, … until it is stopped.

    `write` returns when the record is acknowledged and raises one of `errors` if it is not, which may mean anything.
    """

    name: str
    write: Callable[[int], None]
    errors: tuple[type[Exception], ...]
    pause: float = PAUSE
    attempted: int = 0
    acknowledged: list[tuple[int, float]] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    def _run(self) -> None:
        while not self._end.wait(self.pause):
            self.attempted += 1
            try:
                self.write(self.attempted)
            except self.errors as error:
                self.refusals[type(error).__name__] += 1
            else:
                self.acknowledged.append((self.attempted, time.monotonic()))

    def __enter__(self) -> Probe:
        self.began = self.ended = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._end.set()
        self._thread.join()
        self.ended = time.monotonic()

    def wait_for_more(self, count: int, timeout: float) -> bool:
        """Whether `count` further records are acknowledged within `timeout` seconds."""
        wanted, end = len(self.acknowledged) + count, time.monotonic() + timeout
        while len(self.acknowledged) < wanted and time.monotonic() < end:
            time.sleep(PAUSE)
        return len(self.acknowledged) >= wanted

    def report(self, found: Iterable[int]) -> dict[str, Any]:
        """The tally; `found` are the records that are there now, as often as they are there."""
        result = tally(self.attempted, [number for number, _at in self.acknowledged], found)
        gap = longest_gap([self.began, *(at for _number, at in self.acknowledged), self.ended])
        return {**result, "gap_seconds": round(gap, 2), "errors": dict(self.refusals)}


def tally(attempted: int, acknowledged: Sequence[int], found: Iterable[int]) -> dict[str, int]:
    """Lost: acknowledged and not there. Unexpected: there and never attempted. Unconfirmed: there, not acknowledged."""
    times = Counter(found)
    known = set(acknowledged)
    return {
        "attempted": attempted,
        "acknowledged": len(known),
        "lost": len(known - times.keys()),
        "unexpected": sum(1 for number in times if not 0 < number <= attempted),
        "duplicated": sum(1 for count in times.values() if count > 1),
        "unconfirmed": sum(1 for number in times if 0 < number <= attempted and number not in known),
    }


def longest_gap(times: Sequence[float]) -> float:
    """Between two neighbours, in seconds."""
    return max((after - before for before, after in itertools.pairwise(times)), default=0.0)


def table(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> str:
    """Rows as Markdown."""
    lines = ["| " + " | ".join(name.replace("_", " ") for name in columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(str(row.get(name, "")) for name in columns) + " |" for row in rows]
    return "\n".join(lines)
