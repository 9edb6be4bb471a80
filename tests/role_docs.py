# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Writes the table of variables of each role's README, from its argument spec.

python tests/role_docs.py      all roles; the table stands between two marks, the rest of the page is left alone
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
BEGIN = "<!-- variables, written by tests/role_docs.py from meta/argument_specs.yml -->"
END = "<!-- end of variables -->"
LONG = 60


def plain(text: str | list[str]) -> str:
    """A description on one line of a Markdown table; Ansible's C(), V() and O() become code."""
    joined = " ".join(" ".join(text).split()) if isinstance(text, list) else " ".join(text.split())
    return re.sub(r"\b[CVO]\(((?:[^()]|\([^()]*\))*)\)", r"`\1`", joined).replace("|", "\\|")


def shown(option: dict[str, Any]) -> str:
    """What the variable is if nobody sets it."""
    if option.get("required"):
        return "required"
    if "default" not in option:
        return "none"
    value = option["default"]
    if isinstance(value, str) and "{{" in value:
        expression = value.strip().removeprefix("{{").removesuffix("}}").strip()
        if group := re.fullmatch(r"groups\['(\w+)'\] \| default\(\[\]\)", expression):
            return f"group `{group[1]}`"
        if expression == "ansible_host | default('')":
            return "`ansible_host`"
        if expression.startswith("__") or len(expression) > LONG or "|" in expression:
            return "computed"
        return f"`{value}`"
    if value == "":
        return "empty"
    text = str(value).lower() if isinstance(value, bool) else value if isinstance(value, str) else str(value)
    text = re.sub(r"'([^']*)'", r"\1", text) if isinstance(value, (list, dict)) else text
    return f"`{text}`" if len(text) <= LONG else "computed" if "{{" in text else "see `defaults/main.yml`"


def rows(options: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, option in options.items():
        words = plain(option["description"])
        choices = option.get("choices", [])
        if not all(re.search(rf"\b{re.escape(choice)}\b", words) for choice in choices):
            words += f" One of {', '.join(f'`{choice}`' for choice in choices)}."
        yield f"| `{prefix}{name}` | {shown(option)} | {words} |"
        inner = f"{prefix}{name}[]." if option.get("type") == "list" else f"{prefix}{name}."
        yield from rows(option.get("options", {}), inner)


def table(role: Path) -> str:
    """The table, with its marks."""
    entries = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]
    lines = ["| variable | default | |", "|---|---|---|", *rows(entries["main"]["options"])]
    return "\n".join([BEGIN, *lines, END])


def page(role: Path) -> str:
    """The role's README as it should be; ValueError if it has no place for the table."""
    readme = (role / "README.md").read_text(encoding="utf-8")
    before, begin, rest = readme.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{role.name}: README.md lacks the marks {BEGIN} and {END}")
    return before + table(role) + after


def main() -> int:
    for role in sorted((ROOT / "roles").iterdir()):
        wanted = page(role)
        readme = role / "README.md"
        if readme.read_text(encoding="utf-8") != wanted:
            readme.write_text(wanted, encoding="utf-8")
            print(f"{readme.relative_to(ROOT)} written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
