# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Both members, watched from inside at the same time: who is primary, and whose server takes writes.

PROGRAM runs on each member, sent over ssh. It looks at DRBD's role 25 times a second, and as a client of its own writes
through the member's socket whenever there is a server behind it: a member that is cut off from everybody else still
has this client. Its lines: "role TIME ROLE/DISK/CONNECTION", "ack TIME ID" (a write of that client),
each with a full stop, because a power cut ends a line anywhere.
"""

from __future__ import annotations

import bisect
import itertools
import subprocess
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lab import remote
from lab.definitions import Lab

TABLE = "shop.local_writes"
PROGRAM = f"""
import re, socket, threading, time
import pymysql
say = threading.Lock()
def tell(*words):
    with say:
        print(*words, ".", flush=True)
def write():
    connection, number, name = None, 0, socket.gethostname()
    while True:
        try:
            connection = connection or pymysql.connect(
                unix_socket="/run/mysqld/mysqld.sock", user="root", autocommit=True,
                connect_timeout=2, read_timeout=3, write_timeout=3)
            number += 1
            mark = f"{{name}}-{{time.time_ns()}}-{{number}}"
            with connection.cursor() as cursor:
                cursor.execute("INSERT INTO {TABLE} VALUES (%s)", (mark,))
            tell("ack", f"{{time.time():.4f}}", mark)
        except (pymysql.Error, OSError):
            if connection is not None:
                connection._force_close()
            connection = None
        time.sleep(0.2)
threading.Thread(target=write, daemon=True).start()
while True:
    try:
        with open("/proc/drbd", encoding="ascii") as proc:
            found = re.search(r" cs:(\\w+) ro:(\\w+)/\\S+ ds:(\\w+)/", proc.read())
    except OSError:
        found = None
    tell("role", f"{{time.time():.4f}}", f"{{found[2]}}/{{found[3]}}/{{found[1]}}" if found else "none")
    time.sleep(0.04)
"""


@dataclass(frozen=True)
class Sample:
    member: str
    kind: str
    at: float
    text: str

    @property
    def primary(self) -> bool:
        return self.text.startswith("Primary/")


def parse(member: str, lines: Iterable[str]) -> list[Sample]:
    """A watcher's lines; one that was cut off is left out."""
    found = []
    for line in lines:
        words = line.split()
        if len(words) == 4 and words[0] in ("role", "ack") and words[3] == ".":
            found.append(Sample(member, words[0], float(words[1]), words[2]))
    return found


def reigns(samples: list[Sample], deaths: dict[str, list[float]]) -> list[tuple[str, float, float]]:
    """(member, from, until) of every time in which a member was primary, or may have been for all that is known.

    A reign begins with the last sample that said otherwise and ends with the next one that does, or when the member's
    power was cut. Without a later sample or a death it has not ended.
    """
    found = []
    for member in sorted({sample.member for sample in samples}):
        mine = sorted((s for s in samples if s.member == member and s.kind == "role"), key=lambda sample: sample.at)
        ends = sorted(deaths.get(member, ()))
        begin: float | None = None
        last = 0.0
        for sample in mine:
            died = bisect.bisect_right(ends, last)
            if died < len(ends) and ends[died] <= sample.at:
                # It was dead between the two samples; what it was until then, it was.
                if begin is not None:
                    found.append((member, begin, ends[died]))
                begin, last = None, ends[died]
            if sample.primary and begin is None:
                begin = last or sample.at
            elif not sample.primary and begin is not None:
                found.append((member, begin, sample.at))
                begin = None
            last = sample.at
        if begin is not None:
            died = bisect.bisect_right(ends, last)
            found.append((member, begin, ends[died] if died < len(ends) else float("inf")))
    return sorted(found, key=lambda reign: reign[1])


def overlaps(spans: list[tuple[str, float, float]]) -> list[str]:
    """Times in which two members did at once what only one may; empty is good."""
    return [
        f"{a[0]} and {b[0]} for {min(a[2], b[2]) - max(a[1], b[1]):.3f} s at {max(a[1], b[1]):.3f}"
        for a, b in itertools.combinations(spans, 2)
        if a[0] != b[0] and min(a[2], b[2]) > max(a[1], b[1])
    ]


def served(samples: list[Sample]) -> list[tuple[str, float, float]]:
    """(member, first, last) of each stretch in which one member's server acknowledged the local clients' writes."""
    acks = sorted((sample for sample in samples if sample.kind == "ack"), key=lambda sample: sample.at)
    groups = [(member, list(group)) for member, group in itertools.groupby(acks, key=lambda sample: sample.member)]
    return [(member, group[0].at, group[-1].at) for member, group in groups]


def twice(spans: list[tuple[str, float, float]]) -> list[str]:
    """Who took writes again after another one had: on no day the database moves there and back."""
    names = [span[0] for span in spans]
    return sorted({name for name in names if names.count(name) > 1})


class Watcher:
    """Watches all members until the block ends; reconnects to one that comes back."""

    def __init__(self, lab: Lab, members: list[str], folder: Path) -> None:
        self.lab = lab
        self.files = {member: folder / f"watch-{member}.log" for member in members}
        self.stopping = threading.Event()
        self.running: dict[str, subprocess.Popen[str]] = {}
        self.threads = [threading.Thread(target=self._watch, args=(member,), daemon=True) for member in members]

    def _watch(self, member: str) -> None:
        with self.files[member].open("a", encoding="utf-8") as log:
            while not self.stopping.is_set():
                process = remote.start(self.lab.node(member), "python3 -u -", stdin=PROGRAM, stdout=log)
                self.running[member] = process
                process.wait()
                log.write("\n")
                log.flush()
                self.stopping.wait(0.3)

    def __enter__(self) -> Watcher:
        for file in self.files.values():
            file.write_text("", encoding="utf-8")
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stopping.set()
        for thread in self.threads:
            while thread.is_alive():
                for process in list(self.running.values()):
                    process.terminate()
                thread.join(0.2)

    def now(self, member: str) -> str:
        """What a member looks like at this moment, "" if it does not say; costs it nothing."""
        with self.files[member].open("rb") as log:
            log.seek(max(0, log.seek(0, 2) - 4096))
            lines = log.read().decode("utf-8", errors="replace").splitlines()
        last = next((s for s in reversed(parse(member, lines)) if s.kind == "role"), None)
        return last.text if last and last.at > time.time() - 2 else ""

    def whole(self) -> bool:
        """Whether DRBD is as it should be on all members."""
        return sorted(self.now(member) for member in self.files) == [
            "Primary/UpToDate/Connected",
            "Secondary/UpToDate/Connected",
        ]

    def samples(self) -> list[Sample]:
        found = []
        for member, file in self.files.items():
            found += parse(member, file.read_text(encoding="utf-8").splitlines())
        return sorted(found, key=lambda sample: sample.at)
