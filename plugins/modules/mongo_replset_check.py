#!/usr/bin/python
# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Use a MongoDB replica set as its clients do."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mongo_replset_check
short_description: Use a MongoDB replica set as its clients do, and say what is wrong with it
version_added: 0.1.0
author: The cloudexit maintainers (@cloudexit)
description:
  - Writes a document to the primary with the set's default write concern, reads it on each secondary, and drops it.
    Logs in as every user. Compares versions, keys, members and their state.
extends_documentation_fragment:
  - cloudexit.ha_stack.mongo_replset
attributes:
  check_mode:
    support: full
    description: Writes and drops its document in any mode.
  diff_mode:
    support: none
    description: Changes nothing that stays.
  idempotent:
    support: full
    description: Nothing of it stays.
options:
  expected:
    description: Names of the members that must be well; others may be down.
    type: list
    elements: str
    required: true
  logins:
    description: Users, each with C(name), C(password) and C(database).
    type: list
    elements: dict
    default: []
  lag:
    description: Seconds that a secondary may be behind.
    type: int
    default: 10
  timeout:
    description: Seconds in which a document must be on each secondary, and a member be well.
    type: int
    default: 20
"""

EXAMPLES = r"""
- name: Use it
  cloudexit.ha_stack.mongo_replset_check:
    set_name: main
    members:
      - {name: mongo1, address: 192.0.2.71, port: 27017}
      - {name: mongo2, address: 192.0.2.72, port: 27017}
      - {name: arb1, address: 192.0.2.73, port: 27017, arbiter: true}
    keyfile: /etc/mongodb/keyfile
    expected: [mongo1, mongo2, arb1]
"""

RETURN = r"""
faults:
  description: What is wrong, each a sentence.
  returned: always
  type: list
  elements: str
notices:
  description: What is not as the inventory has it and may be meant, each a sentence.
  returned: always
  type: list
  elements: str
primary:
  description: Name of the primary, empty if there is none.
  returned: always
  type: str
"""

import contextlib
import uuid
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import mongo_replset as mr
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import mongo_replset_client as mc

DATABASE = "cloudexit_check"


def used(cluster: mc.Cluster, primary: mr.Member, secondaries: list[mr.Member], timeout: float) -> list[str]:
    """Write, read everywhere, drop."""
    name = f"check_{uuid.uuid4().hex[:8]}"
    database = cluster.client(primary)[DATABASE]
    faults = []
    try:
        database.command("insert", name, documents=[{"_id": name}], maxTimeMS=int(timeout * 1000))
        for member in secondaries:
            found: Any = None
            for _left in mc.until(timeout):
                with contextlib.suppress(mc.PyMongoError):
                    reader = cluster.client(member).get_database(DATABASE, read_preference=mc.SECONDARY)
                    found = reader[name].find_one({"_id": name})
                if found:
                    break
            if not found:
                faults.append(f"what was written to {primary} was not on {member} {timeout} s later")
    finally:
        with contextlib.suppress(mc.PyMongoError):
            database.command("drop", name, maxTimeMS=int(timeout * 1000))
    return faults


def logins(cluster: mc.Cluster, primary: mr.Member, users: list[dict[str, str]]) -> list[str]:
    faults = []
    for user in users:
        options: dict[str, Any] = {
            "username": user["name"],
            "password": user["password"],
            "authSource": user["database"],
        }
        with contextlib.closing(cluster.client(primary, login=False, **options)) as client:
            try:
                client.admin.command("ping")
            except mc.PyMongoError as error:
                faults.append(f"{user['name']} cannot log in to {user['database']}: {mc.brief(error)}")
    return faults


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            **mr.ARGUMENTS,
            "expected": {"type": "list", "elements": "str", "required": True},
            "logins": {"type": "list", "elements": "dict", "default": [], "no_log": False},
            "lag": {"type": "int", "default": 10},
            "timeout": {"type": "int", "default": 20},
        },
        supports_check_mode=True,
    )
    mc.require(module)
    given = module.params
    cluster = mc.Cluster(given)
    expected = [m for m in cluster.members if m.name in given["expected"]]
    faults: list[str] = []
    notices: list[str] = []
    primary = None
    try:
        primary = cluster.primary(given["timeout"])
        config = cluster.config(primary)
        present = {m["host"] for m in config["members"]}
        faults = [f"{m} is not in the set's configuration" for m in expected if m.host not in present]
        hosts = [m.host for m in expected]
        faults += mc.settle(cluster, given["timeout"], given["lag"], hosts)
        for host in mr.surplus(config, cluster.members):
            faults.append(
                f"{host} is in the set and not in the inventory: add it, or let it go with "
                f"ansible-playbook playbooks/mongo.yml -e mongo_replset_remove={host}"
            )
        for name in mr.voteless(config, cluster.members):
            notices.append(
                f"{name} has no vote: when it is back, ansible-playbook playbooks/mongo_votes.yml "
                f"-e mongo_replset_give={name.split(' ', maxsplit=1)[0]}"
            )
        states = cluster.status(primary)
        up = [m for m in expected if mr.member_state(states, m.host) == "SECONDARY"]
        faults += used(cluster, primary, up, given["timeout"])
        faults += logins(cluster, primary, given["logins"])
    except (mc.PyMongoError, mr.NoPrimary) as error:
        faults.append(mc.brief(error))
    module.exit_json(changed=False, faults=faults, notices=notices, primary=primary.name if primary else "")


if __name__ == "__main__":
    main()
