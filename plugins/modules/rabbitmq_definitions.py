#!/usr/bin/python
# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Vhosts, users, permissions, policies and queues of a RabbitMQ cluster."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rabbitmq_definitions
short_description: Vhosts, users, permissions, policies and queues of a RabbitMQ cluster, all at once
version_added: 0.1.0
author: The cloudexit maintainers (@cloudexit)
description:
  - Reads all definitions in one call, compares, and imports what differs in another one. The modules of
    community.rabbitmq need two calls and 3 to 10 seconds for each item, and hand texts to Debian's C(rabbitmqctl),
    which hands them to a shell.
  - Vhosts, queues and policies that are not named are left alone. A named user has exactly the given permissions.
  - Nothing is imported while the majority of O(members) is away: what one node alone has would not survive its joining.
  - A queue whose type or arguments differ is refused, nothing is imported then.
extends_documentation_fragment:
  - cloudexit.ha_stack.rabbitmq
attributes:
  check_mode:
    support: full
    description: Compares and reports.
  diff_mode:
    support: full
    description: Shows what differs, without passwords.
  idempotent:
    support: full
    description: A second run changes nothing.
options:
  vhosts:
    description: Virtual hosts, in the words of RabbitMQ's definition files as all of these.
    type: list
    elements: dict
    default: []
  users:
    description: Users with their permissions.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name.
        type: str
        required: true
      password:
        description: Password; compared with the stored hash.
        type: str
        required: true
      tags:
        description: Tags.
        type: list
        elements: str
        default: []
      permissions:
        description: One for each vhost, with C(vhost), C(configure), C(write), C(read).
        type: list
        elements: dict
        default: []
  absent_users:
    description: Names of users that shall not be there.
    type: list
    elements: str
    default: []
  policies:
    description: Policies, each with C(vhost), C(name), C(pattern), C(apply-to), C(priority), C(definition).
    type: list
    elements: dict
    default: []
  queues:
    description: Queues, each with C(vhost), C(name), C(durable), C(auto_delete), C(arguments).
    type: list
    elements: dict
    default: []
  saved:
    description: Instead of all of these, a file of exported definitions; what the server lacks of them is imported.
    type: path
"""

EXAMPLES = r"""
- name: An application's user
  cloudexit.ha_stack.rabbitmq_definitions:
    node: rabbit@192.0.2.31
    members: [rabbit@192.0.2.31]
    vhosts: [{name: shop}]
    users:
      - name: shop
        password: "{{ vault_rabbitmq_shop }}"
        permissions: [{vhost: shop, configure: ".*", write: ".*", read: ".*"}]
"""

RETURN = r"""
imported:
  description: How many of each kind were imported.
  returned: always
  type: dict
"""

import json

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import rabbitmq as mq
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import rabbitmq_host as host

USER = {
    "name": {"type": "str", "required": True},
    "password": {"type": "str", "required": True, "no_log": True},
    "tags": {"type": "list", "elements": "str", "default": []},
    "permissions": {"type": "list", "elements": "dict", "default": []},
}


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            **host.ARGUMENTS,
            "vhosts": {"type": "list", "elements": "dict", "default": []},
            "users": {"type": "list", "elements": "dict", "default": [], "options": USER},
            "absent_users": {"type": "list", "elements": "str", "default": []},
            "policies": {"type": "list", "elements": "dict", "default": []},
            "queues": {"type": "list", "elements": "dict", "default": []},
            "saved": {"type": "path"},
        },
        supports_check_mode=True,
    )
    server = host.Server(module, module.params["node"])
    saved = module.params["saved"]
    try:
        version = server.ask("list_to_binary(rabbit_misc:version())")
        up = server.ask("rabbit_nodes:all_running()")
        if len(up) * 2 <= len(module.params["members"]) and not module.check_mode:
            server.fail(
                f"{len(up)} of {len(module.params['members'])} members run ({', '.join(up)}), which is no majority; "
                "vhosts, users, policies and queues were left as they are. Start the others, and run again"
            )
        live = server.ask(host.DEFINITIONS)
    except host.Silent as err:
        if not module.check_mode:
            server.fail(f"{err}. Next: rabbitmq-diagnostics status; journalctl -u rabbitmq-server")
        # a dry run on a server that is not there yet
        version, live = "", {}
    made = mq.restored(live, json.loads(host.read(saved))) if saved else mq.plan(live, module.params)
    made.refusals += mq.mirror_refusals(version, made.add.get("policies", []))
    if made.refusals:
        server.fail("; ".join(made.refusals))
    if not module.check_mode:
        # vhosts come first: the rest lives in them
        if made.add:
            server.load(made.add)
        for command in made.delete:
            server.ctl(*command)
    module.exit_json(
        changed=bool(made.add or made.delete),
        imported={kind: len(items) for kind, items in made.add.items()},
        diff={
            "before": "".join(f"{line}\n" for line in made.before),
            "after": "".join(f"{line}\n" for line in made.after),
        },
    )


if __name__ == "__main__":
    main()
