#!/usr/bin/python
# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The live state of one host of a MongoDB replica set."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mongo_replset_info
short_description: The live state of one host of a MongoDB replica set
version_added: 0.1.0
author: The cloudexit maintainers (@cloudexit)
description:
  - Classifies the server of this host from its files, its unit and what it answers. Works without pymongo, as long as
    there is no server.
extends_documentation_fragment:
  - cloudexit.ha_stack.reads_only
  - cloudexit.ha_stack.mongo_replset
options:
  packages:
    description: Debian's packages to look for, for RV(missing).
    type: list
    elements: str
    default: []
  member:
    description: Name of this host in O(members).
    type: str
    required: true
  data_dir:
    description: Where the server keeps its data.
    type: path
    required: true
  key:
    description: The wanted content of the key file, to be compared with what is there.
    type: str
    default: ''
  conf:
    description: The wanted content of C(mongod.conf), to be compared with what the server runs with.
    type: dict
    default: {}
  binary:
    description: The server's program, to be compared with the one that runs.
    type: path
    required: true
  release:
    description: The program of the wanted release, which O(binary) may be a link to; empty if a package brings it.
    type: path
    default: ''
"""

EXAMPLES = r"""
- name: Look
  cloudexit.ha_stack.mongo_replset_info:
    set_name: main
    members:
      - {name: mongo1, address: 192.0.2.71, port: 27017}
      - {name: mongo2, address: 192.0.2.72, port: 27017}
      - {name: arb1, address: 192.0.2.73, port: 27017, arbiter: true}
    keyfile: /etc/mongodb/keyfile
    member: mongo1
    data_dir: /var/lib/mongodb
    binary: /opt/mongodb/current/mongod
"""

RETURN = r"""
missing:
  description: Those of O(packages) that are not installed.
  returned: always
  type: list
  elements: str
state:
  description:
    - V(absent) nothing is there, V(stopped) it was set up and does not run, V(silent) it runs and does not answer,
      V(forming) it waits for the set's configuration, V(member) it has it.
    - V(standalone) there are data of a server that is in no set, V(foreign) it is in another set.
  returned: always
  type: str
set_name:
  description: The set that it is in, or was set up for; empty if none.
  returned: always
  type: str
adopted:
  description: Whether it is a standalone server that is becoming the first member of a set.
  returned: always
  type: bool
binary:
  description: Whether O(binary) is there.
  returned: always
  type: bool
release:
  description: Whether O(release) is there.
  returned: always
  type: bool
started:
  description: Whether its unit runs, and will at the next boot.
  returned: always
  type: bool
version:
  description: The version that runs, empty if none does.
  returned: always
  type: str
feature:
  description: The set's feature compatibility version as this server has it, empty if it does not say.
  returned: always
  type: str
tls_mode:
  description: C(net.tls.mode) that it runs with, empty if it does not run.
  returned: always
  type: str
cache:
  description: Size of its cache in MiB, 0 if it does not run.
  returned: always
  type: int
keyfile:
  description:
    - V(absent), V(same) as O(key), V(shared) others, but with one in common, V(other) no key in common.
  returned: always
  type: str
pending:
  description: Why the running server must be restarted, each reason a sentence.
  returned: always
  type: list
  elements: str
memory:
  description: Memory of this host in MiB, or what its control group allows if that is less.
  returned: always
  type: int
"""

import contextlib
import os
from pathlib import Path
from typing import Any, NamedTuple

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import host
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import mongo_replset as mr
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import package_upgrade as pu
from ansible_collections.cloudexit.ha_stack.plugins.module_utils.mongo_replset_client import (
    PYMONGO_ERROR,
    Cluster,
    PyMongoError,
)

UNIT = "mongod.service"
STARTED = "ExecMainStartTimestampMonotonic"
CONF = "/etc/mongod.conf"


def text(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def host_memory() -> int:
    """MiB that this host, or its container, has."""
    total = next(int(line.split()[1]) for line in text("/proc/meminfo").splitlines() if line.startswith("MemTotal:"))
    limits = [text(f"/sys/fs/cgroup/{name}").strip() for name in ("memory.max", "memory/memory.limit_in_bytes")]
    return min([total // 1024, *(int(limit) // 2**20 for limit in limits if limit.isdigit())])


def ways(tls_ca: str | None) -> list[str | None]:
    """With TLS, if there is an authority, and without: a server may still run as it was set up before."""
    return [tls_ca, None] if tls_ca and os.path.exists(tls_ca) else [None]


def first_answer(clusters: list[Cluster], here: mr.Member) -> tuple[Cluster, dict[str, Any]]:
    for cluster in clusters[:-1]:
        with contextlib.suppress(PyMongoError):
            return cluster, cluster.hello(here)
    return clusters[-1], clusters[-1].hello(here)


class Unit(NamedTuple):
    """The server's unit; `began` is when its process did (microseconds of the monotonic clock; 0: none)."""

    active: bool
    enabled: bool
    began: int


def unit(module: AnsibleModule) -> Unit:
    said = host.unit(module, UNIT, "ActiveState", "UnitFileState", "MainPID", STARTED)
    return Unit(
        said.get("ActiveState") in host.RUNS,
        said.get("UnitFileState") == "enabled",
        int(said.get(STARTED) or 0) if int(said.get("MainPID") or 0) else 0,
    )


def keyfile(path: str, wanted: str) -> str:
    """One of the words of RETURN."""
    there = mr.keys(text(path))
    if not there:
        return "absent"
    if there == mr.keys(wanted):
        return "same"
    return "shared" if set(there) & set(mr.keys(wanted)) else "other"


def restart_reasons(given: dict[str, Any], parsed: dict[str, Any], began: int) -> list[str]:
    """What the running process has not got: settings, and files that are newer than its start."""
    found = mr.pending(given["conf"], parsed)
    program = given["binary"]
    release = os.path.dirname(program)  # of an archive: a link to the release, which may point to another one since
    files = {program: pu.replaced(program, began) or (os.path.islink(release) and pu.replaced(release, began))}
    for path in (given["keyfile"], given["conf"].get("net", {}).get("tls", {}).get("certificateKeyFile")):
        if path:
            files[path] = pu.replaced(path, began)
    return found + [f"{path} is newer than its start" for path, newer in files.items() if newer]


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            **mr.ARGUMENTS,
            "member": {"type": "str", "required": True},
            "packages": {"type": "list", "elements": "str", "default": []},
            "data_dir": {"type": "path", "required": True},
            "key": {"type": "str", "default": "", "no_log": True},
            "conf": {"type": "dict", "default": {}},
            "binary": {"type": "path", "required": True},
            "release": {"type": "path", "default": ""},
        },
        supports_check_mode=True,
    )
    given = module.params
    clusters = [Cluster(given | {"tls_ca": ca}) for ca in ways(given["tls_ca"])]
    cluster = clusters[0]
    here = next((m for m in cluster.members if m.name == given["member"]), None)
    data_dir = Path(given["data_dir"])
    server = unit(module)
    hello: dict[str, Any] | None = None
    parsed: dict[str, Any] = {}
    version = feature = ""
    if here and server.active and not PYMONGO_ERROR:
        try:
            cluster, hello = first_answer(clusters, here)
            version = str(cluster.client(here, login=False).admin.command("buildInfo")["version"])
            if cluster.keys:
                parsed = dict(cluster.command(here, "getCmdLineOpts")["parsed"])
            if parsed and hello.get("setName") and not here.arbiter:
                found = cluster.command(here, "getParameter", featureCompatibilityVersion=1)
                feature = str(found["featureCompatibilityVersion"]["version"])
        except PyMongoError:  # it is silent, of another key, or in no state to say
            pass
    told = mr.told(parsed, text(CONF))
    data = (data_dir / "WiredTiger").exists()
    state = mr.classify(given["set_name"], mr.MARK in text(CONF), data, server.active, hello, told)
    module.exit_json(
        changed=False,
        missing=host.missing_packages(module, given["packages"]),
        state=state,
        set_name=(hello or {}).get("setName", told),
        adopted=(data_dir / mr.ADOPTED).exists(),
        binary=os.path.exists(given["binary"]),
        release=bool(given["release"]) and os.path.exists(given["release"]),
        started=server.active and server.enabled,
        version=version,
        feature=feature,
        tls_mode=mr.flat(parsed).get("net.tls.mode", "disabled") if parsed else "",
        cache=round(float(mr.flat(parsed).get("storage.wiredTiger.engineConfig.cacheSizeGB", 0)) * 1024),
        keyfile=keyfile(given["keyfile"], given["key"]),
        pending=restart_reasons(given, parsed, server.began) if parsed and given["conf"] else [],
        memory=host_memory(),
    )


if __name__ == "__main__":
    main()
