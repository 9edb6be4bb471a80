# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What iops_check asks of fio and reads from it; recorded from fio 3.33 and 3.39."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import iops_check
from ansible_collections.cloudexit.ha_stack.plugins.module_utils.disk import Disk
from ansible_collections.cloudexit.ha_stack.plugins.module_utils.iops_check import MIB, Run

RECORDED = Path(__file__).parent / "recorded"


@pytest.mark.parametrize("release, reads, writes", [("md_12", 2384.3, 1068.0), ("md_13", 2578.2, 1129.4)])
def test_figures_of_fio(release: str, reads: float, writes: float) -> None:
    found = iops_check.parse((RECORDED / release / "fio_mixed.json").read_text(encoding="utf-8"))
    assert found["engine"] == "libaio"
    assert found["read"]["iops"] == reads
    assert found["write"]["iops"] == pytest.approx(writes, abs=120)
    latency = found["read"]["latency_us"]
    assert latency["p50"] < latency["p95"] < latency["p99"] < latency["p99_9"]
    assert found["read"]["bandwidth_kib"] == pytest.approx(4 * reads, rel=0.01)


@pytest.mark.parametrize("release", ["md_12", "md_13"])
def test_what_fio_could_not_do(release: str) -> None:
    text = (RECORDED / release / "fio_absent.json").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="No such file or directory"):
        iops_check.parse(text)


def test_no_json_at_all() -> None:
    with pytest.raises(ValueError, match="fio: engine io_uring not loadable"):
        iops_check.parse("fio: engine io_uring not loadable\n")


def test_a_profile_that_reads_cannot_write() -> None:
    assert "--readonly" in iops_check.command(Run("/dev/vdb", "random_read"))
    assert "--readonly" not in iops_check.command(Run("/dev/vdb", "random_write"))
    mixed = iops_check.command(Run("/dev/vdb", "random_mixed", queue_depth=8, block_size="16k", seconds=3))
    assert {"--rw=randrw", "--rwmixread=70", "--iodepth=8", "--bs=16k", "--runtime=3", "--direct=1"} <= set(mixed)


def test_the_region_is_away_from_beginning_and_end() -> None:
    offset, size = iops_check.region(400 * MIB, 256 * MIB)
    assert (offset, size) == (8 * MIB, 256 * MIB)
    offset, size = iops_check.region(100 * MIB + 512, 256 * MIB)
    assert offset + size <= 100 * MIB - 8 * MIB
    assert iops_check.region(16 * MIB, 256 * MIB)[1] == 0


EMPTY = Disk("/dev/vdb", found=True, size=1 << 30)
FULL = Disk("/dev/vdb", found=True, size=1 << 30, signatures=["xfs"])
USED = Disk("/dev/vdb", found=True, size=1 << 30, busy=True, used_by="it is mounted at /srv")


@pytest.mark.parametrize(
    "disk, profiles, zero, text",
    [
        (EMPTY, ["random_read", "random_write"], True, ""),
        (FULL, ["random_read"], None, ""),
        (USED, ["random_read"], None, ""),
        (EMPTY, ["random_write"], False, "holds data: there is no signature, but the part that would be written"),
        (FULL, ["random_read", "random_write"], None, "holds data (found: xfs). Nothing is written to it"),
        (USED, ["random_mixed"], None, "is in use: it is mounted at /srv. Nothing is written to a disk in use"),
        (Disk("/dev/vdb"), ["random_read"], None, "/dev/vdb is not there"),
    ],
)
def test_nothing_is_written_where_something_is(disk: Disk, profiles: list[str], zero: bool | None, text: str) -> None:
    refusal = iops_check.refusal(disk, profiles, zero)
    assert (text in refusal) if text else not refusal


def test_what_is_below_its_minimum() -> None:
    assert iops_check.shortfall(797.4, 391.0, 0, 0) == []
    assert iops_check.shortfall(797.4, 391.0, 797, 391) == []
    assert iops_check.shortfall(797.4, 391.0, 1000, 500) == [
        "random read 797 IOPS, at least 1000 wanted",
        "random write 391 IOPS, at least 500 wanted",
    ]
    assert iops_check.shortfall(797.4, None, 0, 1) == ["random write was not measured, at least 1 IOPS are wanted"]


def test_a_pure_profile_counts_before_the_mixed_one() -> None:
    results = {"random_mixed": {"read": {"iops": 1.0}, "write": {"iops": 2.0}}, "random_read": {"read": {"iops": 3.0}}}
    assert iops_check.best(results, "read") == 3.0
    assert iops_check.best(results, "write") == 2.0
    assert iops_check.best({}, "write") is None
