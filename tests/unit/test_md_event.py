# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The file for Prometheus that an event of an array leaves."""

from __future__ import annotations

import importlib.util
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "roles" / "raid10_disk" / "files" / "md_event.py"
spec = importlib.util.spec_from_file_location("md_event", SOURCE)
assert spec and spec.loader
md_event = importlib.util.module_from_spec(spec)
spec.loader.exec_module(md_event)


def test_events_add_up_and_the_newest_of_a_kind_counts() -> None:
    seen = md_event.events("", "Fail", "mysql", 10)
    text = md_event.render({"mysql": 1, "log": 0}, seen)
    assert 'ha_stack_md_degraded{array="log"} 0\nha_stack_md_degraded{array="mysql"} 1\n' in text
    assert md_event.EVENT + '{array="mysql",event="Fail"} 10.000\n' in text
    seen = md_event.events(text, "Rebuild20", "mysql", 20)
    seen = md_event.events(md_event.render({}, seen), "Rebuild40", "mysql", 30)
    assert seen == {("mysql", "Fail"): 10, ("mysql", "Rebuild"): 30}


def test_degraded_is_read_from_the_kernel(tmp_path: Path) -> None:
    for name, count in {"md5": "0", "md6": "2"}.items():
        (tmp_path / name / "md").mkdir(parents=True)
        (tmp_path / name / "md" / "degraded").write_text(f"{count}\n")
    assert md_event.degraded(str(tmp_path)) == {"md5": 0, "md6": 2}
