#!/usr/bin/python
# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: pcs_cluster
short_description: Form a cluster, add members to it, change its corosync options at run time
version_added: 0.1.0
author: The cloudexit maintainers (@cloudexit)
description:
  - Carries out a plan that P(cloudexit.ha_stack.pcs_cluster_plan#filter) made from the live state of all members, by
    calling C(pcs) on one of them. No running member is stopped or restarted by any of it.
  - What the plan does not contain is not done. Run it on the plan's actor.
attributes:
  check_mode:
    support: full
    description: Tells the plan's changes.
  diff_mode:
    support: none
    description: The changes are in RV(changes).
  idempotent:
    support: full
    description: As far as the plan is made from the live state.
options:
  wish:
    description: The wanted cluster, as P(cloudexit.ha_stack.pcs_cluster_wish#filter) completes it.
    type: dict
    required: true
  plan:
    description: The plan.
    type: dict
    required: true
  password:
    description: Password of the user C(hacluster) on members that join.
    type: str
  wait:
    description: How many seconds to wait for members to come online.
    type: int
    default: 90
"""

EXAMPLES = r"""
- name: Carry out the plan
  cloudexit.ha_stack.pcs_cluster:
    wish: "{{ wanted | cloudexit.ha_stack.pcs_cluster_wish(hostvars) }}"
    plan: "{{ plan }}"
    password: "{{ pcs_cluster_hacluster_password }}"
  delegate_to: "{{ plan.actor }}"
  run_once: true
"""

RETURN = r"""
changes:
  description: What is changed, one line each.
  type: list
  elements: str
  returned: always
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import pcs_cluster


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "wish": {"type": "dict", "required": True},
            "plan": {"type": "dict", "required": True},
            "password": {"type": "str", "no_log": True},
            "wait": {"type": "int", "default": 90},
        },
        supports_check_mode=True,
    )
    wish, plan, wait = (module.params[name] for name in ("wish", "plan", "wait"))
    if plan["problems"]:
        module.fail_json(msg="pcs_cluster: " + "; ".join(plan["problems"]))
    changes = plan["changes"]
    if module.check_mode or not changes:
        module.exit_json(changed=bool(changes), changes=changes)
    for words, needs_password in pcs_cluster.commands(wish, plan, wait):
        data = module.params["password"] if needs_password else None
        code, out, err = module.run_command(words, data=data, environ_update={"LC_ALL": "C.UTF-8"})
        if code != 0:
            lines = [line.strip() for line in (out + err).splitlines() if line.startswith(("Error", "Unable"))]
            module.fail_json(
                msg=f"pcs_cluster: {' '.join(words[:4])} failed: "
                f"{'; '.join(lines) or (err or out).strip()}. What was done before stays;"
                " a second run goes on from the state it finds. Next: pcs status --full",
                changes=changes,
                stdout=out,
                stderr=err,
            )
    expected = set(plan["bootstrap"]) | set(plan["join"]) | set(plan["start"])
    deadline = time.monotonic() + wait
    while expected:
        code, out, err = module.run_command(["crm_mon", "--one-shot", "--output-as=xml"])
        status = pcs_cluster.parse_crm_mon(out) if code == 0 else {}
        absent = sorted(expected - set(status.get("online", [])))
        if status.get("dc") and not absent:
            break
        if time.monotonic() > deadline:
            module.fail_json(
                msg=f"pcs_cluster: after {wait} s {', '.join(absent) or 'a coordinator'} is not online."
                " Next: pcs status; journalctl -u corosync -u pacemaker -n 50 there; is UDP 5405 open?",
                changes=changes,
            )
        time.sleep(0.5)
    module.exit_json(changed=True, changes=changes)


if __name__ == "__main__":
    main()
