# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which upgrades are refused, and what upgrade_look.py makes of apt's and dpkg's words."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.cloudexit.ha_stack.plugins.filter.mysql_upgrade import mysql_upgrade

ROOT = Path(__file__).resolve().parents[2]
_spec = importlib.util.spec_from_file_location("upgrade_look", ROOT / "roles/drbd_pcs_mysql/files/upgrade_look.py")
assert _spec and _spec.loader
look: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(look)

# Recorded on Debian 12.
LISTING = """\
libmariadb3 mariadb 1:10.11.14-0+deb12u2 installed
mariadb-server mariadb 1:10.11.14-0+deb12u2 installed
mariadb-server-core mariadb 1:10.11.14-0+deb12u2 installed
mysql-common mysql-defaults 5.8+1.1.0 installed
"""
POLICY = """\
mariadb-server:
  Installed: 1:10.11.14-0+deb12u2
  Candidate: 1:10.11.14-0+deb12u2
  Version table:
 *** 1:10.11.14-0+deb12u2 500
        500 http://mirror.example/debian bookworm/main amd64 Packages
        100 /var/lib/dpkg/status
"""


def pair(before: str, after: str, **more: Any) -> dict[str, Any]:
    return {name: {"installed": before, "wanted": after} for name in ("db1", "db2")} | more


@pytest.mark.parametrize(
    "hosts, options, words",
    [
        (pair("1:11.8.3-1", "1:10.11.14-1"), {"major": True}, "back to an earlier release series"),
        (pair("1:10.11.14-1", "1:10.11.9-1"), {}, "name a later version"),
        (pair("1:10.11.14-1", "1:11.8.3-1"), {}, "then set drbd_pcs_mysql_upgrade_major: true for this run"),
        (pair("8.0.40-1", "9.7.4-1"), {"flavor": "mysql", "major": True}, "from one LTS series to the next only"),
        (
            {
                "db1": {"installed": "1:10.11.9-1", "wanted": "1:10.11.14-1"},
                "db2": {"installed": "1:10.11.9-1", "wanted": "1:10.11.9-1"},
            },
            {},
            "the members would have different versions (db1: 1:10.11.14-1, db2: 1:10.11.9-1)",
        ),
        (
            pair("1:10.11.9-1", "1:10.11.14-1", db3={"installed": "1:10.11.9-1", "wanted": "1:10.11.9-1"}),
            {"replicas": ["db3"]},
            "a replica may be newer than its primary, not older",
        ),
    ],
)
def test_refused(hosts: dict[str, Any], options: dict[str, Any], words: str) -> None:
    assert words in "; ".join(mysql_upgrade(hosts, **options))


@pytest.mark.parametrize(
    "hosts, options",
    [
        (pair("1:10.11.14-0+deb12u2", "1:10.11.14-0+deb12u3"), {}),
        (pair("1:10.6.9-1", "1:11.8.3-1"), {"major": True}),
        (pair("8.0.40-1", "8.4.3-1"), {"flavor": "mysql", "major": True}),
        (
            pair("1:10.11.9-1", "1:10.11.9-1", db3={"installed": "1:10.11.9-1", "wanted": "1:10.11.14-1"}),
            {"replicas": ["db3"]},
        ),
    ],
)
def test_nothing_speaks_against_it(hosts: dict[str, Any], options: dict[str, Any]) -> None:
    assert mysql_upgrade(hosts, **options) == []


def test_all_packages_of_the_servers_source_go_together() -> None:
    assert sorted(look.installed("mariadb-server", LISTING)) == ["libmariadb3", "mariadb-server", "mariadb-server-core"]


def test_the_archives_words() -> None:
    assert look.candidate(POLICY) == "1:10.11.14-0+deb12u2"
    assert look.offered(POLICY, "1:10.11.14-0+deb12u2")
    assert not look.offered(POLICY, "1:10.6.1-1")
