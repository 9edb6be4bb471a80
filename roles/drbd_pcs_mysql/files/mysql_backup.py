# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Full backups and binary logs of the database, on the host that keeps them. Ansible and timers call it alike.

mysql_backup.py full                    a full backup, then the binary logs, then what is too old goes
mysql_backup.py binlogs                 the binary logs that are closed by now; the one being written is closed for that
mysql_backup.py list                    JSON: what is here
mysql_backup.py check                   read everything and compare the checksums
mysql_backup.py plan UNTIL              JSON: what a restore to UNTIL would take
mysql_backup.py send UNTIL ADDRESS      send that to a host which waits for it; JSON as in plan

UNTIL is a time in UTC (2026-11-24 18:00:00: nothing that began at it or later), a GTID (up to and with it), `full` (the
newest full backup alone) or `latest`.

    full-20261124T180000Z/       manifest.json, data.mbstream.zst; .partial at the end of the name until it is whole
    binlogs/                     binlog.000001.zst and binlog.000001.json for each

Settings are in /etc/mysql-backup.json.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import hashlib
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SETTINGS = Path("/etc/mysql-backup.json")
STAMP = "%Y%m%dT%H%M%SZ"
BLOCK = 2**20
# mariadb-backup's log: file, offset, GTIDs.
GTID = re.compile(r"binlog position: filename '([^']*)', position '(\d+)', GTID of the last change '([^']*)'")


class Failure(Exception):
    """A sentence for the operator."""


# --- What is decided, from what is known; nothing here touches a file.


def gtid(text: str) -> dict[str, int]:
    """Domain to sequence number. The server's number in between says who wrote, not how far."""
    return {part.split("-")[0]: int(part.split("-")[2]) for part in text.split(",") if part.strip()}


def within(early: str, late: str) -> bool:
    """Whether everything up to `early` is part of what is up to `late`."""
    position = gtid(late)
    return all(number <= position.get(domain, 0) for domain, number in gtid(early).items())


def is_gtid(text: str) -> bool:
    return re.fullmatch(r"\d+-\d+-\d+(,\d+-\d+-\d+)*", text) is not None


def moment(text: str) -> float:
    try:
        when = datetime.datetime.fromisoformat(text.strip().replace("Z", "").replace("T", " "))
    except ValueError as error:
        raise Failure(
            f"{text!r} is neither a time like '2026-11-24 18:00:00' (UTC) nor a GTID like 0-1-4711"
        ) from error
    return when.replace(tzinfo=datetime.UTC).timestamp()


def utc(when: float) -> str:
    return datetime.datetime.fromtimestamp(when, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")


def choose_source(
    answers: dict[str, dict[str, Any]], replicas: list[str], max_lag: float
) -> tuple[str, dict[str, str]]:
    """The server to copy: a replica that keeps up, else the active member; and why not the others."""
    why: dict[str, str] = {}
    active = ""
    for name, found in answers.items():
        if not found.get("running"):
            why[name] = found.get("error") or "no server runs there"
        elif not found["replica"] and name in replicas:
            why[name] = "it replicates nothing"
        elif not found["replica"]:
            active = active or name
        elif not found["follows"] or found["lag"] is None:
            why[name] = "replication has stopped"
        elif found["lag"] > max_lag:
            why[name] = f"{found['lag']} s behind, {max_lag:g} are allowed"
        else:
            return name, why
    return active, why


def to_fetch(there: list[dict[str, Any]], here: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Closed binary logs which are not here yet, each with the GTID at its end. Failure at a hole or a stranger."""
    missing: list[dict[str, Any]] = []
    oldest = min(map(number, here), default=0)  # what is older was here, and was removed
    for log, following in itertools.pairwise(there):
        known = here.get(log["name"])
        if number(log["name"]) < oldest:
            continue
        if known is None:
            missing.append({**log, "gtid_end": following["gtid"]})
        elif known["size"] != log["size"]:
            raise Failure(
                f"{log['name']} has {log['size']} bytes on the server and {known['size']} here: that is not the "
                "server whose logs are here. Move the old backups away, or name another folder, and take a full backup"
            )
    if here and there and number(there[0]["name"]) > max(map(number, here)) + 1:
        raise Failure(
            f"binary logs between {max(here)} and {there[0]['name']} are gone on the server and were never copied: "
            "what was written in them cannot be restored. Move the folder `binlogs` away and take a full backup"
        )
    return missing


def number(name: str) -> int:
    return int(name.rsplit(".", 1)[1])


def choose_restore(
    fulls: list[dict[str, Any]], binlogs: dict[str, dict[str, Any]], until: str, directory: str
) -> dict[str, Any]:
    """The full backup, the binary logs and where to stop, or a Failure that says what can be had."""
    fulls = sorted(fulls, key=lambda full: float(full["finished"]))
    if not fulls:
        raise Failure(f"there is no full backup in {directory}. `ansible-playbook playbooks/backup.yml` makes one")
    stop: list[str] = []
    able = fulls
    if is_gtid(until):
        able = [full for full in fulls if within(full["gtid"], until)]
        stop = [f"--stop-position={until}"]
    elif until not in ("full", "latest"):
        able = [full for full in fulls if full["finished"] <= moment(until)]
        stop = [f"--stop-datetime={utc(moment(until))}"]
    if not able:
        first = fulls[0]
        raise Failure(
            f"{until} is before the first full backup: that one ended at {utc(first['finished'])} UTC, GTID "
            f"{first['gtid']}. Nothing earlier can be restored from here"
        )
    full = able[-1]
    found = {
        "full": full["name"],
        "size": full["size"],
        "gtid": full["gtid"],
        "binlogs": [],
        "stop": stop,
        "until": until,
    }
    if until == "full":
        return found
    logs = sorted(
        (log for log in binlogs.values() if not within(log["gtid_end"], full["gtid"])), key=lambda x: number(x["name"])
    )
    for log, following in itertools.pairwise(logs):
        if number(following["name"]) != number(log["name"]) + 1:
            raise Failure(
                f"the binary logs between {log['name']} and {following['name']} are not in {directory}/binlogs"
            )
    if logs and not within(logs[0]["gtid"], full["gtid"]):
        raise Failure(
            f"the binary log before {logs[0]['name']} is missing: {full['name']} ends at {full['gtid']}, "
            f"{logs[0]['name']} begins at {logs[0]['gtid']}"
        )
    end = logs[-1]["gtid_end"] if logs else full["gtid"]
    closed = max([log["fetched"] for log in binlogs.values()] + [full["finished"]])
    if is_gtid(until) and not within(until, end):
        raise Failure(
            f"the backups reach to GTID {end}, not to {until}. `mysql-backup binlogs` fetches what the server has"
        )
    if stop and not is_gtid(until) and moment(until) > closed:
        raise Failure(
            f"the backups reach to {utc(closed)} UTC, not to {until}. `mysql-backup binlogs` fetches what "
            "the server has"
        )
    if stop and is_gtid(until) and within(until, full["gtid"]):
        logs = []
    return {**found, "binlogs": [log["name"] for log in logs]}


def too_old(fulls: list[dict[str, Any]], binlogs: dict[str, dict[str, Any]], keep: int) -> tuple[list[str], list[str]]:
    """Names of the full backups beyond the newest `keep`, and of the binary logs that none of the kept ones needs."""
    fulls = sorted(fulls, key=lambda full: float(full["finished"]))
    kept = fulls[-keep:]
    if not kept:
        return [], []
    logs = [name for name, log in binlogs.items() if log["gtid_end"] and within(log["gtid_end"], kept[0]["gtid"])]
    # The newest one stays: by it the next run knows what was here.
    logs = [name for name in logs if number(name) < max(map(number, binlogs))]
    return [full["name"] for full in fulls[:-keep]], sorted(logs)


# --- What is done


class Store:
    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.directory = Path(settings["directory"])
        self.logs = self.directory / "binlogs"
        self.suffix = "zst.age" if settings["age_recipient"] else "zst"

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        self.logs.mkdir(parents=True, exist_ok=True)
        with (self.directory / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def fulls(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text(encoding="utf-8")) for path in self.directory.glob("full-*Z/manifest.json")]

    def binlogs(self) -> dict[str, dict[str, Any]]:
        found = [json.loads(path.read_text(encoding="utf-8")) for path in self.logs.glob("*.json")]
        return {log["name"]: log for log in found}

    def ssh(self, address: str, *words: str) -> list[str]:
        options = (
            "BatchMode=yes",
            "ConnectTimeout=10",
            "ServerAliveInterval=15",
            "ServerAliveCountMax=4",
            "StrictHostKeyChecking=yes",
            f"UserKnownHostsFile={self.settings['known_hosts']}",
        )
        return ["ssh", "-i", self.settings["key"], *(f"-o{option}" for option in options), f"root@{address}", *words]

    def ask(self, source: dict[str, str], *words: str) -> str:
        done = subprocess.run(self.ssh(source["address"], *words), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failure(f"{source['name']} does not answer: {done.stderr.strip()}")
        return done.stdout

    def look(self) -> dict[str, dict[str, Any]]:
        answers: dict[str, dict[str, Any]] = {}
        for source in self.settings["sources"]:
            try:
                answers[source["name"]] = json.loads(self.ask(source, "look"))
            except Failure as error:
                answers[source["name"]] = {"running": False, "error": str(error)}
        return answers

    def source(self, name: str) -> dict[str, str]:
        return next(source for source in self.settings["sources"] if source["name"] == name)

    def packed(self, command: list[str], target: Path, log: Path) -> dict[str, Any]:
        """Output of a command, compressed, perhaps encrypted, in a file; sizes, and the checksum of the file."""
        filters = [["zstd", "--quiet", "-T0", f"-{self.settings['zstd_level']}"]]
        if self.settings["age_recipient"]:
            filters.append(["age", "--encrypt", "--recipient", self.settings["age_recipient"]])
        size, stored, checksum = 0, 0, hashlib.sha256()
        with log.open("ab") as notes, target.open("xb") as file:
            reader = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=notes)
            chain: list[subprocess.Popen[bytes]] = []
            for number_of, one in enumerate(filters):
                stdin = subprocess.PIPE if number_of == 0 else chain[-1].stdout
                chain.append(subprocess.Popen(one, stdin=stdin, stdout=subprocess.PIPE, stderr=notes))

            def feed() -> None:
                nonlocal size
                assert reader.stdout and chain[0].stdin
                with contextlib.suppress(BrokenPipeError), chain[0].stdin as sink:
                    while block := reader.stdout.read(BLOCK):
                        size += len(block)
                        sink.write(block)

            feeder = threading.Thread(target=feed)
            feeder.start()
            last = chain[-1].stdout
            assert last
            while block := last.read(BLOCK):
                stored += len(block)
                checksum.update(block)
                file.write(block)
            feeder.join()
            file.flush()
            os.fsync(file.fileno())
        codes = [process.wait() for process in (reader, *chain)]
        if any(codes):
            said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
            raise Failure(f"`{' '.join(command[-2:])}` or its compression ended with {codes}: {' '.join(said)}")
        return {"size": size, "stored_size": stored, "sha256": checksum.hexdigest()}

    def unpacked(self, path: Path) -> list[str]:
        """A command that prints what is in a file."""
        if path.suffix == ".age":
            return [
                "bash",
                "-c",
                'age --decrypt --identity "$2" "$1" | zstd -dc',
                "-",
                str(path),
                self.settings["age_identity"],
            ]
        return ["zstd", "--quiet", "--decompress", "--stdout", str(path)]

    def prepared(self, data: Path) -> tuple[bool, str]:
        """Read the file back and do with it what a restore does. Whether that was possible, and the GTID it says."""
        if data.suffix == ".age" and not self.settings["age_identity"]:
            return False, ""
        with tempfile.TemporaryDirectory(dir=self.directory, prefix=".prepare-") as work:
            script = (
                'set -o pipefail; "$@" | mbstream --extract --directory="$WORK" &&'
                ' mariadb-backup --prepare --target-dir="$WORK"'
            )
            done = subprocess.run(
                ["bash", "-c", script, "-", *self.unpacked(data)],
                env={**os.environ, "WORK": work},
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                raise Failure(f"the copy cannot be prepared: {' '.join(done.stderr.strip().splitlines()[-3:])}")
            for name in ("mariadb_backup_binlog_info", "xtrabackup_binlog_info"):
                with contextlib.suppress(OSError):
                    return True, (Path(work) / name).read_text(encoding="utf-8").split("\t")[2].replace("\n", "")
        return True, ""

    def full(self) -> dict[str, Any]:
        for path in self.directory.glob("*.partial"):
            shutil.rmtree(path)
        answers = self.look()
        name, why = choose_source(answers, self.settings["replicas"], self.settings["max_lag"])
        if not name:
            raise Failure("no server can be copied: " + "; ".join(f"{host}: {reason}" for host, reason in why.items()))
        begin = time.time()
        label = time.strftime(f"full-{STAMP}", time.gmtime(begin))
        final, partial = self.directory / label, self.directory / f"{label}.partial"
        partial.mkdir(mode=0o700)
        data, log = partial / f"data.mbstream.{self.suffix}", partial / "backup.log"
        written = self.packed(self.ssh(self.source(name)["address"], "full"), data, log)
        copied = time.time()
        position = GTID.findall(log.read_text(encoding="utf-8", errors="replace"))
        sound, said = self.prepared(data) if self.settings["prepare"] else (False, "")
        at = said or (position[-1][2] if position else "")
        if not at and answers[name].get("binlogs"):
            raise Failure(f"the copy from {name} does not say at which GTID it was taken, see {log}")
        manifest = {
            "name": label,
            "source": name,
            "not_taken": why,
            "server_version": answers[name]["version"],
            "started": begin,
            "finished": copied,
            "seconds": round(copied - begin, 1),
            "gtid": at,
            "binlog_file": position[-1][0] if position else "",
            "binlog_position": int(position[-1][1]) if position else 0,
            "prepared": sound,
            "encrypted": bool(self.settings["age_recipient"]),
            "file": data.name,
            **written,
        }
        (partial / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        os.sync()
        partial.rename(final)
        shipped = self.ship()
        gone, logs = too_old(self.fulls(), self.binlogs(), self.settings["keep"])
        for old in gone:
            shutil.rmtree(self.directory / old)
        for old in logs:
            for path in self.logs.glob(f"{old}.*"):
                path.unlink()
        self.to_remote([*gone, *(f"binlogs/{old}.*" for old in logs)])
        return {**manifest, **shipped, "removed": gone + logs}

    def ship(self) -> dict[str, Any]:
        """Close the binary log and copy what is closed."""
        answers = self.look()
        active = next((name for name, found in answers.items() if found.get("binlogs")), "")
        if not active:
            reasons = "; ".join(f"{name}: {found.get('error', 'no primary')}" for name, found in answers.items())
            raise Failure(f"no binary logs were copied, the active member was not found: {reasons}")
        source = self.source(active)
        here = self.binlogs()
        last = max(here.values(), key=lambda log: number(log["name"]), default=None)
        there = answers[active]["binlogs"]
        to_fetch(there, here)
        # An empty file each time would be all that an idle server writes.
        if not last or last["name"] != there[-2:][0]["name"] or there[-1]["size"] > last["empty_size"]:
            self.ask(source, "flush")
            there = json.loads(self.ask(source, "look"))["binlogs"]
        closed = time.time()
        fetched = []
        for log in to_fetch(there, here):
            target = self.logs / f"{log['name']}.{self.suffix}"
            partial = self.logs / f"{target.name}.partial"
            partial.unlink(missing_ok=True)
            notes = self.logs / ".fetch.log"
            notes.unlink(missing_ok=True)
            written = self.packed(self.ssh(source["address"], "binlog", log["name"]), partial, notes)
            if written["size"] != log["size"]:
                raise Failure(f"{log['name']} has {log['size']} bytes on {active}, {written['size']} arrived")
            partial.rename(target)
            entry = {**log, **written, "file": target.name, "fetched": closed, "empty_size": there[-1]["size"]}
            note = self.logs / f".{log['name']}.json"
            note.write_text(json.dumps(entry, indent=2) + "\n", encoding="utf-8")
            note.rename(self.logs / f"{log['name']}.json")
            fetched.append(log["name"])
        return {"binlogs": fetched, "reaches_to": utc(closed)}

    # --- an S3-compatible target, or any other that rclone knows

    def rclone(self, *words: str) -> str:
        command = [
            "rclone",
            "--config",
            self.settings["rclone_config"],
            "--contimeout=10s",
            "--low-level-retries=2",
            "--retries=2",
        ]
        done = subprocess.run([*command, *words], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failure(
                f"{self.settings['remote']} cannot be used, what is in {self.directory} is whole: "
                f"{' '.join(done.stderr.strip().splitlines()[-2:])}"
            )
        return done.stdout

    def to_remote(self, gone: list[str]) -> None:
        remote = self.settings["remote"]
        if not remote:
            return
        self.rclone(
            "copy",
            "--immutable",
            "--exclude=*.partial/**",
            "--exclude=.*",
            "--exclude=.*/**",
            str(self.directory),
            remote,
        )
        for name in gone:
            self.rclone("delete", remote, f"--include=/{name}" if "/" in name else f"--include=/{name}/**")

    def from_remote(self) -> None:
        if self.settings["remote"] and not self.fulls():
            self.rclone("copy", self.settings["remote"], str(self.directory))

    # --- the way back

    def check(self) -> list[str]:
        wrong = []
        entries = [(self.directory / full["name"], full) for full in self.fulls()]
        entries += [(self.logs, log) for log in self.binlogs().values()]
        for folder, entry in entries:
            path, checksum = folder / entry["file"], hashlib.sha256()
            with contextlib.suppress(OSError), path.open("rb") as file:
                while block := file.read(BLOCK):
                    checksum.update(block)
            if checksum.hexdigest() != entry["sha256"]:
                wrong.append(str(path))
        return wrong

    def send(self, until: str, address: str) -> dict[str, Any]:
        plan = choose_restore(self.fulls(), self.binlogs(), until, str(self.directory))
        begin = time.monotonic()
        folder = self.directory / plan["full"]
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        self.piped(self.unpacked(folder / manifest["file"]), self.ssh(address, "full"))
        if plan["binlogs"]:
            logs = self.binlogs()
            with tempfile.TemporaryDirectory(dir=self.directory, prefix=".send-") as work:
                for name in plan["binlogs"]:
                    with (Path(work) / name).open("wb") as file:
                        subprocess.run(self.unpacked(self.logs / logs[name]["file"]), stdout=file, check=True)
                self.piped(["tar", "--create", f"--directory={work}", *plan["binlogs"]], self.ssh(address, "binlogs"))
        return {**plan, "send_seconds": round(time.monotonic() - begin, 1)}

    def piped(self, source: list[str], sink: list[str]) -> None:
        reader = subprocess.Popen(source, stdout=subprocess.PIPE)
        done = subprocess.run(sink, stdin=reader.stdout, capture_output=True, text=True, check=False)
        if reader.wait() != 0 or done.returncode != 0:
            raise Failure(f"the backup could not be sent with `{' '.join(sink[-2:])}`: {done.stderr.strip()}")


def main() -> int:
    store = Store(json.loads(SETTINGS.read_text(encoding="utf-8")))
    what, *rest = sys.argv[1:]
    try:
        with store.alone():
            answer: Any
            if what in ("binlogs", "plan", "send"):
                store.from_remote()
            if what == "full":
                answer = store.full()
            elif what == "binlogs":
                answer = store.ship()
                store.to_remote([])
            elif what == "list":
                answer = {"fulls": store.fulls(), "binlogs": sorted(store.binlogs())}
            elif what == "check":
                answer = {"wrong": store.check()}
            elif what == "plan":
                answer = choose_restore(store.fulls(), store.binlogs(), rest[0], str(store.directory))
            elif what == "send":
                answer = store.send(rest[0], rest[1])
            else:
                raise Failure(f"not understood: {what}")
        print(json.dumps(answer))
        if what == "check" and answer["wrong"]:
            raise Failure(f"not what was written: {', '.join(answer['wrong'])}")
    except (Failure, OSError) as error:
        print(f"mysql-backup: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
