# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""All filters in the process that forks the others: loaded once for a run, not once for each task and host."""

from __future__ import annotations

import contextlib
from typing import TypeVar

from ansible.plugins.loader import filter_loader, test_loader

DOCUMENTATION = r"""
name: load_filters
short_description: Have the workers of a run inherit the filters
version_added: 0.1.0
author: The cloudexit maintainers (@cloudexit)
description:
  - ansible-core forks a process for each task and host. The first filter of a collection that it meets has it load them
    all, with what they import, and all that is gone when it ends.
  - A play's C(order) is templated in the process that forks. What is loaded there is there for all plays that follow.
notes:
  - On two cores a task that uses such a filter on two hosts takes a quarter of a second less.
positional: _input
options:
  _input:
    description: Anything.
    type: raw
    required: true
"""

EXAMPLES = r"""
- name: Any play, as it would be without that line, and faster
  hosts: all
  order: "{{ 'inventory' | cloudexit.ha_stack.load_filters }}"
"""

RETURN = r"""
_value:
  description: What came in.
  type: raw
"""

T = TypeVar("T")


def load_filters(value: T) -> T:
    """The value as it is. Finding this filter has loaded the collection's others; those of ansible.utils are, here."""
    for loader, name in ((filter_loader, "ansible.utils.ipaddr"), (test_loader, "ansible.utils.ip")):
        with contextlib.suppress(KeyError):  # who uses one says that the collection is missing
            loader.get(name)
    return value


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, object]:
        return {"load_filters": load_filters}
