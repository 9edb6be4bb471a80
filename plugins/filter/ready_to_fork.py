# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What each process of a run would do again, done once, in the one that forks them."""

from __future__ import annotations

import contextlib
import gc
from typing import TypeVar

from ansible.plugins.loader import filter_loader, test_loader

DOCUMENTATION = r"""
name: ready_to_fork
short_description: Have the workers of a run inherit what each would load and look through anew
version_added: 0.1.0
author: The cloudexit maintainers (@cloudexit)
description:
  - ansible-core forks a process for each task and host. The first filter of a collection that it meets has it load them
    all, with what they import, and all that is gone when it ends.
  - Python's garbage collector in it goes through all objects that it inherited, and so has the kernel copy them.
  - A play's C(order) is templated in the process that forks. What is loaded there is there for all plays that follow,
    and L(gc.freeze,https://docs.python.org/3/library/gc.html#gc.freeze) keeps it out of the collectors' sight.
notes:
  - Measured in docs/times.md.
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
  order: "{{ 'inventory' | cloudexit.ha_stack.ready_to_fork }}"
"""

RETURN = r"""
_value:
  description: What came in.
  type: raw
"""

T = TypeVar("T")


def ready_to_fork(value: T) -> T:
    """The value as it is. Finding this filter has loaded the collection's others; those of ansible.utils are, here."""
    for loader, name in ((filter_loader, "ansible.utils.ipaddr"), (test_loader, "ansible.utils.ip")):
        with contextlib.suppress(KeyError):  # who uses one says that the collection is missing
            loader.get(name)
    gc.freeze()
    return value


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, object]:
        return {"ready_to_fork": ready_to_fork}
