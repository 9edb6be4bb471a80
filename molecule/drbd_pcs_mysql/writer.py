# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A client that writes numbered records through the VIP, notes each acknowledgement, and reads them back in the end.

writer.py run ADDRESS USER DATABASE LOG SECONDS    password in MYSQL_PWD; ends early when LOG.stop exists
writer.py report ADDRESS USER DATABASE LOG         JSON: attempted, acknowledged, lost, duplicated, gap_seconds, gap_at,
                                                   unexpected (there, never attempted), servers, errors,
                                                   slowness (outcome.slowness, of now)

A line of LOG: ack NUMBER TIME SERVER_ID, or err NUMBER TIME TEXT.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymysql

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from lab import outcome  # noqa: E402

PAUSE = 0.02


@dataclass(frozen=True)
class Note:
    """What became of one attempt; `text` is the server's number or the error."""

    kind: str
    number: int
    at: float
    text: str


def read(log: Path) -> list[Note]:
    """A log's lines; one that is not finished yet is left out."""
    lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
    fields = [line.rstrip("\n").split(" ", 3) for line in lines if line.endswith("\n")]
    return [Note(f[0], int(f[1]), float(f[2]), f[3]) for f in fields]


def servers(notes: list[Note]) -> list[tuple[str, float, float]]:
    """(server, first, last) of each stretch of time in which one server acknowledged."""
    found: list[tuple[str, float, float]] = []
    for note in sorted((note for note in notes if note.kind == "ack"), key=lambda note: note.at):
        if found and found[-1][0] == note.text:
            found[-1] = (note.text, found[-1][1], note.at)
        else:
            found.append((note.text, note.at, note.at))
    return found


def connect(address: str, user: str, database: str) -> Any:
    return pymysql.connect(
        host=address,
        user=user,
        password=os.environ["MYSQL_PWD"],
        database=database,
        autocommit=True,
        connect_timeout=1,
        read_timeout=3,
        write_timeout=3,
    )


def ask_server(connection: Any) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@server_id")
        return int(cursor.fetchone()[0])


def run(address: str, user: str, database: str, log: Path, seconds: float) -> None:
    stop = log.with_suffix(".stop")
    stop.unlink(missing_ok=True)
    connection = connect(address, user, database)
    with connection.cursor() as cursor:
        cursor.execute("CREATE OR REPLACE TABLE writer (number INT NOT NULL, written DOUBLE NOT NULL)")
    server = ask_server(connection)
    number = 0
    deadline = time.time() + seconds
    with log.open("w", buffering=1, encoding="utf-8") as notes:
        while time.time() < deadline and not stop.exists():
            number += 1
            try:
                if connection is None:
                    connection = connect(address, user, database)
                    server = ask_server(connection)
                with connection.cursor() as cursor:
                    cursor.execute("INSERT INTO writer VALUES (%s, %s)", (number, time.time()))
                notes.write(f"ack {number} {time.time():.3f} {server}\n")
            except (pymysql.Error, OSError) as error:
                notes.write(f"err {number} {time.time():.3f} {' '.join(str(error).split())}\n")
                if connection is not None:
                    connection._force_close()
                connection = None
            time.sleep(PAUSE)


def report(address: str, user: str, database: str, log: Path) -> dict[str, Any]:
    notes = read(log)
    acknowledged = {note.number: note.at for note in notes if note.kind == "ack"}
    with connect(address, user, database).cursor() as cursor:
        cursor.execute("SELECT number FROM writer")
        found = [row[0] for row in cursor.fetchall()]
    times = sorted(acknowledged.values())
    gap, at = max(((after - before, before) for before, after in itertools.pairwise(times)), default=(0.0, 0.0))
    return {
        "attempted": len(notes),
        "acknowledged": len(acknowledged),
        "lost": len(set(acknowledged) - set(found)),
        "duplicated": len(found) - len(set(found)),
        "unexpected": len(set(found) - {note.number for note in notes}),
        "gap_seconds": round(gap, 2),
        "gap_at": at,
        "servers": servers(notes),
        "slowness": round(outcome.slowness(), 1),
        "errors": sorted({note.text for note in notes if note.kind == "err"}),
    }


def main() -> None:
    what, address, user, database, log = sys.argv[1:6]
    if what == "run":
        run(address, user, database, Path(log), float(sys.argv[6]))
    else:
        print(json.dumps(report(address, user, database, Path(log))))


if __name__ == "__main__":
    main()
