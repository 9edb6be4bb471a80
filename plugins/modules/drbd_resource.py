#!/usr/bin/python
# Copyright: (c) 2026, the cloudexit maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: drbd_resource
short_description: A DRBD resource of two nodes, and the filesystem on it
version_added: "0.1.0"
description:
  - Looks at the live state first, puts one word to it (RV(drbd.class)), and does only what is safe in that state.
  - Works with the kernel modules 8.4 (which has no JSON) and 9, and returns one shape for both.
  - Metadata is created only on a disk on which libblkid finds nothing; a filesystem only on a resource on which it
    finds nothing. A primary is never forced.
  - A running resource is never stopped, and a stopped one is started only with O(start=true), so that the cluster
    manager keeps the last word.
options:
  name:
    description: Name of the resource.
    type: str
    required: true
  minor:
    description: Number of the device, V(0) for C(/dev/drbd0).
    type: int
    default: 0
  port:
    description: TCP port of the replication.
    type: int
    default: 7788
  members:
    description: Both nodes, always in the same order (DRBD 9 numbers them by it).
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The node's name as C(uname -n) prints it.
        type: str
        required: true
      address:
        description: IPv4 address for the replication.
        type: str
        required: true
      device:
        description: The disk below, on that node.
        type: str
        required: true
  node:
    description: Which of the O(members) this host is. By default the one named like the host.
    type: str
  state:
    description:
      - V(query) changes nothing and never fails for the state it finds.
      - V(present) writes the configuration, creates metadata on an empty disk and applies changed options online.
      - V(initialized), for one of the two nodes, does the first steps of a resource that never held data.
        It skips the first sync, becomes primary and creates the filesystem. It leaves a resource alone that has one.
    type: str
    choices: [query, present, initialized]
    default: present
  net:
    description: Options of the section C(net). The protocol is C if not given.
    type: dict
    default: {}
  disk:
    description: Options of the section C(disk).
    type: dict
    default: {}
  fencing:
    description: What happens to writes when the peer is lost. Written to the section which the kernel module wants.
    type: str
    choices: [resource-and-stonith, resource-only, dont-care]
    default: resource-and-stonith
  fence_handler:
    description: Command that makes sure the lost peer cannot become primary. None with an empty string.
    type: str
    default: ''
  unfence_handler:
    description: Command that takes this back after the peer caught up. By default drbd-utils' own for Pacemaker.
    type: str
    default: ''
  filesystem:
    description: Type of the filesystem that O(state=initialized) creates.
    type: str
    choices: [xfs, ext4]
    default: xfs
  start:
    description: Bring the resource up if it is down. Leave it V(false) when a cluster manager does that.
    type: bool
    default: false
  wait:
    description: How many seconds to wait for the peer after a start and with O(state=initialized).
    type: int
    default: 30
  allow_wipe:
    description: Erase what another use left on the disk. A disk in use is refused nevertheless.
    type: bool
    default: false
  adopt:
    description:
      - Take over DRBD metadata on a host that has no configuration of the resource yet, as after a new installation of
        the system around an old disk. Otherwise such a disk counts as somebody's data.
    type: bool
    default: false
  wipe_variable:
    description: What a refusal calls O(allow_wipe). O(adopt) is called the same with C(adopt) at the end.
    type: str
    default: allow_wipe
attributes:
  check_mode:
    description: Looks, decides, changes nothing.
    support: full
  diff_mode:
    description: The configuration file, the class before and after, and the commands.
    support: full
  idempotence:
    description: Nothing is done when the state is the wanted one.
    support: full
requirements:
  - drbd-utils
  - util-linux with C(wipefs --json)
author:
  - The cloudexit maintainers (@cloudexit)
"""

EXAMPLES = r"""
- name: Look at the disk without touching it
  cloudexit.ha_stack.drbd_resource:
    name: mysql
    members: "{{ members }}"
    state: query

- name: A replicated disk on both nodes
  cloudexit.ha_stack.drbd_resource:
    name: mysql
    members:
      - {name: db1, address: 192.0.2.11, device: /dev/vdb}
      - {name: db2, address: 192.0.2.12, device: /dev/vdb}
    start: true

- name: The filesystem, from one of them
  cloudexit.ha_stack.drbd_resource:
    name: mysql
    members: "{{ members }}"
    state: initialized
    filesystem: xfs
  when: inventory_hostname == groups['mysql'][0]
"""

RETURN = r"""
drbd:
  description: The live state after the module ran (before it, in check mode).
  returned: always
  type: dict
  contains:
    class:
      description: >-
        V(missing) (no such disk), V(absent) (empty disk), V(foreign) (somebody's data), V(stopped) (our metadata, not
        running), V(forming) (both halves without data), V(connected), V(syncing), V(degraded) (without its peer),
        V(standalone) (split brain, or disconnected by hand), V(diskless).
      type: str
      returned: always
      sample: connected
    signatures:
      description: What libblkid finds on the disk, in the order of the disk.
      type: list
      elements: str
      returned: always
      sample: [xfs, drbd]
    role:
      description: Primary, Secondary or Unknown.
      type: str
      returned: always
    peer_role:
      description: The same of the peer.
      type: str
      returned: always
    disk:
      description: State of the disk in DRBD's words.
      type: str
      returned: always
      sample: UpToDate
    peer_disk:
      description: The same of the peer's disk.
      type: str
      returned: always
    connection:
      description: State of the connection in the words of DRBD 9.
      type: str
      returned: always
      sample: Connected
    replication:
      description: State of the replication.
      type: str
      returned: always
      sample: Established
    suspended:
      description: Whether writes are frozen, as they are while the peer is being fenced.
      type: bool
      returned: always
    done_percent:
      description: How much of a sync is done.
      type: float
      returned: always
    out_of_sync_kib:
      description: How much the peer lacks.
      type: int
      returned: always
    fresh:
      description: Whether the metadata never saw data.
      type: bool
      returned: always
    refusal:
      description: Why O(state=present) would refuse to act. Empty if it would not.
      type: str
      returned: always
commands:
  description: What was run, or would be in check mode.
  returned: always
  type: list
  elements: str
version:
  description: Version of the kernel module. Empty if there is none yet.
  returned: always
  type: str
  sample: 8.4.11
"""

import os
import shlex
import tempfile
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import disk, drbd

# Without discarding the device first: DRBD would note all of it in the activity log, and copy all of it after the next
# power cut of the primary (seen: 2 GiB instead of 32 MiB).
MKFS = {
    "xfs": ["mkfs.xfs", "-q", "-K"],
    "ext4": ["mkfs.ext4", "-q", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"],
}


class Resource:
    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        params = module.params
        self.name: str = params["name"]
        self.minor: int = params["minor"]
        self.node: str = params["node"] or os.uname().nodename
        self.members = [drbd.Member(m["name"], m["address"], m["device"]) for m in params["members"]]
        mine = [member for member in self.members if member.name == self.node]
        if len(self.members) != 2 or len({member.name for member in self.members}) != 2 or not mine:
            names = ", ".join(member.name for member in self.members)
            module.fail_json(
                msg=f"drbd_resource {self.name}: members must be two different nodes, one of them this host "
                f"({self.node}); they are: {names}"
            )
        self.device = mine[0].device
        self.path = f"/etc/drbd.d/{self.name}.res"
        self.installed = module.get_bin_path("drbdadm") is not None
        self.version: tuple[int, ...] = ()
        self.commands: list[str] = []
        self.diff: dict[str, str] = {"before": "", "after": ""}

    def read(self, *argv: str) -> str:
        """A command that only looks; its failure is an answer too."""
        if not self.module.get_bin_path(argv[0]):
            return ""
        _dummy, out, _err = self.module.run_command(list(argv), environ_update={"LC_ALL": "C"})
        return out

    def run(self, *argv: str) -> None:
        """A command that changes something."""
        self.commands.append(shlex.join(argv))
        if self.module.check_mode:
            return
        code, out, err = self.module.run_command(list(argv), data="", environ_update={"LC_ALL": "C"})
        if code:
            self.fail(f"`{shlex.join(argv)}` ended with {code}: {(err or out).strip()}")

    def fail(self, why: str) -> None:
        self.module.fail_json(
            msg=f"drbd_resource {self.name} on {self.node}: {why}", commands=self.commands, drbd=self.look().report()
        )

    def learn_version(self) -> None:
        try:
            with open("/proc/drbd", encoding="utf-8") as source:
                self.version = drbd.parse_version(source.read())
        except OSError:
            self.version = drbd.parse_version(self.read("modinfo", "-F", "version", "drbd"))

    def look(self) -> drbd.View:
        view = drbd.View(name=self.name, device=self.device, minor=self.minor, configured=os.path.exists(self.path))
        found = disk.probe(self.read, self.device, listing="")
        view.device_found, view.signatures = found.found, found.signatures
        view.busy, view.mounted_at = found.busy, found.mounted_at
        if os.path.exists("/proc/drbd") and self.version:
            if self.version >= (9,):
                view.status = drbd.parse_json(
                    self.read("drbdsetup", "status", "--json", "--statistics", self.name), self.name
                )
            else:
                with open("/proc/drbd", encoding="utf-8") as source:
                    view.status = drbd.parse_proc(source.read(), self.minor)
        if self.installed and view.status and view.status.disk == "Inconsistent":
            view.fresh = drbd.is_fresh(self.read("drbdadm", "get-gi", self.name))
        view.klass = drbd.classify(view, self.module.params["adopt"])
        return view

    def wait_for(self, wanted: tuple[str, ...]) -> drbd.View:
        deadline = time.monotonic() + self.module.params["wait"]
        while True:
            view = self.look()
            connected = view.status is not None and view.status.connection == "Connected"
            if (view.klass in wanted and connected) or view.klass == "standalone" or time.monotonic() > deadline:
                return view
            time.sleep(0.2)

    def configure(self) -> None:
        params = self.module.params
        wanted = drbd.render(
            self.name,
            self.minor,
            params["port"],
            self.members,
            self.version,
            params["net"],
            params["disk"],
            params["fencing"],
            drbd.handlers(self.version, params["fence_handler"], params["unfence_handler"]),
        )
        present = ""
        if os.path.exists(self.path):
            with open(self.path, encoding="utf-8") as source:
                present = source.read()
        if present == wanted:
            return
        self.diff = {
            "before": present,
            "after": wanted,
            "before_header": self.path,
            "after_header": self.path,
        }
        self.commands.append(f"write {self.path}")
        if self.module.check_mode:
            return
        handle, draft = tempfile.mkstemp(prefix="drbd-", suffix=".res", dir=self.module.tmpdir)
        with os.fdopen(handle, "w", encoding="utf-8") as target:
            target.write(wanted)
        code, _dummy, err = self.module.run_command(["drbdadm", "--config-file", draft, "dump", self.name])
        if code:
            self.fail(f"drbdadm does not accept the options: {err.strip()}")
        self.module.atomic_move(draft, self.path)
        self.module.set_mode_if_different(self.path, "0644", False)

    def present(self) -> drbd.View:
        params = self.module.params
        if self.installed and not os.path.exists("/proc/drbd") and not self.module.check_mode:
            self.run("modprobe", "drbd")
            self.commands.pop()  # loading the module is not a change of anybody's data or settings
        self.learn_version()
        view = self.look()
        if view.klass == "foreign" and params["allow_wipe"] and not view.busy:
            self.run("wipefs", "--all", self.device)
            self.run("blkdiscard", "--zeroout", "--length", "1MiB", self.device)
            view = self.look() if not self.module.check_mode else drbd.View(**{**vars(view), "klass": "absent"})
        why = drbd.refusal(view, "present", params["wipe_variable"])
        if why:
            self.fail(why)
        self.configure()
        if view.klass == "absent":
            self.run("drbdadm", "create-md", self.name)
        if view.klass in ("absent", "stopped"):
            if not params["start"]:
                return view if self.module.check_mode else self.look()
            self.run("drbdadm", "up", self.name)
            return view if self.module.check_mode else self.wait_for(("forming", "connected", "syncing"))
        if self.read("drbdadm", "--dry-run", "adjust", self.name).strip():
            self.run("drbdadm", "adjust", self.name)
        return view

    def initialized(self) -> drbd.View:
        mkfs = MKFS[self.module.params["filesystem"]]
        device = f"/dev/drbd{self.minor}"
        self.learn_version()
        view = self.look() if self.module.check_mode else self.wait_for(("forming", "connected"))
        if self.module.check_mode and view.klass != "forming":
            if view.klass in ("absent", "stopped"):
                self.commands.append(mkfs[0])
            return view  # what a running secondary holds cannot be seen without promoting it
        if view.status and view.status.peer_role == "Primary":
            return view  # in use over there
        why = drbd.refusal(view, "initialized", self.module.params["wipe_variable"])
        if why:
            self.fail(why)
        if drbd.first_sync(view):
            if self.version >= (9,):
                self.run("drbdadm", "new-current-uuid", "--clear-bitmap", f"{self.name}/0")
            else:
                self.run("drbdadm", "--", "--clear-bitmap", "new-current-uuid", self.name)
        promoted = view.status is not None and view.status.role != "Primary"
        if promoted:
            self.run("drbdadm", "primary", self.name)
        # Only a primary can be read; the disk below is no substitute: the kernel's cache of it is not DRBD's.
        if not self.module.check_mode and disk.parse_signatures(self.read("wipefs", "--json", device)):
            if promoted:
                self.run("drbdadm", "secondary", self.name)
                del self.commands[-2:]  # looked, and left it as it was
            return self.look()
        self.run(*mkfs, device)
        return self.look()


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "minor": {"type": "int", "default": 0},
            "port": {"type": "int", "default": 7788},
            "members": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "address": {"type": "str", "required": True},
                    "device": {"type": "str", "required": True},
                },
            },
            "node": {"type": "str"},
            "state": {"type": "str", "choices": ["query", "present", "initialized"], "default": "present"},
            "net": {"type": "dict", "default": {}},
            "disk": {"type": "dict", "default": {}},
            "fencing": {
                "type": "str",
                "choices": ["resource-and-stonith", "resource-only", "dont-care"],
                "default": "resource-and-stonith",
            },
            "fence_handler": {"type": "str", "default": ""},
            "unfence_handler": {"type": "str", "default": ""},
            "filesystem": {"type": "str", "choices": ["xfs", "ext4"], "default": "xfs"},
            "start": {"type": "bool", "default": False},
            "wait": {"type": "int", "default": 30},
            "allow_wipe": {"type": "bool", "default": False},
            "adopt": {"type": "bool", "default": False},
            "wipe_variable": {"type": "str", "default": "allow_wipe"},
        },
        supports_check_mode=True,
    )
    resource = Resource(module)
    resource.learn_version()
    before = resource.look()
    if module.params["state"] == "present":
        after = resource.present()
    elif module.params["state"] == "initialized":
        after = resource.initialized()
    else:
        after = before
    report = after.report()
    wiped = after.klass == "foreign" and not after.busy and module.params["allow_wipe"]
    report["refusal"] = "" if wiped else drbd.refusal(after, "present", module.params["wipe_variable"])
    diff = [resource.diff] if resource.diff["before"] != resource.diff["after"] else []
    if resource.commands:
        diff.append(
            {
                "before": f"{before.klass}\n",
                "after": "".join(f"{command}\n" for command in resource.commands),
                "before_header": f"{resource.name} (live state)",
                "after_header": f"{resource.name} (commands)",
            }
        )
    module.exit_json(
        changed=bool(resource.commands),
        commands=resource.commands,
        diff=diff,
        drbd=report,
        version=".".join(str(part) for part in resource.version),
    )


if __name__ == "__main__":
    main()
