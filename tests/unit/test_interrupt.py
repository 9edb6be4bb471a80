# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A controller that is killed leaves nothing of itself behind, whatever sessions it has made."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "molecule" / "site"))

import interrupt
import specs
import yaml


def alive(pid: int) -> bool:
    """Zombies are not."""
    file = Path(f"/proc/{pid}/stat")
    return file.exists() and file.read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"


def test_what_it_started_in_a_session_of_its_own_dies_with_it(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    shell = f"setsid sh -c 'echo $$ > {told}; sleep 60; true' & wait"
    process = subprocess.Popen(["sh", "-c", shell], start_new_session=True)
    while not told.exists() or not told.read_text(encoding="utf-8").strip():
        time.sleep(0.05)
    worker = int(told.read_text(encoding="utf-8"))
    assert os.getsid(worker) != os.getsid(process.pid)
    members = interrupt.family(process.pid)
    assert worker in members
    interrupt.kill(process)
    time.sleep(0.2)
    assert [pid for pid in members if alive(pid)] == []


def test_each_change_is_one_that_the_role_knows() -> None:
    for tag, settings in interrupt.CHANGES.values():
        spec = yaml.safe_load(
            (interrupt.ROOT / "roles" / tag / "meta" / "argument_specs.yml").read_text(encoding="utf-8")
        )
        options = spec["argument_specs"]["main"]["options"]
        for name, values in settings.items():
            assert all(isinstance(value, specs.TYPES[options[name]["type"]]) for value in values)
