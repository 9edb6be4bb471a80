#!/usr/bin/python
# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""All definitions of a RabbitMQ cluster."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rabbitmq_definitions_info
short_description: All definitions of a RabbitMQ cluster, for a backup
version_added: 0.1.0
author: The cloudexit maintainers (@cloudexit)
description:
  - What C(rabbitmqctl export_definitions) writes. Messages are not part of it; hashes of passwords are.
extends_documentation_fragment:
  - cloudexit.ha_stack.reads_only
  - cloudexit.ha_stack.rabbitmq
"""

EXAMPLES = r"""
- name: Export
  cloudexit.ha_stack.rabbitmq_definitions_info:
    node: rabbit@192.0.2.31
    members: [rabbit@192.0.2.31]
  register: exported
  no_log: true
"""

RETURN = r"""
definitions:
  description: The definitions.
  returned: always
  type: dict
time:
  description: When they were exported, in UTC, as C(20261127T093000Z).
  returned: always
  type: str
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import rabbitmq_host as host


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(argument_spec=host.ARGUMENTS, supports_check_mode=True)
    server = host.Server(module, module.params["node"])
    try:
        definitions = server.ask(host.DEFINITIONS)
    except host.Silent as err:
        server.fail(f"{err}. Next: rabbitmq-diagnostics status; journalctl -u rabbitmq-server")
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    module.exit_json(changed=False, definitions=definitions, time=stamp)


if __name__ == "__main__":
    main()
