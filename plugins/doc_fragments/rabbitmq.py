# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which node of which cluster a host has; the argument spec is ARGUMENTS of plugins/module_utils/rabbitmq_host.py."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  node:
    description: Name of this host's node, as C(rabbit@192.0.2.31).
    type: str
    required: true
  members:
    description: Names of all nodes that the cluster shall have.
    type: list
    elements: str
    required: true
"""
