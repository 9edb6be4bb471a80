# Copyright: (c) 2026, the cloudexit maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How disks are measured with fio: command lines, its JSON, and the judgement. Nothing here touches a system."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from .disk import Disk

PROFILES = {"random_read": "randread", "random_write": "randwrite", "random_mixed": "randrw"}
# The first that works is taken: io_uring may be forbidden by a sysctl or missing from the kernel.
ENGINES = ("io_uring", "libaio")
MIB = 1 << 20
# A device's beginning and end stay untouched: that is where signatures are looked for.
MARGIN = 8 * MIB
PERCENTILES = {"p50": 50.0, "p95": 95.0, "p99": 99.0, "p99_9": 99.9}


@dataclass(frozen=True)
class Run:
    """How one profile is measured; `size` is the region in bytes, 0 for all there is."""

    target: str
    profile: str
    engine: str = "libaio"
    block_size: str = "4k"
    queue_depth: int = 32
    jobs: int = 1
    seconds: int = 5
    ramp_seconds: int = 1
    read_percent: int = 70
    offset: int = 0
    size: int = 0


def writes(profile: str) -> bool:
    return profile != "random_read"


def command(run: Run) -> list[str]:
    """fio's command line; a profile that only reads cannot write whatever else is said."""
    line = ["fio", f"--name={run.profile}", f"--filename={run.target}", f"--rw={PROFILES[run.profile]}"]
    if run.profile == "random_mixed":
        line.append(f"--rwmixread={run.read_percent}")
    if not writes(run.profile):
        line.append("--readonly")
    line += [f"--bs={run.block_size}", f"--iodepth={run.queue_depth}", f"--numjobs={run.jobs}"]
    line += [f"--ioengine={run.engine}", "--direct=1", "--time_based", f"--runtime={run.seconds}"]
    line += [f"--ramp_time={run.ramp_seconds}", "--randrepeat=0", "--norandommap", "--group_reporting"]
    line += [f"--percentile_list={':'.join(f'{p:g}' for p in PERCENTILES.values())}"]
    if run.size:
        line += [f"--offset={run.offset}", f"--size={run.size}"]
    return [*line, "--output-format=json"]


def fill(run: Run) -> list[str]:
    """Writes the region once from end to end: blocks that were never written are read without asking a disk."""
    line = [
        "fio",
        "--name=fill",
        f"--filename={run.target}",
        "--rw=write",
        "--bs=1M",
        "--iodepth=8",
        "--ioengine=libaio",
    ]
    return [
        *line,
        "--direct=1",
        "--refill_buffers",
        "--end_fsync=1",
        f"--offset={run.offset}",
        f"--size={run.size}",
        "--output-format=json",
    ]


def region(disk_size: int, wanted: int) -> tuple[int, int]:
    """Offset and length of the part of a device that is written, in whole MiB; a length of 0 if it is too small."""
    room = (disk_size - 2 * MARGIN) // MIB * MIB
    return MARGIN, max(0, min(wanted, room))


def _direction(found: dict[str, Any]) -> dict[str, Any]:
    percentiles = {float(key): value for key, value in (found.get("clat_ns", {}).get("percentile") or {}).items()}
    return {
        "iops": round(float(found["iops"]), 1),
        "bandwidth_kib": int(found["bw"]),
        "latency_us": {
            "mean": round(float(found["clat_ns"]["mean"]) / 1000, 1),
            **{name: round(percentiles[at] / 1000, 1) for name, at in PERCENTILES.items() if at in percentiles},
        },
    }


def parse(text: str) -> dict[str, Any]:
    """fio's JSON: IOPS, KiB/s and microseconds of reads and writes; ValueError with fio's words if there are none."""
    begin = text.find("{")
    if begin < 0:
        raise ValueError(text.strip() or "fio said nothing")
    # Warnings may stand before and after the document.
    document, _end = json.JSONDecoder().raw_decode(text[begin:])
    job = document["jobs"][0]
    if job.get("error"):
        raise ValueError(text[:begin].strip() or f"fio's error {job['error']}")
    result = {kind: _direction(job[kind]) for kind in ("read", "write") if job[kind]["total_ios"]}
    if not result:
        raise ValueError("fio moved nothing in the time it had")
    return {"engine": job.get("job options", {}).get("ioengine", ""), **result}


def refusal(disk: Disk, profiles: list[str], region_zero: bool | None = None) -> str:
    """Why a device may not be measured so; '' if it may. `region_zero`: whether the part to be written is all zero."""
    if not disk.found:
        return f"{disk.path} is not there."
    written = [profile for profile in profiles if writes(profile)]
    if not written:
        return ""
    advice = (
        f"Measure it with profiles: [random_read], or writes in a directory on it. ({', '.join(written)} would write.)"
    )
    if disk.busy or disk.used_by:
        return f"{disk.path} is in use: {disk.used_by}. Nothing is written to a disk in use. {advice}"
    if disk.signatures:
        return (
            f"{disk.path} holds data (found: {', '.join(disk.signatures)}). Nothing is written to it. {advice} "
            f"See `wipefs {disk.path}`."
        )
    if region_zero is False:
        return (
            f"{disk.path} holds data: there is no signature, but the part that would be written is not all zero. "
            f"{advice} If it is what an interrupted measurement left: `blkdiscard --zeroout {disk.path}`, which "
            "erases all of it."
        )
    return ""


def shortfall(read_iops: float | None, write_iops: float | None, min_read: int, min_write: int) -> list[str]:
    """What is below its minimum, with both figures."""
    found = []
    for name, measured, least in (("read", read_iops, min_read), ("write", write_iops, min_write)):
        if least and measured is None:
            found.append(f"random {name} was not measured, at least {least} IOPS are wanted")
        elif least and measured is not None and measured < least:
            found.append(f"random {name} {measured:.0f} IOPS, at least {least} wanted")
    return found


def best(results: dict[str, dict[str, Any]], kind: str) -> float | None:
    """The figure of a pure profile before that of the mixed one."""
    for profile in (f"random_{kind}", "random_mixed"):
        if kind in results.get(profile, {}):
            return float(results[profile][kind]["iops"])
    return None
