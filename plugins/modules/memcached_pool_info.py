#!/usr/bin/python
# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Use every process of a memcached pool from one host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: memcached_pool_info
short_description: Use every process of a memcached pool and report how it is set up
version_added: 0.1.0
author: The cloudexit maintainers (@cloudexit)
description:
  - Writes, reads and deletes a key of its own on each process of the pool, and reads its settings and figures.
  - Looks at the sockets of this host which belong to O(user).
extends_documentation_fragment:
  - cloudexit.ha_stack.reads_only
options:
  servers:
    description:
      - The processes, C(address:port), as the filter P(cloudexit.ha_stack.memcached_servers#filter) lists them.
    type: list
    elements: str
    required: true
  user:
    description: The user as whom memcached runs on this host.
    type: str
    default: memcache
  timeout:
    description: Seconds to wait for an answer.
    type: float
    default: 3.0
"""

EXAMPLES = r"""
- name: Use the pool
  cloudexit.ha_stack.memcached_pool_info:
    servers: "{{ memcached_pool_endpoints | cloudexit.ha_stack.memcached_servers }}"
"""

RETURN = r"""
servers:
  description: What each process answered.
  returned: always
  type: list
  elements: dict
  contains:
    server:
      description: The process, C(address:port).
      type: str
      returned: always
    error:
      description: Why it could not be used, empty if it could.
      type: str
      returned: always
    version:
      description: Version of memcached.
      type: str
      returned: success
    memory:
      description: Memory for items in MiB.
      type: int
      returned: success
    threads:
      description: Worker threads.
      type: int
      returned: success
    connections:
      description: The greatest number of connections.
      type: int
      returned: success
    udp_port:
      description: UDP port, 0 if UDP is off.
      type: int
      returned: success
    uptime:
      description: Seconds since the start.
      type: int
      returned: success
    items:
      description: Number of items.
      type: int
      returned: success
    evictions:
      description: Items that were dropped to make room, since the start.
      type: int
      returned: success
listeners:
  description: The sockets of memcached on this host.
  returned: always
  type: list
  elements: dict
  contains:
    protocol:
      description: C(tcp) or C(udp).
      type: str
    address:
      description: Local address.
      type: str
    port:
      description: Local port.
      type: int
"""

import pwd
import secrets

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import memcached


def use(server: str, timeout: float) -> dict[str, object]:
    """Set, get and delete a key on one process; its settings."""
    address, _colon, port = server.rpartition(":")
    key, value = f"cloudexit.verify.{secrets.token_hex(8)}", secrets.token_bytes(32).hex().encode()
    try:
        with memcached.Client(address.strip("[]"), int(port), timeout) as client:
            if (answer := client.set(key, value, 60)) != "STORED":
                raise memcached.MemcachedError(f"set answered {answer!r}")
            if (read := client.get(key)) != value:
                raise memcached.MemcachedError(f"read back {read!r} instead of what was written")
            if (answer := client.delete(key)) != "DELETED":
                raise memcached.MemcachedError(f"delete answered {answer!r}")
            settings, figures, version = client.stats("settings"), client.stats(), client.version()
    except (OSError, memcached.MemcachedError) as err:
        return {"server": server, "error": str(err)}
    return {
        "server": server,
        "error": "",
        "version": version,
        "memory": int(settings["maxbytes"]) // 2**20,
        "threads": int(settings["num_threads"]),
        "connections": int(settings["maxconns"]),
        "udp_port": int(settings["udpport"]),
        "uptime": int(figures["uptime"]),
        "items": int(figures["curr_items"]),
        "evictions": int(figures["evictions"]),
    }


def local_listeners(user: str) -> list[dict[str, object]]:
    """What memcached listens on here, whoever started it. Sockets carry their user; owners of inodes may be hidden."""
    try:
        uid = pwd.getpwnam(user).pw_uid
    except KeyError:
        return []
    found = []
    for table in ("tcp", "tcp6", "udp", "udp6"):
        try:
            with open(f"/proc/net/{table}", encoding="ascii") as stream:
                sockets = memcached.listeners(stream.read(), uid)
        except OSError:
            continue
        found += [{"protocol": table[:3], "address": address, "port": port} for address, port in sockets]
    return sorted(found, key=lambda item: (str(item["protocol"]), str(item["address"]), int(str(item["port"]))))


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            "servers": {"type": "list", "elements": "str", "required": True},
            "user": {"type": "str", "default": "memcache"},
            "timeout": {"type": "float", "default": 3.0},
        },
        supports_check_mode=True,
    )
    module.exit_json(
        changed=False,
        servers=[use(server, module.params["timeout"]) for server in module.params["servers"]],
        listeners=local_listeners(module.params["user"]),
    )


if __name__ == "__main__":
    main()
