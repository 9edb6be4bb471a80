# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What every kind of probe offers. A file of_KIND.py has

NEEDS      Python packages and the modules by which they are imported, on one line
FAILURES   exceptions that say that the tier did not serve; any other ends the probe
streams(settings, run), prepare(settings, run), read(settings, run, stream), versions(settings), clean(settings, run)
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol


class Client(Protocol):
    """One client with its connection; made in the process of its stream."""

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """What `write` may raise without being broken itself."""

    def write(self, number: int) -> str:
        """The record is acknowledged: the address of the server that did. Raises one of `failures` if it is not."""


@dataclass(frozen=True)
class Stream:
    """Numbered records of one kind. `judge`: gap, lost, both. `note`: what else its figures mean."""

    what: str
    client: Callable[[], Client]
    judge: list[str] = field(default_factory=lambda: ["gap", "lost"])
    note: str = ""
    readable: bool = True


class Late(Exception):
    """No answer in time."""


@contextlib.contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Late after that, for libraries that may wait without end. In a process's main thread only."""

    def ring(_number: int, _frame: Any) -> None:
        raise Late

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
