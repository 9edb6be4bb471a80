#!/usr/bin/python
# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Restart members of a MongoDB replica set, one after another."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mongo_replset_restart
short_description: Restart members of a MongoDB replica set one after another, the primary last
version_added: 0.1.0
author: The cloudexit maintainers (@cloudexit)
description:
  - Each server is told to shut down; its unit starts it again (C(Restart=always)). The next one follows when it is back
    and in step. The primary first hands over to a member that has everything.
  - Nothing is restarted unless all members are well, so that one can be missed.
extends_documentation_fragment:
  - cloudexit.ha_stack.mongo_replset
attributes:
  check_mode:
    support: full
    description: Says what would be restarted, and refuses what a real run would.
  diff_mode:
    support: none
    description: There is no state to show.
  idempotent:
    support: none
    description: A restart is a restart.
options:
  restart:
    description: Names of the members to restart.
    type: list
    elements: str
    required: true
  lag:
    description: Seconds that a member may be behind to count as in step.
    type: int
    default: 10
  timeout:
    description: Seconds that a member may take to be back and in step, and an election to be over.
    type: int
    default: 120
"""

EXAMPLES = r"""
- name: Restart two of three
  cloudexit.ha_stack.mongo_replset_restart:
    set_name: main
    members:
      - {name: mongo1, address: 192.0.2.71, port: 27017}
      - {name: mongo2, address: 192.0.2.72, port: 27017}
      - {name: arb1, address: 192.0.2.73, port: 27017, arbiter: true}
    keyfile: /etc/mongodb/keyfile
    restart: [mongo1, mongo2]
"""

RETURN = r"""
restarted:
  description: Names of the members, in this order.
  returned: always
  type: list
  elements: str
primary:
  description: Name of the primary afterwards.
  returned: always
  type: str
"""

import contextlib
from typing import NoReturn

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import mongo_replset as mr
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import mongo_replset_client as mc

QUIESCE = 1  # seconds a server lets operations end, and tells its clients to go, before it shuts down


class Restart:
    """The whole procedure."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module, self.given = module, module.params
        self.cluster = mc.Cluster(self.given)
        self.restarted: list[str] = []

    def fail(self, text: str) -> NoReturn:
        done = ", ".join(self.restarted) or "nothing"
        self.module.fail_json(msg=f"mongo_replset: {text}. Restarted so far: {done}; nothing else was touched.")
        raise SystemExit(1)

    def healthy(self, when: str, seconds: float) -> None:
        if found := mc.settle(self.cluster, seconds, self.given["lag"]):
            self.fail(f"{when}: {'; '.join(found)}")

    def process(self, member: mr.Member) -> str:
        """What tells one process of a server from the next."""
        return str(self.cluster.hello(member)["topologyVersion"]["processId"])

    def bounce(self, member: mr.Member) -> None:
        before = self.process(member)
        with contextlib.suppress(mc.PyMongoError):  # it closes the connection
            self.cluster.command(member, "shutdown", timeoutSecs=QUIESCE)
        for _left in mc.until(self.given["timeout"]):
            with contextlib.suppress(mc.PyMongoError):
                if self.process(member) != before:
                    break
        else:
            self.fail(
                f"{member} did not come back in {self.given['timeout']} s. Next, on it: journalctl -u mongod -n 50"
            )
        self.restarted.append(member.name)
        self.healthy(f"after the restart of {member}", self.given["timeout"])

    def run(self) -> str:
        primary = self.cluster.primary(self.given["timeout"])
        wanted = [m for m in self.cluster.members if m.name in self.given["restart"]]
        order = [m for m in wanted if m != primary] + [m for m in wanted if m == primary]
        self.healthy("before any restart", 0 if self.module.check_mode else 5)
        if self.module.check_mode:
            self.restarted = [m.name for m in order]
            return primary.name
        for member in order:
            if member == self.cluster.primary(self.given["timeout"]):
                self.cluster.step_down(member, self.given["timeout"])
            self.bounce(member)
        return self.cluster.primary(self.given["timeout"]).name


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            **mr.ARGUMENTS,
            "restart": {"type": "list", "elements": "str", "required": True},
            "lag": {"type": "int", "default": 10},
            "timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    mc.require(module)
    run = Restart(module)
    try:
        primary = run.run()
    except (mc.PyMongoError, mr.NoPrimary) as error:
        run.fail(mc.brief(error))
    module.exit_json(changed=bool(run.restarted), restarted=run.restarted, primary=primary)


if __name__ == "__main__":
    main()
