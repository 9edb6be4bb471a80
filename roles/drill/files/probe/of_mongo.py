# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A MongoDB replica set. Settings: servers ([{address, port}]), set, user, password, database, tls, ca, arbiter.

The timeouts suit a failover of seconds, as the role's README tells applications.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern
from stream import Stream

NEEDS = {"pymongo": "pymongo"}
FAILURES = (PyMongoError, OSError)
PATIENCE: dict[str, Any] = {
    "serverSelectionTimeoutMS": 500,
    "connectTimeoutMS": 500,
    "socketTimeoutMS": 1000,
    "heartbeatFrequencyMS": 500,
    "retryWrites": True,
}
CONCERNS: dict[str, str | int] = {"majority": "majority", "one": 1}


def connect(settings: dict[str, Any], **more: Any) -> MongoClient[dict[str, Any]]:
    options: dict[str, Any] = {
        "host": [f"{server['address']}:{server['port']}" for server in settings["servers"]],
        "replicaSet": settings["set"],
        "username": settings["user"],
        "password": settings["password"],
        "authSource": "admin",
        **PATIENCE,
        **more,
    }
    if settings["tls"]:
        options |= {"tls": True, "tlsCAFile": authority(settings["ca"])}
    return MongoClient(**options)


def authority(text: str) -> str:
    """The certificate as a file, as pymongo wants it."""
    path = Path(tempfile.gettempdir()) / f"cloudexit-drill-ca-{hash(text) & 0xFFFFFFFF:x}.pem"
    path.write_text(text, encoding="utf-8")
    return str(path)


class Client:
    failures = FAILURES

    def __init__(self, settings: dict[str, Any], run: str, name: str) -> None:
        self.mongo = connect(settings)
        concern = WriteConcern(CONCERNS[name], wtimeout=2000 if name == "majority" else None)
        self.records = self.mongo[settings["database"]].get_collection(f"drill_{run}_{name}", write_concern=concern)

    def write(self, number: int) -> str:
        # An own _id would hide a record that was inserted twice.
        self.records.insert_one({"n": number})
        primary = self.mongo.primary
        return primary[0] if primary else "?"


def streams(settings: dict[str, Any], run: str) -> dict[str, Stream]:
    arbiter = settings["arbiter"]
    note = "of two data members with an arbiter, majority needs both: it waits while one is away"
    return {
        "majority": Stream(
            "acknowledged by the majority (w:majority)",
            lambda: Client(settings, run, "majority"),
            ["lost"] if arbiter else ["gap", "lost"],
            note if arbiter else "",
        ),
        "one": Stream(
            "acknowledged by the primary (w:1)",
            lambda: Client(settings, run, "one"),
            ["gap"],
            "what the last primary alone had may be rolled back",
        ),
    }


def prepare(_settings: dict[str, Any], _run: str) -> None:
    """Collections are made by their first record."""


def read(settings: dict[str, Any], run: str, name: str) -> list[int]:
    """Once a record of now is committed, everything before it is, and is seen by who reads what is committed."""
    with connect(settings, socketTimeoutMS=10000, serverSelectionTimeoutMS=3000) as mongo:
        database = mongo[settings["database"]]
        concern = WriteConcern("majority", wtimeout=5000)
        database.get_collection(f"drill_{run}_end", write_concern=concern).insert_one({"n": 0})
        there = database.get_collection(f"drill_{run}_{name}", read_concern=ReadConcern("majority"))
        return [document["n"] for document in there.find({}, {"n": 1})]


def versions(settings: dict[str, Any]) -> dict[str, str]:
    with connect(settings) as mongo:
        return {"mongodb": mongo.server_info()["version"]}


def clean(settings: dict[str, Any], run: str) -> None:
    with connect(settings) as mongo:
        for name in (*CONCERNS, "end"):
            mongo[settings["database"]].drop_collection(f"drill_{run}_{name}")
