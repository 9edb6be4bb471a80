# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the runbooks quote and name is there: messages, playbooks, variables, pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs" / "runbooks").glob("*.md"))
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())


def messages(page: str) -> Iterator[str]:
    """What stands in backticks in the first column of tables headed `message`, in pieces without an ellipsis."""
    for table in re.findall(r"^\| message \|.*\n\|[-|]+\n((?:\|.*\n)+)", page, re.MULTILINE):
        for row in table.splitlines():
            for quoted in re.findall(r"`([^`]+)`", row.split("|")[1]):
                yield from (piece.strip(" :,.'") for piece in quoted.split("…") if len(piece.strip(" :,.'")) > 3)


@pytest.fixture(scope="module")
def said() -> str:
    """All texts of plugins and roles, with strings that are put together from several joined."""
    files = [path for kind in ("plugins/**/*.py", "roles/**/*.yml", "roles/**/*.py") for path in ROOT.glob(kind)]
    text = " ".join(" ".join(path.read_text(encoding="utf-8").split()) for path in files)
    return re.sub(r"""["'] (?:~ )?f?["']""", "", text).replace("\\'", "'")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_quoted_messages_are_those_of_the_code(page: Path, said: str) -> None:
    assert [piece for piece in messages(page.read_text(encoding="utf-8")) if piece not in said] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_playbooks_and_links_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert [name for name in re.findall(r"playbooks/[\w/]+\.yml", text) if not (ROOT / name).exists()] == []
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if not link.startswith("http")]
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_variables_are_those_of_the_roles(page: Path) -> None:
    known = set(ROLES)
    for role in ROLES:
        spec = yaml.safe_load((ROOT / "roles" / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
        known |= set(spec["argument_specs"]["main"]["options"])
    known |= {path.stem for path in (ROOT / "plugins").rglob("*.py")}
    named = re.findall(rf"\b(?:{'|'.join(ROLES)})_\w+", page.read_text(encoding="utf-8"))
    assert sorted(set(named) - known) == []


def test_pieces_of_a_message_are_found() -> None:
    table = "| message | what |\n|---|---|\n| `the VIP … is outside`, `… of …` | x `other` |\n"
    assert list(messages(f"{table}\n| shown | |\n|---|---|\n| `no` | |\n")) == ["the VIP", "is outside"]
