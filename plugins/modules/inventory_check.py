#!/usr/bin/python
# Copyright: (c) 2026, the cloudexit maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: inventory_check
short_description: Tells all that is wrong with an inventory, without asking a host
version_added: "0.1.0"
description:
  - Evaluates each tier's variables as its plays would, on the controller, and holds them against the roles' argument
    specs, against what the roles themselves refuse, and against each other.
  - Members and counts, voters, VIPs, addresses, corosync clusters, zones, secrets, ports and memory of hosts that tiers
    share, who needs whom and whether the firewalls let them, names of groups, hosts and variables.
  - Needs no facts and no connection; hosts may be down or not exist yet. Live state is the matter of
    playbooks/preflight.yml.
  - No secret's value is in what is returned.
  - Run it once; it looks at the whole inventory, whatever C(--limit) says.
extends_documentation_fragment: [cloudexit.ha_stack.reads_only]
author: The cloudexit maintainers (@cloudexit)
"""

EXAMPLES = r"""
- name: Look at the inventory
  cloudexit.ha_stack.inventory_check:
  register: looked
  run_once: true

- name: Refuse what is wrong
  ansible.builtin.assert:
    that: looked.messages | length == 0
    fail_msg: "{{ looked.messages }}"
  run_once: true
"""

RETURN = r"""
findings:
  description: All that is wrong, each thing once.
  returned: always
  type: list
  elements: dict
  contains:
    where:
      description: Hosts, a group, a tier or a variable.
      type: str
      sample: db1, db2
    wrong:
      description: What is wrong, with the value seen.
      type: str
      sample: ansible_host is 192.0.2.11 for each of them
    remedy:
      description: What to set; empty if C(wrong) says it already.
      type: str
      sample: Give each host its own address
messages:
  description: The same, one sentence each.
  returned: always
  type: list
  elements: str
unchecked:
  description: What was not looked at, because the inventory does not say it.
  returned: always
  type: list
  elements: str
  sample: ["site_zone is not set for any host: whether pairs and voters are in different zones"]
"""
