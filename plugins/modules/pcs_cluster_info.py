#!/usr/bin/python
# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: pcs_cluster_info
short_description: What a host knows about the corosync and Pacemaker cluster it is in
version_added: 0.1.0
author: The cloudexit maintainers (@cloudexit)
description:
  - Reads packages, services, corosync.conf, the running corosync and Pacemaker in one go. Changes nothing.
extends_documentation_fragment:
  - cloudexit.ha_stack.reads_only
options:
  packages:
    description: Packages which count for RV(ready).
    type: list
    elements: str
    default: []
  agents:
    description: Fence agents which count for RV(ready).
    type: list
    elements: str
    default: []
  bind_address:
    description: Address that C(pcsd) must be bound to for RV(ready).
    type: str
  password:
    description: Password of the user C(hacluster) that counts for RV(ready).
    type: str
  wait:
    description: How many seconds to wait while corosync runs and the cluster has not formed yet.
    type: int
    default: 0
  wait_for:
    description: Names of members to wait for until they are all online.
    type: list
    elements: str
    default: []
  devices:
    description: Ids of fence devices that are asked for their status from this host.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Look at the cluster
  cloudexit.ha_stack.pcs_cluster_info:
  register: cluster
"""

RETURN = r"""
ready:
  description: Whether packages, C(pcsd) and the password are in place.
  type: bool
  returned: always
missing:
  description: Packages and agents that are not there.
  type: list
  elements: str
  returned: always
release:
  description: Version of the distribution.
  type: str
  returned: always
installed:
  description: Whether pcs, corosync and Pacemaker are installed.
  type: bool
  returned: always
password_ok:
  description: Whether O(password) is the one of the user C(hacluster).
  type: bool
  returned: always
conf:
  description: Cluster name, nodes with their addresses, totem and quorum options of corosync.conf.
  type: dict
  returned: always
corosync_active:
  description: Whether corosync runs.
  type: bool
  returned: always
enabled:
  description: Whether corosync, Pacemaker and pcsd start at boot.
  type: bool
  returned: always
after_dbus:
  description: Whether Pacemaker starts after D-Bus and therefore stops before it.
  type: bool
  returned: always
ever_ran:
  description: Whether Pacemaker has ever written a CIB here.
  type: bool
  returned: always
has_resources:
  description: Whether that CIB has resources.
  type: bool
  returned: always
runtime:
  description: Timeouts and encryption that the running corosync uses.
  type: dict
  returned: always
status:
  description: DC, quorum and nodes as Pacemaker sees them.
  type: dict
  returned: always
devices:
  description: For each of O(devices) an empty string, or what is wrong with it.
  type: dict
  returned: always
"""

import ctypes
import hmac
import os
import re
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import pcs_cluster

CONF = "/etc/corosync/corosync.conf"
CIB = "/var/lib/pacemaker/cib/cib.xml"
PCSD = "/etc/default/pcsd"
UNITS = ("corosync", "pacemaker", "pcsd")


def read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def password_is(password: str | None) -> bool:
    """Compare with the system's own crypt, which every Debian has (Python's module is gone since 3.13)."""
    stored = next(
        (line.split(":")[1] for line in read("/etc/shadow").splitlines() if line.startswith("hacluster:")), ""
    )
    if not password or len(stored) < 13:
        return False
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    library.crypt.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    return hmac.compare_digest(library.crypt(password.encode(), stored.encode()) or b"", stored.encode())


class Host:
    """This host's view, one method per source."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module

    def run(self, *command: str) -> tuple[int, str, str]:
        if not self.module.get_bin_path(command[0]):
            return 127, "", f"{command[0]} is not installed"
        result: tuple[int, str, str] = self.module.run_command(list(command), environ_update={"LC_ALL": "C.UTF-8"})
        return result

    def packages_missing(self) -> list[str]:
        names = self.module.params["packages"]
        if not names:
            return []
        out = self.run("dpkg-query", "-W", "-f=${Package} ${db:Status-Status}\n", *names)[1]
        present = {line.split()[0] for line in out.splitlines() if line.endswith(" installed")}
        return [name for name in names if name not in present]

    def conf(self) -> dict[str, Any]:
        content = read(CONF)
        if not content:
            return {}
        parsed = pcs_cluster.parse_corosync_conf(content)
        totem = {k: v for k, v in parsed.get("totem", {}).items() if isinstance(v, str)}
        return {
            "cluster_name": totem.get("cluster_name", ""),
            "config_version": int(totem.get("config_version", 0)),
            "totem": totem,
            "quorum": {k: v for k, v in parsed.get("quorum", {}).items() if isinstance(v, str)},
            "nodes": {
                node.get("name", node.get("ring0_addr", "")): [
                    node[key] for key in sorted(node) if re.fullmatch(r"ring\d_addr", key)
                ]
                for node in parsed["nodes"]
            },
        }

    def status(self) -> dict[str, Any]:
        code, out = self.run("crm_mon", "--one-shot", "--output-as=xml")[:2]
        return pcs_cluster.parse_crm_mon(out) if code == 0 else {}

    def settled_status(self) -> dict[str, Any]:
        """The status, waited for as long as asked while the cluster forms."""
        deadline = time.monotonic() + self.module.params["wait"]
        while True:
            status = self.status()
            there = (
                status.get("dc") and status["online"] and set(self.module.params["wait_for"]) <= set(status["online"])
            )
            if there or time.monotonic() > deadline:
                return status
            time.sleep(1)

    def runtime(self) -> dict[str, str]:
        cmap = pcs_cluster.parse_cmap(self.run("corosync-cmapctl")[1])
        values = {name: cmap.get(f"runtime.config.totem.{name}", "") for name in ("token", "consensus")}
        values.update({name: cmap.get(f"totem.{name}", "none") for name in ("crypto_cipher", "crypto_hash")})
        return {**values, "transport": cmap.get("totem.transport", "knet")}

    def device(self, name: str) -> str:
        code, out, err = self.run("stonith_admin", "--query", name, "--timeout", "30")
        return "" if code == 0 else (err or out).strip() or f"stonith_admin --query {name} ended with {code}"


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "packages": {"type": "list", "elements": "str", "default": []},
            "agents": {"type": "list", "elements": "str", "default": []},
            "bind_address": {"type": "str"},
            "password": {"type": "str", "no_log": True},
            "wait": {"type": "int", "default": 0},
            "wait_for": {"type": "list", "elements": "str", "default": []},
            "devices": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    host = Host(module)
    units = pcs_cluster.parse_show(
        host.run("systemctl", "show", "--property=Id,ActiveState,UnitFileState,After", *UNITS)[1]
    )

    def unit(name: str, key: str) -> str:
        return units.get(f"{name}.service", {}).get(key, "")

    installed = all(module.get_bin_path(tool) for tool in ("pcs", "corosync", "crm_mon", "cibadmin"))
    active = unit("corosync", "ActiveState") == "active"
    enabled = {name: unit(name, "UnitFileState") == "enabled" for name in UNITS}
    password_ok = password_is(module.params["password"])
    bound = re.findall(r"^PCSD_BIND_ADDR=['\"]?([^'\"\s]*)", read(PCSD), re.MULTILINE)
    missing = host.packages_missing() + [a for a in module.params["agents"] if not module.get_bin_path(a)]
    release = re.search(r'^VERSION_ID="?([\d.]+)', read("/etc/os-release"), re.MULTILINE)
    cib = read(CIB)
    module.exit_json(
        changed=False,
        installed=installed,
        missing=missing,
        release=release.group(1) if release else "0",
        password_ok=password_ok,
        ready=(
            installed
            and not missing
            and password_ok
            and enabled["pcsd"]
            and unit("pcsd", "ActiveState") in ("active", "activating")
            and (module.params["bind_address"] is None or bound[-1:] == [module.params["bind_address"]])
        ),
        conf=host.conf(),
        corosync_active=active,
        enabled=all(enabled.values()),
        after_dbus="dbus.service" in unit("pacemaker", "After").split(),
        ever_ran=os.path.exists(CIB),
        has_resources="<primitive " in cib,
        status=host.settled_status() if active else {},
        runtime=host.runtime() if active else {},
        devices={name: host.device(name) for name in module.params["devices"]},
    )


if __name__ == "__main__":
    main()
