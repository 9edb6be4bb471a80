#!/usr/bin/python
# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: zentyal_nat_info
short_description: What a firewall has and does, and who is logged in on it
version_added: 0.1.0
author: The cloudexit maintainers (@cloudexit)
description:
  - Reads packages, interfaces, the connection's own client, the rules and the connections' state in one go. Changes
    nothing.
extends_documentation_fragment:
  - cloudexit.ha_stack.reads_only
options:
  packages:
    description: Packages which count for RV(missing).
    type: list
    elements: str
    default: []
  table:
    description: Name of the firewall's table of nftables; empty where somebody else makes the rules.
    type: str
    default: zentyal_nat
  ask:
    description: What to connect to, each with C(name), C(address) and C(port).
    type: list
    elements: dict
    default: []
  vips:
    description: Addresses of which to learn whether somebody else in the network has them.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Look at the firewall
  cloudexit.ha_stack.zentyal_nat_info:
    packages: [nftables, conntrackd]
  register: look
"""

RETURN = r"""
missing:
  description: Packages that are not installed.
  type: list
  elements: str
  returned: always
interfaces:
  description: Interfaces by name, each with C(addresses) (with their prefix lengths), C(carrier), C(vlan).
  type: dict
  returned: always
client:
  description: Address from which this very connection comes; empty if it is no ssh connection.
  type: str
  returned: always
client_port:
  description: Port of this host's ssh that it speaks to; 0 if it is no ssh connection.
  type: int
  returned: always
forwarding:
  description: Whether the kernel passes packets on.
  type: bool
  returned: always
loaded:
  description: Whether the table is there, or none is asked for.
  type: bool
  returned: always
conntrackd:
  description: Numbers of conntrackd, empty while it does not run; C(injected), C(failed), C(lost).
  type: dict
  returned: always
connections:
  description: Connections that the kernel follows, with those that conntrackd brought.
  type: int
  returned: always
answers:
  description: The questions of O(ask), each with C(error), empty where somebody took the connection.
  type: list
  elements: dict
  returned: always
elsewhere:
  description: Those of O(vips) that this host does not have and for which somebody answers.
  type: list
  elements: str
  returned: always
"""

import json
import os
import re
import socket
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cloudexit.ha_stack.plugins.module_utils.host import missing_packages, neighbour

ASK_SECONDS = 3


def interfaces(module: AnsibleModule) -> dict[str, dict[str, Any]]:
    _rc, out, _err = module.run_command(["ip", "-details", "-json", "address", "show"])
    found = {}
    for link in json.loads(out or "[]"):
        info = link.get("linkinfo") or {}
        found[link["ifname"]] = {
            "addresses": [f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"] if a.get("family") == "inet"],
            "carrier": "LOWER_UP" in link["flags"],
            "vlan": info["info_data"]["id"] if info.get("info_kind") == "vlan" else None,
        }
    return found


def read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def client() -> tuple[str, int]:
    """Address of the client and port of the server, from the processes above this one: sudo does not pass them on."""
    pid = os.getpid()
    while pid > 1:
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        except OSError:
            return "", 0
        for variable in environment:
            if variable.startswith(b"SSH_CONNECTION="):
                address, _port, _own, port = variable.partition(b"=")[2].decode().split()
                return address, int(port)
        parent = re.search(r"^PPid:\s+(\d+)", status, re.MULTILINE)
        pid = int(parent[1]) if parent else 0
    return "", 0


def conntrackd(module: AnsibleModule) -> dict[str, int]:
    """What `conntrackd -s` counts; empty if it does not answer."""
    if not module.get_bin_path("conntrackd"):
        return {}
    rc, out, _err = module.run_command(["conntrackd", "-s"])
    if rc:
        return {}
    injected = re.search(r"external inject:\s+connections created:\s+(\d+)\s+failed:\s+(\d+)", out)
    lost = re.search(r"(\d+) Lost msgs", out)
    return {
        "injected": int(injected[1]) if injected else 0,
        "failed": int(injected[2]) if injected else 0,
        "lost": int(lost[1]) if lost else 0,
    }


def answer(question: dict[str, Any]) -> dict[str, Any]:
    try:
        with socket.create_connection((question["address"], int(question["port"])), timeout=ASK_SECONDS):
            return {**question, "error": ""}
    except OSError as err:
        return {**question, "error": str(err) or type(err).__name__}


def elsewhere(module: AnsibleModule, there: dict[str, dict[str, Any]]) -> list[str]:
    own = {one.partition("/")[0] for link in there.values() for one in link["addresses"]}
    return [vip for vip in module.params["vips"] if vip not in own and neighbour(module, vip)]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "packages": {"type": "list", "elements": "str", "default": []},
            "table": {"type": "str", "default": "zentyal_nat"},
            "ask": {"type": "list", "elements": "dict", "default": []},
            "vips": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    nft, table = module.get_bin_path("nft"), module.params["table"]
    count = read(Path("/proc/sys/net/netfilter/nf_conntrack_count"))
    address, port = client()
    links = interfaces(module)
    module.exit_json(
        missing=missing_packages(module, module.params["packages"]),
        interfaces=links,
        elsewhere=elsewhere(module, links),
        client=address,
        client_port=port,
        forwarding=read(Path("/proc/sys/net/ipv4/ip_forward")) == "1",
        loaded=not table or bool(nft and module.run_command([nft, "list", "table", "inet", table])[0] == 0),
        conntrackd=conntrackd(module),
        connections=int(count) if count.isdigit() else 0,
        answers=[answer(question) for question in module.params["ask"]],
    )


if __name__ == "__main__":
    main()
