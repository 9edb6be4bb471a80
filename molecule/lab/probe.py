# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Clients that write numbered records while something happens to a tier, and what of their records is there afterwards.

Each client is a process of its own and sends one record after the other, so that a gap between two acknowledgements is
what an application would wait. Nothing is retried: a record that failed is one that was attempted and not acknowledged.
"""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .definitions import LabError

Send = Callable[[int], None]
PAUSE = 0.01  # seconds between two records
FIRST = 30.0  # seconds within which each client must have its first acknowledgement


@dataclass
class Tally:
    """What one client did. `gap` is in seconds, `gap_at` when it began, in seconds since the fault."""

    attempted: int = 0
    acknowledged: list[int] = field(default_factory=list)
    gap: float = 0.0
    gap_at: float = 0.0
    errors: dict[str, int] = field(default_factory=dict)


def _work(make: Callable[[], Send], errors: tuple[type[Exception], ...], watch: Any, results: Any, name: str) -> None:
    """A client's process: send until `watch` has an end, tell what came of it."""
    tally, send = Tally(), make()
    last = begun = time.monotonic()
    while not watch["stop"].value:
        tally.attempted += 1
        try:
            send(tally.attempted)
        except errors as err:
            kind = type(err).__name__
            tally.errors[kind] = tally.errors.get(kind, 0) + 1
            watch["trouble"].value = time.monotonic()
        else:
            now = time.monotonic()
            # what comes before the first acknowledgement is the client's start
            if tally.acknowledged and now - last > tally.gap:
                tally.gap, tally.gap_at = now - last, last
            last = now
            watch["acknowledged"].value = now
            tally.acknowledged.append(tally.attempted)
        time.sleep(PAUSE)
    now = time.monotonic()
    if now - (last if tally.acknowledged else begun) > tally.gap:
        tally.gap, tally.gap_at = now - last, last
    results.put((name, tally))


def run(
    makes: Mapping[str, Callable[[], Send]],
    errors: tuple[type[Exception], ...],
    fault: Callable[[], Any],
    before: float = 3.0,
    after: float = 5.0,
    limit: float = 120.0,
) -> tuple[dict[str, Tally], Any]:
    """Let clients write, do `fault` after a while, go on until all have written for `after` seconds without an error.

    The clients' tallies by name, and what `fault` returned. A client that is not served again within `limit` seconds
    after the fault is stopped; its gap says so.
    """
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    watches: dict[str, Any] = {
        name: {
            "stop": context.Value("b", 0),
            "trouble": context.Value("d", 0.0),
            "acknowledged": context.Value("d", 0.0),
        }
        for name in makes
    }
    workers = [
        context.Process(target=_work, args=(make, errors, watches[name], results, name), daemon=True)
        for name, make in makes.items()
    ]
    for worker in workers:
        worker.start()
    try:
        _until(lambda: all(watch["acknowledged"].value for watch in watches.values()), FIRST, "a first acknowledgement")
        time.sleep(before)
        at = time.monotonic()
        done = fault()
        over = time.monotonic()

        def calm() -> bool:
            now = time.monotonic()
            quiet = max(over, *(watch["trouble"].value for watch in watches.values()))
            served = all(now - watch["acknowledged"].value < 1 for watch in watches.values())
            return served and now - quiet > after

        _until(calm, limit, "")
    finally:
        for watch in watches.values():
            watch["stop"].value = 1
    found = dict(results.get(timeout=limit) for _worker in workers)
    for tally in found.values():
        tally.gap, tally.gap_at = round(tally.gap, 2), round(tally.gap_at - at, 2)
    return {name: found[name] for name in makes}, done


def _until(what: Callable[[], bool], seconds: float, missing: str) -> None:
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            if missing:
                raise LabError(f"no client has {missing} after {seconds:g} s")
            return
        time.sleep(0.05)


def compare(tally: Tally, found: Iterable[int]) -> dict[str, Any]:
    """Counts for a report: what was read back against what was acknowledged.

    Unexpected are records that were not acknowledged and are there, which is no fault: the acknowledgement was lost.
    """
    read = list(found)
    there, acknowledged = set(read), set(tally.acknowledged)
    return {
        "attempted": tally.attempted,
        "acknowledged": len(acknowledged),
        "lost": len(acknowledged - there),
        "unexpected": len(there - acknowledged),
        "duplicated": len(read) - len(there),
        "gap": tally.gap,
        "gap_at": tally.gap_at,
        "errors": tally.errors,
    }


COLUMNS = ("attempted", "acknowledged", "lost", "unexpected", "duplicated", "gap")


def table(rows: Mapping[str, Mapping[str, Any]], columns: Sequence[str] = COLUMNS) -> str:
    """Results by name, in Markdown."""
    lines = [["", *columns], ["---"] * (len(columns) + 1)]
    lines += [[name, *(str(row.get(column, "")) for column in columns)] for name, row in rows.items()]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def report(path: Path, rows: Mapping[str, Mapping[str, Any]], **about: Any) -> None:
    """The same as PATH.json and PATH.md."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".json").write_text(json.dumps({**about, "results": rows}, indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(table(rows), encoding="utf-8")
