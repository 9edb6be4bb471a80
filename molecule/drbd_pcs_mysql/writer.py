# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A client that writes numbered records through the VIP, notes each acknowledgement, and reads them back in the end.

writer.py run ADDRESS USER DATABASE LOG SECONDS    password in MYSQL_PWD; ends early when LOG.stop exists
writer.py report ADDRESS USER DATABASE LOG         JSON: attempted, acknowledged, lost, duplicated, gap_seconds, gap_at
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pymysql

PAUSE = 0.02


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


def run(address: str, user: str, database: str, log: Path, seconds: float) -> None:
    stop = log.with_suffix(".stop")
    stop.unlink(missing_ok=True)
    connection = connect(address, user, database)
    with connection.cursor() as cursor:
        cursor.execute("CREATE OR REPLACE TABLE writer (number INT NOT NULL, written DOUBLE NOT NULL)")
    number = 0
    deadline = time.time() + seconds
    with log.open("w", buffering=1, encoding="utf-8") as notes:
        while time.time() < deadline and not stop.exists():
            number += 1
            try:
                if connection is None:
                    connection = connect(address, user, database)
                with connection.cursor() as cursor:
                    cursor.execute("INSERT INTO writer VALUES (%s, %s)", (number, time.time()))
                notes.write(f"ack {number} {time.time():.3f}\n")
            except (pymysql.Error, OSError) as error:
                notes.write(f"err {number} {time.time():.3f} {error}\n")
                if connection is not None:
                    connection._force_close()
                connection = None
            time.sleep(PAUSE)


def report(address: str, user: str, database: str, log: Path) -> dict[str, Any]:
    lines = [line.split(" ", 3) for line in log.read_text(encoding="utf-8").splitlines()]
    acknowledged = {int(line[1]): float(line[2]) for line in lines if line[0] == "ack"}
    with connect(address, user, database).cursor() as cursor:
        cursor.execute("SELECT number FROM writer")
        found = [row[0] for row in cursor.fetchall()]
    times = sorted(acknowledged.values())
    gap, at = max(((after - before, before) for before, after in itertools.pairwise(times)), default=(0.0, 0.0))
    return {
        "attempted": len(lines),
        "acknowledged": len(acknowledged),
        "lost": len(set(acknowledged) - set(found)),
        "duplicated": len(found) - len(set(found)),
        "gap_seconds": round(gap, 2),
        "gap_at": at,
        "errors": sorted({line[3] for line in lines if line[0] == "err"}),
    }


def main() -> None:
    what, address, user, database, log = sys.argv[1:6]
    if what == "run":
        run(address, user, database, Path(log), float(sys.argv[6]))
    else:
        print(json.dumps(report(address, user, database, Path(log))))


if __name__ == "__main__":
    main()
