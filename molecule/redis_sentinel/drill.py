# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Clients of the set while something happens to it.

    drill.py cut REPORT              write numbered records, cut the master's power, go on until writes are taken again
    drill.py during REPORT COMMAND…  write numbered records while a command runs
    drill.py count REPORT            read the records of that report back
    drill.py fill                    write expiring records until memory is full, read them back
    drill.py faults NAME FAULT…      kill, hang, power, partition of the master, one after the other, each mended and
                                     counted once the set is whole again; a table in .lab/reports/NAME.md

Clients come through the Sentinels as redis-py does. Under `faults` there are two kinds, and each kind three times: one
asks for the master as redis-py does, the first Sentinel that answers; one asks all of them (the README's client); one
stays with the old master, as a client on its side of a cut does.

    plain   a write is acknowledged when the master says so
    wait    when WAIT 1 says that one replica has it

Settings come as JSON on standard input: sentinels, master_name, sentinel_password, user, password, nodes, data, lab,
rto, max_lag, min_replicas. Exit status 1: an acknowledged record of a kind that must not be lost is lost (every one
under `cut` and `during`, those of `wait` under `faults`), some record is there twice, clients waited longer than rto,
or a master that was cut off took writes for longer than max_lag allows. Times are judged by the load: outcome.slowness.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from redis.sentinel import Sentinel

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "molecule"), str(ROOT / "roles/drill/files/probe")]

from lab import outcome  # noqa: E402
from lab.definitions import LabError  # noqa: E402
from lab.records import Writer, judged  # noqa: E402
from of_redis import Newest  # noqa: E402

LAB = [sys.executable, str(ROOT / "molecule" / "lab")]
BEFORE, AFTER = 3.0, 5.0  # seconds of writing before the fault and after it
LIMIT = 120.0  # seconds after which a fault that is not over is given up
# Nothing is retried, so that every failure is counted
PATIENCE = {"socket_timeout": 0.5, "socket_connect_timeout": 0.5, "retry": Retry(NoBackoff(), 0)}
HOLD = {"kill": 0.0, "hang": 6.0, "power": 5.0, "partition": 10.0}  # seconds until a fault is mended
WAIT_MS = 300


class Set:
    """The set as its clients see it."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.given = given
        self.slowness = outcome.slowness()
        at = [(item["address"], item["port"]) for item in given["sentinels"]]
        secret = {"password": given["sentinel_password"], **PATIENCE}
        self.sentinels = Sentinel(at, sentinel_kwargs=secret)
        self.newest = Newest(at, sentinel_kwargs=secret)

    def master(self, sentinels: Sentinel | None = None) -> Redis:
        """The master, whichever it is when a connection is made."""
        given = self.given
        return (sentinels or self.sentinels).master_for(
            given["master_name"], username=given["user"], password=given["password"], **PATIENCE
        )

    def server(self, name: str) -> Redis:
        """One data server and no other."""
        given = self.given
        at = given["nodes"][name]
        return Redis(at, given["port"], username=given["user"], password=given["password"], **PATIENCE)

    def master_name(self) -> str:
        at = self.sentinels.discover_master(self.given["master_name"])[0]
        return next(name for name, address in self.given["nodes"].items() if address == at)

    def lab(self, *words: str) -> None:
        done = subprocess.run([*LAB, *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise LabError(f"molecule/lab {' '.join(words)}: {done.stdout}{done.stderr}")

    def ssh(self, name: str, command: str) -> None:
        self.lab("ssh", self.given["lab"], name, command)

    def complaint(self) -> str:
        """Why the set is not whole, or ''."""
        try:
            master = self.master_name()
            for name in self.given["data"]:
                shown = self.server(name).info("replication")
                if name == master and shown["role"] != "master":
                    return f"{name} is named as master and is none"
                if name != master and (shown["role"] != "slave" or shown["master_link_status"] != "up"):
                    return f"{name} is a {shown['role']}, its link {shown.get('master_link_status')}"
            flags = [self.flags(sentinel, master) for sentinel in self.sentinels.sentinels]
        except RedisError as err:
            return str(err)
        return next((flag for flag in flags if flag), "")

    def flags(self, sentinel: Redis, master: str) -> str:
        """What a Sentinel has against a member, or ''."""
        state = sentinel.sentinel_master(self.given["master_name"])
        if state["ip"] != self.given["nodes"][master] or state["flags"] != "master":
            return f"a Sentinel sees {state['ip']} as {state['flags']}"
        replicas = {item["ip"]: item["flags"] for item in sentinel.sentinel_slaves(self.given["master_name"])}
        wrong = [
            name for name in self.given["data"] if name != master and replicas.get(self.given["nodes"][name]) != "slave"
        ]
        return f"a Sentinel does not see {wrong[0]} as a replica" if wrong else ""

    def whole(self) -> None:
        end = time.monotonic() + LIMIT
        while complaint := self.complaint():
            if time.monotonic() > end:
                raise LabError(f"the set is not whole after {LIMIT:g} s: {complaint}")
            time.sleep(0.25)


def plain(client: Redis, key: str) -> Writer:
    """Acknowledged is what the server takes."""
    return Writer(lambda number: bool(client.rpush(key, number)), (RedisError,))


def wait(client: Redis, key: str) -> Writer:
    """Acknowledged is what one replica has, too."""

    def write(number: int) -> bool:
        pipe = client.pipeline(transaction=False)
        pipe.rpush(key, number)
        pipe.execute_command("WAIT", 1, WAIT_MS)
        return bool(pipe.execute()[1] >= 1)

    return Writer(write, (RedisError,))


def again(writer: Writer, client: Redis) -> Writer:
    """The writer's client asks for the master again after whatever was not acknowledged: a master that is cut off
    refuses to write (NOREPLICAS) and keeps its connections."""
    send = writer.write

    def write(number: int) -> bool:
        taken = False
        try:
            taken = send(number)
        finally:
            if not taken:
                client.connection_pool.disconnect()
        return taken

    writer.write = write
    return writer


def found(client: Redis, key: str) -> list[int]:
    return [int(item) for item in client.lrange(key, 0, -1)]


# One fault, watched by one client ---------------------------------------------


def write(cluster: Set, fault: list[str]) -> dict[str, Any]:
    """Write, start the fault's command after a while, write until it is over and for some seconds more."""
    run = f"drill:{uuid.uuid4().hex[:8]}"
    writer = plain(cluster.master(), run)
    ended: list[subprocess.CompletedProcess[str]] = []

    def disturb() -> None:
        ended.append(subprocess.run(fault, capture_output=True, text=True, check=False))

    worker = threading.Thread(target=disturb)
    writer.start()
    time.sleep(BEFORE)
    begin = time.monotonic()
    worker.start()
    worker.join()
    if ended[0].returncode:
        sys.exit(f"{' '.join(fault)} failed:\n{ended[0].stdout}{ended[0].stderr}")
    over = time.monotonic()
    while writer.since(over) < AFTER * 20 and time.monotonic() < begin + LIMIT:
        time.sleep(0.2)
    writer.stop()
    report = writer.report([])
    return {
        "run": run,
        "master": cluster.master_name(),
        **{name: report[name] for name in ("attempted", "gap", "errors")},
        "numbers": [number for number, _at in writer.acknowledged],
    }


def cut(cluster: Set) -> dict[str, Any]:
    """The master loses its power."""
    victim = cluster.master_name()
    return {"victim": victim, **write(cluster, [*LAB, "power", "off", cluster.given["lab"], victim])}


def count(cluster: Set, report: dict[str, Any]) -> dict[str, Any]:
    """What of the acknowledged records is there."""
    return judged(report["numbers"], found(cluster.master(), report["run"]))


# Faults, watched by all kinds of clients --------------------------------------


def begin_of(cluster: Set, fault: str, victim: str) -> Callable[[], None]:
    """Let it happen; what mends it."""
    lab = cluster.given["lab"]
    if fault == "kill":
        cluster.ssh(victim, "systemctl kill --signal=KILL redis-server")
        return lambda: None
    if fault == "hang":
        cluster.ssh(victim, "systemctl kill --signal=STOP redis-server")
        return lambda: cluster.ssh(victim, "systemctl kill --signal=CONT redis-server")
    if fault == "power":
        cluster.lab("power", "off", lab, victim)
        return lambda: cluster.lab("power", "on", lab, victim)
    if fault == "partition":
        cluster.lab("link", "cut", lab, victim)
        return lambda: cluster.lab("link", "restore", lab, victim)
    raise LabError(f"no such fault: {fault}")


def suffer(cluster: Set, fault: str) -> dict[str, Any]:
    """One fault and everything that its clients tell."""
    cluster.whole()
    victim = cluster.master_name()
    run = f"drill:{uuid.uuid4().hex[:8]}"
    writers, keys = {}, {}
    for place in ("asks", "asks all", "stays"):
        for kind in (plain, wait):
            client = cluster.server(victim) if place == "stays" else cluster.master()
            if place == "asks all":
                client = cluster.master(cluster.newest)
            name = f"{place}, {kind.__name__}"
            keys[name] = f"{run}:{len(keys)}"
            writers[name] = kind(client, keys[name])
            if place == "asks all":
                again(writers[name], client)
    for writer in writers.values():
        writer.start()
    time.sleep(BEFORE)
    begin = time.monotonic()
    mend = begin_of(cluster, fault, victim)
    time.sleep(HOLD[fault])
    mended = time.monotonic()
    try:
        mend()
        asks = writers["asks, plain"]
        while asks.since(mended) < 50 and time.monotonic() < begin + LIMIT:
            time.sleep(0.2)
        cluster.whole()
        time.sleep(1)
    finally:
        for writer in writers.values():
            writer.stop()
    master = cluster.master()
    result: dict[str, Any] = {"fault": fault, "victim": victim, "master": cluster.master_name(), "clients": {}}
    for name, writer in writers.items():
        result["clients"][name] = writer.report(found(master, keys[name]))
        master.expire(keys[name], 3600)
    held = [at - begin for _number, at in writers["stays, plain"].acknowledged if begin < at < mended]
    result["old_master_took_writes_for"] = round(max(held, default=0.0), 1)
    return result


def judge(cluster: Set, result: dict[str, Any]) -> list[str]:
    """What must not be."""
    given, said = cluster.given, []
    for name, client in result["clients"].items():
        if name.endswith("wait") and client["lost"]:
            said.append(f"{client['lost']} writes that WAIT 1 acknowledged are lost ({name})")
        if client["duplicated"]:
            said.append(f"{client['duplicated']} records are there twice ({name})")
        if not client["acknowledged"]:
            said.append(f"nothing was acknowledged ({name})")
    # Who believes the Sentinel on the wrong side of a cut waits for as long as the cut lasts, and longer.
    for name in ["asks all, plain"] + ["asks, plain"] * (result["fault"] != "partition"):
        if (waited := result["clients"][name]["gap"]) > given["rto"] * cluster.slowness:
            said.append(f"{name}: waited {waited} s, more than {given['rto']} s × {cluster.slowness:.1f} for the load")
    allowed = given["max_lag"] + 2 * cluster.slowness
    took = result["old_master_took_writes_for"]
    if result["fault"] == "partition" and given["min_replicas"] and took > allowed:
        said.append(f"a master without replicas took writes for {took} s, more than {allowed:.1f} s")
    return said


def table(results: list[dict[str, Any]]) -> str:
    lines = [
        "| fault of the master | clients | longest gap | attempted | acknowledged | lost | unexpected | duplicated |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        for name, client in result["clients"].items():
            figures = [client[k] for k in ("attempted", "acknowledged", "lost", "unexpected", "duplicated")]
            waited = "–" if name.startswith("stays") else f"{client['gap']} s"
            lines.append(f"| {result['fault']} | {name} | {waited} | {' | '.join(map(str, figures))} |")
    return "\n".join(lines)


def fill(cluster: Set) -> int:
    """What a full server does: refuse, and keep all that it has."""
    master = cluster.master()
    key = f"drill:{uuid.uuid4().hex[:8]}"
    refused, number = "", 0
    while not refused and number < 4096:
        try:
            master.set(f"{key}:{number}", "x" * 2**20, ex=600)
        except RedisError as err:
            refused = type(err).__name__
        else:
            number += 1
    kept = sum(bool(master.exists(f"{key}:{n}")) for n in range(number))
    for n in range(number):
        master.unlink(f"{key}:{n}")
    print(json.dumps({"written_mib": number, "kept": kept, "refused": refused}))
    return 0 if number > 10 and kept == number and refused == "OutOfMemoryError" else 1


def faults(cluster: Set, name: str, names: list[str]) -> int:
    results, good = [], True
    for fault in names:
        result = suffer(cluster, fault)
        result["faults"] = judge(cluster, result)
        results.append(result)
        moved = f"{result['victim']} → {result['master']}"
        print(f"{fault}: {moved}; the old master took plain writes for {result['old_master_took_writes_for']} s")
        for said in result["faults"]:
            good = False
            print(f"NOT SO: {fault}: {said}")
    print(table(results))
    outcome.save(name, {"data": cluster.given["data"], "load": cluster.slowness, "results": results}, table(results))
    return 0 if good else 1


def main() -> int:
    cluster = Set(json.load(sys.stdin))
    if sys.argv[1] == "fill":
        return fill(cluster)
    if sys.argv[1] == "faults":
        return faults(cluster, sys.argv[2], sys.argv[3:])
    path = Path(sys.argv[2])
    if sys.argv[1] == "cut":
        path.write_text(json.dumps(cut(cluster)), encoding="utf-8")
    elif sys.argv[1] == "during":
        path.write_text(json.dumps(write(cluster, sys.argv[3:])), encoding="utf-8")
    report = json.loads(path.read_text(encoding="utf-8"))
    report |= count(cluster, report)
    del report["numbers"]
    print(json.dumps(report))
    lost = report["lost"] or report["duplicated"]
    return 0 if not lost and report["gap"] <= cluster.given["rto"] * cluster.slowness else 1


if __name__ == "__main__":
    outcome.end(main)
