#!/usr/bin/python
# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Restart one node of a RabbitMQ cluster, drained, and only if the others can do without it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rabbitmq_restart
short_description: Restart one node of a RabbitMQ cluster if the others can do without it
version_added: 0.1.0
author: The cloudexit maintainers (@cloudexit)
description:
  - To be run on one host after another, in a loop on one host. Returns when the node is back and the cluster is whole.
  - Before it, all members must run without alarms, and every queue must keep its majority without this node
    (C(rabbitmq-diagnostics check_if_node_is_quorum_critical)). Then the node is drained, which moves the leaders of its
    quorum queues and closes its clients' connections, and restarted.
extends_documentation_fragment:
  - cloudexit.ha_stack.rabbitmq
attributes:
  check_mode:
    support: full
    description: Looks at the gate and reports.
  diff_mode:
    support: none
    description: There is nothing to compare.
  idempotent:
    support: none
    description: It restarts what it is told to.
options:
  state:
    description:
      - V(restarted) restarts this host's node.
      - V(balanced) restarts nothing. It gives leaders to quorum queues that have none, waits until the cluster is
        whole, and spreads the leaders over the nodes.
    type: str
    choices: [restarted, balanced]
    default: restarted
  timeout:
    description: Seconds that each wait may take.
    type: int
    default: 120
"""

EXAMPLES = r"""
- name: Restart the nodes one after another
  cloudexit.ha_stack.rabbitmq_restart:
    node: "rabbit@{{ hostvars[item].ansible_host }}"
    members: [rabbit@192.0.2.31, rabbit@192.0.2.32, rabbit@192.0.2.33]
  delegate_to: "{{ item }}"
  run_once: true
  loop: [mq1, mq2, mq3]
"""

RETURN = r"""
leaders:
  description: How many quorum queues each node leads, afterwards.
  returned: always
  type: dict
"""

import collections

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import rabbitmq as mq
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import rabbitmq_host as host

# What check_if_node_is_quorum_critical looks at, and on 3.x check_if_node_is_mirror_sync_critical
CRITICAL = """
  [list_to_binary(rabbit_misc:rs(amqqueue:get_name(Q))) || Q <- rabbit_quorum_queue:list_with_minimum_quorum() ++
    case erlang:function_exported(rabbit_amqqueue, list_local_mirrored_classic_without_synchronised_mirrors, 0) of
      true -> rabbit_amqqueue:list_local_mirrored_classic_without_synchronised_mirrors();
      false -> []
    end]
"""


class Restart:
    """The node of this host."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.node: str = module.params["node"]
        self.members: list[str] = module.params["members"]
        self.timeout: int = module.params["timeout"]
        self.server = host.Server(module, self.node)

    def wrong(self) -> str:
        """Why the cluster is not whole, or ''."""
        state = self.server.state()
        if not state["running"]:
            return f"the application of {self.node} does not run"
        return "; ".join(mq.complaints(state, self.server.ask(host.QUEUES), self.members))

    def critical(self) -> str:
        """Which queues would lose their majority without this node, or ''."""
        found = self.server.ask(CRITICAL)
        return f"without {self.node} these would have no majority: {', '.join(found)}" if found else ""

    def restarted(self) -> None:
        if complaint := self.server.wait(self.wrong, self.timeout) or self.server.wait(self.critical, self.timeout):
            self.server.fail(
                f"{self.node} was not restarted, because {complaint}. Next: rabbitmq-diagnostics cluster_status; "
                "rabbitmq-queues quorum_status QUEUE"
            )
        if self.module.check_mode:
            return
        self.server.ctl("drain", tool="rabbitmq-upgrade")
        self.server.stop()
        self.server.start(self.timeout)
        if complaint := self.server.wait(self.healed, self.timeout):
            self.server.fail(
                f"{self.node} was restarted, and after {self.timeout} s {complaint}. Nothing else was restarted. Next: "
                "rabbitmq-diagnostics cluster_status; rabbitmq-queues quorum_status QUEUE"
            )

    def healed(self) -> str:
        """Like `wrong`, after another try to give leaders to queues without one."""
        for queue in mq.leaderless(self.server.ask(host.QUEUES)):
            name = ",".join(str(byte) for byte in queue["raft"].encode())
            for node in queue["online"]:
                self.server.ask(f"begin ra:trigger_election({{binary_to_atom(<<{name}>>, utf8), '{node}'}}), ok end")
        return self.wrong()

    def balanced(self) -> bool:
        """Whether anything was moved."""
        before = self.leaders()
        if self.module.check_mode:
            return False
        if complaint := self.server.wait(self.healed, self.timeout):
            self.server.fail(
                f"{complaint}. Next: rabbitmq-diagnostics cluster_status; rabbitmq-queues quorum_status QUEUE"
            )
        if before and max(before.values()) - min(before.get(node, 0) for node in self.members) > 1:
            self.server.ctl("rebalance", "quorum", tool="rabbitmq-queues")
            if complaint := self.server.wait(self.wrong, self.timeout):
                self.server.fail(
                    f"after the leaders were spread, {complaint}. Next: rabbitmq-queues quorum_status QUEUE"
                )
        return self.leaders() != before

    def leaders(self) -> dict[str, int]:
        return dict(collections.Counter(str(queue["leader"]) for queue in self.server.ask(host.QUEUES)))


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            **host.ARGUMENTS,
            "state": {"type": "str", "choices": ["restarted", "balanced"], "default": "restarted"},
            "timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    restart = Restart(module)
    try:
        if module.params["state"] == "restarted":
            restart.restarted()
            changed = True
        else:
            changed = restart.balanced()
        module.exit_json(changed=changed, leaders=restart.leaders())
    except host.Silent as err:
        restart.server.fail(f"{err}. Next: rabbitmq-diagnostics status; journalctl -u rabbitmq-server")


if __name__ == "__main__":
    main()
