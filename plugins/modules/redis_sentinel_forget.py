#!/usr/bin/python
# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Make the Sentinels forget servers that have left."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_sentinel_forget
short_description: Make the Sentinels forget data servers and Sentinels that have left
version_added: 0.2.0
author: The cloudexit maintainers (@cloudexit)
description:
  - A Sentinel remembers every replica and every other Sentinel for ever, and counts the latter in the majority that a
    failover needs. C(SENTINEL RESET) makes it forget all of them, and it learns anew who is there.
  - Those that remember a server that has left are reset one after another. Each must know the other Sentinels and the
    replicas again, and have a quorum, before the next one is reset, so that there is a majority for a failover at every
    moment. Redis's documentation has one wait 30 seconds instead.
  - The servers that leave must be stopped before; one that still answers is refused, because it would be learned again.
extends_documentation_fragment:
  - cloudexit.ha_stack.redis_sentinel
attributes:
  check_mode:
    support: full
    description: Reports who would be reset, while the servers that leave may still run.
  diff_mode:
    support: none
    description: There is nothing to compare.
  idempotent:
    support: full
    description: Sentinels that remember none of them are left alone.
options:
  leaving:
    description: Addresses of the hosts that leave.
    type: list
    elements: str
    required: true
  timeout:
    description: Seconds that a Sentinel may take to know everybody again.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Forget a host
  cloudexit.ha_stack.redis_sentinel_forget:
    leaving: [192.0.2.23]
    master_name: main
    data: [{name: redis1, address: 192.0.2.21, port: 6379}, {name: redis2, address: 192.0.2.22, port: 6379}]
    sentinels: [{name: redis1, address: 192.0.2.21, port: 26379}]
    admin_user: admin
    admin_password: "{{ redis_sentinel_password }}"
  run_once: true
"""

RETURN = r"""
reset:
  description: Names of the Sentinels that were reset, in this order.
  returned: always
  type: list
  elements: str
"""

import time
from dataclasses import dataclass
from typing import NoReturn

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import redis_sentinel as rs
from ansible_collections.cloudexit.ha_stack.plugins.module_utils.resp import Client, RespError


@dataclass(frozen=True)
class Knowledge:
    """Addresses that a Sentinel knows."""

    master: str
    sentinels: frozenset[str]
    replicas: frozenset[str]

    @property
    def all(self) -> frozenset[str]:
        return self.sentinels | self.replicas


class Forget:
    """The whole procedure."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        given = module.params
        self.name: str = given["master_name"]
        self.data, self.sentinels = rs.servers(given["data"]), rs.servers(given["sentinels"])
        self.cluster = rs.Cluster(self.name, self.data, self.sentinels, given["admin_user"], [given["admin_password"]])
        self.leaving = frozenset(given["leaving"])
        self.done: list[str] = []

    def fail(self, text: str) -> NoReturn:
        self.module.fail_json(msg=f"redis_sentinel: {text}. Reset so far: {', '.join(self.done) or 'none'}.")
        raise SystemExit(1)

    def knowledge(self, server: rs.Server) -> Knowledge:
        ask = self.cluster.ask
        return Knowledge(
            str(ask(server, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.name)[0]),
            frozenset(str(rs.pairs(item)["ip"]) for item in ask(server, "SENTINEL", "SENTINELS", self.name)),
            frozenset(str(rs.pairs(item)["ip"]) for item in ask(server, "SENTINEL", "REPLICAS", self.name)),
        )

    def still_there(self, address: str) -> list[str]:
        """Ports of a leaving host on which a server still answers."""
        found = []
        for port in sorted({s.port for s in [*self.data, *self.sentinels]}):
            try:
                Client(address, port, 1.0).close()
                found.append(f"{address}:{port}")
            except OSError:
                continue
        return found

    def lacking(self, server: rs.Server, before: Knowledge) -> str:
        """What a Sentinel that was reset does not know yet of what it knew, or ''."""
        try:
            now = self.knowledge(server)
            self.cluster.ask(server, "SENTINEL", "CKQUORUM", self.name)
        except (OSError, RespError) as err:
            return str(err)
        if back := now.all & self.leaving:
            return f"it has learned {', '.join(sorted(back))} again, so that something of it still runs"
        members = {member.address for member in [*self.data, *self.sentinels]}
        missing = (before.all & members) - now.all - {now.master}
        return f"it does not know {', '.join(sorted(missing))} yet" if missing else ""

    def reset(self, server: rs.Server, before: Knowledge) -> None:
        self.cluster.ask(server, "SENTINEL", "RESET", self.name)
        self.done.append(server.name)
        end = time.monotonic() + self.module.params["timeout"]
        while complaint := self.lacking(server, before):
            if time.monotonic() > end:
                self.fail(
                    f"the Sentinel {server} was reset and {complaint}, after {self.module.params['timeout']} s. The "
                    "next one was not reset. Look at its log, /var/log/redis/redis-sentinel.log"
                )
            time.sleep(0.25)

    def run(self) -> None:
        known = {}
        for server in self.sentinels:
            try:
                known[server] = self.knowledge(server)
            except (OSError, RespError) as err:
                self.fail(
                    f"the Sentinel {server} does not answer ({err}), and would remember who left: on it, systemctl "
                    "start redis-sentinel; or take it out of the set as well"
                )
            if known[server].master in self.leaving:
                self.fail(f"{server} still names {known[server].master} as master, which leaves: fail over first")
        remember = [server for server in self.sentinels if known[server].all & self.leaving]
        if self.module.check_mode:
            self.done = [server.name for server in remember]
            return
        if remember and (alive := [at for address in sorted(self.leaving) for at in self.still_there(address)]):
            self.fail(
                f"{', '.join(alive)} still answers: systemctl disable --now redis-server redis-sentinel on it first"
            )
        for server in remember:
            self.reset(server, known[server])


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            **rs.ARGUMENTS,
            "leaving": {"type": "list", "elements": "str", "required": True},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    forget = Forget(module)
    try:
        forget.run()
    except (OSError, RespError) as err:
        forget.fail(str(err))
    module.exit_json(changed=bool(forget.done), reset=forget.done)


if __name__ == "__main__":
    main()
