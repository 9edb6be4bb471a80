# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What keeps a planned switch-over from being done, and how a failover is taken apart."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
WISH = {"name": "mysql", "members": ["db1", "db2"]}
CONNECTED = "Connected\nUpToDate/UpToDate\n"
NODE = '<node name="{}" online="{}" standby="{}" maintenance="false" unclean="false" pending="false" shutdown="false"/>'


def module(path: str) -> Any:
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec and spec.loader
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[Path(path).stem] = loaded
    spec.loader.exec_module(loaded)
    return loaded


def crm_mon(*, db2: str = NODE.format("db2", "true", "false"), more: str = "", maintenance: str = "false") -> str:
    return (
        f'<pacemaker-result><summary><cluster_options maintenance-mode="{maintenance}"/></summary>'
        f"<nodes>{NODE.format('db1', 'true', 'false')}{db2}</nodes>{more}</pacemaker-result>"
    )


@pytest.mark.parametrize(
    "xml, drbd, words",
    [
        (crm_mon(db2=""), CONNECTED, "db2 is not online: start it"),
        (crm_mon(db2=NODE.format("db2", "false", "false")), CONNECTED, "db2 is not online"),
        (crm_mon(db2=NODE.format("db2", "true", "true")), CONNECTED, "db2 is standby: `pcs node unstandby db2`"),
        (crm_mon(maintenance="true"), CONNECTED, "the cluster is in maintenance mode"),
        (
            crm_mon(more='<failures><failure op_key="mysql-server_monitor_10000" node="db2"/></failures>'),
            CONNECTED,
            "the cluster remembers a failure (mysql-server_monitor_10000 on db2)",
        ),
        (
            crm_mon(
                more='<resources><resource id="power" resource_agent="stonith:fence_apc" role="Stopped"/></resources>'
            ),
            CONNECTED,
            "the fence device power is stopped, and a member that fails could not be fenced",
        ),
        (
            crm_mon(more='<bans><ban id="no" resource="mysql-group" node="db2"/></bans>'),
            CONNECTED,
            "the constraint no keeps mysql-group from db2",
        ),
        (crm_mon(), "SyncSource\nUpToDate/Inconsistent\n", "the replication is SyncSource UpToDate/Inconsistent"),
        (crm_mon(), "WFConnection\nUpToDate/DUnknown\n", "not Connected UpToDate/UpToDate: wait for the resync"),
    ],
)
def test_a_switch_over_is_refused(xml: str, drbd: str, words: str) -> None:
    assert words in "; ".join(module("roles/drbd_pcs_mysql/files/health.py").obstacles(xml, drbd, WISH))


def test_nothing_is_in_the_way() -> None:
    other = crm_mon(
        more='<resources><resource id="power" resource_agent="stonith:fence_ipmilan" role="Started"/></resources>'
        '<failures><failure op_key="power_monitor_60000" node="db1"/></failures>'
        '<bans><ban id="x" resource="web" node="db2"/></bans>'
    )
    assert module("roles/drbd_pcs_mysql/files/health.py").obstacles(other, CONNECTED, WISH) == []


# Recorded on the member that took over, Debian 12, shortened.
JOURNAL = """\
1795456009.100000 db2 corosync[812]:   [TOTEM ] A processor failed, forming new configuration: token timed out (1000ms)
1795456010.900000 db2 corosync[812]:   [TOTEM ] A new membership (2.11) was formed. Members left: 1
1795456014.000000 db2 pacemaker-fenced[5702]:  notice: Operation 'reboot' targeting db1 by db2 for x@db2: OK (complete)
1795456015.300000 db2 pacemaker-controld[5]: Requesting local execution of promote operation for mysql-drbd on db2
1795456015.900000 db2 pacemaker-controld[5]:  notice: Result of promote operation for mysql-drbd on db2: ok
1795456016.800000 db2 pacemaker-controld[5]:  notice: Result of start operation for mysql-fs on db2: ok
1795456099.000000 db2 pacemaker-controld[5]:  notice: Result of start operation for mysql-vip on db2: ok
"""


def test_a_failover_is_taken_apart() -> None:
    failover = module("molecule/drbd_pcs_mysql/failover.py")
    found = failover.events([JOURNAL], 1795456008.0, 1795456019.0)
    parts = failover.breakdown(1795456008.0, found, 1795456019.0)
    assert parts == {
        "corosync: token lost": 1.1,
        "corosync: new membership": 1.8,
        "fenced": 3.1,
        "DRBD promotion asked for": 1.3,
        "DRBD promoted": 0.6,
        "filesystem mounted": 0.9,
        "first commit": 2.2,
    }
    assert round(sum(parts.values()), 2) == 11.0
