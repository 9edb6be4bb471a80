# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""DRBD's fence handler: what it makes of the node states of Pacemaker before and after 2.1.7."""

from __future__ import annotations

import fcntl
import importlib.util
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

PATH = Path(__file__).resolve().parents[2] / "roles" / "drbd_pcs_mysql" / "files" / "drbd_fence_peer.py"


@pytest.fixture(name="handler")
def _handler() -> Any:
    spec = importlib.util.spec_from_file_location("drbd_fence_peer", PATH)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cib(state: str, constraints: str = "") -> ET.Element:
    return ET.fromstring(
        "<cib><configuration><resources>"
        '<clone id="mysql-drbd-clone"><primitive id="mysql-drbd" class="ocf" provider="linbit" type="drbd">'
        '<instance_attributes id="a"><nvpair id="b" name="drbd_resource" value="mysql"/></instance_attributes>'
        f"</primitive></clone></resources><constraints>{constraints}</constraints></configuration>"
        f'<status><node_state id="1" uname="db1" in_ccm="1795439203" crmd="1795439203" join="member"/>{state}</status>'
        "</cib>"
    )


@pytest.mark.parametrize(
    "attributes, state",
    [
        ('in_ccm="true" crmd="online" join="member" expected="member"', "alive"),
        ('in_ccm="1795439203" crmd="1795439204" join="member" expected="member"', "alive"),
        ('in_ccm="false" crmd="offline" join="down" expected="down"', "down"),
        ('in_ccm="0" crmd="0" join="down" expected="down"', "down"),
        ('in_ccm="false" crmd="offline" join="member" expected="member"', "uncertain"),
        ('in_ccm="0" crmd="0" join="member" expected="member"', "uncertain"),
        ('in_ccm="true" crmd="offline" join="down" expected="down"', "uncertain"),
        ('in_ccm="1795439203" crmd="0" join="down" expected="down"', "uncertain"),
    ],
)
def test_peer_state(handler: Any, attributes: str, state: str) -> None:
    assert handler.peer_state(cib(f'<node_state id="2" uname="db2" {attributes}/>'), "db2") == state


def test_a_peer_never_seen_is_uncertain(handler: Any) -> None:
    assert handler.peer_state(cib(""), "db2") == "uncertain"


def test_constraint_has_the_name_that_unfencing_removes(handler: Any) -> None:
    assert handler.clone_of(cib(""), "mysql") == "mysql-drbd-clone"
    assert handler.clone_of(cib(""), "other") == ""
    wanted = handler.constraint("mysql-drbd-clone", "mysql", "db1")
    assert wanted.get("id") == "drbd-fence-by-handler-mysql-mysql-drbd-clone"
    assert wanted.find("rule").get("score") == "-INFINITY"
    text = ET.tostring(wanted, encoding="unicode")
    assert handler.owner(cib("", text), wanted) == "db1"
    assert handler.owner(cib(""), wanted) is None


def test_disk_state_of_both_versions(handler: Any) -> None:
    old = " 0: cs:WFConnection ro:Secondary/Unknown ds:UpToDate/DUnknown C r-----\n"
    new = (
        "exists resource name:mysql role:Secondary suspended:no\n"
        "exists device name:mysql volume:0 minor:0 disk:Consistent\n"
    )
    assert handler.disk_state(old, "", "0") == "UpToDate"
    assert handler.disk_state("version: 9.2.12\n", new, "0") == "Consistent"
    assert handler.disk_state("", "", "0") == "Unconfigured"


@pytest.mark.parametrize(
    "state, disk, code",
    [
        ("down", "UpToDate", 7),
        ("alive", "UpToDate", 4),
        ("alive", "Consistent", 4),
        ("down", "Consistent", 5),
        ("down", "Outdated", 5),
        ("uncertain", "UpToDate", 1),
    ],
)
def test_exit_codes(handler: Any, monkeypatch: pytest.MonkeyPatch, state: str, disk: str, code: int) -> None:
    made: list[tuple[str, ...]] = []

    class Done:
        returncode, stdout = 0, ""

    def run(*argv: str) -> Done:
        made.append(argv)
        return Done()

    monkeypatch.setattr(handler, "wait_for_certainty", lambda peer: (state, None if state == "uncertain" else cib("")))
    monkeypatch.setattr(handler, "my_disk", lambda resource: disk)
    monkeypatch.setattr(handler, "run", run)
    monkeypatch.setattr(handler, "log", lambda text: None)
    assert handler.fence("mysql", "db2", "db1") == code
    assert any("--create" in argv for argv in made) is (code in (4, 7))


def test_the_other_side_was_first(handler: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = ET.tostring(handler.constraint("mysql-drbd-clone", "mysql", "db2"), encoding="unicode")
    monkeypatch.setattr(handler, "wait_for_certainty", lambda peer: ("alive", cib("", theirs)))
    monkeypatch.setattr(handler, "my_disk", lambda resource: "UpToDate")
    monkeypatch.setattr(handler, "log", lambda text: None)
    monkeypatch.setattr(handler, "run", lambda *argv: pytest.fail(f"nothing to run: {argv}"))
    assert handler.fence("mysql", "db2", "db1") == 1


@pytest.mark.parametrize("still_there", [True, False])
def test_a_constraint_of_ones_own_is_made_again(
    handler: Any, monkeypatch: pytest.MonkeyPatch, still_there: bool
) -> None:
    mine = cib("", ET.tostring(handler.constraint("mysql-drbd-clone", "mysql", "db1"), encoding="unicode"))
    made: list[tuple[str, ...]] = []

    class Done:
        returncode = 1 if still_there else 0
        stdout = ET.tostring(mine, encoding="unicode")

    def run(*argv: str) -> Done:
        made.append(argv)
        return Done()

    monkeypatch.setattr(handler, "wait_for_certainty", lambda peer: ("alive", mine))
    monkeypatch.setattr(handler, "my_disk", lambda resource: "UpToDate")
    monkeypatch.setattr(handler, "query", lambda: mine)
    monkeypatch.setattr(handler, "run", run)
    monkeypatch.setattr(handler, "log", lambda text: None)
    assert handler.fence("mysql", "db2", "db1") == 4
    assert "--create" in made[0]


def test_unfencing_is_kept_away_while_the_constraint_is_placed(handler: Any, tmp_path: Path) -> None:
    handler.LOCKS = tmp_path
    with open(tmp_path / "fence.mysql", "w", encoding="utf-8") as script:
        with handler.locked("mysql"), pytest.raises(BlockingIOError):
            fcntl.flock(script, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(script, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("held", [True, False])
def test_without_the_lock_it_goes_on(handler: Any, tmp_path: Path, held: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(handler, "log", said.append)
    monkeypatch.setattr(handler, "LOCK_SECONDS", 0)
    file = tmp_path / "fence.mysql"
    with open(file, "w", encoding="utf-8") as script:
        fcntl.flock(script, fcntl.LOCK_EX)
        monkeypatch.setattr(handler, "LOCKS", tmp_path if held else file / "is no folder")
        with handler.locked("mysql"):
            pass
    assert len(said) == 1 and said[0].startswith("going on without the lock: ")
