#!/usr/bin/python
# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A fault on a host, with a way back that needs no controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: drill_fault
short_description: A fault on this host, with a way back that needs nobody
version_added: 0.1.0
author: The cloudexit maintainers (@cloudexit)
description:
  - Kills, stops, cuts off, fills, slows down or misdates what it is told to, for a drill.
  - The way back is armed first, as a timer of systemd on this host (C(cloudexit-drill.timer)); it comes after
    O(seconds) whether or not the controller is still there. O(state=absent) takes it at once.
  - Where the host cannot do it, nothing is done and RV(why) says so.
attributes:
  check_mode:
    support: full
    description: Looks whether the fault is possible here, and does nothing.
  diff_mode:
    support: none
    description: There is no text to compare.
  idempotent:
    support: partial
    details: A second fault on the host is refused; O(state=absent) without a fault changes nothing.
    description: What a second run does.
options:
  state:
    description: V(present) makes the fault, V(absent) ends the one that is in force here.
    type: str
    choices: [present, absent]
    default: present
  kind:
    description:
      - V(process_killed) and V(process_hung) take O(unit) or O(process).
      - V(power) takes O(agent), O(agent_options), O(agent_secrets), O(victim), on another host than the victim.
      - V(network_peers) loses every packet from and to O(peers), V(network_out) only those to them, V(network_clients)
        those of all others on O(ports). By nftables; the first two otherwise by routes that lead nowhere.
      - V(disk_full) fills the filesystem of O(path), V(disk_slow) limits O(unit) to O(iops) on its disk.
      - V(clock) moves the clock by O(jump) seconds.
      - Required with O(state=present).
    type: str
    choices:
      - process_killed
      - process_hung
      - power
      - network_peers
      - network_out
      - network_clients
      - disk_full
      - disk_slow
      - clock
  seconds:
    description: After which the way back comes by itself.
    type: float
    default: 60
  unit:
    description: A unit of systemd.
    type: str
  process:
    description: Name of the processes, where no unit has them.
    type: str
  restart:
    description: Whether the way back starts a killed unit that is still down; not where Pacemaker does.
    type: bool
    default: true
  peers:
    description: Addresses.
    type: list
    elements: str
    default: []
  ports:
    description: TCP ports of the service on this host.
    type: list
    elements: int
    default: []
  path:
    description: A folder.
    type: str
  max_mib:
    description: A filesystem with more free MiB than that is not filled.
    type: int
    default: 20480
  iops:
    description: Reads and writes a second that a slow disk still does.
    type: int
    default: 20
  jump:
    description: Seconds, forwards or (negative) backwards.
    type: float
    default: 3600
  agent:
    description: The fence agent, such as C(fence_ipmilan).
    type: str
  agent_options:
    description: What it is told, without the action; in a file of root's under /run until the power is back.
    type: dict
    default: {}
  agent_secrets:
    description: The secret part of it.
    type: dict
    default: {}
  victim:
    description: Whose power is cut, for the messages.
    type: str
"""

EXAMPLES = r"""
- name: Redis stands still for at most half a minute
  cloudexit.ha_stack.drill_fault:
    kind: process_hung
    unit: redis-server
    seconds: 30

- name: No longer
  cloudexit.ha_stack.drill_fault:
    state: absent
"""

RETURN = r"""
possible:
  description: Whether the fault can be made on this host.
  returned: O(state=present)
  type: bool
why:
  description: Why not; empty if it can.
  returned: O(state=present)
  type: str
say:
  description: What happens, in words.
  returned: O(state=present)
  type: str
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import drill_faults as df
from ansible_collections.cloudexit.ha_stack.plugins.module_utils.host import write

SHELL = ("/bin/sh", "-c")


class Host:
    """What runs on this host."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module

    def good(self, *command: str) -> bool:
        return self.module.run_command(list(command))[0] == 0

    @property
    def in_force(self) -> bool:
        """Whether a way back is armed."""
        return self.good("systemctl", "is-active", "--quiet", f"{df.UNIT}.timer")

    def back(self) -> None:
        """Take the way back that is armed; the timer stays armed if that fails."""
        rc, _out, err = self.module.run_command(["systemctl", "start", f"{df.UNIT}.service"])
        if rc:
            self.module.fail_json(
                msg=f"drill_fault: the way back failed: {err.strip()}. See: journalctl -u {df.UNIT}.service; again by"
                f" hand: systemctl start {df.UNIT}.service"
            )
        self.good("systemctl", "stop", f"{df.UNIT}.timer")


def present(module: AnsibleModule, host: Host) -> None:
    given = module.params
    try:
        plan = df.plan(given["kind"], given)
    except df.FaultError as error:
        module.exit_json(changed=False, possible=False, why=str(error), say="")
    for condition, meaning in plan.conditions:
        if not host.good(*SHELL, condition):
            module.exit_json(changed=False, possible=False, why=meaning, say=plan.say)
    if host.in_force:
        module.fail_json(
            msg="drill_fault: a fault is in force on this host already, one at a time is allowed. End it: systemctl"
            f" start {df.UNIT}.service; then systemctl stop {df.UNIT}.timer"
        )
    if module.check_mode:
        module.exit_json(changed=True, possible=True, why="", say=plan.say)
    for path, text in plan.files.items():
        write(Path(path), text, 0o600)
    rc, _out, err = module.run_command(df.arm(given["seconds"], plan.back))
    if rc or not host.in_force:
        for path in plan.files:
            Path(path).unlink()
        module.fail_json(msg=f"drill_fault: no fault was made, because its way back cannot be armed: {err.strip()}")
    rc, out, err = module.run_command([*SHELL, plan.fault])
    if rc:
        host.back()
        module.fail_json(
            msg=f"drill_fault: {given['kind']} failed and was taken back: {(err or out).strip() or f'status {rc}'}"
        )
    module.exit_json(changed=True, possible=True, why="", say=plan.say)


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "kind": {"type": "str", "choices": list(df.KINDS)},
            "seconds": {"type": "float", "default": 60},
            "unit": {"type": "str"},
            "process": {"type": "str"},
            "restart": {"type": "bool", "default": True},
            "peers": {"type": "list", "elements": "str", "default": []},
            "ports": {"type": "list", "elements": "int", "default": []},
            "path": {"type": "str"},
            "max_mib": {"type": "int", "default": 20480},
            "iops": {"type": "int", "default": 20},
            "jump": {"type": "float", "default": 3600},
            "agent": {"type": "str"},
            "agent_options": {"type": "dict", "default": {}},
            "agent_secrets": {"type": "dict", "default": {}, "no_log": True},
            "victim": {"type": "str"},
        },
        required_if=[("state", "present", ("kind",))],
        supports_check_mode=True,
    )
    host = Host(module)
    if module.params["state"] == "present":
        present(module, host)
    in_force = host.in_force
    if in_force and not module.check_mode:
        host.back()
    module.exit_json(changed=in_force)


if __name__ == "__main__":
    main()
