#!/usr/bin/python
# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Users of a MongoDB replica set."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mongo_replset_users
short_description: Users of a MongoDB replica set
version_added: 0.1.0
author: The cloudexit maintainers (@cloudexit)
description:
  - Makes, changes and drops users. Others are left alone.
  - Whether a password is the wanted one is told from the credentials that the server keeps, without an attempt to log
    in.
extends_documentation_fragment:
  - cloudexit.ha_stack.mongo_replset
attributes:
  check_mode:
    support: full
    description: Compares and reports.
  diff_mode:
    support: full
    description: Shows names, roles and which passwords differ.
  idempotent:
    support: full
    description: A second run changes nothing.
options:
  users:
    description: The users.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name.
        type: str
        required: true
      database:
        description: The database that he logs in to.
        type: str
        default: admin
      password:
        description: Password.
        type: str
      roles:
        description: Names of roles of O(users[].database), or C(role) and C(db) of others.
        type: list
        elements: raw
        default: []
      state:
        description: Whether he is to be there.
        type: str
        choices: [present, absent]
        default: present
"""

EXAMPLES = r"""
- name: The shop's user
  cloudexit.ha_stack.mongo_replset_users:
    set_name: main
    members:
      - {name: mongo1, address: 192.0.2.71, port: 27017}
      - {name: mongo2, address: 192.0.2.72, port: 27017}
      - {name: arb1, address: 192.0.2.73, port: 27017, arbiter: true}
    keyfile: /etc/mongodb/keyfile
    users:
      - name: shop
        password: "{{ vault_mongo_shop }}"
        roles: [{role: readWrite, db: shop}]
"""

RETURN = r"""
users:
  description: Who was changed, as database.name, and what.
  returned: always
  type: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import mongo_replset as mr
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import mongo_replset_client as mc


def change(cluster: mc.Cluster, primary: mr.Member, user: dict[str, Any], differs: list[str]) -> None:
    database = cluster.client(primary)[user["database"]]
    if differs == ["present"]:
        database.command("dropUser", user["name"])
        return
    told: dict[str, Any] = {}
    if "roles" in differs or "absent" in differs:
        told["roles"] = [{"db": db, "role": role} for db, role in mr.roles(user)]
    if "password" in differs or "absent" in differs:
        told["pwd"] = user["password"]
    database.command("createUser" if "absent" in differs else "updateUser", user["name"], **told)


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            **mr.ARGUMENTS,
            "users": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "database": {"type": "str", "default": "admin"},
                    "password": {"type": "str", "no_log": True},
                    "roles": {"type": "list", "elements": "raw", "default": []},
                    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
                },
            },
        },
        supports_check_mode=True,
    )
    mc.require(module)
    cluster = mc.Cluster(module.params)
    changed: dict[str, list[str]] = {}
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    try:
        primary = cluster.primary(10)
        for user in module.params["users"]:
            name = f"{user['database']}.{user['name']}"
            who = {"user": user["name"], "db": user["database"]}
            found = cluster.command(primary, "usersInfo", who, showCredentials=True)["users"]
            differs = mr.user_change(user, found[0] if found else None)
            if differs:
                changed[name] = differs
                before[name] = [f"{db}.{role}" for db, role in mr.roles(found[0])] if found else "absent"
                after[name] = (
                    [f"{db}.{role}" for db, role in mr.roles(user)] if user["state"] == "present" else "absent"
                )
                if "password" in differs:
                    after[name] = [*after[name], "another password"]
                if not module.check_mode:
                    change(cluster, primary, user, differs)
    except (mc.PyMongoError, mr.NoPrimary) as error:
        done = ", ".join(changed) or "nobody"
        module.fail_json(msg=f"mongo_replset: users: {mc.brief(error)}. Changed so far or last tried: {done}")
    diff = {"before": before, "after": after} if changed else {}
    module.exit_json(changed=bool(changed), users=changed, diff=diff)


if __name__ == "__main__":
    main()
