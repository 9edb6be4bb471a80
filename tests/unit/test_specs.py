# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every role keeps the rules of tests/specs.py, and those rules catch what they are for."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from specs import called, findings

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_the_role_keeps_the_rules(role):
    assert findings(role) == []


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_what_playbooks_call_of_the_role_has_an_argument_spec(role):
    spec = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]
    found = called(role.name, ROOT / "playbooks")
    assert "preflight" in found
    assert found - set(spec) == set()


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_the_role_has_a_scenario(role):
    assert (ROOT / "molecule" / role.name / "molecule.yml").exists()


def make(folder: Path, defaults: dict, options: dict, private: dict | None = None) -> Path:
    role = folder / "thing"
    files = {
        "README.md": "",
        "meta/main.yml": "",
        "tasks/main.yml": "",
        "defaults/main.yml": yaml.safe_dump(defaults),
        "vars/main.yml": yaml.safe_dump(private or {}),
        "meta/argument_specs.yml": yaml.safe_dump({"argument_specs": {"main": {"options": options}}}),
    }
    for name, text in files.items():
        (role / name).parent.mkdir(parents=True, exist_ok=True)
        (role / name).write_text(text, encoding="utf-8")
    return role


def test_a_sound_role_has_no_findings(tmp_path):
    option = {"type": "int", "default": 3, "description": "x"}
    assert findings(make(tmp_path, {"thing_count": 3}, {"thing_count": option})) == []


@pytest.mark.parametrize(
    ("defaults", "options", "message"),
    [
        ({"thing_a": 1}, {}, "thing: default thing_a is not in the argument spec"),
        ({"thing_a": 1}, {"thing_a": {"type": "int", "default": 2}}, "thing_a is 1 in defaults/main.yml, 2 in the"),
        (
            {"thing_a": "x"},
            {"thing_a": {"type": "int", "default": "x"}},
            "thing_a is of type int, its default 'x' is not",
        ),
        ({"thing_a": True}, {"thing_a": {"type": "int", "default": True}}, "thing_a is of type int, its default True"),
        ({"thing_a": 1}, {"thing_a": {"type": "int", "required": True}}, "thing_a is required and has a default"),
        ({}, {"thing_a": {"type": "int", "default": 2}}, "thing_a has a default in the argument spec only"),
        ({"other": 1}, {"other": {"type": "int", "default": 1}}, "public variable other does not begin with thing_"),
        ({}, {"thing_a": {"type": "int"}}, "thing: thing_a has no description"),
        ({}, {"thing_password": {"type": "str"}}, "thing_password is a secret and not no_log in the argument spec"),
        (
            {},
            {"thing_users": {"type": "list", "options": {"key": {"type": "str"}}}},
            "thing: key is a secret and not no_log in the argument spec",
        ),
    ],
)
def test_a_role_that_breaks_a_rule_is_found(tmp_path, defaults, options, message):
    assert any(message in finding for finding in findings(make(tmp_path, defaults, options)))


def test_missing_and_superfluous_files_are_found(tmp_path):
    role = make(tmp_path, {}, {}, private={"secretly": 1})
    (role / "README.md").unlink()
    (role / "tasks" / "verify.yml").write_text("", encoding="utf-8")
    assert set(findings(role)) == {
        "thing: no README.md",
        "thing: private variable secretly does not begin with __thing_",
        "thing: entry point verify has no argument spec",
    }


def test_a_condition_that_takes_a_text_for_true_is_found(tmp_path):
    option = {"type": "bool", "default": False, "description": "x"}
    role = make(tmp_path, {"thing_again": False}, {"thing_again": option})
    good = "- name: Do it when thing_again\n  when: thing_again | bool\n  msg: -e thing_again=true\n"
    (role / "tasks" / "main.yml").write_text(good, encoding="utf-8")
    assert findings(role) == []
    (role / "tasks" / "main.yml").write_text(good + "- when:\n    - x or thing_again\n", encoding="utf-8")
    assert findings(role) == ["thing: a condition in main.yml takes thing_again without `| bool`"]
