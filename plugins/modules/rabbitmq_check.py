#!/usr/bin/python
# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Use a RabbitMQ cluster as its clients do."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rabbitmq_check
short_description: Use a RabbitMQ cluster as its clients do, through every node
version_added: 0.1.0
author: The cloudexit maintainers (@cloudexit)
description:
  - Declares a quorum queue, publishes a message through each node with a confirm, reads all of them through the last
    one, and removes the queue.
  - Says what keeps the cluster from being whole.
extends_documentation_fragment:
  - cloudexit.ha_stack.reads_only
  - cloudexit.ha_stack.rabbitmq
requirements: [python3-pika]
options:
  endpoints:
    description: Where to connect, each with C(address) and C(port).
    type: list
    elements: dict
    required: true
  expected:
    description: Names of the nodes that must be up.
    type: list
    elements: str
    required: true
  user:
    description: Who connects; he needs all permissions in O(vhost).
    type: str
    required: true
  password:
    description: His password.
    type: str
    required: true
  vhost:
    description: Where the queue is made.
    type: str
    default: /
  ca:
    description: The certificate authority of the servers; with it TLS is spoken.
    type: path
  timeout:
    description: Seconds to wait for the cluster to be whole.
    type: int
    default: 30
"""

EXAMPLES = r"""
- name: Use the cluster
  cloudexit.ha_stack.rabbitmq_check:
    node: rabbit@192.0.2.31
    members: [rabbit@192.0.2.31, rabbit@192.0.2.32, rabbit@192.0.2.33]
    expected: [rabbit@192.0.2.31, rabbit@192.0.2.32]
    endpoints: [{address: 192.0.2.31, port: 5672}, {address: 192.0.2.32, port: 5672}]
    user: admin
    password: "{{ rabbitmq_mirror_password }}"
"""

RETURN = r"""
faults:
  description: What is wrong, in words; empty if nothing is.
  returned: always
  type: list
  elements: str
"""

import ssl
import uuid
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import rabbitmq as mq
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import rabbitmq_host as host

try:
    import pika
    from pika.exceptions import AMQPError

    HAS_PIKA = True
except ImportError:
    HAS_PIKA = False


def connect(given: dict[str, Any], endpoint: dict[str, Any]) -> Any:
    """A connection that gives up soon."""
    options = None
    if given["ca"]:
        context = ssl.create_default_context(cafile=given["ca"])
        # the certificate's name is the clients' business, the role knows addresses
        context.check_hostname = False
        options = pika.SSLOptions(context)
    return pika.BlockingConnection(
        pika.ConnectionParameters(
            host=endpoint["address"],
            port=int(endpoint["port"]),
            virtual_host=given["vhost"],
            credentials=pika.PlainCredentials(given["user"], given["password"]),
            ssl_options=options,
            socket_timeout=5,
            stack_timeout=10,
            blocked_connection_timeout=10,
            connection_attempts=1,
        )
    )


def round_trip(given: dict[str, Any]) -> list[str]:
    """A message through each node, all of them read through the last."""
    queue = f"rabbitmq_mirror.verify.{uuid.uuid4().hex[:8]}"
    faults, sent, found = [], set(), set()
    # the server drops the queue by itself if this process dies
    arguments = {"x-queue-type": "quorum", "x-expires": 120000}
    for number, endpoint in enumerate(given["endpoints"]):
        where = f"{endpoint['address']}:{endpoint['port']}"
        try:
            connection = connect(given, endpoint)
            try:
                channel = connection.channel()
                channel.queue_declare(queue, durable=True, arguments=arguments)
                channel.confirm_delivery()
                channel.basic_publish("", queue, str(number), pika.BasicProperties(delivery_mode=2), mandatory=True)
                sent.add(str(number))
                if number == len(given["endpoints"]) - 1:
                    while (message := channel.basic_get(queue, auto_ack=True))[0]:
                        found.add(message[2].decode())
                    channel.queue_delete(queue)
            finally:
                if connection.is_open:
                    connection.close()
        except (OSError, AMQPError) as err:
            faults.append(f"{where} is of no use to a client ({type(err).__name__} {err})")
    if not faults and found != sent:
        faults.append(f"of the messages {sorted(sent)}, one through each node, {sorted(found)} came out")
    return faults


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            **host.ARGUMENTS,
            "endpoints": {"type": "list", "elements": "dict", "required": True},
            "expected": {"type": "list", "elements": "str", "required": True},
            "user": {"type": "str", "required": True},
            "password": {"type": "str", "required": True, "no_log": True},
            "vhost": {"type": "str", "default": "/"},
            "ca": {"type": "path"},
            "timeout": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    if not HAS_PIKA:
        module.fail_json(msg=f"rabbitmq_mirror: {missing_required_lib('pika')}. Next: apt-get install python3-pika")
    given = module.params
    server = host.Server(module, given["node"])

    def wrong() -> str:
        state = server.state()
        if not state["running"]:
            return f"the application of {server.node} does not run"
        return "; ".join(mq.complaints(state, server.ask(host.QUEUES), given["expected"]))

    complaint = server.wait(wrong, given["timeout"])
    module.exit_json(changed=False, faults=[*([complaint] if complaint else []), *round_trip(given)])


if __name__ == "__main__":
    main()
