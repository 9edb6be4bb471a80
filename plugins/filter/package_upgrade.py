# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What speaks against upgrading a tier's package."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.cloudexit.ha_stack.plugins.module_utils.package_upgrade import refusals

DOCUMENTATION = r"""
name: package_upgrade
short_description: What speaks against upgrading the package of a tier, in words
version_added: 0.2.0
author: The cloudexit maintainers (@cloudexit)
description:
  - Judges what M(cloudexit.ha_stack.package_upgrade_info) found on all hosts of a tier.
  - Refused are versions that no source has, different ones on different hosts, and with O(major) an earlier version,
    and another major version unless it is allowed.
positional: _input
options:
  _input:
    description: Host to what the module found there.
    type: dict
    required: true
  package:
    description: Name of the package.
    type: str
    required: true
  major:
    description: Name of the variable that permits another major version; empty for software without data of its own.
    type: str
    default: ''
  allowed:
    description: Its value.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Refuse what cannot be
  ansible.builtin.assert:
    that: found | length == 0
    fail_msg: "{{ found | join('; ') }}"
  vars:
    found: "{{ looked | cloudexit.ha_stack.package_upgrade('memcached') }}"
"""

RETURN = r"""
_value:
  description: Sentences, each with what to do. None if nothing speaks against it.
  type: list
  elements: str
"""


def package_upgrade(
    hosts: dict[str, dict[str, Any]], package: str, major: str = "", allowed: bool = False
) -> list[str]:
    try:
        return refusals(hosts, package, major, allowed)
    except (KeyError, ValueError) as err:
        raise AnsibleFilterError(f"package_upgrade: {err}") from err


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"package_upgrade": package_upgrade}
