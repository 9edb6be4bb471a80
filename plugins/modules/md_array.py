#!/usr/bin/python
# Copyright: (c) 2026, the cloudexit maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: md_array
short_description: A software RAID of level 10, 1 or 0
version_added: "0.1.0"
description:
  - Looks at the live state first, puts one word to it (RV(array.class)), and does only what is safe in that state.
  - An array is created on disks on which libblkid finds nothing, whose beginning is zero, and which nobody uses.
  - It is never stopped, reshaped or created again over another one. A rebuild onto an empty disk is begun by
    O(state=replaced) or for a spare, never otherwise.
  - The array's line in O(config) is written before the array is made, with the UUID that it will have.
options:
  name:
    description: Name of the array, V(mysql) for C(/dev/md/mysql).
    type: str
    required: true
  level:
    description: The RAID level.
    type: str
    choices: ['10', '1', '0']
    default: '10'
  devices:
    description: The disks, in order. Layout V(n2) mirrors neighbours, first and second, third and fourth.
    type: list
    elements: str
    required: true
  spares:
    description: Disks that stand by for one that fails.
    type: list
    elements: str
    default: []
  layout:
    description: Where RAID10 puts the copies. V(n), V(f) or V(o) (near, far, offset) and their number.
    type: str
    default: n2
  chunk:
    description: Size of a stripe on one disk in KiB. RAID1 has none.
    type: int
    default: 512
  bitmap:
    description: A bitmap in the array notes what is being written, so that only that is synchronised after a crash.
    type: bool
    default: true
  state:
    description:
      - V(query) changes nothing and never fails for the state it finds.
      - V(present) creates the array on empty disks, assembles a stopped one, takes a lost member back, adds a spare.
      - V(replaced) brings the members of a running array to O(devices) and O(spares), one working disk at a time. The
        old disk is given up when the new one is whole.
    type: str
    choices: [query, present, replaced]
    default: present
  wait:
    description: Seconds to wait at most for a resync or rebuild. By default nothing is waited for.
    type: int
    default: 0
  wait_progress:
    description: Return earlier, once it has advanced by so many percent. V(0) waits for its end.
    type: int
    default: 0
  size_tolerance_percent:
    description: By how much the smallest disk may be smaller than the largest.
    type: float
    default: 1.0
  config:
    description: mdadm's configuration file, which gets the array's line.
    type: path
    default: /etc/mdadm/mdadm.conf
  allow_wipe:
    description: Whether what is found on a disk may be erased. A disk in use is never erased.
    type: bool
    default: false
  wipe_variable:
    description: Name of the variable that the message of a refusal names.
    type: str
    default: allow_wipe
attributes:
  check_mode:
    description: Says what it would do and changes nothing.
    support: full
  diff_mode:
    description: Shows the change of the configuration file, the state before, and the commands.
    support: full
  idempotence:
    description: A second run does nothing.
    support: full
requirements:
  - mdadm, util-linux
author:
  - The cloudexit maintainers (@cloudexit)
"""

EXAMPLES = r"""
- name: A RAID10 of four disks with a spare
  cloudexit.ha_stack.md_array:
    name: mysql
    devices: [/dev/vdb, /dev/vdc, /dev/vdd, /dev/vde]
    spares: [/dev/vdf]

- name: See how it is
  cloudexit.ha_stack.md_array:
    name: mysql
    devices: [/dev/vdb, /dev/vdc, /dev/vdd, /dev/vde]
    state: query
  register: mysql_disk
"""

RETURN = r"""
array:
  description: The live state after the module ran (before it, in check mode).
  returned: always
  type: dict
  contains:
    class:
      description: >-
        V(absent) (empty disks), V(missing) (a disk is not there), V(foreign) (a disk holds something or is in use),
        V(stopped), V(incomplete) (stopped, and not all members are there), V(different) (another name, level, geometry
        or other disks), V(clean), V(resyncing), V(recovering), V(reshaping), V(checking), V(degraded).
      type: str
      returned: always
      sample: clean
    device:
      description: Device of the running array as the kernel calls it. Empty if it does not run.
      type: str
      returned: always
      sample: /dev/md127
    name:
      description: Name in the superblock.
      type: str
      returned: always
    uuid:
      description: UUID as mdadm writes it.
      type: str
      returned: always
    level:
      description: RAID level.
      type: str
      returned: always
    layout:
      description: Layout of a RAID10.
      type: str
      returned: always
    chunk_kib:
      description: Chunk in KiB.
      type: int
      returned: always
    bitmap:
      description: Whether there is a bitmap.
      type: bool
      returned: always
    running:
      description: Whether it runs.
      type: bool
      returned: always
    devices:
      description: How many disks belong to it when it is whole.
      type: int
      returned: always
    active:
      description: How many of them hold all their data.
      type: int
      returned: always
    action:
      description: What the kernel is at, in the words of C(/proc/mdstat).
      type: str
      returned: always
      sample: recovery
    done_percent:
      description: How much of it is done.
      type: float
      returned: always
    minutes_left:
      description: The kernel's guess at the rest.
      type: float
      returned: always
    members:
      description: Path, slot and state (V(active), V(rebuilding), V(replacement), V(spare), V(faulty)) of each.
      type: list
      elements: dict
      returned: always
    spares:
      description: Paths of the spares that stand by.
      type: list
      elements: str
      returned: always
    faulty:
      description: Paths of the members that failed.
      type: list
      elements: str
      returned: always
    missing:
      description: Disks of the inventory that are not in it.
      type: list
      elements: str
      returned: always
refusal:
  description: Why O(state=present) would refuse to act. Empty if it would not.
  returned: always
  type: str
notes:
  description: What a run does not do by itself, and what to do about it.
  returned: always
  type: list
  elements: str
pending:
  description: What O(state=present) has left to do, or would do after O(state=query).
  returned: always
  type: list
  elements: str
commands:
  description: What was run, or would be in check mode.
  returned: always
  type: list
  elements: str
"""

import glob
import os
import shlex
import tempfile
import time
import uuid

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import disk, md_array


class Manager:
    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        params = module.params
        self.wanted = md_array.Wanted(
            name=params["name"],
            level=params["level"],
            devices=params["devices"],
            spares=params["spares"],
            layout=params["layout"],
            chunk_kib=params["chunk"],
            bitmap=params["bitmap"],
            tolerance_percent=params["size_tolerance_percent"],
            wipe_variable=params["wipe_variable"],
            allow_wipe=params["allow_wipe"],
        )
        self.commands: list[str] = []
        self.diff: list[dict[str, str]] = []

    def read(self, *argv: str) -> str:
        """A command that only looks; its failure is an answer too."""
        if not self.module.get_bin_path(argv[0], opt_dirs=["/sbin", "/usr/sbin"]):
            return ""
        _dummy, out, _err = self.module.run_command(list(argv), environ_update={"LC_ALL": "C"})
        return out

    def run(self, argv: list[str]) -> None:
        """A command that changes something."""
        self.commands.append(shlex.join(argv))
        if self.module.check_mode:
            return
        code, out, err = self.module.run_command(argv, data="", environ_update={"LC_ALL": "C"})
        if code:
            self.fail(f"`{shlex.join(argv)}` ended with {code}: {(err or out).strip()}")

    def fail(self, why: str) -> None:
        view = self.look()
        self.module.fail_json(
            msg=f"md_array {self.wanted.name}: {why}",
            commands=self.commands,
            array=md_array.report(view, self.wanted),
            refusal=why,
        )

    def arrays(self) -> list[md_array.Array]:
        try:
            with open("/proc/mdstat", encoding="ascii") as source:
                found = md_array.parse_mdstat(source.read())
        except OSError:
            return []
        for array in found:
            export = md_array.parse_export(self.read("mdadm", "--detail", "--export", f"/dev/{array.kernel_name}"))
            export = {key: os.path.realpath(value) if key.endswith("_DEV") else value for key, value in export.items()}
            states = {}
            for path in glob.glob(f"/sys/block/{array.kernel_name}/md/dev-*/state"):
                with open(path, encoding="ascii") as source:
                    states[path.split("/")[-2].removeprefix("dev-")] = source.read().strip()
            md_array.add_details(array, export, states)
        return found

    def look(self) -> md_array.View:
        view = md_array.View()
        listing = self.read("lsblk", "--json", "--bytes", "--output", disk.COLUMNS)
        for device in self.wanted.all:
            view.disks[device] = disk.probe(self.read, device, listing)
            view.real[device] = os.path.realpath(device)
            if "linux_raid_member" in view.disks[device].signatures:
                view.superblocks[device] = md_array.parse_export(self.read("mdadm", "--examine", "--export", device))
        view.array = md_array.find(self.arrays(), self.wanted.name, [view.real[d] for d in self.wanted.devices])
        return view

    def config(self, identity: str) -> tuple[str, str]:
        """mdadm.conf as it is, and with the array's line, from which udev and the initramfs know its name."""
        path = self.module.params["config"]
        present = ""
        if os.path.exists(path):
            with open(path, encoding="utf-8") as source:
                present = source.read()
        return present, md_array.with_array_line(present, self.wanted, identity)

    def configure(self, identity: str) -> None:
        path = self.module.params["config"]
        present, text = self.config(identity)
        if text == present:
            return
        self.diff.append({"before": present, "after": text, "before_header": path, "after_header": path})
        self.commands.append(f"write {path}")
        if self.module.check_mode:
            return
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        handle, draft = tempfile.mkstemp(prefix="mdadm-", dir=self.module.tmpdir)
        with os.fdopen(handle, "w", encoding="utf-8") as target:
            target.write(text)
        self.module.atomic_move(draft, path)
        self.module.set_mode_if_different(path, "0644", False)

    def pending(self, view: md_array.View, plan: md_array.Plan) -> list[str]:
        """What state=present would do, in words for a person."""
        identity = md_array.identity(view, self.wanted)
        present, text = self.config(identity) if identity else ("", "")
        write = [f"write {self.module.params['config']}"] if present != text else []
        return write + [shlex.join(command) for command in plan.commands]

    def present(self, view: md_array.View) -> md_array.View:
        new = uuid.uuid4().hex
        new = ":".join(new[begin : begin + 8] for begin in range(0, 32, 8))
        if self.module.check_mode:
            new = "(chosen when it is created)"
        plan = md_array.plan_present(view, self.wanted, new)
        if plan.refusal:
            self.fail(plan.refusal)
        self.configure(md_array.identity(view, self.wanted) or new)
        for command in plan.commands:
            self.run(command)
        if not plan.commands or self.module.check_mode:
            return view
        self.read("udevadm", "settle", "--timeout=20")
        return self.look()

    def replaced(self, view: md_array.View) -> md_array.View:
        failed = view.array.paths("faulty") if view.array else []
        while True:
            plan = md_array.plan_replaced(view, self.wanted, failed)
            if plan.refusal:
                self.fail(plan.refusal)
            for command in plan.commands:
                self.run(command)
            if not plan.commands or self.module.check_mode:
                return view
            view = self.wait(self.look())
            if md_array.copying(view):
                return view  # what is left to do, giving up the old disk, is done by the next run

    def wait(self, view: md_array.View) -> md_array.View:
        """Until nothing is being copied, or for as long or as far as was asked for."""
        deadline = time.monotonic() + self.module.params["wait"]
        step = self.module.params["wait_progress"] or 1000
        begin = md_array.done(view)
        while md_array.copying(view) and time.monotonic() < deadline and md_array.done(view) < begin + step:
            time.sleep(1)
            view = self.look()
        return view


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "level": {"type": "str", "choices": ["10", "1", "0"], "default": "10"},
            "devices": {"type": "list", "elements": "str", "required": True},
            "spares": {"type": "list", "elements": "str", "default": []},
            "layout": {"type": "str", "default": "n2"},
            "chunk": {"type": "int", "default": 512},
            "bitmap": {"type": "bool", "default": True},
            "state": {"type": "str", "choices": ["query", "present", "replaced"], "default": "present"},
            "wait": {"type": "int", "default": 0},
            "wait_progress": {"type": "int", "default": 0},
            "size_tolerance_percent": {"type": "float", "default": 1.0},
            "config": {"type": "path", "default": "/etc/mdadm/mdadm.conf"},
            "allow_wipe": {"type": "bool", "default": False},
            "wipe_variable": {"type": "str", "default": "allow_wipe"},
        },
        supports_check_mode=True,
    )
    manager = Manager(module)
    wanted = manager.wanted
    state = module.params["state"]
    before = after = manager.look()
    if state == "present":
        after = manager.present(before)
    elif state == "replaced":
        after = manager.replaced(before)
    if not module.check_mode:
        after = manager.wait(after)
    if manager.commands:
        manager.diff.append(
            {
                "before": f"{md_array.classify(before, wanted)}\n",
                "after": "".join(f"{command}\n" for command in manager.commands),
                "before_header": f"{wanted.path} (live state)",
                "after_header": f"{wanted.path} (commands)",
            }
        )
    plan = md_array.plan_present(after, wanted)
    module.exit_json(
        changed=bool(manager.commands),
        commands=manager.commands,
        diff=manager.diff,
        array=md_array.report(after, wanted),
        refusal=plan.refusal,
        notes=plan.notes,
        pending=manager.pending(after, plan),
    )


if __name__ == "__main__":
    main()
