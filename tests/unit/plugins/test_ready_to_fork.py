# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The process that forks a run's workers has the filters and is frozen, once a play's order named `ready_to_fork`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
ORDER = "{{ 'inventory' | cloudexit.ha_stack.ready_to_fork }}"
# A callback is called in the process that forks.
TELLS = """
import gc
import sys
from ansible.plugins.callback import CallbackBase
class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "tells"
    CALLBACK_NEEDS_ENABLED = False
    def v2_playbook_on_task_start(self, task, is_conditional):
        ours = "ansible_collections.cloudexit.ha_stack.plugins.module_utils.rabbitmq"
        utils = "ansible_collections.ansible.utils.plugins.plugin_utils.base.ipaddr_utils"
        print("loaded", ours in sys.modules, utils in sys.modules, gc.get_freeze_count() > 10_000)
"""


@pytest.mark.parametrize(("order", "loaded"), [(ORDER, True), ("inventory", False)])
def test_the_process_that_forks_is_ready(order: str, loaded: bool, tmp_path: Path) -> None:
    (tmp_path / "callback").mkdir()
    (tmp_path / "callback" / "tells.py").write_text(TELLS, encoding="utf-8")
    task = {"name": "Any", "ansible.builtin.debug": {"msg": "any"}}
    play = {"name": "Any", "hosts": "localhost", "gather_facts": False, "order": order, "tasks": [task]}
    (tmp_path / "playbook.yml").write_text(yaml.safe_dump([play], sort_keys=False), encoding="utf-8")
    run = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", str(tmp_path / "playbook.yml")],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CALLBACK_PLUGINS": str(tmp_path / "callback")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"loaded {loaded} {loaded} {loaded}" in run.stdout


@pytest.mark.parametrize("path", sorted((ROOT / "playbooks").glob("*.yml")), ids=lambda path: path.stem)
def test_every_playbook_of_hosts_begins_with_it(path: Path) -> None:
    first = yaml.safe_load(path.read_text(encoding="utf-8"))[0]
    if first.get("hosts", "localhost") != "localhost":
        assert first.get("order") == ORDER
