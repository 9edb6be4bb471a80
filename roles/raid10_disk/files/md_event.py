# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""mdadm's monitor calls this with an event, an array and perhaps a disk: for the journal and for Prometheus."""

from __future__ import annotations

import os
import re
import sys
import syslog
import time
from pathlib import Path

CRITICAL = ("Fail", "FailSpare", "DegradedArray", "DeviceDisappeared")
EVENT = "ha_stack_md_event_timestamp_seconds"
HEAD = (
    "# HELP ha_stack_md_degraded Disks that an md array lacks.\n# TYPE ha_stack_md_degraded gauge\n",
    f"# HELP {EVENT} When mdadm last told of an event.\n# TYPE {EVENT} gauge\n",
)


def name(array: str) -> str:
    """mysql for /dev/md127, if /dev/md/mysql is that."""
    kernel = os.path.basename(os.path.realpath(array))
    for link in sorted(Path("/dev/md").glob("*")):
        if os.path.basename(os.path.realpath(link)) == kernel:
            return link.name
    return os.path.basename(array)


def degraded(root: str = "/sys/block") -> dict[str, int]:
    found = {}
    for file in sorted(Path(root).glob("md*/md/degraded")):
        found[name(f"/dev/{file.parent.parent.name}")] = int(file.read_text(encoding="ascii"))
    return found


def events(before: str, event: str, array: str, now: float) -> dict[tuple[str, str], float]:
    """When each event of each array was last seen: what the file said, and the new one."""
    found = {
        (match.group(1), match.group(2)): float(match.group(3))
        for match in re.finditer(rf'^{EVENT}{{array="([^"]*)",event="([^"]*)"}} (\S+)$', before, re.MULTILINE)
    }
    # Rebuild20, Rebuild40 … are one kind.
    found[array, re.sub(r"\d+$", "", event)] = now
    return found


def render(lacking: dict[str, int], seen: dict[tuple[str, str], float]) -> str:
    lines = [f'ha_stack_md_degraded{{array="{array}"}} {count}\n' for array, count in sorted(lacking.items())]
    times = [f'{EVENT}{{array="{array}",event="{event}"}} {at:.3f}\n' for (array, event), at in sorted(seen.items())]
    return "".join([HEAD[0], *lines, HEAD[1], *times])


def main(file: str, event: str, array: str, disk: str = "") -> None:
    called = name(array)
    syslog.openlog("ha_stack_md_event", facility=syslog.LOG_DAEMON)
    level = syslog.LOG_CRIT if event in CRITICAL else syslog.LOG_NOTICE
    syslog.syslog(level, f"{event} {called} ({array}){f' disk {disk}' if disk else ''}")
    target = Path(file)
    target.parent.mkdir(parents=True, exist_ok=True)
    before = target.read_text(encoding="utf-8") if target.exists() else ""
    draft = target.with_suffix(f".{os.getpid()}")
    draft.write_text(render(degraded(), events(before, event, called, time.time())), encoding="utf-8")
    draft.chmod(0o644)
    draft.replace(target)


if __name__ == "__main__":
    main(*sys.argv[1:])
