# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""MySQL or MariaDB through the address that moves. Settings: address, port, user, password, database.

A record is a committed row; the server that took it is told by its @@server_id.
"""

from __future__ import annotations

from typing import Any

import pymysql
from stream import Stream

NEEDS = {"PyMySQL": "pymysql"}
FAILURES = (pymysql.Error, OSError)


def connect(settings: dict[str, Any], patience: int = 3) -> Any:
    return pymysql.connect(
        host=settings["address"],
        port=int(settings["port"]),
        user=settings["user"],
        password=settings["password"],
        database=settings["database"],
        autocommit=True,
        connect_timeout=1,
        read_timeout=patience,
        write_timeout=patience,
    )


def table(run: str) -> str:
    return f"drill_{run}"


class Client:
    failures = FAILURES

    def __init__(self, settings: dict[str, Any], run: str) -> None:
        self.settings, self.run = settings, run
        self.kept: Any = None
        self.server = ""

    def write(self, number: int) -> str:
        try:
            if self.kept is None:
                self.kept = connect(self.settings)
                with self.kept.cursor() as cursor:
                    cursor.execute("SELECT @@server_id")
                    self.server = f"server {cursor.fetchone()[0]}"
            with self.kept.cursor() as cursor:
                cursor.execute(f"INSERT INTO {table(self.run)} VALUES (%s)", (number,))
        except FAILURES:
            if self.kept is not None:
                self.kept._force_close()
            self.kept = None
            raise
        return self.server


def streams(settings: dict[str, Any], run: str) -> dict[str, Stream]:
    return {"rows": Stream("committed rows", lambda: Client(settings, run))}


def ask(settings: dict[str, Any], statement: str) -> Any:
    connection = connect(settings, 30)
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall()
    finally:
        connection.close()


def prepare(settings: dict[str, Any], run: str) -> None:
    """No key on the number: a record that is there twice must show."""
    ask(settings, f"CREATE TABLE {table(run)} (number INT NOT NULL)")


def read(settings: dict[str, Any], run: str, _name: str) -> list[int]:
    return [row[0] for row in ask(settings, f"SELECT number FROM {table(run)}")]


def versions(settings: dict[str, Any]) -> dict[str, str]:
    return {"server": ask(settings, "SELECT VERSION()")[0][0]}


def clean(settings: dict[str, Any], run: str) -> None:
    ask(settings, f"DROP TABLE IF EXISTS {table(run)}")
