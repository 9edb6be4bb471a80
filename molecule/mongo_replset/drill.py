# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Clients of the set while its members are killed, hung, cut off, restarted: what they were told is there is read back.

    drill.py [--only FAULT …] NAME     NAME is the report's: .lab/reports/mongo-NAME.json and .md

Two clients write numbered records, one with w:1 and one with w:majority, through pymongo, as an application would:
every member in the URI, retryable writes, timeouts that suit a failover of seconds. What to connect to comes as JSON on
standard input: lab, set_name, endpoints, arbiters, user, password, ca, rto.

Judged: nothing acknowledged with majority is lost, nothing is there twice; gaps within
`rto` where the fault leaves the client something to go on with. What w:1 loses is counted and shown.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "molecule")]

from lab import outcome, records, remote  # noqa: E402
from lab.__main__ import set_link, set_power  # noqa: E402
from lab.definitions import LabError, load  # noqa: E402

VARIABLES = ROOT / "molecule" / "mongo_replset" / "group_vars" / "all.yml"
CLIENT: dict[str, Any] = {  # what an application is told to use, too: README.md of the role
    "serverSelectionTimeoutMS": 500,
    "connectTimeoutMS": 500,
    "socketTimeoutMS": 1000,
    "heartbeatFrequencyMS": 500,
    "retryWrites": True,
}
BEFORE, AFTER = 1.5, 1.5  # seconds of writing before the fault and after it
HELD = 8.0  # seconds that a fault lasts: longer than any gap that is allowed
COLUMNS = (
    *("fault", "write_concern", "attempted", "acknowledged", "lost", "unexpected", "duplicated"),
    *("gap", "elections"),
)


class Set:
    """The set as the drill's user sees it, and its nodes."""

    def __init__(self, given: dict[str, Any], ca: str) -> None:
        self.given = given
        self.lab = load(given["lab"])
        self.data = [node for node in self.lab.nodes if node.address in [e["address"] for e in given["endpoints"]]]
        self.arbiters = [self.lab.node(name) for name in given["arbiters"]]
        self.has_arbiter = bool(self.arbiters)
        self.name = {f"{e['address']}:{e['port']}": self.at(e["address"]) for e in given["endpoints"]}
        self.options = {
            **{"host": [f"{e['address']}:{e['port']}" for e in given["endpoints"]], "replicaSet": given["set_name"]},
            **{"username": given["user"], "password": given["password"], "tls": True, "tlsCAFile": ca},
        }
        self.eye = MongoClient(
            **self.options, serverSelectionTimeoutMS=3000, connectTimeoutMS=1000, socketTimeoutMS=3000
        )

    def at(self, address: str) -> str:
        return next(node.name for node in self.lab.nodes if node.address == address)

    def client(self) -> MongoClient[dict[str, Any]]:
        return MongoClient(**self.options, **CLIENT)

    def status(self) -> dict[str, Any]:
        return self.eye.admin.command("replSetGetStatus")

    def primary(self) -> str:
        hello = self.eye.admin.command("hello")
        return self.name[hello["primary"]]

    def others(self, name: str) -> list[str]:
        return [node.name for node in [*self.data, *self.arbiters] if node.name != name]

    def secondary(self) -> str:
        primary = self.primary()
        return next(node.name for node in self.data if node.name != primary)

    def complaints(self) -> list[str]:
        try:
            members = self.status()["members"]
        except PyMongoError as error:
            return [str(error).partition(",")[0]]
        wanted = ("PRIMARY", "SECONDARY", "ARBITER")
        found = [f"{m['name']} is {m['stateStr']}" for m in members if m["stateStr"] not in wanted]
        newest = max(m["optimeDate"] for m in members if "optimeDate" in m)
        late = [m for m in members if "optimeDate" in m and (newest - m["optimeDate"]).total_seconds() > 2]
        return found + [f"{m['name']} is behind" for m in late]

    def wait_whole(self, limit: float = 90) -> None:
        end = time.monotonic() + limit
        while found := self.complaints():
            if time.monotonic() > end:
                raise LabError(f"the set is not whole after {limit:g} s: {'; '.join(found)}")
            time.sleep(0.2)

    def ssh(self, name: str, command: str) -> str:
        return remote.run(self.lab.node(name), command)

    def power(self, action: str, name: str) -> None:
        set_power(self.lab, action, name)

    def cut(self, name: str, to: list[str]) -> None:
        set_link(self.lab, argparse.Namespace(action="cut", node=name, to=to, port=[], one_way=False))

    def mend(self, name: str) -> None:
        set_link(self.lab, argparse.Namespace(action="restore", node=name))

    def play(self, playbook: str, *arguments: str, missing: str = "") -> outcome.Play:
        """Run it; nothing may fail, and no host but `missing` be out of reach."""
        log = outcome.REPORTS / f"mongo-{Path(playbook).stem}.log"
        scenario = ["-i", "molecule/lab/inventory.sh", "--extra-vars", f"@{VARIABLES}", *self.given["arguments"]]
        played = outcome.play(self.lab, playbook, [*scenario, *arguments], log)
        expected = [missing] if missing else []
        if played.failed or played.unreachable != expected or not (played.good or missing):
            raise LabError(f"{playbook} failed:\n{log.read_text(encoding='utf-8')[-3000:]}")
        return played


@dataclass(frozen=True)
class Probes:
    """Both writers, as a fault may want to look at them."""

    one: records.Writer
    majority: records.Writer


def goes_on(writer: records.Writer, count: int, limit: float) -> bool:
    """Whether `count` further records are acknowledged within `limit` seconds."""
    now = time.monotonic()
    while writer.since(now) < count and time.monotonic() < now + limit:
        time.sleep(0.1)
    return writer.since(now) >= count


Fault = Callable[[Set, Probes], None]


def killed(mongo: Set, _probes: Probes) -> None:
    """The primary's process is gone between two instructions; its unit starts it again."""
    mongo.ssh(mongo.primary(), "systemctl kill --signal=KILL mongod")
    time.sleep(HELD)


def hung(mongo: Set, _probes: Probes) -> None:
    """The primary's process stands still; its connections stay."""
    name = mongo.primary()
    mongo.ssh(name, "systemctl kill --signal=STOP mongod")
    time.sleep(HELD)
    mongo.ssh(name, "systemctl kill --signal=CONT mongod")


def power(mongo: Set, _probes: Probes) -> None:
    """The primary's host loses its power, and has it again."""
    name = mongo.primary()
    mongo.power("off", name)
    time.sleep(HELD)
    mongo.power("on", name)


def minority(mongo: Set, _probes: Probes) -> None:
    """The primary is cut off from the other members, not from its clients."""
    name = mongo.primary()
    mongo.cut(name, mongo.others(name))
    time.sleep(HELD)
    mongo.mend(name)


def majority(mongo: Set, _probes: Probes) -> None:
    """A secondary is cut off from the other members; the primary has the majority."""
    name = mongo.secondary()
    mongo.cut(name, mongo.others(name))
    time.sleep(HELD)
    mongo.mend(name)


def pause(mongo: Set, _probes: Probes) -> None:
    """The primary's process stands still for one second: less than the election timeout."""
    name = mongo.primary()
    mongo.ssh(name, "systemctl kill --signal=STOP mongod; sleep 1; systemctl kill --signal=CONT mongod")


def restart(mongo: Set, _probes: Probes) -> None:
    """Every member is restarted by the playbook, one after another."""
    mongo.play("playbooks/rolling_restart.yml", "--tags", "mongo_replset", "-e", "mongo_replset_restart_all=true")


def rerun(mongo: Set, _probes: Probes) -> None:
    """A secondary's host is without power, and the role is run: it changes nothing and moves nothing."""
    name, primary = mongo.secondary(), mongo.primary()
    mongo.power("off", name)
    played = mongo.play("playbooks/mongo.yml", missing=name)
    mongo.power("on", name)
    if played.changed or mongo.primary() != primary:
        raise LabError(
            f"a run with {name} down changed {played.changed}, the primary is {mongo.primary()}, was {primary}"
        )


def votes(mongo: Set, probes: Probes) -> None:
    """A data member is lost for longer: majority waits until its vote is taken away, and it gets it back afterwards.

    That a run then changes nothing is seen by `rerun`, if it is the next one.
    """
    lose(mongo, probes, mongo.secondary())


def lost(mongo: Set, probes: Probes) -> None:
    """The same with the primary: the one that is elected without it cannot change the configuration as usual."""
    lose(mongo, probes, mongo.primary())


def lose(mongo: Set, probes: Probes, name: str) -> None:
    mongo.power("off", name)
    time.sleep(2)
    if goes_on(probes.majority, 1, 3):
        raise LabError(f"w:majority was acknowledged though {name}, one of two data members, is down")
    mongo.play("playbooks/mongo_votes.yml", "--limit", f"!{name}", "-e", f"mongo_replset_take={name}")
    if not goes_on(probes.majority, 20, 10):
        raise LabError(f"w:majority is not acknowledged though the vote of {name} was taken away")
    mongo.power("on", name)
    remote_is_up(mongo, name)
    mongo.play("playbooks/mongo_votes.yml", "-e", f"mongo_replset_give={name}")


def remote_is_up(mongo: Set, name: str, limit: float = 60) -> None:
    end = time.monotonic() + limit
    while True:
        try:
            mongo.ssh(name, "true")
            return
        except remote.RemoteError:
            if time.monotonic() > end:
                raise
            time.sleep(0.3)


FAULTS: dict[str, Fault] = {
    f.__name__: f for f in (pause, killed, hung, power, minority, majority, restart, votes, lost, rerun)
}
ELECTED = ("killed", "hung", "power", "minority", "lost")  # another primary is expected, within the objective
STALLS = (*ELECTED, "majority", "restart", "rerun", "votes")  # w:majority, with an arbiter


@contextlib.contextmanager
def clients(mongo: Set, run: str) -> Iterator[Probes]:
    """One writer for each write concern; a record is a document whose number is not its key, so that twice is seen."""
    with mongo.client() as first, mongo.client() as second:

        def writer(client: MongoClient[dict[str, Any]], concern: int | str) -> records.Writer:
            there = client.drill.get_collection(f"{run}_{concern}", write_concern=WriteConcern(concern))
            return records.Writer(lambda number: there.insert_one({"n": number}).acknowledged, (PyMongoError,))

        made = Probes(writer(first, 1), writer(second, "majority"))
        made.one.start()
        made.majority.start()
        try:
            yield made
        finally:
            made.one.stop()
            made.majority.stop()


def drill(mongo: Set, name: str, fault: Fault) -> list[dict[str, Any]]:
    """One fault under both writers; a row for each."""
    mongo.wait_whole()
    run, term = f"{name}_{uuid.uuid4().hex[:6]}", mongo.status()["term"]
    with clients(mongo, run) as probes:
        if not (goes_on(probes.one, 20, 10) and goes_on(probes.majority, 20, 10)):
            raise LabError("writes are not acknowledged before anything happened")
        time.sleep(BEFORE)
        fault(mongo, probes)
        mongo.wait_whole()
        if not (goes_on(probes.one, 20, 20) and goes_on(probes.majority, 20, 20)):
            raise LabError(f"writes are not acknowledged after {name}, though the set is whole")
        time.sleep(AFTER)
    mongo.wait_whole()
    # Whatever was written before this is committed when this is, and so is seen by a reader of what is committed.
    mongo.eye.drill.get_collection("committed", write_concern=WriteConcern("majority")).insert_one({"run": run})
    rows = []
    for concern, one in (("1", probes.one), ("majority", probes.majority)):
        there = mongo.eye.drill.get_collection(f"{run}_{concern}", read_concern=ReadConcern("majority"))
        found = [document["n"] for document in there.find({}, {"n": 1})]
        elections = mongo.status()["term"] - term
        rows.append({"fault": name, "write_concern": concern, **one.report(found), "elections": elections})
        print(json.dumps(rows[-1]), flush=True)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as Markdown."""
    lines = ["| " + " | ".join(name.replace("_", " ") for name in COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    return "\n".join(lines + ["| " + " | ".join(str(row[name]) for name in COLUMNS) + " |" for row in rows])


def faults_of(row: dict[str, Any], has_arbiter: bool, rto: float) -> list[str]:
    """What of a row is not as promised."""
    where = f"{row['fault']}, w:{row['write_concern']}"
    found = [f"{where}: {row['duplicated']} duplicated"] if row["duplicated"] else []
    if row["write_concern"] == "majority" and row["lost"]:
        found.append(f"{where}: {row['lost']} acknowledged records are lost")
    if row["fault"] in ELECTED and not row["elections"]:
        found.append(f"{where}: nobody was elected, so nothing was tried")
    if has_arbiter and row["write_concern"] == "majority" and row["fault"] in STALLS:
        return found
    if row["gap"] > rto:
        found.append(f"{where}: a gap of {row['gap']} s, the objective is {rto:g} s")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("--only", nargs="+", choices=FAULTS, default=list(FAULTS))
    arguments = parser.parse_args()
    given = json.load(sys.stdin)
    outcome.REPORTS.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    with tempfile.NamedTemporaryFile("w", suffix=".pem", encoding="utf-8") as ca:
        ca.write(given["ca"])
        ca.flush()
        mongo = Set(given, ca.name)
        for name in arguments.only:
            rows += drill(mongo, name, FAULTS[name])
    slow = outcome.slowness()
    text = table(rows)
    outcome.save(f"mongo-{arguments.name}", {"rows": rows, "slowness": slow}, text)
    print(text)
    found = [text for row in rows for text in faults_of(row, mongo.has_arbiter, given["rto"] * slow)]
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    outcome.end(main, PyMongoError)
