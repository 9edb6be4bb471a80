# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A reboot that tells a little less memory changes no setting; an operator who wants another size gets it."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.cloudexit.ha_stack.plugins.filter.settled import settled


@pytest.mark.parametrize(
    ("computed", "in_use", "result"),
    [
        (1000, 0, 1000),  # nothing runs yet
        (1000, 1000, 1000),
        (985, 999, 999),  # another kernel
        (1015, 1000, 1000),
        (980, 1000, 980),  # a share of 0.49 in place of 0.5
        (500, 1000, 500),  # another process beside it
        (0, 0, 0),
        ("1990", "2000", 2000),  # as templates give them
    ],
)
def test_the_size_in_use_stays_if_it_is_close(computed: int, in_use: int, result: int) -> None:
    assert settled(computed, in_use) == result


def test_repeated_small_steps_do_not_add_up() -> None:
    """What is compared is what is in use: memory that shrinks bit by bit is followed in time."""
    in_use = 1000
    for computed in range(1000, 900, -1):
        in_use = settled(computed, in_use)
        assert abs(in_use - computed) <= computed * 0.015


def test_a_word_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="settled: sizes are whole numbers, not 'much' and 1"):
        settled("much", 1)
