# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which server is copied, which binary logs are fetched, what a restore takes, what goes."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

PATH = Path(__file__).resolve().parents[2] / "roles/drbd_pcs_mysql/files/mysql_backup.py"
_spec = importlib.util.spec_from_file_location("mysql_backup", PATH)
assert _spec and _spec.loader
backup: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(backup)

NOON = 1795521600.0  # 2026-11-24 12:00:00 UTC
PRIMARY = {"running": True, "replica": False, "version": "10.11.14"}
REPLICA = {"running": True, "replica": True, "follows": True, "lag": 0, "version": "10.11.14"}
AWAY = {"running": False, "error": "db3 does not answer: No route to host"}


def full(name: str, finished: float, gtid: str) -> dict[str, Any]:
    return {"name": name, "finished": finished, "gtid": gtid, "size": 1000}


def log(number: int, start: str, end: str, fetched: float = NOON) -> dict[str, Any]:
    return {"name": f"binlog.{number:06}", "size": 100, "gtid": start, "gtid_end": end, "fetched": fetched}


FULLS = [full("full-1", NOON - 7200, "0-1-100"), full("full-2", NOON - 3600, "0-3-200")]
LOGS = {x["name"]: x for x in (log(1, "", "0-1-90"), log(2, "0-1-90", "0-1-150"), log(3, "0-1-150", "0-2-300"))}


def test_gtids_are_compared_by_domain() -> None:
    assert backup.within("0-1-5", "0-2-5,1-1-3")
    assert not backup.within("0-1-6", "0-2-5,1-1-3")
    assert not backup.within("0-1-5,2-1-1", "0-2-5,1-1-3")
    assert backup.within("", "0-1-1")


@pytest.mark.parametrize(
    "answers, chosen, words",
    [
        ({"db3": REPLICA, "db1": PRIMARY}, "db3", ""),
        ({"db3": AWAY, "db1": PRIMARY}, "db1", "No route"),
        ({"db3": {**REPLICA, "lag": 11}, "db1": PRIMARY}, "db1", "11 s behind, 10 are allowed"),
        ({"db3": {**REPLICA, "follows": False, "lag": None}, "db1": PRIMARY}, "db1", "replication has stopped"),
        ({"db3": PRIMARY, "db1": PRIMARY}, "db1", "it replicates nothing"),
        ({"db3": AWAY, "db1": AWAY}, "", "No route"),
    ],
)
def test_a_replica_that_keeps_up_is_copied(answers: dict[str, Any], chosen: str, words: str) -> None:
    name, why = backup.choose_source(answers, ["db3"], 10)
    assert name == chosen
    assert words in " ".join(why.values())


def test_closed_logs_are_fetched_with_the_position_at_their_end() -> None:
    there = [{"name": f"binlog.00000{n}", "size": 100, "gtid": f"0-1-{n}"} for n in (1, 2, 3)]
    assert backup.to_fetch(there, {"binlog.000001": there[0]}) == [{**there[1], "gtid_end": "0-1-3"}]


def test_what_was_removed_is_not_fetched_again() -> None:
    there = [{"name": f"binlog.00000{n}", "size": 100, "gtid": f"0-1-{n}"} for n in (1, 2, 3)]
    assert backup.to_fetch(there, {"binlog.000002": there[1]}) == []
    everything = [full("full-3", NOON, "0-1-400")]
    assert backup.too_old(everything, LOGS, 1) == ([], ["binlog.000001", "binlog.000002"])


def test_another_servers_logs_are_refused() -> None:
    there = [{"name": f"binlog.00000{n}", "size": 100, "gtid": ""} for n in (1, 2)]
    with pytest.raises(backup.Failure, match="100 bytes on the server and 70 here"):
        backup.to_fetch(there, {"binlog.000001": {"name": "binlog.000001", "size": 70}})


def test_a_hole_is_noticed() -> None:
    there = [{"name": f"binlog.00000{n}", "size": 100, "gtid": ""} for n in (5, 6)]
    with pytest.raises(backup.Failure, match="gone on the server"):
        backup.to_fetch(there, {"binlog.000003": {"name": "binlog.000003", "size": 100}})


@pytest.mark.parametrize(
    "until, chosen, logs, stop",
    [
        ("latest", "full-2", ["binlog.000003"], []),
        ("full", "full-2", [], []),
        ("2026-11-24 10:30:00", "full-1", ["binlog.000002", "binlog.000003"], ["--stop-datetime=2026-11-24 10:30:00"]),
        ("0-1-120", "full-1", ["binlog.000002", "binlog.000003"], ["--stop-position=0-1-120"]),
        ("0-2-250", "full-2", ["binlog.000003"], ["--stop-position=0-2-250"]),
        ("0-3-200", "full-2", [], ["--stop-position=0-3-200"]),
    ],
)
def test_what_a_restore_takes(until: str, chosen: str, logs: list[str], stop: list[str]) -> None:
    found = backup.choose_restore(FULLS, LOGS, until, "/b")
    assert (found["full"], found["binlogs"], found["stop"]) == (chosen, logs, stop)


@pytest.mark.parametrize(
    "fulls, logs, until, words",
    [
        ([], {}, "latest", "there is no full backup in /b. `ansible-playbook playbooks/backup.yml` makes one"),
        (FULLS, LOGS, "2026-11-24 09:00:00", "before the first full backup: that one ended at 2026-11-24 10:00:00 UTC"),
        (FULLS, LOGS, "0-1-50", "before the first full backup"),
        (FULLS, LOGS, "2026-11-24 13:00:00", "the backups reach to 2026-11-24 12:00:00 UTC"),
        (FULLS, LOGS, "0-1-301", "the backups reach to GTID 0-2-300"),
        (
            FULLS[:1],
            {k: v for k, v in LOGS.items() if k != "binlog.000002"},
            "latest",
            "before binlog.000003 is missing",
        ),
        (FULLS, LOGS, "yesterday", "neither a time"),
    ],
)
def test_what_cannot_be_restored(fulls: list[Any], logs: dict[str, Any], until: str, words: str) -> None:
    with pytest.raises(backup.Failure) as failure:
        backup.choose_restore(fulls, logs, until, "/b")
    assert words in str(failure.value)


def test_logs_are_kept_as_far_back_as_the_oldest_kept_backup_needs() -> None:
    assert backup.too_old(FULLS, LOGS, 2) == ([], ["binlog.000001"])
    assert backup.too_old(FULLS, LOGS, 1) == (["full-1"], ["binlog.000001", "binlog.000002"])
    assert backup.too_old([], LOGS, 1) == ([], [])
