# Copyright: (c) 2026, the cloudexit maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: mysql_settings
short_description: Settings of a MySQL or MariaDB server from the size of its host
version_added: "0.1.0"
description:
  - Divides the memory of a host that runs one database server and a cluster manager.
  - What the system and each allowed connection need is set aside; of the rest, four fifths become the buffer pool,
    the remainder is left for the page cache and the temporary tables.
positional: _input
options:
  _input:
    description: Memory of the host in MiB.
    type: int
    required: true
  flavor:
    description: Which server; their names for the redo log differ.
    type: str
    choices: [mariadb, mysql]
    default: mariadb
  max_connections:
    description: Connections to plan for. By default one for each 10 MiB, at least 100 and at most 1000.
    type: int
  cores:
    description: Cores of the host, one I/O thread for reads and one for writes on each, 4 to 16.
    type: int
    default: 1
  write_iops:
    description:
      - Random writes per second that were measured on the disk. V(0) leaves the server's default.
      - >-
        The manuals say of C(innodb_io_capacity): approximately the number of I/O operations that the system can do per
        second, ideally as low as practical, but not so low that background work falls behind
        (U(https://dev.mysql.com/doc/refman/8.4/en/innodb-configuring-io-capacity.html), and in the same sense
        U(https://mariadb.com/docs/server/server-usage/storage-engines/innodb/innodb-system-variables)). So half of what
        was measured for background work, all of it for C(innodb_io_capacity_max).
    type: int
    default: 0
author:
  - The cloudexit maintainers (@cloudexit)
"""

EXAMPLES = r"""
- name: Show the settings of a host with 16 GiB
  ansible.builtin.debug:
    msg: "{{ 16384 | cloudexit.ha_stack.mysql_settings }}"
"""

RETURN = r"""
_value:
  description: Names and values for the server's configuration file.
  type: dict
"""

SYSTEM_MIB = 384  # kernel, systemd, corosync, pacemaker and its agents, measured 260 MiB under load
CONNECTION_KIB = 1024  # thread stack, net buffer, and a sort or join buffer now and then
CHUNK_MIB = 32  # the pool is a multiple of this
SMALLEST_POOL_MIB = 128


def _capacity(write_iops: int) -> dict[str, int]:
    """Rounded to two digits: a measurement is not more exact, and a new one need not mean new settings."""
    if write_iops <= 0:
        return {}
    unit = 10 ** max(0, len(str(write_iops)) - 2)
    most = min(20000, max(200, write_iops // unit * unit))
    return {"innodb_io_capacity": most // 2, "innodb_io_capacity_max": most}


def mysql_settings(
    memory_mib: int, flavor: str = "mariadb", max_connections: int | None = None, cores: int = 1, write_iops: int = 0
) -> dict[str, Any]:
    """The settings as a dictionary; sizes in MiB with an M as the servers write them."""
    if flavor not in ("mariadb", "mysql"):
        raise AnsibleFilterError(f"mysql_settings: flavor is mariadb or mysql, not {flavor!r}")
    memory = int(memory_mib)
    connections = int(max_connections or min(1000, max(100, memory // 10)))
    free = memory - SYSTEM_MIB - connections * CONNECTION_KIB // 1024
    pool = free * 4 // 5 // CHUNK_MIB * CHUNK_MIB
    if pool < SMALLEST_POOL_MIB:
        raise AnsibleFilterError(
            f"mysql_settings: {memory} MiB are too few for {connections} connections: "
            f"{max(pool, 0)} MiB would be left for the buffer pool, {SMALLEST_POOL_MIB} are the least. "
            "Give the host more memory or allow fewer connections."
        )
    # A quarter of the pool, at most 1 GiB: crash recovery reads this log, and every failover is a crash recovery.
    redo = min(1024, max(48, pool // 4))
    threads = min(16, max(4, int(cores)))
    return {
        "max_connections": connections,
        "innodb_buffer_pool_size": f"{pool}M",
        ("innodb_redo_log_capacity" if flavor == "mysql" else "innodb_log_file_size"): f"{redo}M",
        "innodb_log_buffer_size": f"{min(64, max(8, pool // 32))}M",
        "tmp_table_size": "32M",
        "max_heap_table_size": "32M",
        "table_open_cache": min(4000, connections * 4),
        "innodb_read_io_threads": threads,
        "innodb_write_io_threads": threads,
        **_capacity(int(write_iops)),
    }


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"mysql_settings": mysql_settings}
