# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A size that is computed from a host's memory stays what it is until the memory really changes."""

from __future__ import annotations

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: settled
short_description: A computed size, or the one in use if they hardly differ
version_added: 0.1.0
author: The cloudexit maintainers (@cloudexit)
description:
  - A kernel tells some MiB more or less of the same memory after each boot or upgrade. A size that is computed from it
    would change by itself, and with it a server's settings; rounding only moves the problem to where the steps are.
positional: _input
options:
  _input:
    description: The computed size.
    type: int
    required: true
  in_use:
    description: The size in use, in the same unit; 0 if there is none.
    type: int
    required: true
  percent:
    description: How much of the computed size they may differ by.
    type: float
    default: 1.5
"""

EXAMPLES = r"""
- name: Keep 2000 MiB
  ansible.builtin.debug:
    msg: "{{ 1990 | cloudexit.ha_stack.settled(2000) }}"
"""

RETURN = r"""
_value:
  description: The size in use if the two are that close, else the computed one.
  type: int
"""


def settled(size: int | str, in_use: int | str, percent: float = 1.5) -> int:
    """One of the two, as a number."""
    try:
        wanted, now = int(size), int(in_use)
    except (TypeError, ValueError) as err:
        raise AnsibleFilterError(f"settled: sizes are whole numbers, not {size!r} and {in_use!r}") from err
    return now if now > 0 and abs(now - wanted) <= wanted * percent / 100 else wanted


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, object]:
        return {"settled": settled}
