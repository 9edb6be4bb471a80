# Copyright: (c) 2026, the cloudexit maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import package_upgrade

DOCUMENTATION = r"""
name: mysql_upgrade
short_description: What speaks against upgrading the database servers of a tier from one package version to another
version_added: "0.2.0"
description:
  - Compares what is installed on each host with what would be, by the rules of the servers' makers.
  - MariaDB may be upgraded from any earlier release to any later one, MySQL from one LTS series to the next only.
    Neither goes back to an earlier release series. A replica may be newer than its primary, not older.
  - A change of the release series is refused unless it is asked for, because the member that still has the old one
    cannot take over once the new one has run.
positional: _input
options:
  _input:
    description: Host to C(installed) and C(wanted), package versions as Debian writes them.
    type: dict
    required: true
  flavor:
    description: Which server.
    type: str
    choices: [mariadb, mysql]
    default: mariadb
  replicas:
    description: Which of the hosts are replicas of the others.
    type: list
    elements: str
    default: []
  major:
    description: Whether a change of the release series is wanted.
    type: bool
    default: false
author:
  - The cloudexit maintainers (@cloudexit)
"""

EXAMPLES = r"""
- name: Refuse what cannot be
  ansible.builtin.assert:
    that: found | length == 0
    fail_msg: "{{ found | join('; ') }}"
  vars:
    versions:
      db1: {installed: "1:10.11.14-0+deb12u2", wanted: "1:10.11.16-0+deb12u1"}
      db2: {installed: "1:10.11.14-0+deb12u2", wanted: "1:10.11.16-0+deb12u1"}
    found: "{{ versions | cloudexit.ha_stack.mysql_upgrade }}"
"""

RETURN = r"""
_value:
  description: Sentences, each with what to do. None if nothing speaks against it.
  type: list
  elements: str
"""

# Long-term series in their order; an upgrade of MySQL goes from one to the next.
# https://dev.mysql.com/doc/refman/en/upgrade-paths.html
MYSQL_LTS = [(5, 7), (8, 0), (8, 4), (9, 7)]


def release(version: str) -> tuple[int, ...]:
    """Numbers of the upstream release: 1:10.11.14-0+deb12u2 is (10, 11, 14)."""
    try:
        return package_upgrade.release(version)
    except ValueError:
        raise AnsibleFilterError(f"mysql_upgrade: {version!r} is not a version of a server's package") from None


def series(version: str) -> str:
    return ".".join(str(part) for part in release(version)[:2])


def mysql_upgrade(
    hosts: dict[str, dict[str, Any]], flavor: str = "mariadb", replicas: list[str] | None = None, major: bool = False
) -> list[str]:
    found = []
    for name, host in hosts.items():
        before, after = release(host["installed"]), release(host["wanted"])
        jump = f"{name} would go from {series(host['installed'])} to {series(host['wanted'])}"
        if after[:2] < before[:2]:
            found.append(
                f"{jump}, which is back to an earlier release series: the server does not support that on its data "
                "files. Restore a backup into a host with the older server instead"
            )
        elif after < before:
            found.append(f"{name} would go from {host['installed']} back to {host['wanted']}: name a later version")
        elif after[:2] != before[:2] and flavor == "mysql" and skips(before[:2], after[:2]):
            found.append(f"{jump}, which leaves out a series: MySQL is upgraded from one LTS series to the next only")
        elif after[:2] != before[:2] and not major:
            found.append(
                f"{jump}, another release series: once the new one has run, no member with the old one can take "
                "over. Take a full backup, read the vendor's notes, then set drbd_pcs_mysql_upgrade_major: true "
                "for this run"
            )
    members = {name: host["wanted"] for name, host in hosts.items() if name not in (replicas or [])}
    if len(set(members.values())) > 1:
        found.append(
            "the members would have different versions ("
            + ", ".join(f"{name}: {version}" for name, version in members.items())
            + "): give them the same package sources"
        )
    for name in replicas or []:
        older = [
            f"{m} would have {v}"
            for m, v in members.items()
            if name in hosts and release(hosts[name]["wanted"]) < release(v)
        ]
        if older:
            found.append(
                f"the replica {name} would have {hosts[name]['wanted']} and {older[0]}: a replica may be newer than "
                "its primary, not older. Give it the same package sources"
            )
    return found


def skips(before: tuple[int, ...], after: tuple[int, ...]) -> bool:
    """Whether an LTS series lies strictly between, or an LTS series is left for one beyond the next."""
    return len([lts for lts in MYSQL_LTS if before < lts < after]) > 0


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"mysql_upgrade": mysql_upgrade}
