#!/usr/bin/python
# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The live state of one host of a Redis Sentinel set."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_sentinel_info
short_description: The live state of one host of a Redis Sentinel set, and whom the Sentinels name as master
version_added: 0.1.0
author: The cloudexit maintainers (@cloudexit)
description:
  - Classifies the data server and the Sentinel of this host from its files and from what the servers answer.
  - Asks every Sentinel of the set who is master.
extends_documentation_fragment:
  - cloudexit.ha_stack.reads_only
  - cloudexit.ha_stack.redis_sentinel
options:
  packages:
    description: Debian's packages to look for, for RV(missing).
    type: list
    elements: str
    default: []
  member:
    description: Name of this host in O(data) and O(sentinels).
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Look
  cloudexit.ha_stack.redis_sentinel_info:
    member: redis1
    master_name: main
    data: [{name: redis1, address: 192.0.2.21, port: 6379}]
    sentinels: [{name: redis1, address: 192.0.2.21, port: 26379}]
    admin_user: admin
    admin_password: "{{ redis_sentinel_password }}"
"""

RETURN = r"""
missing:
  description: Those of O(packages) that are not installed.
  returned: always
  type: list
  elements: str
data:
  description:
    - State of the data server here.
    - V(none) it is not a member, V(absent) never set up by this role, V(foreign) as V(absent) but with data,
      V(stopped) set up but silent, V(running).
  returned: always
  type: str
sentinel:
  description: State of the Sentinel here, in the same words.
  returned: always
  type: str
role:
  description: Role of the data server here, V(master) or V(slave), empty if it does not run.
  returned: always
  type: str
master:
  description: Name of the master that the Sentinels name, empty if none answers.
  returned: always
  type: str
answers:
  description: Whom each Sentinel that answers names.
  returned: always
  type: dict
unclear:
  description: Why no master can be told from the Sentinels' answers, empty if it can.
  returned: always
  type: str
stranger:
  description: Address of a data server that the Sentinels name as master, or that the one here follows, and that is no
    member; else empty.
  returned: always
  type: str
stranger_says:
  description: Who says so, in words.
  returned: always
  type: str
maxmemory:
  description: The greatest size of the data server's data in MiB, 0 if it does not run.
  returned: always
  type: int
memory:
  description: Memory of this host in MiB.
  returned: always
  type: int
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import redis_sentinel as rs
from ansible_collections.cloudexit.ha_stack.plugins.module_utils.host import missing_packages
from ansible_collections.cloudexit.ha_stack.plugins.module_utils.redis_sentinel_host import (
    DATA,
    SENTINEL,
    has_data,
    known_passwords,
    read,
)
from ansible_collections.cloudexit.ha_stack.plugins.module_utils.resp import RespError


def state(cluster: rs.Cluster, here: rs.Server | None, path: str, data_dir: str) -> tuple[str, dict[str, str]]:
    """One of the words of RETURN, and INFO if it runs."""
    if here is None:
        return "none", {}
    if rs.MARK not in read(path):
        return ("foreign" if data_dir and has_data(data_dir) else "absent"), {}
    try:
        return "running", rs.info(cluster.ask(here, "INFO"))
    except (OSError, RespError):
        return "stopped", {}


def host_memory() -> int:
    """MiB of memory of this host."""
    for line in read("/proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) // 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            **rs.ARGUMENTS,
            "member": {"type": "str", "required": True},
            "packages": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    given = module.params
    data, sentinels = rs.servers(given["data"]), rs.servers(given["sentinels"])
    passwords = [given["admin_password"], *known_passwords()]
    cluster = rs.Cluster(given["master_name"], data, sentinels, given["admin_user"], passwords)
    here = next((s for s in data if s.name == given["member"]), None)
    watcher = next((s for s in sentinels if s.name == given["member"]), None)
    data_state, shown = state(cluster, here, DATA.conf, DATA.directory)
    sentinel_state, _unused = state(cluster, watcher, SENTINEL.conf, "")
    answers = cluster.sentinel_answers()
    master, unclear = None, ""
    try:
        master = rs.elect(answers)
    except rs.NoMaster as err:
        unclear = str(err)
    stranger, says = rs.stranger(data, given["member"], shown, master, given["master_name"])
    module.exit_json(
        changed=False,
        missing=missing_packages(module, given["packages"]),
        stranger=stranger,
        stranger_says=says,
        data=data_state,
        sentinel=sentinel_state,
        role=shown.get("role", ""),
        master=cluster.name_of(master) if master else "",
        answers={who: cluster.name_of(at) for who, at in answers.items()},
        unclear=unclear,
        maxmemory=int(shown.get("maxmemory", 0)) // 2**20,
        memory=host_memory(),
    )


if __name__ == "__main__":
    main()
