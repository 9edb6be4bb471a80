# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The database's share of a host's memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.cloudexit.ha_stack.plugins.filter.mysql_settings import mysql_settings


def mib(value: str) -> int:
    return int(value.removesuffix("M"))


@pytest.mark.parametrize(
    "memory, connections, pool, redo",
    [
        (1165, 116, 512, 128),
        (2048, 204, 1152, 288),
        (8192, 819, 5568, 1024),
        (65536, 1000, 51296, 1024),
    ],
)
def test_by_size_of_host(memory: int, connections: int, pool: int, redo: int) -> None:
    found = mysql_settings(memory)
    assert found["max_connections"] == connections
    assert mib(found["innodb_buffer_pool_size"]) == pool
    assert mib(found["innodb_log_file_size"]) == redo


@pytest.mark.parametrize("memory", range(900, 300_000, 1777))
def test_everything_fits(memory: int) -> None:
    found = mysql_settings(memory)
    pool, log = mib(found["innodb_buffer_pool_size"]), mib(found["innodb_log_buffer_size"])
    assert pool + log + found["max_connections"] + 300 < memory


def test_flavors_have_their_own_names() -> None:
    assert "innodb_redo_log_capacity" in mysql_settings(4096, "mysql")
    assert "innodb_log_file_size" not in mysql_settings(4096, "mysql")
    with pytest.raises(AnsibleFilterError, match="mariadb or mysql, not 'percona'"):
        mysql_settings(4096, "percona")


def test_too_small_is_refused_in_words() -> None:
    with pytest.raises(AnsibleFilterError, match="600 MiB are too few for 100 connections: 64 MiB would be left"):
        mysql_settings(600)
    with pytest.raises(AnsibleFilterError, match="allow fewer connections"):
        mysql_settings(2048, "mariadb", 1600)


@pytest.mark.parametrize("cores, threads", [(1, 4), (8, 8), (64, 16)])
def test_threads_follow_the_cores(cores: int, threads: int) -> None:
    found = mysql_settings(8192, cores=cores)
    assert found["innodb_read_io_threads"] == found["innodb_write_io_threads"] == threads


def test_each_setting_has_its_reason_and_no_other_has() -> None:
    role = Path(__file__).parents[2] / "roles" / "drbd_pcs_mysql" / "vars" / "main.yml"
    known = yaml.safe_load(role.read_text(encoding="utf-8"))
    settings = {*mysql_settings(8192, write_iops=500), *mysql_settings(8192, "mysql")}
    settings |= {*known["__drbd_pcs_mysql_settings"], *known["__drbd_pcs_mysql_replica_settings"]}
    for flavor in known["__drbd_pcs_mysql_flavors"].values():
        settings |= {*flavor["settings"]}
    assert set(known["__drbd_pcs_mysql_reasons"]) == settings


@pytest.mark.parametrize(
    "measured, capacity, most", [(391, 195, 390), (5, 100, 200), (4321, 2150, 4300), (250000, 10000, 20000)]
)
def test_capacity_from_what_was_measured(measured: int, capacity: int, most: int) -> None:
    found = mysql_settings(4096, "mariadb", None, 2, measured)
    assert (found["innodb_io_capacity"], found["innodb_io_capacity_max"]) == (capacity, most)


def test_without_a_measurement_the_servers_default_stays() -> None:
    assert not [name for name in mysql_settings(4096) if name.startswith("innodb_io_capacity")]
