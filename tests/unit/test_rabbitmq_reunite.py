# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""When roles/rabbitmq_mirror/files/reunite.py restarts a member, and when it must not."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
_spec = importlib.util.spec_from_file_location("reunite", ROOT / "roles/rabbitmq_mirror/files/reunite.py")
assert _spec and _spec.loader
reunite = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reunite)

MEMBERS = ["rabbit@a", "rabbit@b", "rabbit@c"]
A, B, C = MEMBERS


@pytest.mark.parametrize(
    ("answers", "lost"),
    [
        ({A: {B, C}, B: {A}, C: {A}}, [B, C]),  # it hung, and all are connected again
        ({A: set(), B: {C}, C: {B}}, []),  # not its own affair
        ({A: {B}, B: {A}, C: set()}, []),  # no majority is without it
        ({A: None, B: {A}, C: {A}}, []),  # it hangs still, starts, or has paused itself
        ({A: {B, C}, B: {A}, C: None}, []),  # the network is cut
        ({A: {B, C}, B: {A, C}, C: {A, B}}, []),  # everybody has lost everybody: no side is right
    ],
)
def test_a_member_that_a_majority_has_lost(answers: dict[str, set[str] | None], lost: list[str]) -> None:
    assert reunite.cut_off(A, MEMBERS, answers.__getitem__) == lost


@pytest.mark.parametrize(
    ("code", "text", "found"),
    [
        (0, "[]", set()),
        (0, "['rabbit@10.0.0.2','rabbit@10.0.0.3']", {"rabbit@10.0.0.2", "rabbit@10.0.0.3"}),
        (0, "[rabbit@b]", {"rabbit@b"}),
        (0, "{'EXIT',{noproc,…}}", None),
        (1, "", None),
    ],
)
def test_what_a_node_answers(code: int, text: str, found: set[str] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(call: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(call, code, text, "")

    monkeypatch.setattr(reunite.subprocess, "run", run)
    assert reunite.lost_by(A) == found


def test_a_node_that_hangs_has_not_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(call: list[str], **_: Any) -> None:
        raise subprocess.TimeoutExpired(call, 5)

    monkeypatch.setattr(reunite.subprocess, "run", run)
    assert reunite.lost_by(A) is None


def test_it_acts_after_two_looks_and_then_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([[B, C], [], [B, C], [B, C]])
    done: list[Any] = []

    class Over(Exception):
        pass

    def sleep(seconds: float) -> None:
        done.append(seconds)
        if seconds == reunite.REST:
            raise Over

    monkeypatch.setattr(reunite.sys, "argv", ["reunite", *MEMBERS])
    monkeypatch.setattr(reunite.time, "sleep", sleep)
    monkeypatch.setattr(reunite, "cut_off", lambda node, members: next(looks))
    monkeypatch.setattr(reunite.subprocess, "run", lambda call, **_: done.append(call[:2]))
    with pytest.raises(Over):
        reunite.main()
    assert done == [reunite.PERIOD] * 4 + [["systemctl", "restart"], reunite.REST]
