#!/usr/bin/python
# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A MongoDB replica set: born once, and brought to its wanted members and settings."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mongo_replset
short_description: A MongoDB replica set, born once and brought to its wanted members and settings afterwards
version_added: 0.1.0
author: The cloudexit maintainers (@cloudexit)
description:
  - Asks every member. If none is in a set and all answer, O(founder) becomes the first member of a new one. If one is,
    the configuration of the living set is brought to the wanted one, one change at a time, each waited for.
  - Never moves the primary, but away from a member that is in O(remove). Never changes votes or priorities.
  - Members that the inventory does not know stay, unless O(remove) names them.
extends_documentation_fragment:
  - cloudexit.ha_stack.mongo_replset
attributes:
  check_mode:
    support: full
    description: Compares and reports.
  diff_mode:
    support: full
    description: Shows members, settings and the default write concern before and after.
  idempotent:
    support: full
    description: A second run changes nothing, whoever is primary by then.
options:
  founder:
    description: Name of the member that has the data, if any has, at the birth of the set.
    type: str
    required: true
  settings:
    description: Settings of the configuration, such as C(electionTimeoutMillis).
    type: dict
    default: {}
  write_concern:
    description: 'The set''s default write concern, such as C({"w": "majority"}).'
    type: dict
    required: true
  remove:
    description: Hosts of the configuration, C(address:port), that the inventory does not know and that are to leave.
    type: list
    elements: str
    default: []
  feature_version:
    description: The feature compatibility version, to be raised once all members are of that series; empty leaves it.
    type: str
    default: ''
  timeout:
    description: Seconds that an election and a change of the configuration may take.
    type: int
    default: 60
  sync_timeout:
    description: Seconds that a new member may take to copy the data.
    type: int
    default: 3600
"""

EXAMPLES = r"""
- name: Form the set
  cloudexit.ha_stack.mongo_replset:
    set_name: main
    members:
      - {name: mongo1, address: 192.0.2.71, port: 27017}
      - {name: mongo2, address: 192.0.2.72, port: 27017}
      - {name: arb1, address: 192.0.2.73, port: 27017, arbiter: true}
    keyfile: /etc/mongodb/keyfile
    founder: mongo1
    settings: {electionTimeoutMillis: 1500}
    write_concern: {w: 1}
"""

RETURN = r"""
steps:
  description: What was done, or would be, in words.
  returned: always
  type: list
  elements: str
surplus:
  description: Hosts of the configuration that the inventory does not know.
  returned: always
  type: list
  elements: str
primary:
  description: Name of the primary afterwards, empty in a dry run before the birth.
  returned: always
  type: str
"""

from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import mongo_replset as mr
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import mongo_replset_client as mc


class Set:
    """The whole procedure."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module, self.given = module, module.params
        self.cluster = mc.Cluster(self.given)
        self.members = self.cluster.members
        self.steps: list[str] = []

    def fail(self, text: str) -> NoReturn:
        done = "; ".join(self.steps) or "nothing"
        self.module.fail_json(msg=f"mongo_replset: {text}. Changed so far: {done}", steps=self.steps)
        raise SystemExit(1)

    def exit(self, before: dict[str, Any], after: dict[str, Any], primary: str, surplus: list[str]) -> NoReturn:
        changed = bool(self.steps)
        diff = {"before": before, "after": after} if changed else {}
        self.module.exit_json(changed=changed, steps=self.steps, primary=primary, surplus=surplus, diff=diff)
        raise SystemExit(0)

    def run(self) -> NoReturn:
        answers = self.cluster.hellos()
        named = {m: a for m, a in answers.items() if not isinstance(a, str)}
        for member, answer in named.items():
            if answer.get("setName", self.cluster.set_name) != self.cluster.set_name:
                self.fail(
                    f"{member} belongs to the set {answer['setName']!r}, not to {self.cluster.set_name!r}: take it "
                    "out of one of the two; its data are that set's"
                )
        if not any(answer.get("setName") for answer in named.values()):
            self.birth(answers)
        self.change()

    def birth(self, answers: dict[mr.Member, dict[str, Any] | str]) -> None:
        first = mr.first_config(self.cluster.set_name, self.members, self.given["settings"])
        self.steps.append(f"a new set of {', '.join(map(str, self.members))}, {self.given['founder']} first")
        if self.module.check_mode:
            self.exit({}, mr.shown(first, self.given["write_concern"]), "", [])
        self.steps.clear()
        for member, answer in answers.items():
            if isinstance(answer, str):
                self.fail(
                    f"there is no set yet, and {member} does not answer ({answer}). The set could exist there: nothing "
                    "is born before all members were asked. Start it (systemctl status mongod), or "
                    "take it out of the inventory"
                )
            if not answer.get("isreplicaset"):
                self.fail(f"{member} runs without a set's name: systemctl restart mongod on it, if it was just set up")
        founder = next(m for m in self.members if m.name == self.given["founder"])
        self.cluster.command(founder, "replSetInitiate", first)
        self.steps.append(f"a new set, {founder} first")
        self.cluster.primary(self.given["timeout"])
        if found := mc.settle(self.cluster, self.given["timeout"], 10):
            self.fail(f"the set was born and is not well after {self.given['timeout']} s: {'; '.join(found)}")

    def change(self) -> NoReturn:
        try:
            primary = self.cluster.primary(0 if self.module.check_mode else self.given["timeout"])
        except mr.NoPrimary as error:
            self.fail(str(error))
        config = self.cluster.config(primary)
        if wrong := mr.changed_role(config, self.members):
            self.fail(
                f"{'; '.join(wrong)}. Neither becomes the other: take it out of the inventory, remove it "
                "(mongo_replset_remove), empty its data directory, and add it as what it is to be"
            )
        concern = mr.concern(self.cluster.command(primary, "getDefaultRWConcern"))
        wanted_concern = {n: v for n, v in self.given["write_concern"].items() if n != "wtimeout" or v}
        before = mr.shown(config, concern)
        planned = mr.plan(config, self.members, self.given["settings"], self.given["remove"])
        # First: a server refuses an arbiter that would change the default behind the applications' backs.
        if concern != wanted_concern:
            if not self.module.check_mode:
                more = {"defaultWriteConcern": wanted_concern, "maxTimeMS": self.given["timeout"] * 1000}
                self.cluster.command(primary, "setDefaultRWConcern", **more)
            self.steps.append(f"default write concern: {concern or 'of the server'} → {wanted_concern}")
        for step in planned:
            if not self.module.check_mode:
                self.perform(step)
            self.steps.append(step.text)
        self.feature(primary)
        if self.module.check_mode:
            for step in planned:
                config = step.change(config)
        else:
            primary = self.cluster.primary(self.given["timeout"])
            config = self.cluster.config(primary)
        self.exit(before, mr.shown(config, wanted_concern), primary.name, mr.surplus(config, self.members))

    def perform(self, step: mr.Step) -> None:
        timeout = self.given["timeout"]
        if step.joins:
            answer = self.cluster.hellos()[step.joins]
            if isinstance(answer, str):
                self.fail(f"{step.joins} is to join and does not answer ({answer}): journalctl -u mongod on it")
        primary = self.cluster.primary(timeout)
        if step.leaves == primary.host:
            self.cluster.step_down(primary, timeout)
        self.cluster.reconfigure(step.change, timeout)
        if step.joins:
            found = mc.settle(self.cluster, self.given["sync_timeout"], 10, [step.joins.host])
            if found:
                self.fail(f"{step.text}: after {self.given['sync_timeout']} s {'; '.join(found)}")

    def feature(self, primary: mr.Member) -> None:
        """Raise the feature compatibility version; the server refuses while a member is older."""
        wanted = self.given["feature_version"]
        if not wanted:
            return
        found = self.cluster.command(primary, "getParameter", featureCompatibilityVersion=1)
        live = str(found["featureCompatibilityVersion"]["version"])
        if live == wanted:
            return
        if not self.module.check_mode:
            confirm = {} if float(wanted) < 7 else {"confirm": True}
            self.cluster.command(primary, "setFeatureCompatibilityVersion", wanted, **confirm)
        self.steps.append(f"feature compatibility version {live} → {wanted}")


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            **mr.ARGUMENTS,
            "founder": {"type": "str", "required": True},
            "settings": {"type": "dict", "default": {}},
            "write_concern": {"type": "dict", "required": True},
            "remove": {"type": "list", "elements": "str", "default": []},
            "feature_version": {"type": "str", "default": ""},
            "timeout": {"type": "int", "default": 60},
            "sync_timeout": {"type": "int", "default": 3600},
        },
        supports_check_mode=True,
    )
    if mc.PYMONGO_ERROR and module.check_mode:
        text = "would be looked at when pymongo is installed"
        module.exit_json(changed=True, steps=[text], primary="", surplus=[])
    mc.require(module)
    run = Set(module)
    try:
        run.run()
    except (mc.PyMongoError, mr.NoPrimary) as error:
        run.fail(mc.brief(error))


if __name__ == "__main__":
    main()
