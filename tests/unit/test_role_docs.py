# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The roles' pages list the variables that their argument specs have."""

from __future__ import annotations

from pathlib import Path

import pytest
import role_docs

ROLES = sorted(path for path in (role_docs.ROOT / "roles").iterdir() if path.is_dir())


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_the_page_is_up_to_date(role: Path) -> None:
    written = (role / "README.md").read_text(encoding="utf-8")
    assert written == role_docs.page(role), "run: .lab/venv/bin/python tests/role_docs.py"


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ({"required": True}, "required"),
        ({"type": "str"}, "none"),
        ({"default": ""}, "empty"),
        ({"default": False}, "`false`"),
        ({"default": 0}, "`0`"),
        ({"default": ["a", "b"]}, "`[a, b]`"),
        ({"default": "{{ groups['web'] | default([]) }}"}, "group `web`"),
        ({"default": "{{ ansible_host | default('') }}"}, "`ansible_host`"),
        ({"default": "{{ thing_root }}/static"}, "`{{ thing_root }}/static`"),
        ({"default": "{{ __thing_endpoints }}"}, "computed"),
        ({"default": [{"name": "x" * 60, "address": "{{ thing_vip }}"}]}, "computed"),
        ({"default": "x" * 61}, "see `defaults/main.yml`"),
    ],
)
def test_a_default_in_words(option: dict, text: str) -> None:
    assert role_docs.shown(option) == text


def test_rows_of_nested_options_and_choices() -> None:
    inner = {"port": {"type": "int", "required": True, "description": ["Of V(a|b).", "See O(thing_list[].x)."]}}
    options = {
        "thing_list": {"type": "list", "default": [], "description": "All.", "options": inner},
        "thing_mode": {"choices": ["soft", "hard"], "default": "soft", "description": "How."},
        "thing_said": {"choices": ["yes", "no"], "default": "no", "description": "Either yes or no."},
    }
    assert list(role_docs.rows(options)) == [
        "| `thing_list` | `[]` | All. |",
        "| `thing_list[].port` | required | Of `a\\|b`. See `thing_list[].x`. |",
        "| `thing_mode` | `soft` | How. One of `soft`, `hard`. |",
        "| `thing_said` | `no` | Either yes or no. |",
    ]


def test_a_page_keeps_its_words_and_must_have_a_place(tmp_path: Path) -> None:
    role = tmp_path / "thing"
    (role / "meta").mkdir(parents=True)
    spec = "argument_specs: {main: {options: {thing_a: {default: 1, description: A.}}}}"
    (role / "meta" / "argument_specs.yml").write_text(spec, encoding="utf-8")
    readme = role / "README.md"
    readme.write_text(f"before\n{role_docs.BEGIN}\nold\n{role_docs.END}\nafter\n", encoding="utf-8")
    page = role_docs.page(role)
    assert page.startswith(f"before\n{role_docs.BEGIN}\n| variable |")
    assert page.endswith(f"| `thing_a` | `1` | A. |\n{role_docs.END}\nafter\n")
    readme.write_text("nothing\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"thing: README.md lacks the marks"):
        role_docs.page(role)
