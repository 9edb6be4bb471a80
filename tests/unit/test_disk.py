# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who uses a disk, from what lsblk 2.38 and 2.41 really print, and what is on it."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import disk

RECORDED = Path(__file__).parent / "recorded"


@pytest.mark.parametrize("release", ["md_12", "md_13"])
@pytest.mark.parametrize(
    "path, kind, words",
    [
        ("/dev/ubda", "disk", "it is mounted at /"),
        ("/dev/ubde", "disk", "it belongs to the array /dev/md127, mounted at /srv/data"),
        ("/dev/ubdg", "disk", "it belongs to the array /dev/md126"),
        ("/dev/md127", "raid10", "it is mounted at /srv/data"),
        ("/dev/ubdp", "disk", ""),
    ],
)
def test_users_that_lsblk_knows(release: str, path: str, kind: str, words: str) -> None:
    entry = disk.find((RECORDED / release / "lsblk.json").read_text(encoding="utf-8"), path)
    assert entry is not None and entry["type"] == kind
    assert disk.use(entry) == words


def test_swap_lvm_and_partitions() -> None:
    assert disk.use({"mountpoints": ["[SWAP]"]}) == "it is used as swap"
    volume = {"type": "lvm", "path": "/dev/mapper/vg-home", "mountpoints": ["/home"]}
    assert (
        disk.use({"mountpoints": [None], "children": [volume]})
        == "LVM uses it for /dev/mapper/vg-home, mounted at /home"
    )
    part = {"type": "part", "path": "/dev/vdb1", "mountpoints": [None]}
    assert disk.use({"mountpoints": [None], "children": [part]}) == "it has the partition /dev/vdb1"
    crypt = {"type": "crypt", "path": "/dev/mapper/x"}
    assert disk.use({"children": [crypt]}) == "/dev/mapper/x (crypt) is built on it"


@pytest.mark.parametrize("release", ["md_12", "md_13"])
def test_signature_of_a_member(release: str) -> None:
    text = (RECORDED / release / "wipefs_member.json").read_text(encoding="utf-8")
    assert disk.parse_signatures(text) == ["linux_raid_member"]


def test_signatures_in_the_order_of_the_disk() -> None:
    found = '{"signatures": [{"device":"vdb","offset":"0x7ffff03c","type":"drbd"},{"offset":"0x0","type":"xfs"}]}'
    assert disk.parse_signatures(found) == ["xfs", "drbd"]
    assert disk.parse_signatures('{\n   "signatures": [\n\n   ]\n}') == []
    assert disk.parse_signatures("") == []


def test_a_disk_that_is_not_there(tmp_path: Path) -> None:
    found = disk.probe(lambda *_argv: "", str(tmp_path / "absent"))
    assert not found.found and not found.holds_data


def test_a_beginning_that_is_not_zero(tmp_path: Path) -> None:
    file = tmp_path / "disk"
    file.write_bytes(bytes(disk.BEGINNING + 4096))
    assert disk.probe(lambda *_argv: "", str(file)).signatures == []
    file.write_bytes(bytes(disk.BEGINNING - 1) + b"x")
    assert disk.probe(lambda *_argv: "", str(file)).signatures == ["unknown data"]
