#!/usr/bin/python
# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The live state of one host of a RabbitMQ cluster."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rabbitmq_member_info
short_description: The live state of one host of a RabbitMQ cluster
version_added: 0.1.0
author: The cloudexit maintainers (@cloudexit)
description:
  - Classifies the node of this host from its files and from what it answers.
extends_documentation_fragment:
  - cloudexit.ha_stack.reads_only
  - cloudexit.ha_stack.rabbitmq
options:
  packages:
    description: Debian's packages to look for, for RV(missing).
    type: list
    elements: str
    default: []
  cookie:
    description: The Erlang cookie that this host shall have.
    type: str
    required: true
  ports:
    description: Ports that the server and epmd listen on, for RV(wide).
    type: list
    elements: int
    default: []
  addresses:
    description: Addresses on which they may.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Look
  cloudexit.ha_stack.rabbitmq_member_info:
    node: rabbit@192.0.2.31
    members: [rabbit@192.0.2.31, rabbit@192.0.2.32, rabbit@192.0.2.33]
    cookie: "{{ rabbitmq_mirror_cookie }}"
"""

RETURN = r"""
missing:
  description: Those of O(packages) that are not installed.
  returned: always
  type: list
  elements: str
state:
  description:
    - V(absent) no data, V(fresh) runs alone and nobody used it, V(alone) runs alone with data, V(member) in the
      cluster, V(foreign) in a cluster of others or under another name, V(stopped) has data and does not run, V(paused)
      runs without its application, V(silent) runs and does not answer.
  returned: always
  type: str
nodes:
  description: Members of the cluster that the node knows.
  returned: always
  type: list
  elements: str
running:
  description: Name of the node that runs here, empty if none does.
  returned: always
  type: str
cookie:
  description: V(absent), V(same) as O(cookie), or V(other).
  returned: always
  type: str
version:
  description: Version of the server that is installed, else of the one that would be; empty if the package is unknown.
  returned: always
  type: str
installed:
  description: Whether the package is installed.
  returned: always
  type: bool
refused_data:
  description: Why the installed server does not take the data here, empty if it does.
  returned: always
  type: str
pending:
  description: Files that are newer than the server's start.
  returned: always
  type: list
  elements: str
watermark:
  description: The memory limit in the configuration file in MiB, 0 if there is none.
  returned: always
  type: int
memory:
  description: Memory of this host in MiB.
  returned: always
  type: int
disk:
  description: Size of the filesystem of the data in MiB.
  returned: always
  type: int
disk_free:
  description: What of it is free, in MiB.
  returned: always
  type: int
watched:
  description: Whether the host restarts the member after it hung for so long that the others gave it up.
  returned: always
  type: bool
lost:
  description: Members that this one has lost although it runs, while they are a majority and have each other.
  returned: always
  type: list
  elements: str
wide:
  description: Sockets on O(ports) that listen elsewhere than on O(addresses).
  returned: always
  type: list
  elements: str
"""

import os
import re

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import rabbitmq as mq
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import rabbitmq_host as host
from ansible_collections.cloudexit.ha_stack.plugins.module_utils.host import missing_packages, unit

PACKAGE = "rabbitmq-server"


def version(module: AnsibleModule) -> tuple[str, bool]:
    """(version of the server, whether it is installed)"""
    code, out, _err = module.run_command(["dpkg-query", "-W", "-f", "${db:Status-Abbrev}|${Version}", PACKAGE])
    status, _bar, found = out.partition("|")
    if code == 0 and status.startswith("ii"):
        return found.split("-")[0], True
    shown = module.run_command(["apt-cache", "policy", PACKAGE], environ_update={"LC_ALL": "C"})[1]
    candidate = re.search(r"Candidate: (\d[\w.]*)", shown)
    return (candidate[1] if candidate else ""), False


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            **host.ARGUMENTS,
            "cookie": {"type": "str", "required": True, "no_log": True},
            "packages": {"type": "list", "elements": "str", "default": []},
            "ports": {"type": "list", "elements": "int", "default": []},
            "addresses": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    given = module.params
    node = given["node"]
    state, nodes, live = host.look(module, node, given["members"])
    release, installed = version(module)
    cookie = host.read(host.COOKIE)
    meminfo = re.search(r"MemTotal: +(\d+)", host.read("/proc/meminfo"))
    watermark = re.search(r"vm_memory_high_watermark\.absolute = (\d+)MiB", host.read(host.FILES[0]))
    disk = os.statvfs(host.HOME if host.HOME.is_dir() else "/var/lib")
    sockets = module.run_command(["ss", "-Hltn"])[1] if given["ports"] else ""
    watcher = unit(module, "rabbitmq-reunite.service", "ActiveState", "UnitFileState")
    module.exit_json(
        changed=False,
        missing=missing_packages(module, given["packages"]),
        state=state,
        nodes=nodes,
        running=host.running_node(),
        cookie="absent" if not cookie else "same" if cookie.strip() == given["cookie"] else "other",
        version=(live or {}).get("version") or release,
        installed=installed,
        refused_data=mq.refused_data(release, host.read(host.DATA / f"{node}-feature_flags"))
        if state == "stopped"
        else "",
        pending=host.pending(module),
        watermark=int(watermark[1]) if watermark else 0,
        memory=int(meminfo[1]) // 1024 if meminfo else 0,
        disk=disk.f_frsize * disk.f_blocks // 2**20,
        disk_free=disk.f_frsize * disk.f_bavail // 2**20,
        lost=mq.cut_off(live, node) if live and state == "member" else [],
        watched=watcher.get("ActiveState") == "active" and watcher.get("UnitFileState") == "enabled",
        wide=mq.wide_listeners(sockets, given["ports"], given["addresses"]),
    )


if __name__ == "__main__":
    main()
