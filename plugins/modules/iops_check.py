#!/usr/bin/python
# Copyright: (c) 2026, the cloudexit maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: iops_check
short_description: Measures a disk with fio and compares it with what is wanted
version_added: "0.1.0"
description:
  - Random reads, random writes, or a mixture, past the page cache.
  - Nothing is written to a device that is in use, on which libblkid finds something, or whose part to be written is not
    all zero. Such a device can be measured with V(random_read), which opens it for reading only.
  - An empty device is written in one region, away from its beginning and end, which is filled before reads are measured
    and zeroed afterwards. It is then as empty as before.
  - In a directory a file is made, measured and removed.
options:
  target:
    description: A block device, or a directory on the filesystem to measure.
    type: path
    required: true
  profiles:
    description: What is measured, one after another.
    type: list
    elements: str
    choices: [random_read, random_write, random_mixed]
    default: [random_read, random_write]
  block_size:
    description: Size of one operation. InnoDB's pages are V(16k).
    type: str
    default: 4k
  queue_depth:
    description: Operations under way at once.
    type: int
    default: 32
  jobs:
    description: Processes that do so.
    type: int
    default: 1
  seconds:
    description: How long each profile is measured, after O(ramp_seconds).
    type: int
    default: 5
  ramp_seconds:
    description: How long it runs before that.
    type: int
    default: 1
  read_percent:
    description: Share of reads in V(random_mixed).
    type: int
    default: 70
  size:
    description: Size of the region or file that is written, in MiB. Reads of a device that holds data go all over it.
    type: int
    default: 256
  ioengine:
    description: V(auto) takes io_uring if it works here, else libaio.
    type: str
    choices: [auto, io_uring, libaio]
    default: auto
  min_read_iops:
    description: Fail below so many reads per second. V(0) asks for none.
    type: int
    default: 0
  min_write_iops:
    description: Fail below so many writes per second. V(0) asks for none.
    type: int
    default: 0
attributes:
  check_mode:
    description: Nothing is measured and nothing is written; it says whether it would be refused.
    support: full
  diff_mode:
    description: Nothing stays changed that could be shown.
    support: none
  idempotence:
    description: It measures each time, and leaves nothing behind.
    support: N/A
requirements:
  - fio, util-linux
author:
  - The cloudexit maintainers (@cloudexit)
"""

EXAMPLES = r"""
- name: An empty disk must be good for 3000 reads and 1000 writes of a page of InnoDB
  cloudexit.ha_stack.iops_check:
    target: /dev/md/mysql
    block_size: 16k
    min_read_iops: 3000
    min_write_iops: 1000

- name: Reads of a disk in use
  cloudexit.ha_stack.iops_check:
    target: /dev/md/mysql
    profiles: [random_read]
"""

RETURN = r"""
results:
  description: >-
    Per profile the C(engine), and of C(read) and C(write), if it has them, C(iops), C(bandwidth_kib) (KiB per second)
    and C(latency_us) (mean, p50, p95, p99, p99_9 in microseconds). Empty in check mode.
  returned: always
  type: dict
  sample:
    random_read:
      engine: io_uring
      read: {iops: 797.2, bandwidth_kib: 3188, latency_us: {mean: 40120.1, p50: 39583.7, p95: 42205.2, p99: 45351.0}}
read_iops:
  description: Reads per second, of V(random_read) if it was measured, else of V(random_mixed).
  returned: always
  type: float
write_iops:
  description: Writes per second in the same way.
  returned: always
  type: float
shortfall:
  description: What is below its minimum, in words.
  returned: always
  type: list
  elements: str
commands:
  description: What was run, or would be in check mode.
  returned: always
  type: list
  elements: str
"""

import contextlib
import os
import shlex
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import disk, iops_check

BLOCK = 4 * iops_check.MIB


class Measurement:
    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        params = module.params
        self.target: str = params["target"]
        self.profiles: list[str] = list(dict.fromkeys(params["profiles"]))
        self.engines = iops_check.ENGINES if params["ioengine"] == "auto" else (params["ioengine"],)
        self.size: int = params["size"] * iops_check.MIB
        self.commands: list[str] = []
        self.model = iops_check.Run(
            target=os.path.realpath(self.target),
            profile=self.profiles[0],
            engine=self.engines[0],
            block_size=params["block_size"],
            queue_depth=params["queue_depth"],
            jobs=params["jobs"],
            seconds=params["seconds"],
            ramp_seconds=params["ramp_seconds"],
            read_percent=params["read_percent"],
        )

    def read(self, *argv: str) -> str:
        """A command that only looks; its failure is an answer too."""
        _dummy, out, _err = self.module.run_command(list(argv), environ_update={"LC_ALL": "C"})
        return out

    def fail(self, why: str, **more: Any) -> None:
        self.module.fail_json(msg=f"iops_check {self.target}: {why}", commands=self.commands, **more)

    def run(self, argv: list[str]) -> tuple[int, str, str]:
        self.commands.append(shlex.join(argv))
        if self.module.check_mode:
            return 0, "", ""
        return self.module.run_command(argv, environ_update={"LC_ALL": "C"}, cwd="/")

    def must(self, argv: list[str]) -> None:
        code, out, err = self.run(argv)
        if code:
            self.fail(f"`{shlex.join(argv)}` ended with {code}: {(err or out).strip()[-500:]}")

    def zero(self, run: iops_check.Run) -> bool:
        """Whether the region holds nothing but zeros."""
        nothing = bytes(BLOCK)
        with open(run.target, "rb", buffering=0) as device:
            device.seek(run.offset)
            left = run.size
            while left:
                block = device.read(min(BLOCK, left))
                if not block:
                    break
                if block != nothing[: len(block)]:
                    return False
                left -= len(block)
            os.posix_fadvise(device.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return True

    @contextlib.contextmanager
    def on_device(self) -> Iterator[iops_check.Run]:
        """What to run on a block device, which is afterwards as it was."""
        found = disk.probe(self.read, self.target)
        why = iops_check.refusal(found, self.profiles)
        if why:
            self.fail(why)
        if found.holds_data or found.used_by:
            yield self.model  # reads only, all over it
            return
        offset, size = iops_check.region(found.size, self.size)
        run = replace(self.model, offset=offset, size=size)
        if not size:
            self.fail(f"it has {found.size // iops_check.MIB} MiB, too few to measure anything on it.")
        empty = self.zero(run)
        if not empty and not any(map(iops_check.writes, self.profiles)):
            yield self.model
            return
        why = iops_check.refusal(found, self.profiles, empty)
        if why:
            self.fail(why)
        try:
            self.must(iops_check.fill(run))
            yield run
        finally:
            self.must(["blkdiscard", "--zeroout", "--offset", str(offset), "--length", str(size), run.target])
            if not self.module.check_mode and not self.zero(run):
                self.fail("the region that was written could not be zeroed; look at `journalctl -k`.")

    @contextlib.contextmanager
    def in_directory(self) -> Iterator[iops_check.Run]:
        room = os.statvfs(self.target)
        free = room.f_bavail * room.f_frsize
        if free < 2 * self.size:
            self.fail(
                f"{free // iops_check.MIB} MiB are free, twice the size of the file that is written "
                f"({self.size // iops_check.MIB} MiB) is needed. Make room, or lower size."
            )
        if self.module.check_mode:
            yield replace(self.model, target=os.path.join(self.target, ".iops_check-(chosen)"), size=self.size)
            return
        handle, path = tempfile.mkstemp(prefix=".iops_check-", dir=self.target)
        os.close(handle)
        try:
            run = replace(self.model, target=path, size=self.size)
            self.must(iops_check.fill(run))
            yield run
        finally:
            os.unlink(path)

    def measure(self, run: iops_check.Run) -> dict[str, Any]:
        said = []
        for engine in self.engines:
            code, out, err = self.run(iops_check.command(replace(run, engine=engine)))
            if self.module.check_mode:
                return {}
            try:
                if code == 0:
                    return {**iops_check.parse(out), "engine": engine}
                said.append(f"{engine}: {err.strip() or out.strip()[:300]}")
            except ValueError as error:
                said.append(f"{engine}: {error}")
        self.fail(f"fio could not measure {run.profile}: {'; '.join(said)}")
        return {}

    def all(self) -> dict[str, dict[str, Any]]:
        try:
            mode = os.stat(self.model.target).st_mode
        except OSError as error:
            self.fail(f"{error.strerror}. Attach the disk, or correct the path.")
            return {}
        if stat.S_ISBLK(mode):
            context = self.on_device()
        elif stat.S_ISDIR(mode):
            context = self.in_directory()
        else:
            self.fail("it is neither a block device nor a directory. A file is never written to: name its directory.")
            return {}
        with context as run:
            results = {profile: self.measure(replace(run, profile=profile)) for profile in self.profiles}
        return {} if self.module.check_mode else results


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "target": {"type": "path", "required": True},
            "profiles": {
                "type": "list",
                "elements": "str",
                "choices": ["random_read", "random_write", "random_mixed"],
                "default": ["random_read", "random_write"],
            },
            "block_size": {"type": "str", "default": "4k"},
            "queue_depth": {"type": "int", "default": 32},
            "jobs": {"type": "int", "default": 1},
            "seconds": {"type": "int", "default": 5},
            "ramp_seconds": {"type": "int", "default": 1},
            "read_percent": {"type": "int", "default": 70},
            "size": {"type": "int", "default": 256},
            "ioengine": {"type": "str", "choices": ["auto", "io_uring", "libaio"], "default": "auto"},
            "min_read_iops": {"type": "int", "default": 0},
            "min_write_iops": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    measurement = Measurement(module)
    if not module.check_mode and not module.get_bin_path("fio"):
        measurement.fail("fio is not installed: apt-get install fio")
    results = measurement.all()
    read_iops, write_iops = iops_check.best(results, "read"), iops_check.best(results, "write")
    short = []
    if not module.check_mode:
        short = iops_check.shortfall(
            read_iops, write_iops, module.params["min_read_iops"], module.params["min_write_iops"]
        )
    answer = {
        "results": results,
        "read_iops": read_iops,
        "write_iops": write_iops,
        "shortfall": short,
    }
    if short:
        measurement.fail(
            f"{'; '.join(short)} ({module.params['block_size']} blocks, {module.params['queue_depth']} at once).",
            **answer,
        )
    module.exit_json(changed=False, commands=measurement.commands, **answer)


if __name__ == "__main__":
    main()
