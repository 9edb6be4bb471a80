# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the clients of drills have in common: they write numbered records and remember which were acknowledged and when;
what is found afterwards is judged in the words of a Jepsen report."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any


class Writer(threading.Thread):
    """One client that writes the records 1, 2, 3 … until it is stopped, and repeats none.

    `write` returns whether the record was acknowledged; what it raises of `failures` counts as not acknowledged.
    """

    def __init__(
        self, write: Callable[[int], bool], failures: tuple[type[Exception], ...], pause: float = 0.01
    ) -> None:
        super().__init__(daemon=True)
        self.write, self.failures, self.pause = write, failures, pause
        self.attempted = 0
        self.acknowledged: list[tuple[int, float]] = []  # number, time of the monotonic clock
        self.errors: Counter[str] = Counter()
        self.begin = self.end = time.monotonic()
        self._stopped = threading.Event()

    def run(self) -> None:
        self.begin = time.monotonic()
        while not self._stopped.wait(self.pause):
            self.attempted += 1
            try:
                if self.write(self.attempted):
                    self.acknowledged.append((self.attempted, time.monotonic()))
                else:
                    self.errors["not acknowledged"] += 1
            except self.failures as err:
                self.errors[type(err).__name__] += 1
        self.end = time.monotonic()

    def stop(self) -> None:
        self._stopped.set()
        self.join()

    def since(self, moment: float) -> int:
        """How many records were acknowledged after this moment."""
        return sum(at > moment for _number, at in self.acknowledged)

    def report(self, found: Iterable[int]) -> dict[str, Any]:
        """Everything about it; `found` are the numbers that are there at the end."""
        times = [at for _number, at in self.acknowledged]
        return {
            "attempted": self.attempted,
            **judged([number for number, _at in self.acknowledged], found),
            "gap": round(gap(times, self.begin, self.end), 2),
            "errors": dict(self.errors),
        }


def gap(times: Iterable[float], begin: float, end: float) -> float:
    """The longest time without an acknowledgement between begin and end, both ends counted."""
    return max(b - a for a, b in itertools.pairwise([begin, *times, max(begin, end)]))


def judged(acknowledged: Iterable[int], found: Iterable[int]) -> dict[str, int]:
    """acknowledged, lost (acknowledged and not there), unexpected (there, not acknowledged), duplicated."""
    known, there = set(acknowledged), Counter(found)
    return {
        "acknowledged": len(known),
        "lost": len(known - set(there)),
        "unexpected": len(set(there) - known),
        "duplicated": sum(count > 1 for count in there.values()),
    }
