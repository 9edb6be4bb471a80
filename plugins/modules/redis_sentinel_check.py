#!/usr/bin/python
# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Use a Redis Sentinel set the way its clients do."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_sentinel_check
short_description: Use a Redis Sentinel set as its clients do, and say what is wrong with it
version_added: 0.1.0
author: The cloudexit maintainers (@cloudexit)
description:
  - Asks each Sentinel for the master with the password that clients have, writes a key to the master they name, reads
    it on each replica, and deletes it.
  - Compares what the Sentinels know of each other and of the replicas with the members.
  - Tries every user's password, and that nobody is let in without one.
  - Warns of servers that are full or have dropped keys.
  - Repeats this until nothing is wrong or O(timeout) has passed.
extends_documentation_fragment:
  - cloudexit.ha_stack.reads_only
  - cloudexit.ha_stack.redis_sentinel
options:
  expected:
    description: Names of the hosts that must work; the others may be down.
    type: list
    elements: str
    required: true
  client_password:
    description: The password with which clients ask the Sentinels.
    type: str
    required: true
  users:
    description: Users of the data servers.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name.
        type: str
        required: true
      passwords:
        description: His passwords.
        type: list
        elements: str
        required: true
  timeout:
    description: Seconds to wait for everything to be right.
    type: int
    default: 30
"""

EXAMPLES = r"""
- name: Use the set
  cloudexit.ha_stack.redis_sentinel_check:
    master_name: main
    data: [{name: redis1, address: 192.0.2.21, port: 6379}]
    sentinels: [{name: redis1, address: 192.0.2.21, port: 26379}]
    expected: [redis1]
    admin_user: admin
    admin_password: "{{ redis_sentinel_password }}"
    client_password: "{{ redis_sentinel_sentinel_password }}"
"""

RETURN = r"""
faults:
  description: What is wrong, in words; empty if nothing is.
  returned: always
  type: list
  elements: str
master:
  description: Name of the master that the Sentinels name.
  returned: always
  type: str
waited:
  description: Seconds until nothing was wrong, or O(timeout).
  returned: always
  type: float
"""

import secrets
import time
from collections.abc import Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import redis_sentinel as rs
from ansible_collections.cloudexit.ha_stack.plugins.module_utils.resp import Client, RespError


class Check:
    """One look at the whole set."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.given = given
        self.data, self.sentinels = rs.servers(given["data"]), rs.servers(given["sentinels"])
        self.expected = set(given["expected"])
        self.faults: list[str] = []
        self.worries: list[str] = []

    def admin(self, server: rs.Server) -> Client:
        return rs.connect(server, self.given["admin_user"], [self.given["admin_password"]])

    def named_master(self) -> tuple[str, int] | None:
        """Whom all Sentinels name to a client."""
        answers: dict[str, tuple[str, int] | None] = {}
        for server in self.sentinels:
            if server.name not in self.expected:
                continue
            try:
                with rs.connect(server, "default", [self.given["client_password"]]) as ask:
                    found = ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.given["master_name"])
                answers[server.name] = (found[0], int(found[1])) if found else None
            except (OSError, RespError) as err:
                self.faults.append(
                    f"the Sentinel {server} does not answer a client ({err}): on it, systemctl status redis-sentinel"
                )
        if len(set(answers.values())) > 1:
            said = ", ".join(f"{who} says {':'.join(map(str, at)) if at else 'nobody'}" for who, at in answers.items())
            self.faults.append(f"the Sentinels do not agree on a master: {said}")
            return None
        master = next(iter(answers.values()), None)
        if answers and not master:
            self.faults.append(f"no Sentinel knows a master called {self.given['master_name']}")
        return master

    def watch(self, server: rs.Server, master: tuple[str, int]) -> None:
        """What one Sentinel knows of the others."""
        name = self.given["master_name"]
        alive = len([s for s in self.sentinels if s.name in self.expected])
        with self.admin(server) as ask:
            shown = rs.pairs(ask("SENTINEL", "MASTER", name))
            replicas = [rs.pairs(item) for item in ask("SENTINEL", "REPLICAS", name)]
            try:
                ask("SENTINEL", "CKQUORUM", name)
            except RespError as err:
                self.faults.append(f"{server.name}: {err}")
        others = int(shown["num-other-sentinels"])
        if others < alive - 1:
            self.faults.append(f"{server.name} knows {others} other Sentinels of {alive - 1}")
        if others > len(self.sentinels) - 1:
            self.faults.append(
                f"{server.name} remembers {others} other Sentinels, {len(self.sentinels) - 1} are members: take those "
                "that left out of the set, playbooks/remove_node.yml with redis_sentinel_remove"
            )
        if shown["flags"] != "master":
            self.faults.append(f"{server.name} sees the master as {shown['flags']}")
        seen = {(item["ip"], int(item["port"])): item["flags"] for item in replicas}
        for member in self.data:
            if member.at == master or member.name not in self.expected:
                continue
            if seen.get(member.at) != "slave":
                self.faults.append(f"{server.name} sees the replica {member} as {seen.get(member.at, 'unknown')}")

    def write_and_read(self, master: rs.Server) -> None:
        """A key written to the master is on every replica."""
        replicas = [s for s in self.data if s.at != master.at and s.name in self.expected]
        key, value = f"cloudexit:verify:{secrets.token_hex(8)}", secrets.token_hex(16)
        with self.admin(master) as ask:
            if (role := ask("ROLE")[0]) != "master":
                self.faults.append(f"{master}, named by the Sentinels, is a {role}")
                return
            ask("SET", key, value, "EX", 60)
            try:
                ask("WAIT", len(replicas), 2000)
                for replica in replicas:
                    self.read(replica, key, value)
            finally:
                ask("DEL", key)

    def read(self, replica: rs.Server, key: str, value: str) -> None:
        with self.admin(replica) as ask:
            found = ask("GET", key)
            if found != value:
                self.faults.append(f"what was written to the master is not on {replica}: look at its redis-server.log")

    def let_in(self, server: rs.Server, users: Sequence[dict[str, Any]]) -> None:
        """Users get in with their passwords, nobody without one."""
        for user in users:
            for password in user["passwords"]:
                try:
                    rs.connect(server, user["name"], [password]).close()
                except RespError as err:
                    self.faults.append(f"{server} does not let {user['name']} in ({err})")
        with Client(server.address, server.port) as ask:
            try:
                ask("PING")
                self.faults.append(f"{server} lets everybody in without a password")
            except RespError:
                pass

    def look_at_memory(self, server: rs.Server) -> None:
        with self.admin(server) as ask:
            if worry := rs.memory_worry(str(server), rs.info(ask("INFO"))):
                self.worries.append(worry)

    def run(self) -> str:
        """Everything; the name of the master."""
        master = self.named_master()
        found = next((s for s in self.data if s.at == master), None)
        if master and not found:
            self.faults.append(f"the master {master[0]}:{master[1]} is none of redis_sentinel_data_members")
        for server in self.sentinels:
            if master and server.name in self.expected:
                self.tried(server, self.watch, server, master)
        if found:
            self.tried(found, self.write_and_read, found)
        for server in self.data:
            if server.name in self.expected:
                self.tried(server, self.let_in, server, self.given["users"])
                self.tried(server, self.look_at_memory, server)
        for server in self.sentinels:
            if server.name in self.expected:
                self.tried(server, self.let_in, server, [])
        return found.name if found else ""

    def tried(self, server: rs.Server, what: Any, *args: Any) -> None:
        try:
            what(*args)
        except (OSError, RespError) as err:
            self.faults.append(f"{server}: {err}")


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            **rs.ARGUMENTS,
            "expected": {"type": "list", "elements": "str", "required": True},
            "client_password": {"type": "str", "required": True, "no_log": True},
            "users": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "passwords": {"type": "list", "elements": "str", "required": True, "no_log": True},
                },
            },
            "timeout": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    begin = time.monotonic()
    while True:
        check = Check(module.params)
        master = check.run()
        waited = time.monotonic() - begin
        if not check.faults or waited > module.params["timeout"]:
            break
        time.sleep(1)
    for worry in check.worries:
        module.warn(f"redis_sentinel: {worry}")
    module.exit_json(changed=False, faults=list(dict.fromkeys(check.faults)), master=master, waited=round(waited, 1))


if __name__ == "__main__":
    main()
