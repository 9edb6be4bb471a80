# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A role's argument spec and its defaults say the same: the rules, as a function of the role's folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "path": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "list": (list,),
    "dict": (dict,),
    "raw": (object,),
}
# Names that say that the value is a secret.
SECRET = re.compile(r"(?:^|_)(?:passwords?|secrets?|key|secret_environment)$")
# Entry points that a user or a playbook calls by name; any other room is private to main.
CALLABLE = (
    *("main", "endpoints", "preflight", "verify", "restart", "rollback", "replica", "replace", "switchover"),
    *("upgrade", "drbd_verify", "backup", "restore", "benchmark", "votes", "remove_node"),
)


def _load(path: Path) -> dict[str, Any]:
    return (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.exists() else {}


def _templated(value: Any) -> bool:
    return isinstance(value, str) and "{{" in value


def _all(options: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, option in options.items():
        yield name, option
        yield from _all(option.get("options", {}))


def called(role: str, *folders: Path) -> set[str]:
    """The entry points of a role that playbooks and roles outside it call."""
    pattern = re.compile(rf"name: cloudexit\.ha_stack\.{role}\n\s+tasks_from: (\S+)")
    texts = [file.read_text(encoding="utf-8") for folder in folders for file in folder.rglob("*.yml")]
    looked = any(re.search(rf"look_role: {role}\b", text) for text in texts)  # by playbooks/tasks/look.yml
    return {entry for text in texts for entry in pattern.findall(text)} | ({"preflight"} if looked else set())


def _bare_conditions(role: Path, options: dict[str, Any]) -> list[str]:
    """Conditions that take a boolean as it comes: from the command line, `-e name=true`, it comes as a text."""
    flags = [variable for variable, option in options.items() if option.get("type") == "bool"]
    found = []
    for file in sorted([*(role / "tasks").rglob("*.yml"), role / "vars" / "main.yml"]):
        for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
            condition = re.match(r"\s*(?:when:|-) (?!name:)|.*{%-? (?:el)?if ", line) and "{{" not in line
            bare = [f for f in flags if condition and re.search(rf"\b{f}\b(?! \| bool)(?![:=\w])", line)]
            found += [f"{role.name}: a condition in {file.name} takes {flag} without `| bool`" for flag in bare]
    return found


def findings(role: Path) -> list[str]:
    """Everything about `role` that breaks the rules, as sentences; an empty list if it keeps them."""
    name, found = role.name, []
    defaults = _load(role / "defaults" / "main.yml")
    private = _load(role / "vars" / "main.yml")
    entries: dict[str, Any] = _load(role / "meta" / "argument_specs.yml").get("argument_specs", {})
    options: dict[str, Any] = entries.get("main", {}).get("options", {})

    for needed in ("README.md", "meta/main.yml", "meta/argument_specs.yml", "tasks/main.yml"):
        if not (role / needed).exists():
            found.append(f"{name}: no {needed}")
    for variable in [*defaults, *options]:
        if not variable.startswith(f"{name}_"):
            found.append(f"{name}: public variable {variable} does not begin with {name}_")
    found += [
        f"{name}: private variable {v} does not begin with __{name}_" for v in private if not v.startswith(f"__{name}_")
    ]
    for room in CALLABLE:
        if (role / "tasks" / f"{room}.yml").exists() and room not in entries:
            found.append(f"{name}: entry point {room} has no argument spec")
    found += [
        f"{name}: {variable} is a secret and not no_log in the argument spec"
        for variable, option in _all(options)
        if SECRET.search(variable) and "no_log" not in option
    ]
    found += _bare_conditions(role, options)
    for entry in entries:
        if not (role / "tasks" / f"{entry}.yml").exists():
            found.append(f"{name}: argument spec {entry} has no tasks/{entry}.yml")

    for variable, value in defaults.items():
        if variable not in options:
            found.append(f"{name}: default {variable} is not in the argument spec")
            continue
        option = options[variable]
        if option.get("required"):
            found.append(f"{name}: {variable} is required and has a default")
        elif "default" not in option:
            found.append(f"{name}: the argument spec of {variable} has no default, defaults/main.yml has {value!r}")
        elif option["default"] != value:
            found.append(
                f"{name}: {variable} is {value!r} in defaults/main.yml, {option['default']!r} in the argument spec"
            )
        kind = option.get("type", "str")
        right = isinstance(value, TYPES[kind]) and not (kind in ("int", "float") and isinstance(value, bool))
        if not right and not _templated(value):
            found.append(f"{name}: {variable} is of type {kind}, its default {value!r} is not")
    for variable, option in options.items():
        if variable not in defaults and "default" in option:
            found.append(f"{name}: {variable} has a default in the argument spec only")
        if not option.get("description"):
            found.append(f"{name}: {variable} has no description")
    return found
