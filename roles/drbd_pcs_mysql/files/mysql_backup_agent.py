# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the backup host may ask of a server over ssh, with a key that can do nothing else, and what restores use.

mysql_backup_agent.py serve       the words that came over ssh, on a server:
    look                          JSON: whether it runs, whether it is a replica and how far behind, its binary logs
    full                          a backup of the running server as a stream (mbstream)
    flush                         close the binary log that is being written
    binlog NAME                   a closed binary log as it is
mysql_backup_agent.py receive     the same on a host that is restored: `full` and `binlogs` (tar) from standard input
mysql_backup_agent.py contents    JSON: GTID, and rows and checksums of every table at it
mysql_backup_agent.py build WISH  make what was received the data directory, apply the binary logs; JSON of the times

Settings are in /etc/mysql-backup-agent.json: client, socket, datadir, binary, config.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SETTINGS = Path("/etc/mysql-backup-agent.json")
SYSTEM = ("information_schema", "performance_schema", "mysql", "sys")


class Failure(Exception):
    """A sentence for the operator."""


class Agent:
    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.datadir = Path(settings["datadir"])
        self.fresh = Path(f"{self.datadir}.new")
        self.logs = Path(f"{self.datadir}.binlogs")

    def sql(self, *statements: str) -> list[list[str]]:
        """Rows of all results, in one session."""
        done = subprocess.run(
            [self.settings["client"], f"--socket={self.settings['socket']}", "--batch", "--skip-column-names"],
            input=";\n".join(statements),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise Failure(done.stderr.strip())
        return [line.split("\t") for line in done.stdout.splitlines()]

    # --- on a server

    def look(self) -> dict[str, Any]:
        found: dict[str, Any] = {"running": False, "replica": False, "binlogs": []}
        try:
            rows = self.sql("SELECT VERSION(), @@read_only, @@log_bin, @@server_id")
        except (Failure, OSError) as error:
            return {**found, "error": str(error)}
        found.update(running=True, version=rows[0][0], read_only=rows[0][1] == "1", server_id=int(rows[0][3]))
        vertical = subprocess.run(
            [self.settings["client"], f"--socket={self.settings['socket']}", "--execute=SHOW REPLICA STATUS\\G"],
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        status = {
            name.strip(): value.strip() for name, value in (x.split(":", 1) for x in vertical.splitlines() if ":" in x)
        }
        if status:
            threads = [status.get("Slave_IO_Running"), status.get("Slave_SQL_Running")]
            lag = status.get("Seconds_Behind_Master", "NULL")
            found.update(replica=True, follows=threads == ["Yes", "Yes"], lag=None if lag == "NULL" else int(lag))
        elif rows[0][2] == "1":
            names = self.sql("SHOW BINARY LOGS")
            starts = self.sql(*(f"SELECT BINLOG_GTID_POS('{name[0]}', 4)" for name in names))
            found["binlogs"] = [
                {"name": name[0], "size": int(name[1]), "gtid": start[0] if start and start[0] != "NULL" else ""}
                for name, start in zip(names, starts, strict=True)
            ]
        return found

    def serve(self, words: list[str]) -> int:
        if words == ["look"]:
            print(json.dumps(self.look()))
        elif words == ["full"]:
            with tempfile.TemporaryDirectory() as work:
                return subprocess.run(
                    [
                        *("nice", "-n", "10", "mariadb-backup", "--backup", "--stream=mbstream", "--user=root"),
                        *(f"--socket={self.settings['socket']}", f"--target-dir={work}"),
                        *(["--slave-info"] if self.look()["replica"] else []),
                    ],
                    check=False,
                ).returncode
        elif words == ["flush"]:
            self.sql("FLUSH BINARY LOGS")
        elif len(words) == 2 and words[0] == "binlog":
            closed = [row[0] for row in self.sql("SHOW BINARY LOGS")][:-1]
            if words[1] not in closed:
                raise Failure(f"{words[1]} is no closed binary log of this server")
            with (self.datadir / words[1]).open("rb") as source:
                shutil.copyfileobj(source, sys.stdout.buffer, 2**20)
        else:
            raise Failure(f"not understood: {' '.join(words)}")
        return 0

    def contents(self) -> dict[str, Any]:
        """Every table's rows, counted and summed up in one consistent snapshot, and the GTID which that is at.

        Unlike CHECKSUM TABLE the sums do not depend on the storage format or the server's version.
        """
        system = ", ".join(f"'{name}'" for name in SYSTEM)
        columns: dict[tuple[str, str], list[str]] = {}
        for schema, table, column in self.sql(
            "SELECT c.table_schema, c.table_name, c.column_name FROM information_schema.columns c"
            " JOIN information_schema.tables t USING (table_schema, table_name)"
            f" WHERE t.table_type = 'BASE TABLE' AND c.table_schema NOT IN ({system})"
            " ORDER BY c.table_schema, c.table_name, c.ordinal_position"
        ):
            columns.setdefault((schema, table), []).append(f"`{column}`")
        asked = [
            f"SELECT '{schema}.{table}', COUNT(*), COALESCE(BIT_XOR(h), 0), COALESCE(SUM(h), 0) FROM"
            f" (SELECT CRC32(CONCAT_WS('#', {', '.join(f'HEX({name})' for name in names)},"
            f" {', '.join(f'ISNULL({name})' for name in names)})) h FROM `{schema}`.`{table}`) rows_of_it"
            for (schema, table), names in columns.items()
        ]
        rows = self.sql("START TRANSACTION WITH CONSISTENT SNAPSHOT", "SHOW STATUS LIKE 'binlog_snapshot%'", *asked)
        place = {row[0].lower(): row[1] for row in rows if row[0].lower().startswith("binlog_snapshot")}
        file, offset = place.get("binlog_snapshot_file", ""), place.get("binlog_snapshot_position", "0")
        gtid = self.sql(f"SELECT BINLOG_GTID_POS('{file}', {offset})")[0][0] if file else ""
        return {"gtid": gtid, "tables": {row[0]: row[1:] for row in rows if "." in row[0]}}

    # --- on a host that is restored

    def receive(self, words: list[str]) -> int:
        what = {"full": self.fresh, "binlogs": self.logs}.get(" ".join(words))
        if what is None:
            raise Failure(f"not understood: {' '.join(words)}")
        shutil.rmtree(what, ignore_errors=True)
        what.mkdir(mode=0o700, parents=True)
        command = ["mbstream", "--extract"] if words == ["full"] else ["tar", "--extract"]
        return subprocess.run([*command, f"--directory={what}"], check=False).returncode

    def build(self, wish: dict[str, Any]) -> dict[str, Any]:
        """`gtid` of the full backup, `binlogs` in order, `stop` options of mariadb-binlog."""
        if self.datadir.exists() and any(self.datadir.iterdir()):
            raise Failure(f"{self.datadir} is not empty")
        times: dict[str, Any] = {}
        begin = time.monotonic()
        with Path(f"{self.datadir}.prepare.log").open("wb") as log:
            done = subprocess.run(
                ["mariadb-backup", "--prepare", f"--target-dir={self.fresh}"], stderr=log, check=False
            )
        if done.returncode != 0:
            raise Failure(f"mariadb-backup --prepare ended with {done.returncode}, see {log.name}")
        # Names and positions of another server's logs.
        for pattern in ("relay*", "master.info", "multi-master.info", "ha-stack-*"):
            for path in self.fresh.glob(pattern):
                path.unlink()
        subprocess.run(["chown", "--recursive", "mysql:mysql", str(self.fresh)], check=True)
        if self.datadir.exists():
            self.datadir.rmdir()
        self.fresh.rename(self.datadir)
        times["prepare_seconds"] = round(time.monotonic() - begin, 1)
        begin = time.monotonic()
        server = self.start()
        try:
            if wish["gtid"]:
                self.sql(f"SET GLOBAL gtid_slave_pos = '{wish['gtid']}'")
            if wish["binlogs"]:
                self.replay(wish)
            rows = self.sql("SELECT @@gtid_current_pos, @@gtid_binlog_pos")
            times["gtid"] = rows[0][1] if rows[0][1:] and rows[0][1] else rows[0][0]
        finally:
            server.terminate()
            server.wait(timeout=300)
        times["apply_seconds"] = round(time.monotonic() - begin, 1)
        shutil.rmtree(self.logs, ignore_errors=True)
        return times

    def start(self) -> subprocess.Popen[bytes]:
        """The server for nobody but us: no network."""
        subprocess.run(
            ["install", "-d", "-o", "mysql", "-g", "mysql", os.path.dirname(self.settings["socket"])], check=True
        )
        with Path(f"{self.datadir}.build.log").open("wb") as log:
            server = subprocess.Popen(
                [
                    *(self.settings["binary"], f"--defaults-file={self.settings['config']}", "--user=mysql"),
                    *(
                        "--skip-networking",
                        "--skip-slave-start",
                        "--gtid-strict-mode=OFF",
                        f"--log-error={log.name}.server",
                    ),
                ],
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 600
        while time.monotonic() < deadline:
            try:
                self.sql("SELECT 1")
                return server
            except Failure:
                if server.poll() is not None:
                    break
                time.sleep(0.2)
        server.kill()
        raise Failure(f"the server does not start on the restored data, see {self.datadir}.build.log.server")

    def replay(self, wish: dict[str, Any]) -> None:
        """Everything after the backup's GTID, up to where it shall stop. Times in it are UTC."""
        start = [f"--start-position={wish['gtid']}"] if wish["gtid"] else []
        with Path(f"{self.datadir}.apply.log").open("wb") as log:
            reader = subprocess.Popen(
                ["mariadb-binlog", *start, *wish["stop"], *(str(self.logs / name) for name in wish["binlogs"])],
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "TZ": "UTC"},
            )
            writer = subprocess.run(
                [self.settings["client"], f"--socket={self.settings['socket']}", "--binary-mode"],
                stdin=reader.stdout,
                stdout=log,
                stderr=log,
                check=False,
            )
        if reader.wait() != 0 or writer.returncode != 0:
            said = Path(log.name).read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
            raise Failure(f"the binary logs could not be applied: {' '.join(said)}")


def main() -> int:
    agent = Agent(json.loads(SETTINGS.read_text(encoding="utf-8")))
    what = sys.argv[1]
    try:
        if what in ("serve", "receive"):
            words = re.findall(r"[\w.-]+", os.environ.get("SSH_ORIGINAL_COMMAND", ""))
            return agent.serve(words) if what == "serve" else agent.receive(words)
        print(json.dumps(agent.contents() if what == "contents" else agent.build(json.loads(sys.argv[2]))))
    except (Failure, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
