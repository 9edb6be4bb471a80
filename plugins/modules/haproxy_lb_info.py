#!/usr/bin/python
# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: haproxy_lb_info
short_description: What a host has and runs of a HAProxy tier, and what the tier answers
version_added: 0.1.0
author: The cloudexit maintainers (@cloudexit)
description:
  - Reads packages, files, the cluster's resources and the running HAProxy in one go, and asks as a client if told to.
    Changes nothing.
extends_documentation_fragment:
  - cloudexit.ha_stack.reads_only
options:
  vip:
    description: Address that moves between the members.
    type: str
    default: ''
  address:
    description: Address of this host in the tier.
    type: str
    default: ''
  packages:
    description: Packages which count for RV(ready).
    type: list
    elements: str
    default: []
  resource:
    description: Id of the address' resource in the cluster.
    type: str
    required: true
  ask:
    description: What to ask as a client, each with C(address), C(port), and C(path) if it speaks HTTP.
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: Look at the host
  cloudexit.ha_stack.haproxy_lb_info:
    vip: 192.0.2.10
    address: 192.0.2.11
    resource: lb-vip
  register: look
"""

RETURN = r"""
ready:
  description: Whether the packages are installed and systemd does not start HAProxy at boot.
  type: bool
  returned: always
missing:
  description: Packages that are not installed.
  type: list
  elements: str
  returned: always
node:
  description: What the host calls itself.
  type: str
  returned: always
prefix:
  description: Length of the network part of the host's address, 0 if it does not have the address.
  type: int
  returned: always
has_vip:
  description: Whether the host has the VIP.
  type: bool
  returned: always
clustered:
  description: Whether the host's cluster knows the resource.
  type: bool
  returned: always
vip_held_by:
  description: Who answers for the VIP while the cluster does not know it.
  type: str
  returned: always
certificates:
  description: Certificates, without keys, by name of the file that this role wrote.
  type: dict
  returned: always
running:
  description: Digest of the configuration that HAProxy runs.
  type: str
  returned: always
written:
  description: Digest of the configuration on disk.
  type: str
  returned: always
servers:
  description: State of each server as HAProxy sees it, by backend and name.
  type: dict
  returned: always
answers:
  description: The questions of O(ask) with what came back.
  type: list
  elements: dict
  returned: always
"""

import http.client
import os
import re
import socket
import ssl
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import haproxy_lb
from ansible_collections.cloudexit.ha_stack.plugins.module_utils.host import addresses, missing_packages, neighbour

CIB_FILE = Path("/var/lib/pacemaker/cib/cib.xml")
ASK_SECONDS = 5
PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----\s*", re.DOTALL)


def read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def clustered(module: AnsibleModule, resource: str) -> bool:
    """Whether the cluster knows the resource, even while it is stopped on this host."""
    if not CIB_FILE.exists():
        return False
    rc, out, _err = module.run_command(["cibadmin", "--query", "--local", "--xpath", f"//primitive[@id='{resource}']"])
    return bool(rc == 0 and out.strip()) or f'<primitive id="{resource}"' in read(CIB_FILE)


def certificates() -> dict[str, str]:
    folder = Path(haproxy_lb.CERTIFICATES)
    names = sorted(os.listdir(folder)) if folder.is_dir() else []
    return {name: PRIVATE_KEY.sub("", read(folder / name)) for name in names if haproxy_lb.OURS.fullmatch(name)}


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """The question with what came back. The certificate is not judged: names and issuers are the clients' affair."""
    back: dict[str, Any] = {"error": "", "got": 0, "location": "", "hsts_seen": False}
    context = ssl._create_unverified_context()
    context.set_alpn_protocols(["http/1.1"])
    address, port, path = question["address"], int(question["port"]), question.get("path")
    try:
        if path:
            kind = http.client.HTTPSConnection if question.get("tls") else http.client.HTTPConnection
            extra: dict[str, Any] = {"context": context} if question.get("tls") else {}
            connection = kind(address, port, timeout=ASK_SECONDS, **extra)
            connection.request("GET", path, headers={"Host": question.get("host", address), "Connection": "close"})
            response = connection.getresponse()
            back["got"] = response.status
            back["location"] = response.getheader("Location", "")
            back["hsts_seen"] = bool(response.getheader("Strict-Transport-Security"))
            connection.close()
        else:
            with socket.create_connection((address, port), timeout=ASK_SECONDS) as plain:
                if question.get("tls"):
                    context.wrap_socket(plain).close()
    except (OSError, http.client.HTTPException) as err:
        back["error"] = str(err) or type(err).__name__
    return {**question, **back}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "vip": {"type": "str", "default": ""},
            "address": {"type": "str", "default": ""},
            "packages": {"type": "list", "elements": "str", "default": []},
            "resource": {"type": "str", "required": True},
            "ask": {"type": "list", "elements": "dict", "default": []},
        },
        supports_check_mode=True,
    )
    wish = module.params
    vip, known = wish["vip"], clustered(module, wish["resource"])
    mine = addresses(module)
    missing = missing_packages(module, wish["packages"])
    at_boot = any(Path("/etc/systemd/system").glob("*.wants/haproxy.service"))
    module.exit_json(
        ready=not missing and not at_boot,
        missing=missing,
        node=os.uname().nodename,
        prefix=mine.get(wish["address"], 0),
        has_vip=vip in mine,
        clustered=known,
        vip_held_by="" if known or not vip or wish["ask"] else ("this host" if vip in mine else neighbour(module, vip)),
        certificates=certificates(),
        running=haproxy_lb.running_digest(haproxy_lb.ask("show info")),
        written=haproxy_lb.written_digest(read(Path(haproxy_lb.CONFIG))),
        servers=haproxy_lb.server_states(haproxy_lb.ask("show stat -1 4 -1")),
        answers=[answer(question) for question in wish["ask"]],
    )


if __name__ == "__main__":
    main()
