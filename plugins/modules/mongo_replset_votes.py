#!/usr/bin/python
# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Take the vote of a lost member of a MongoDB replica set away, and give it back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mongo_replset_votes
short_description: Take the vote of a lost member of a MongoDB replica set away, or give it back
version_added: 0.1.0
author: The cloudexit maintainers (@cloudexit)
description:
  - Without the vote of a lost data member, the one that is left beside an arbiter is a majority of the data again, and
    C(w majority) is acknowledged. See
    U(https://www.mongodb.com/docs/v6.0/tutorial/mitigate-psa-performance-issues/).
  - A vote is given back when the member has caught up; it may be elected only when that is known to a majority.
  - A primary that was elected after the member was lost cannot change the configuration in the ordinary way, because
    that waits until a majority of the data members has what was committed before. Where these two are the only data
    members beside an arbiter, whatever was acknowledged with C(w majority) is on both, and the change is made with
    C(force). Nowhere else.
extends_documentation_fragment:
  - cloudexit.ha_stack.mongo_replset
attributes:
  check_mode:
    support: full
    description: Looks, refuses what a real run would, and reports.
  diff_mode:
    support: full
    description: Shows members before and after.
  idempotent:
    support: full
    description: A second run changes nothing.
options:
  member:
    description: Name of the member.
    type: str
    required: true
  vote:
    description: Whether it is to have a vote.
    type: bool
    required: true
  lag:
    description: Seconds that it may be behind to get its vote back.
    type: int
    default: 2
  timeout:
    description: Seconds that it may take to be in step, and a change of the configuration to be made.
    type: int
    default: 120
"""

EXAMPLES = r"""
- name: Go on without mongo2
  cloudexit.ha_stack.mongo_replset_votes:
    set_name: main
    members:
      - {name: mongo1, address: 192.0.2.71, port: 27017}
      - {name: mongo2, address: 192.0.2.72, port: 27017}
      - {name: arb1, address: 192.0.2.73, port: 27017, arbiter: true}
    keyfile: /etc/mongodb/keyfile
    member: mongo2
    vote: false
"""

RETURN = r"""
voters:
  description: How many votes there are afterwards.
  returned: always
  type: int
forced:
  description: Whether the configuration had to be changed with C(force).
  returned: when changed
  type: bool
"""

from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import mongo_replset as mr
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import mongo_replset_client as mc

ORDINARY = 10.0  # seconds that a vote may take to go in the ordinary way, where there is another one


class Votes:
    """The whole procedure."""

    forced = False

    def __init__(self, module: AnsibleModule) -> None:
        self.module, self.given = module, module.params
        self.cluster = mc.Cluster(self.given)

    def fail(self, text: str) -> NoReturn:
        self.module.fail_json(msg=f"mongo_replset: {text}")
        raise SystemExit(1)

    def run(self) -> None:
        timeout = self.given["timeout"]
        member = next((m for m in self.cluster.members if m.name == self.given["member"]), None)
        if member is None:
            known = ", ".join(m.name for m in self.cluster.members)
            self.fail(f"{self.given['member']!r} is no member; there are {known}")
        primary = self.cluster.primary(timeout)
        config = self.cluster.config(primary)
        entry = next((m for m in config["members"] if m["host"] == member.host), None)
        if entry is None:
            self.fail(f"{member} is not in the set's configuration: ansible-playbook playbooks/mongo.yml adds it")
        wanted = (1, 1) if self.given["vote"] else (0, 0)
        if (entry.get("votes", 1), entry.get("priority", 1)) == wanted:
            self.module.exit_json(changed=False, voters=mr.voters(config))
        if member.arbiter:
            self.fail(f"{member} is an arbiter, which is there for its vote only: start it, or remove it")
        after = mr.revote(config, member.host, *wanted)
        if not self.given["vote"]:
            state = mr.member_state(self.cluster.status(primary), member.host)
            if state in ("PRIMARY", "SECONDARY"):
                self.fail(f"{member} is {state} and answers; a vote is taken only from a member that is lost")
        elif found := mc.settle(
            self.cluster, 0 if self.module.check_mode else timeout, self.given["lag"], [member.host]
        ):
            self.fail(f"{'; '.join(found)}: its vote waits until it has caught up")
        if not self.module.check_mode:
            self.apply(member, wanted, timeout)
        self.module.exit_json(
            changed=True,
            voters=mr.voters(after),
            forced=self.forced,
            diff={"before": mr.shown(config), "after": mr.shown(after)},
        )

    def apply(self, member: mr.Member, wanted: tuple[int, int], timeout: float) -> None:
        def change(votes: int, priority: int) -> None:
            def changed(config: dict[str, Any]) -> dict[str, Any]:
                return mr.revote(config, member.host, votes, priority)

            primary = self.cluster.primary(timeout)
            if votes or not mr.has_all_commits(self.cluster.config(primary), primary.host, member.host):
                self.cluster.reconfigure(changed, timeout)
                return
            try:
                self.cluster.reconfigure(changed, min(timeout, ORDINARY))
            except mc.PyMongoError as error:
                if getattr(error, "code", None) not in mc.BUSY:
                    raise
                self.cluster.reconfigure(changed, timeout, force=True)
                self.forced = True

        # Electable only when what a majority had without it is known to be on it, or it could roll that back.
        change(wanted[0], 0)
        if wanted[1]:
            if found := mc.settle(self.cluster, timeout, self.given["lag"], [member.host]):
                self.fail(f"it votes and is not yet electable: {'; '.join(found)}. Run the same again")
            change(*wanted)


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            **mr.ARGUMENTS,
            "member": {"type": "str", "required": True},
            "vote": {"type": "bool", "required": True},
            "lag": {"type": "int", "default": 2},
            "timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    mc.require(module)
    votes = Votes(module)
    try:
        votes.run()
    except (mc.PyMongoError, mr.NoPrimary) as error:
        votes.fail(mc.brief(error))


if __name__ == "__main__":
    main()
