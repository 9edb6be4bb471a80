#!/usr/bin/python
# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One node of a RabbitMQ cluster: started, joined, taken out."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rabbitmq_member
short_description: One node of a RabbitMQ cluster, started and joined without ever deleting data
version_added: 0.1.0
author: The cloudexit maintainers (@cloudexit)
description:
  - C(rabbitmqctl join_cluster) deletes what the joining node has. This module looks first, and lets only a node join
    that runs alone and that nobody has used.
extends_documentation_fragment:
  - cloudexit.ha_stack.rabbitmq
attributes:
  check_mode:
    support: full
    description: Says what it would do.
  diff_mode:
    support: none
    description: The members before and after are returned.
  idempotent:
    support: full
    description: A member that runs is left alone.
options:
  state:
    description:
      - V(cleared) stops a server that nobody has used, if it runs under another name or with another cookie, as
        Debian's package starts it, and moves its files aside.
      - V(started) starts a server that does not run, or its application. One that has hung, and that a majority of
        members holds for lost, is restarted, and so is one whose application does not end its boot.
      - V(joined) lets a node that runs alone and empty join O(target), and gives quorum queues the replicas they lack.
      - V(forgotten) has this node take O(target) out of the cluster, with its replicas of quorum queues.
    type: str
    choices: [cleared, started, joined, forgotten]
    required: true
  target:
    description: The node to join or to forget.
    type: str
    default: ''
  cookie:
    description: The Erlang cookie, for V(cleared).
    type: str
  replicas:
    description: How many replicas a quorum queue shall have, for V(joined).
    type: int
    default: 3
  timeout:
    description: Seconds a server may take to be up.
    type: int
    default: 120
"""

EXAMPLES = r"""
- name: Join
  cloudexit.ha_stack.rabbitmq_member:
    node: rabbit@192.0.2.32
    members: [rabbit@192.0.2.31, rabbit@192.0.2.32, rabbit@192.0.2.33]
    state: joined
    target: rabbit@192.0.2.31
"""

RETURN = r"""
was:
  description: State before, in the words of M(cloudexit.ha_stack.rabbitmq_member_info).
  returned: always
  type: str
nodes:
  description: Members of the cluster afterwards.
  returned: always
  type: list
  elements: str
done:
  description: What was done, in words.
  returned: always
  type: list
  elements: str
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import rabbitmq as mq
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import rabbitmq_host as host


class Member:
    """The node of this host."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.given = module.params
        self.node: str = self.given["node"]
        self.server = host.Server(module, self.node)
        self.was, self.nodes, self.live = host.look(module, self.node, self.given["members"])
        self.done: list[str] = []

    def do(self, text: str) -> bool:
        """Note it; whether it is to be done in earnest."""
        self.done.append(text)
        return not self.module.check_mode

    def cleared(self) -> None:
        name = host.running_node()
        right = name == self.node and host.read(host.COOKIE).strip() == self.given["cookie"]
        if self.was != "fresh" or right or not self.do(f"{name}, which nobody has used, stopped and moved aside"):
            return
        self.server.stop()
        self.server.systemctl("stop", "epmd.service")
        host.DATA.rename(host.HOME / f"unused-{name}-{time.strftime('%Y%m%dT%H%M%S')}")
        host.COOKIE.unlink(missing_ok=True)

    def started(self) -> None:
        if self.was in ("absent", "stopped"):
            if self.do(f"{self.node} started"):
                self.server.start(self.given["timeout"])
        elif self.was == "paused":
            # a minority that is paused starts its application by itself when it sees the others again
            seen = len(set(self.live["connected"]) & set(self.nodes)) if self.live else 0
            if seen * 2 <= len(self.nodes):
                self.server.fail(
                    f"{self.node} sees {seen} of {len(self.nodes)} members and has paused itself; it goes on when it "
                    "sees most of them. Mend the network, or start the others: systemctl start rabbitmq-server"
                )
            if self.do(f"application of {self.node} started"):
                self.server.ctl("start_app")
                # Erlang's global can hang after a cut, and with it the boot ("Global hang workaround" in the log).
                if self.server.wait(self.up, self.given["timeout"]):
                    self.done.append(f"{self.node} restarted, because its application hung in its boot")
                    self.server.stop()
                    self.server.start(self.given["timeout"])
        elif self.was == "silent" and (complaint := self.server.wait(self.up, self.given["timeout"])):
            self.server.fail(
                f"{self.node} runs and does not answer ({complaint}). Next, on it: rabbitmq-diagnostics status; "
                "journalctl -u rabbitmq-server"
            )

        elif self.was == "member":
            self.reunited()

    def reunited(self) -> None:
        lost = ", ".join(mq.cut_off(self.live, self.node)) if self.live else ""
        if not lost or not self.do(f"{self.node} restarted, because it had lost {lost}"):
            return
        # Not only the application: after that, the members noticed the next loss of a node 20 s late.
        self.server.stop()
        self.server.start(self.given["timeout"])

    def up(self) -> str:
        return "" if self.server.ask("rabbit:is_running()") else "its application does not run"

    def joined(self) -> None:
        target = self.given["target"]
        if self.was == "member" or target == self.node or not target:
            return
        if self.was == "absent" and self.module.check_mode:
            self.do(f"{self.node} joined {target}")
            return
        if self.was != "fresh":
            self.server.fail(
                f"{self.node} is {self.was}; joining {target} would delete its data, so it was left as it is"
            )
        if not self.do(f"{self.node} joined {target}"):
            return
        self.server.ctl("stop_app")
        try:
            self.server.ctl("join_cluster", target)
        finally:
            self.server.ctl("start_app")
        if complaint := self.server.wait(self.up, self.given["timeout"]):
            self.server.fail(f"{self.node} has joined and is not up ({complaint})")
        self.grow()

    def grow(self) -> None:
        """Replicas for quorum queues that have too few of them: those of a member that was lost."""
        state = self.server.state()
        running = [node for node in state["running_nodes"] if node not in state["drained"]]
        for queue, nodes in mq.lacking(self.server.ask(host.QUEUES), running, self.given["replicas"]):
            for node in nodes:
                if self.do(f"queue {queue['name']} of vhost {queue['vhost']} got a replica on {node}"):
                    self.server.ctl("add_member", "-p", queue["vhost"], queue["name"], node, tool="rabbitmq-queues")

    def forgotten(self) -> None:
        gone = self.given["target"]
        if self.was != "member" or not self.live:
            self.server.fail(f"{self.node} is {self.was}; only a member that runs can take {gone} out")
        if gone not in self.nodes:
            return
        if gone in self.live["running_nodes"]:
            self.server.fail(
                f"{gone} runs; what is forgotten must be down for good. Next, on it: "
                "systemctl disable --now rabbitmq-server"
            )
        alive = len(self.live["running_nodes"])
        if alive * 2 <= len(self.nodes):
            self.server.fail(
                f"{alive} of {len(self.nodes)} members run, which is no majority: quorum queues cannot let {gone} go. "
                "Start another one"
            )
        stuck = [q["name"] for q in mq.leaderless(self.server.ask(host.QUEUES))]
        if stuck:
            self.server.fail(
                f"nobody leads {', '.join(stuck)}; {gone} may have the messages. Start it, or its data elsewhere"
            )
        if self.do(f"{gone} forgotten"):
            self.server.ctl("shrink", gone, tool="rabbitmq-queues")
            self.server.ctl("forget_cluster_node", gone)


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            **host.ARGUMENTS,
            "state": {"type": "str", "choices": ["cleared", "started", "joined", "forgotten"], "required": True},
            "target": {"type": "str", "default": ""},
            "cookie": {"type": "str", "no_log": True},
            "replicas": {"type": "int", "default": 3},
            "timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    member = Member(module)
    try:
        getattr(member, module.params["state"])()
        if member.done and not module.check_mode:
            member.nodes = host.look(module, member.node, module.params["members"])[1]
    except host.Silent as err:
        member.server.fail(f"{err}. Next: rabbitmq-diagnostics status; journalctl -u rabbitmq-server")
    module.exit_json(changed=bool(member.done), was=member.was, nodes=member.nodes, done=member.done)


if __name__ == "__main__":
    main()
