#!/usr/bin/python
# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_cdn_info
short_description: What a host has and runs of a CDN, what it answers, and its figures
version_added: 0.3.0
author: The cloudexit maintainers (@cloudexit)
description:
  - Reads packages, files, the cluster's resources and the running Nginx in one go, and asks as a client if told to.
    Changes nothing.
  - The figures come from the metrics page of the role, which counts the lines of the access log.
extends_documentation_fragment:
  - cloudexit.ha_stack.reads_only
options:
  vips:
    description: Addresses that move between the members.
    type: list
    elements: str
    default: []
  address:
    description: Address of this host in the tier.
    type: str
    default: ''
  packages:
    description: Packages which count for RV(ready).
    type: list
    elements: str
    default: []
  resources:
    description: Ids of the addresses' resources in the cluster.
    type: list
    elements: str
    default: []
  cache_path:
    description: Folder of the cache.
    type: path
    default: /var/cache/nginx-cdn
  ports:
    description: Ports that Nginx is to listen on.
    type: list
    elements: int
    default: []
  metrics:
    description: Where the metrics page is, C(address:port); empty does not ask for it.
    type: str
    default: 127.0.0.1:8405
  ask:
    description: >-
      What to ask as a client, each with C(address), C(port), C(path), and C(tls), C(method), C(host) if they are not
      false, GET and the address.
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: Look at the edges
  cloudexit.ha_stack.nginx_cdn_info:
  register: look

- name: Show how much the cache answers
  ansible.builtin.debug:
    var: look.hit_ratio
"""

RETURN = r"""
release:
  description: Debian's release, V(0) on another system.
  type: int
  returned: always
ready:
  description: Whether the packages are installed and Debian's own unit of Nginx is not waiting to be started at boot.
  type: bool
  returned: always
idle:
  description: Whether nobody uses Debian's own unit of Nginx, so that it need not start at boot.
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
vips:
  description: Those of O(vips) that the host has.
  type: list
  elements: str
  returned: always
clustered:
  description: Whether the host's cluster knows one of the resources.
  type: bool
  returned: always
vips_held_by:
  description: Who answers for a VIP while the cluster does not know it, by address.
  type: dict
  returned: always
ports_taken:
  description: Who else listens on one of O(ports) while the CDN's Nginx does not run, by port.
  type: dict
  returned: always
certificates:
  description: Certificates, without keys, by name of the file that this role wrote.
  type: dict
  returned: always
running:
  description: Generation that Nginx runs; empty if it does not answer.
  type: str
  returned: always
written:
  description: Generation on disk.
  type: str
  returned: always
stale:
  description: Whether Nginx runs from a program or with modules that have been replaced since.
  type: bool
  returned: always
filesystem:
  description: C(total) and C(free) bytes of the file system that holds the cache.
  type: dict
  returned: always
foreign:
  description: What is in the cache's folder and is no cache of Nginx; at most three names.
  type: list
  elements: str
  returned: always
memory:
  description: Bytes of memory.
  type: int
  returned: always
metrics:
  description: The metrics page, by name, and by the labels' values; empty if there is none.
  type: dict
  returned: always
hit_ratio:
  description: >-
    Share of the requests for objects that the cache answered (HIT, STALE, UPDATING, REVALIDATED), since the figures
    began; null before the first.
  type: float
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
import ssl
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import nginx_cdn
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import nginx_cdn_host as host
from ansible_collections.cloudexit.ha_stack.plugins.module_utils.host import addresses, missing_packages, neighbour

CIB_FILE = Path("/var/lib/pacemaker/cib/cib.xml")
ASK_SECONDS = 10
PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----\s*", re.DOTALL)
SHARD = re.compile(r"[0-9a-f]")


def debian_release() -> int:
    text = host.read(Path("/etc/os-release"))
    match = re.search(r'^VERSION_ID="?(\d+)', text, re.MULTILINE)
    return int(match[1]) if match and re.search(r"^ID=debian$", text, re.MULTILINE) else 0


def debians_waits(module: AnsibleModule) -> bool:
    """Whether Debian's nginx.service would start at boot although nobody uses it now."""
    shown = module.run_command(["systemctl", "show", "--property=ActiveState,UnitFileState", "nginx.service"])[
        1
    ].split()
    return "UnitFileState=enabled" in shown and "ActiveState=active" not in shown


def clustered(module: AnsibleModule, resources: list[str]) -> bool:
    """Whether the cluster knows one of the resources, even while it is stopped on this host."""
    if not CIB_FILE.exists():
        return False
    rc, out, _err = module.run_command(["cibadmin", "--query", "--local", "--scope", "resources"])
    text = out if rc == 0 else host.read(CIB_FILE)
    return any(f'<primitive id="{resource}"' in text for resource in resources)


def ports_taken(module: AnsibleModule, ports: list[int]) -> dict[str, str]:
    _rc, out, _err = module.run_command(["ss", "-H", "-l", "-n", "-t", "-p"])
    found: dict[str, str] = {}
    for line in out.splitlines():
        fields = line.split()
        if len(fields) < 4:
            continue
        port = fields[3].rpartition(":")[2]
        if port.isdigit() and int(port) in ports:
            name = re.search(r'users:\(\("([^"]+)"', line)
            found[port] = name[1] if name else "another process"
    return found


def certificates() -> dict[str, str]:
    folder = nginx_cdn.CERTIFICATES
    names = sorted(os.listdir(folder)) if folder.is_dir() else []
    return {name: PRIVATE_KEY.sub("", host.read(folder / name)) for name in names if nginx_cdn.OURS.fullmatch(name)}


def filesystem(path: Path) -> dict[str, int]:
    while not path.exists():
        path = path.parent
    found = os.statvfs(path)
    return {"total": found.f_blocks * found.f_frsize, "free": found.f_bavail * found.f_frsize}


def foreign(path: Path) -> list[str]:
    names = sorted(os.listdir(path)) if path.is_dir() else []
    return [name for name in names if not SHARD.fullmatch(name) and name != "lost+found"][:3]


def memory() -> int:
    match = re.search(r"^MemTotal:\s+(\d+) kB", host.read(Path("/proc/meminfo")), re.MULTILINE)
    return int(match[1]) * 1024 if match else 0


def metrics(where: str) -> dict[str, Any]:
    if not where:
        return {}
    connection = http.client.HTTPConnection(where, timeout=host.TIMEOUT)
    try:
        connection.request("GET", "/metrics")
        return nginx_cdn.parse_metrics(connection.getresponse().read().decode("utf-8", "replace"))
    except (OSError, http.client.HTTPException, ValueError):
        return {}
    finally:
        connection.close()


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """The question with what came back. The certificate is not judged: names and issuers are the clients' affair."""
    back: dict[str, Any] = {"error": "", "got": 0, "location": "", "cache": ""}
    address, path = question["address"], question["path"]
    extra: dict[str, Any] = {"context": ssl._create_unverified_context()} if question.get("tls") else {}
    kind = http.client.HTTPSConnection if question.get("tls") else http.client.HTTPConnection
    connection = kind(address, int(question["port"]), timeout=ASK_SECONDS, **extra)
    try:
        headers = {"Host": question.get("host", address), "Connection": "close"}
        connection.request(question.get("method", "GET"), path, headers=headers)
        response = connection.getresponse()
        back["got"] = response.status
        back["location"] = response.getheader("Location", "")
        back["cache"] = response.getheader("X-Cache", "")
    except (OSError, http.client.HTTPException) as err:
        back["error"] = str(err) or type(err).__name__
    finally:
        connection.close()
    return {**question, **back}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "vips": {"type": "list", "elements": "str", "default": []},
            "address": {"type": "str", "default": ""},
            "packages": {"type": "list", "elements": "str", "default": []},
            "resources": {"type": "list", "elements": "str", "default": []},
            "cache_path": {"type": "path", "default": "/var/cache/nginx-cdn"},
            "ports": {"type": "list", "elements": "int", "default": []},
            "metrics": {"type": "str", "default": "127.0.0.1:8405"},
            "ask": {"type": "list", "elements": "dict", "default": []},
        },
        supports_check_mode=True,
    )
    wish = module.params
    known, mine = clustered(module, wish["resources"]), addresses(module)
    missing, waits = missing_packages(module, wish["packages"]), debians_waits(module)
    held: dict[str, str] = {}
    if not known and not wish["ask"]:
        for vip in wish["vips"]:
            if holder := ("this host" if vip in mine else neighbour(module, vip)):
                held[vip] = holder
    figures = metrics(wish["metrics"])
    counts = figures.get("nginx_cdn_requests_total")
    module.exit_json(
        release=debian_release(),
        ready=not missing and not waits,
        idle="nginx" in missing or waits,
        missing=missing,
        node=os.uname().nodename,
        prefix=mine.get(wish["address"], 0),
        vips=[vip for vip in wish["vips"] if vip in mine],
        clustered=known,
        vips_held_by=held,
        ports_taken={} if host.master() else ports_taken(module, wish["ports"]),
        certificates=certificates(),
        running=host.running(),
        written=host.written(),
        stale=host.stale(),
        filesystem=filesystem(Path(wish["cache_path"])),
        foreign=foreign(Path(wish["cache_path"])),
        memory=memory(),
        metrics=figures,
        hit_ratio=nginx_cdn.ratio(counts) if isinstance(counts, dict) else None,
        answers=[answer(question) for question in wish["ask"]],
    )


if __name__ == "__main__":
    main()
