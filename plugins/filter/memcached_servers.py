# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The server list that every client of the pool must share, in the same order."""

from __future__ import annotations

import ipaddress
from typing import Any

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: memcached_servers
short_description: The memcached server list for clients, in a stable order
version_added: 0.1.0
author: The cloudexit maintainers (@cloudexit)
description:
  - Turns the endpoints of the C(memcached_pool) role into the list of C(address:port) which clients are given.
  - Sorted by the numeric address and port, so that it depends neither on the order of the inventory nor on the
    host that computes it. Clients that choose a server by its place in the list (modulo) or that break ties by it
    agree only if all of them have the same order.
positional: _input
options:
  _input:
    description: Endpoints, each with C(address) and C(port).
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the list
  ansible.builtin.debug:
    msg: "{{ memcached_pool_endpoints | cloudexit.ha_stack.memcached_servers }}"
# ["192.0.2.9:11211", "192.0.2.9:11212", "192.0.2.10:11211", "192.0.2.10:11212"]
"""

RETURN = r"""
_value:
  description: C(address:port), IPv6 addresses in brackets.
  type: list
  elements: str
"""


def memcached_servers(endpoints: list[dict[str, Any]]) -> list[str]:
    """address:port of each endpoint, by numeric address and port; an endpoint named twice is refused."""
    try:
        keys = [(ipaddress.ip_address(str(e["address"])), int(e["port"])) for e in endpoints]
    except (KeyError, TypeError, ValueError) as err:
        raise AnsibleFilterError(f"memcached_servers: an endpoint needs an IP address and a port ({err})") from err
    keys.sort(key=lambda k: (k[0].version, int(k[0]), k[1]))
    servers = [f"[{a}]:{p}" if a.version == 6 else f"{a}:{p}" for a, p in keys]
    twice = sorted({s for s in servers if servers.count(s) > 1})
    if twice:
        raise AnsibleFilterError(f"memcached_servers: named twice: {', '.join(twice)}")
    return servers


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"memcached_servers": memcached_servers}
