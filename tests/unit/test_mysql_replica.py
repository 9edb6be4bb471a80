# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Read replicas: who may be read, and what is found on one before anything is done."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import Any

import pytest

FILES = Path(__file__).resolve().parents[2] / "roles" / "drbd_pcs_mysql" / "files"
# SHOW REPLICA STATUS of MariaDB 10.11 in the lab, shortened.
RECORDED = """\
*************************** 1. row ***************************
                Slave_IO_State: Waiting for master to send event
                   Master_Host: 10.203.2.100
                   Master_User: replication
                   Master_Port: 3306
              Slave_IO_Running: Yes
             Slave_SQL_Running: Yes
                    Last_Error:
            Master_SSL_CA_File: /etc/mysql/ha-stack/members.crt
         Seconds_Behind_Master: 0
                   Gtid_IO_Pos: 0-1-57
"""
GOOD = {"Slave_IO_Running": "Yes", "Slave_SQL_Running": "Yes", "Seconds_Behind_Master": 0}


def module(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, FILES / f"{name}.py")
    assert spec and spec.loader
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.mark.parametrize(
    "changed, silence, code, words",
    [
        ({}, 0, 200, "0 s behind"),
        ({"Seconds_Behind_Master": 10}, 0, 200, "10 s behind"),
        ({"Seconds_Behind_Master": 11}, 0, 503, "11 s behind, 10 are allowed"),
        ({"Seconds_Behind_Master": None}, 0, 503, "None s behind, 10 are allowed"),
        ({"Slave_IO_Running": "Connecting"}, 4, 200, "the primary is away for 4 s"),
        ({"Slave_IO_Running": "Connecting"}, 11, 503, "Slave_IO_Running is not Yes: it was stopped by hand"),
        ({"Slave_IO_Running": "Connecting"}, math.inf, 503, "Slave_IO_Running is not Yes"),
        ({"Slave_SQL_Running": "No", "Last_SQL_Error": "Error 'x'"}, 0, 503, "Slave_SQL_Running is not Yes: Error 'x'"),
        ({"Slave_SQL_Running": "No", "Slave_IO_Running": "No"}, 0, 503, "Slave_IO_Running, Slave_SQL_Running is not"),
    ],
)
def test_who_may_be_read(changed: dict[str, Any], silence: float, code: int, words: str) -> None:
    answer = module("replica_health").judge({**GOOD, **changed}, 10, silence)
    assert answer[0] == code
    assert words in answer[1]


def test_a_server_that_is_no_replica_is_not_read() -> None:
    assert module("replica_health").judge({}, 10, 0)[:2] == (503, "this server is no replica")


def test_the_status_is_read_with_its_colons() -> None:
    status = module("replica_look").status(RECORDED)
    assert status["Master_Host"] == "10.203.2.100"
    assert status["Last_Error"] == ""
    assert status["Master_SSL_CA_File"] == "/etc/mysql/ha-stack/members.crt"


def test_data_are_told_apart(tmp_path: Path) -> None:
    look = module("replica_look")
    data, marker = tmp_path / "data", tmp_path / "data" / "ha-stack-seed"
    assert look.data(data, [str(marker)]) == "absent"
    data.mkdir()
    assert look.data(data, [str(marker)]) == "absent"
    (data / "ibdata1").touch()
    assert look.data(data, [str(marker)]) == "foreign"
    marker.touch()
    assert look.data(data, [str(marker)]) == "ours"
    assert look.free_mib(data / "not" / "there") > 0


@pytest.mark.parametrize("name", ["look", "replica_look"])
def test_what_the_settings_were_sized_for_is_remembered(name: str, tmp_path: Path) -> None:
    look, file = module(name), tmp_path / "90-ha-stack.cnf"
    assert look.sized_for(str(file)) == 0
    file.write_text("# Ansible managed\n# Sized for 1216 MiB of memory.\n[mariadbd]\n", encoding="utf-8")
    assert look.sized_for(str(file)) == 1216
