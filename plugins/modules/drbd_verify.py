#!/usr/bin/python
# Copyright: (c) 2026, the cloudexit maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: drbd_verify
short_description: Compares the two disks of a DRBD resource while they are in use, and mends what differs
version_added: "0.2.0"
description:
  - An online verification reads both disks block by block and compares checksums (the option C(verify-alg) of the
    section C(net)); writes go on meanwhile. Blocks that differ are marked, nothing is copied.
  - Works with the kernel modules 8.4 and 9. Run it on the node that is primary.
options:
  name:
    description: Name of the resource.
    type: str
    required: true
  minor:
    description: Number of the device, V(0) for C(/dev/drbd0).
    type: int
    default: 0
  state:
    description:
      - V(started) begins a verification unless one runs.
      - V(followed) waits until O(percent) of the disk are compared, and at the end gives back the configured rate.
      - V(mended) copies the blocks which are marked as different from this node's disk to the peer's. It disconnects
        and connects again for that; the peer has no complete copy until the copying is done.
    type: str
    choices: [started, followed, mended]
    required: true
  rate:
    description: Most that is compared in a second, like V(20M), with O(state=started). As configured if empty.
    type: str
    default: ''
  percent:
    description: How far to wait with O(state=followed); V(100) is until it has ended.
    type: int
    default: 100
  timeout:
    description: Seconds after which waiting is given up. The verification itself goes on.
    type: int
    default: 86400
attributes:
  check_mode:
    description: Nothing is started or mended.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
  idempotence:
    description: A verification that runs is not started again; disks that are marked as equal are not mended.
    support: full
requirements:
  - drbd-utils
author:
  - The cloudexit maintainers (@cloudexit)
"""

EXAMPLES = r"""
- name: Begin to compare
  cloudexit.ha_stack.drbd_verify:
    name: mysql
    state: started
    rate: 20M

- name: Wait for the end
  cloudexit.ha_stack.drbd_verify:
    name: mysql
    state: followed
  register: compared
"""

RETURN = r"""
running:
  description: Whether a verification runs.
  returned: always
  type: bool
percent:
  description: How much is compared, or copied. V(100) when nothing runs.
  returned: always
  type: float
out_of_sync_kib:
  description: How much is marked as different, in KiB.
  returned: always
  type: int
seconds:
  description: How long the module waited.
  returned: always
  type: float
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import drbd


class Verification:
    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.name: str = module.params["name"]
        self.begin = time.monotonic()

    def run(self, *argv: str) -> str:
        code, out, err = self.module.run_command(list(argv), environ_update={"LC_ALL": "C"})
        if code:
            self.fail(f"`{' '.join(argv)}` ended with {code}: {(err or out).strip()}")
        return out

    def fail(self, why: str) -> None:
        self.module.fail_json(msg=f"drbd_verify {self.name}: {why}")

    def look(self) -> drbd.Status:
        """The live state. There is no way on from a lost connection or a lost disk."""
        try:
            with open("/proc/drbd", encoding="utf-8") as source:
                text = source.read()
        except OSError:
            text = ""
        if drbd.parse_version(text) >= (9,):
            status = drbd.parse_json(self.run("drbdsetup", "status", "--json", "--statistics", self.name), self.name)
        else:
            status = drbd.parse_proc(text, self.module.params["minor"])
        return status or drbd.Status()

    def sound(self) -> drbd.Status:
        status = self.look()
        why = drbd.broken_off(status)
        if why:
            self.fail(
                f"broken off, {why}. See `drbdadm status {self.name}` on both nodes; begin again when "
                "both are up to date."
            )
        return status

    def expired(self) -> bool:
        return time.monotonic() - self.begin > self.module.params["timeout"]

    def started(self) -> bool:
        if drbd.verifying(self.sound()):
            return False
        if not self.module.check_mode:
            if self.module.params["rate"]:
                # A fixed rate: the controller that adapts it (c-plan-ahead) takes minutes to get going.
                rate = f"--resync-rate={self.module.params['rate']}"
                self.run("drbdadm", "disk-options", "--c-plan-ahead=0", rate, self.name)
            self.run("drbdadm", "verify", self.name)
        return True

    def followed(self) -> bool:
        wanted = self.module.params["percent"]
        while drbd.verifying(status := self.sound()) and not self.module.check_mode:
            if wanted < 100 and (status.done_percent or 0) >= wanted:
                return False
            if self.expired():
                self.fail(
                    f"{status.done_percent} % compared in {self.module.params['timeout']} s. It goes on; follow it "
                    "again."
                )
            time.sleep(0.5)
        if not self.module.check_mode:
            self.run("drbdadm", "adjust", self.name)  # the configured rate again
        return False

    def mended(self) -> bool:
        if self.sound().out_of_sync_kib == 0:
            return False
        if self.module.check_mode:
            return True
        self.run("drbdadm", "disconnect", self.name)
        self.run("drbdadm", "connect", self.name)
        while True:
            status = self.look()
            equal = status.out_of_sync_kib == 0 and status.disk == status.peer_disk == "UpToDate"
            if status.connection == "Connected" and status.replication == "Established" and equal:
                return True
            if status.connection == "StandAlone" or self.expired():
                self.fail(
                    f"not equal again after {time.monotonic() - self.begin:.0f} s: {status.connection}, "
                    f"{status.disk}/{status.peer_disk}, "
                    f"{status.out_of_sync_kib} KiB out of sync. See `drbdadm status {self.name}` and `journalctl -k`."
                )
            time.sleep(0.5)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "minor": {"type": "int", "default": 0},
            "state": {"type": "str", "choices": ["started", "followed", "mended"], "required": True},
            "rate": {"type": "str", "default": ""},
            "percent": {"type": "int", "default": 100},
            "timeout": {"type": "int", "default": 86400},
        },
        supports_check_mode=True,
    )
    work = Verification(module)
    changed = {"started": work.started, "followed": work.followed, "mended": work.mended}[module.params["state"]]()
    status = work.look()
    module.exit_json(
        changed=changed,
        running=drbd.verifying(status),
        percent=100.0 if not drbd.verifying(status) else status.done_percent or 0.0,
        out_of_sync_kib=status.out_of_sync_kib,
        seconds=round(time.monotonic() - work.begin, 1),
    )


if __name__ == "__main__":
    main()
