# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What drills and measurements share."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "molecule"))

from lab import outcome
from lab.definitions import LabError


@pytest.mark.parametrize("load, factor", [(0.2, 1), (2, 1), (3, 1.5), (5.9, 2.95), (40, 3)])
def test_a_busy_machine_may_take_longer_up_to_three_times(
    monkeypatch: pytest.MonkeyPatch, load: float, factor: float
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert outcome.slowness(load) == factor
    monkeypatch.setattr(os, "getloadavg", lambda: (load / 2, load, 99.0))
    assert outcome.slowness() == factor


def test_a_report_is_left_as_json_and_as_a_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(outcome, "REPORTS", tmp_path / "reports")
    outcome.save("drill", [{"lost": 0}], "| lost |\n|---|\n| 0 |")
    assert '"lost": 0' in (tmp_path / "reports/drill.json").read_text()
    assert (tmp_path / "reports/drill.md").read_text().endswith("| 0 |\n")


def test_what_could_not_be_tried_is_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def away() -> int:
        raise LabError("no member has the VIP")

    monkeypatch.setattr(sys, "argv", ["molecule/x/failover.py"])
    with pytest.raises(SystemExit) as ended:
        outcome.end(away)
    assert ended.value.code == 2
    assert capsys.readouterr().err == "failover: no member has the VIP\n"
    with pytest.raises(SystemExit) as ended:
        outcome.end(lambda: 1)
    assert ended.value.code == 1
    with pytest.raises(SystemExit) as ended:
        outcome.end(lambda: int("x"), ValueError)
    assert ended.value.code == 2


def test_a_recap_tells_who_was_not_reached_and_who_failed() -> None:
    output = """ok: [mongo1]
mongo1                     : ok=3    changed=0    unreachable=1    failed=0    skipped=2    rescued=0    ignored=0
mongo2                     : ok=20   changed=0    unreachable=0    failed=0    skipped=9    rescued=0    ignored=0
arb1                       : ok=19   changed=1    unreachable=0    failed=12   skipped=9    rescued=1    ignored=0
"""
    assert outcome.recap(output, "unreachable") == ["mongo1"]
    assert outcome.recap(output, "failed") == ["arb1"]
