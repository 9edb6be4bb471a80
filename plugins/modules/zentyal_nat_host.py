#!/usr/bin/python
# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: zentyal_nat_host
short_description: Files, kernel settings, VLANs and daemons of a firewall
version_added: 0.1.0
author: The cloudexit maintainers (@cloudexit)
description:
  - Writes what differs, sets kernel settings that differ, and then does what each needs, in this order - systemd reads
    its units, systemd-networkd makes VLANs, conntrackd starts anew. The rules are not its affair.
  - A new start of conntrackd ends no connection. It takes the kernel's table and asks the other members for theirs.
attributes:
  check_mode:
    support: full
    description: Compares only.
  diff_mode:
    support: full
    description: Files and kernel settings.
  idempotent:
    support: full
    description: What is as wanted is left alone.
options:
  files:
    description: Files, each with C(path), C(content) and C(mode).
    type: list
    elements: dict
    default: []
  absent:
    description: Pattern of files that are removed if they are not among O(files), such as VLANs of former zones.
    type: str
    default: ''
  sysctl:
    description: Kernel settings by name, also written to O(sysctl_file).
    type: dict
    default: {}
  sysctl_file:
    description: File with the kernel settings for the next boot.
    type: path
    required: true
  enable:
    description: Units that are enabled, not started.
    type: list
    elements: str
    default: []
  run:
    description: Units that are enabled and run.
    type: list
    elements: str
    default: []
  restart:
    description: Units by the file whose change makes them start anew.
    type: dict
    default: {}
  addresses:
    description: Addresses by interface, with their prefix lengths, that must be there at the end.
    type: dict
    default: {}
  wait:
    description: Seconds to wait for O(addresses).
    type: int
    default: 20
"""

EXAMPLES = r"""
- name: A VLAN
  cloudexit.ha_stack.zentyal_nat_host:
    sysctl_file: /etc/sysctl.d/60-zentyal_nat.conf
    sysctl: {net.ipv4.ip_forward: 1}
    addresses: {eth1.10: 10.10.0.2/24}
    files:
      - path: /etc/systemd/network/25-zentyal_nat-eth1.10.network
        mode: "0644"
        content: |
          [Match]
          Name=eth1.10
          [Network]
          Address=10.10.0.2/24
"""

RETURN = r"""
written:
  description: Files that were written or removed.
  type: list
  elements: str
  returned: always
"""

import glob
import json
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import host as tools

PAUSE = 0.2


def read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def setting(name: str) -> Path:
    return Path("/proc/sys", *name.split("."))


class Host:
    def __init__(self, module: AnsibleModule) -> None:
        self.module, wish = module, module.params
        lines = "".join(f"{name} = {value}\n" for name, value in sorted(wish["sysctl"].items()))
        files = [*wish["files"]]
        if lines:
            files.append({"path": wish["sysctl_file"], "content": lines, "mode": "0644"})
        self.files = {Path(f["path"]): (f["content"].rstrip("\n") + "\n", int(str(f["mode"]), 8)) for f in files}
        self.stale = {
            path: (text, mode)
            for path, (text, mode) in self.files.items()
            if not path.exists() or read(path) != text or path.stat().st_mode & 0o777 != mode
        }
        found = glob.glob(wish["absent"]) if wish["absent"] else []
        self.surplus = [Path(path) for path in sorted(found) if Path(path) not in self.files]
        self.settings = {
            name: str(value) for name, value in wish["sysctl"].items() if read(setting(name)).strip() != str(value)
        }
        self.off = [unit for unit in (*wish["enable"], *wish["run"]) if not self.says(unit, "is-enabled")]
        self.stopped = [unit for unit in wish["run"] if not self.runs(unit)]

    def says(self, unit: str, question: str) -> bool:
        return self.module.run_command(["systemctl", "--quiet", question, unit])[0] == 0

    def runs(self, unit: str) -> bool:
        """Whether a unit runs, or will in a moment: while a host boots it waits for its turn, as a job of systemd."""
        shown = tools.unit(self.module, unit, "ActiveState", "Job")
        return shown.get("Job", "0") not in ("", "0") or shown.get("ActiveState") in tools.RUNS

    def missing(self) -> dict[str, str]:
        """Addresses that are not there, by interface."""
        _rc, out, _err = self.module.run_command(["ip", "-json", "address", "show"])
        there = {
            link["ifname"]: [f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"]]
            for link in json.loads(out or "[]")
        }
        return {name: one for name, one in self.module.params["addresses"].items() if one not in there.get(name, [])}

    @property
    def network(self) -> bool:
        """Whether systemd-networkd has something to do."""
        return any(path.parent.name == "network" for path in (*self.stale, *self.surplus)) or bool(self.missing())

    def changed(self) -> bool:
        return bool(self.stale or self.surplus or self.settings or self.off or self.stopped or self.missing())

    def diff(self) -> list[dict[str, str]]:
        found = [
            {"before_header": str(path), "after_header": str(path), "before": read(path), "after": text}
            for path, (text, _mode) in self.stale.items()
        ]
        found += [
            {"before_header": str(path), "after_header": str(path), "before": read(path), "after": ""}
            for path in self.surplus
        ]
        if self.settings:
            before = "".join(f"{name} = {read(setting(name)).strip()}\n" for name in self.settings)
            after = "".join(f"{name} = {value}\n" for name, value in self.settings.items())
            found.append({"before_header": "kernel", "after_header": "kernel", "before": before, "after": after})
        units = [f"{unit} enabled\n" for unit in self.off] + [f"{unit} runs\n" for unit in self.stopped]
        if units:
            found.append({"before_header": "units", "after_header": "units", "before": "", "after": "".join(units)})
        return found

    def command(self, *command: str, why: str) -> None:
        rc, out, err = self.module.run_command(list(command))
        if rc:
            self.module.fail_json(msg=f"zentyal_nat_host: {why}: `{' '.join(command)}` says: {(err or out).strip()}")

    def apply(self) -> None:
        restart: dict[str, str] = self.module.params["restart"]
        again = [unit for path, unit in restart.items() if Path(path) in self.stale and unit not in self.stopped]
        network = self.network
        for path in self.surplus:
            path.unlink()
        for path, (text, mode) in self.stale.items():
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            tools.write(path, text, mode)
        for name, value in self.settings.items():
            self.set(name, value)
        if any(path.suffix in (".service", ".conf") and "system" in path.parts for path in self.stale):
            self.command("systemctl", "daemon-reload", why="systemd does not take the units")
        if self.off:
            self.command("systemctl", "--quiet", "enable", *self.off, why="units cannot be enabled")
        if network:
            self.make_network()
        for unit in self.stopped:
            self.command("systemctl", "start", unit, why=f"{unit} does not start; `journalctl -u {unit} -n 20`")
        for unit in again:
            self.command("systemctl", "restart", unit, why=f"{unit} does not start again; `journalctl -u {unit} -n 20`")

    def set(self, name: str, value: str) -> None:
        path = setting(name)
        if not path.exists() and name.startswith("net.netfilter."):
            self.module.run_command(["modprobe", "nf_conntrack"])
        try:
            path.write_text(value, encoding="ascii")
        except OSError as err:
            self.module.fail_json(msg=f"zentyal_nat_host: the kernel setting {name} cannot be {value}: {err}")

    def make_network(self) -> None:
        for interface in (path.stem.partition("zentyal_nat-")[2] for path in self.surplus if path.suffix == ".netdev"):
            self.module.run_command(["ip", "link", "delete", interface])
        if self.says("systemd-networkd.service", "is-active"):
            self.command("networkctl", "reload", why="systemd-networkd does not take the VLANs")
            for interface in self.missing():
                # Known to it already: somebody took the address away by hand.
                self.module.run_command(["networkctl", "reconfigure", interface])
        else:
            self.command("systemctl", "start", "systemd-networkd.service", why="systemd-networkd does not start")
        deadline = time.monotonic() + self.module.params["wait"]
        while self.missing() and time.monotonic() < deadline:
            time.sleep(PAUSE)
        if missing := self.missing():
            what = ", ".join(f"{one} on {name}" for name, one in missing.items())
            self.module.fail_json(
                msg=f"zentyal_nat_host: {what} did not come up in {self.module.params['wait']} s: `networkctl status "
                f"{next(iter(missing))}`, `journalctl -u systemd-networkd -n 20`"
            )


def main() -> None:
    spec: dict[str, Any] = {
        "files": {"type": "list", "elements": "dict", "default": []},
        "absent": {"type": "str", "default": ""},
        "sysctl": {"type": "dict", "default": {}},
        "sysctl_file": {"type": "path", "required": True},
        "enable": {"type": "list", "elements": "str", "default": []},
        "run": {"type": "list", "elements": "str", "default": []},
        "restart": {"type": "dict", "default": {}},
        "addresses": {"type": "dict", "default": {}},
        "wait": {"type": "int", "default": 20},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    host = Host(module)
    changed, diff = host.changed(), host.diff()
    written = [str(path) for path in (*host.stale, *host.surplus)]
    if changed and not module.check_mode:
        host.apply()
    module.exit_json(changed=changed, written=written, diff=diff)


if __name__ == "__main__":
    main()
