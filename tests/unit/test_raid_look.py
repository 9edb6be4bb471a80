# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What roles/raid10_disk/files/look.py calls older than mdadm.conf."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
_spec = importlib.util.spec_from_file_location("raid_look", ROOT / "roles/raid10_disk/files/look.py")
assert _spec and _spec.loader
look = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(look)

WRITTEN = 1_800_000_000


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "mdadm.conf"
    path.write_text("ARRAY /dev/md/a\n", encoding="utf-8")
    os.utime(path, (WRITTEN, WRITTEN))
    return str(path)


@pytest.mark.parametrize(
    ("state", "since", "older"),
    [
        ("active", WRITTEN + 1, []),
        ("active", WRITTEN - 1, ["mdmonitor.service"]),
        ("inactive", WRITTEN + 1, ["mdmonitor.service"]),
        ("inactive", None, ["mdmonitor.service"]),
    ],
)
def test_a_monitor_that_is_older_or_does_not_run(
    config: str, state: str, since: int | None, older: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = look.run

    def run(*argv: str) -> str:
        if argv[0] == "systemctl":
            stamp = real("date", "--utc", "+%a %Y-%m-%d %H:%M:%S.000001 UTC", "--date", f"@{since}") if since else ""
            return f"ActiveState={state}\nActiveEnterTimestamp={stamp}"
        return str(real(*argv))

    monkeypatch.setattr(look, "run", run)
    monkeypatch.setattr(look.shutil, "which", lambda name: None)
    assert look.behind(config, ["a"]) == older
    assert look.behind(config, []) == []


def test_an_initramfs_that_is_older(config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = [tmp_path / "initrd.img-1", tmp_path / "initrd.img-2"]
    for image, moment in zip(images, (WRITTEN - 5, WRITTEN + 5), strict=True):
        image.touch()
        os.utime(image, (moment, moment))
    found: dict[str, Any] = {"update-initramfs": "/usr/sbin/update-initramfs"}
    monkeypatch.setattr(look.shutil, "which", found.get)
    monkeypatch.setattr(look.glob, "glob", lambda pattern: [str(image) for image in images])
    assert look.behind(config, []) == [str(images[0])]


def test_no_configuration_yet(tmp_path: Path) -> None:
    assert look.behind(str(tmp_path / "none"), []) == [str(tmp_path / "none")]
