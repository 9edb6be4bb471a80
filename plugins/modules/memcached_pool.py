#!/usr/bin/python
# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The memcached processes of one host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: memcached_pool
short_description: The memcached processes of one host, as instances of one systemd template unit
version_added: 0.1.0
author: The cloudexit maintainers (@cloudexit)
description:
  - Writes the template unit, starts and enables the instances that should run, stops and disables those that should
    not, and stops the single process which Debian's package starts by default.
  - A process that runs is never restarted by this. If it was started from another text of the unit, or before its
    program was replaced by an upgrade, it is reported in RV(pending); a second call with O(restart) restarts such
    processes one after another and waits for each to answer.
  - The text of the unit carries a fingerprint into the environment of the processes, so that what is pending is known
    from the processes themselves, whoever changed the file and whenever.
attributes:
  check_mode:
    support: full
    description: Reports what would be done.
  diff_mode:
    support: full
    description: Shows the unit and the list of processes before and after.
  idempotent:
    support: full
    description: A second run changes nothing.
options:
  name:
    description: Name of the template unit, without C(@.service).
    type: str
    default: memcached
  unit:
    description: Text of the template unit. The instance name is the TCP port.
    type: str
  ports:
    description: The ports of the processes that should run.
    type: list
    elements: int
  restart:
    description:
      - Restart those of these processes that are pending, one after another. The first that does not answer in time
        ends it. Nothing else is done then.
    type: list
    elements: int
  address:
    description: The address on which the processes answer.
    type: str
    required: true
  timeout:
    description: How many seconds a process may take to answer after its start.
    type: int
    default: 15
"""

EXAMPLES = r"""
- name: Run two processes
  cloudexit.ha_stack.memcached_pool:
    unit: "{{ lookup('ansible.builtin.template', 'memcached@.service.j2') }}"
    ports: [11211, 11212]
    address: 192.0.2.9
"""

RETURN = r"""
pending:
  description: Ports of running processes that were started from another text of the unit or from another program.
  returned: always
  type: list
  elements: int
started:
  description: Ports of the processes that were started.
  returned: always
  type: list
  elements: int
stopped:
  description: Ports of the processes that were stopped and will not start again.
  returned: always
  type: list
  elements: int
restarted:
  description: Ports of the processes that were restarted.
  returned: always
  type: list
  elements: int
"""

import os
import re
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import memcached
from ansible_collections.cloudexit.ha_stack.plugins.module_utils.package_upgrade import binary, replaced

UNITS = "/etc/systemd/system"
PACKAGE_UNIT = "memcached.service"
STARTED = "ExecMainStartTimestampMonotonic"


def read(path: str) -> bytes:
    """A file's content, empty if it is not there."""
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""


class Host:
    """systemd on this host, for the instances of one template."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.name: str = module.params["name"]
        self.path = os.path.join(UNITS, f"{self.name}@.service")

    def unit(self, port: int) -> str:
        return f"{self.name}@{port}.service"

    def systemctl(self, *args: str) -> str:
        return self.module.run_command(["systemctl", "--no-pager", *args], check_rc=True)[1]

    def found(self) -> list[memcached.Instance]:
        """The instances that systemd knows: loaded ones and enabled ones."""
        pattern = f"{self.name}@*.service"
        text = self.systemctl("list-units", "--all", "--plain", "--no-legend", pattern)
        wants = os.path.join(UNITS, "multi-user.target.wants")
        enabled = set(os.listdir(wants)) if os.path.isdir(wants) else set()
        names = set(re.findall(rf"{re.escape(self.name)}@\d+\.service", text + "\n".join(enabled)))
        if not names:
            return []
        shown = self.systemctl("show", "--property", f"Id,ActiveState,MainPID,ExecStart,{STARTED}", *sorted(names))
        result = []
        for block in shown.strip().split("\n\n"):
            values = dict(line.split("=", 1) for line in block.splitlines())
            pid = int(values.get("MainPID", "0"))
            result.append(
                memcached.Instance(
                    port=int(values["Id"].split("@")[1].removesuffix(".service")),
                    active=values["ActiveState"] in ("active", "activating", "reloading") and pid > 0,
                    enabled=values["Id"] in enabled,
                    seal=memcached.seal_of(read(f"/proc/{pid}/environ"), b"\0") if pid else "",
                    replaced=replaced(binary(values.get("ExecStart", "")), int(values.get(STARTED) or 0)),
                )
            )
        return result

    def answers(self, port: int) -> None:
        """Wait until the process serves; otherwise fail with what systemd has to say about it."""
        address, timeout = self.module.params["address"], self.module.params["timeout"]
        end = time.monotonic() + timeout
        while True:
            try:
                with memcached.Client(address, port) as client:
                    client.version()
                return
            except (OSError, memcached.MemcachedError) as err:
                reason = err
            if time.monotonic() > end:
                break
            time.sleep(0.1)
        log = self.module.run_command(["journalctl", "-n", "5", "-o", "cat", "-u", self.unit(port)])[1]
        self.module.fail_json(
            msg=f"memcached_pool: {self.unit(port)} does not answer on {address}:{port} {timeout} s after its start "
            f"({reason}). Nothing further was touched. Its last words: {log.strip() or 'none'}. "
            f"Next: systemctl status {self.unit(port)}"
        )


def restart(host: Host, ports: list[int]) -> list[int]:
    """Restart what runs from another text of the unit, one process after another."""
    seal = memcached.seal_of(read(host.path), b"\n")
    done = []
    for port in memcached.plan(ports, host.found(), seal).pending:
        if port not in ports:
            continue
        done.append(port)
        if not host.module.check_mode:
            host.systemctl("restart", host.unit(port))
            host.answers(port)
    return done


def ensure(host: Host) -> dict[str, object]:
    """Write the unit, stop what is too much, start what is missing."""
    module = host.module
    text = memcached.sealed(module.params["unit"])
    before = read(host.path).decode()
    found = host.found()
    plan = memcached.plan(module.params["ports"], found, memcached.fingerprint(module.params["unit"]))
    foreign = os.path.islink(os.path.join(UNITS, PACKAGE_UNIT)) and _active(host, PACKAGE_UNIT)
    changed = before != text or plan.changes or foreign
    running = sorted(i.port for i in found if i.active)
    diff = [
        {"before": before, "after": text, "before_header": host.path, "after_header": host.path},
        {
            "before": "".join(f"{host.unit(p)}\n" for p in running) + (f"{PACKAGE_UNIT}\n" if foreign else ""),
            "after": "".join(f"{host.unit(p)}\n" for p in sorted({*running, *plan.start} - {*plan.stop})),
            "before_header": "running",
            "after_header": "running",
        },
    ]
    if not module.check_mode:
        if before != text:
            temporary = f"{host.path}.new"
            with open(temporary, "w", encoding="utf-8") as stream:
                stream.write(text)
            os.chmod(temporary, 0o644)
            module.atomic_move(temporary, host.path)
            host.systemctl("daemon-reload")
        if foreign:
            host.systemctl("stop", PACKAGE_UNIT)
        if plan.stop:
            host.systemctl("disable", "--now", *map(host.unit, plan.stop))
            host.module.run_command(["systemctl", "reset-failed", *map(host.unit, plan.stop)])
        if plan.enable:
            host.systemctl("enable", *map(host.unit, plan.enable))
        if plan.start:
            host.systemctl("start", *map(host.unit, plan.start))
        for port in plan.start:
            host.answers(port)
    return {"changed": changed, "diff": diff, "pending": plan.pending, "started": plan.start, "stopped": plan.stop}


def _active(host: Host, unit: str) -> bool:
    return host.module.run_command(["systemctl", "is-active", "--quiet", unit])[0] == 0


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "default": "memcached"},
            "unit": {"type": "str"},
            "ports": {"type": "list", "elements": "int"},
            "restart": {"type": "list", "elements": "int"},
            "address": {"type": "str", "required": True},
            "timeout": {"type": "int", "default": 15},
        },
        required_one_of=[("unit", "restart")],
        required_by={"unit": "ports"},
        mutually_exclusive=[("unit", "restart")],
        supports_check_mode=True,
    )
    host = Host(module)
    result: dict[str, object] = {"changed": False, "pending": [], "started": [], "stopped": [], "restarted": []}
    if module.params["restart"] is not None:
        done = restart(host, module.params["restart"])
        module.exit_json(**{**result, "changed": bool(done), "restarted": done})
    module.exit_json(**{**result, **ensure(host)})


if __name__ == "__main__":
    main()
