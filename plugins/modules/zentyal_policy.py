#!/usr/bin/python
# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: zentyal_policy
short_description: Apply a firewall's policy to a host with Zentyal, through Zentyal's own configuration
version_added: 0.2.0
author: The cloudexit maintainers (@cloudexit)
description:
  - Writes interfaces, VLANs, objects, services, filter rules, port forwards and SNAT rules by the methods of Zentyal's
    own models, all in one transaction, and then saves as its web interface does. Neither its Redis nor iptables is
    touched behind its back.
  - The policy's rows, objects, services and VLANs begin with C(cloudexit:) in their description or name. Others
    are left alone; in each filter table the policy's rules stand first, and end with one that denies the rest, so that
    rules behind them widen nothing.
  - Nothing is changed while somebody has unsaved changes in Zentyal, because saving would publish them, too.
  - A save that failed in an earlier run is finished, and rules that Zentyal has and the kernel lacks are found and
    applied.
attributes:
  check_mode:
    support: full
    description: Reads and compares.
  diff_mode:
    support: full
    description: The tables' rows in their order, objects, services and interfaces, before and after.
  idempotent:
    support: full
    description: Nothing is written and nothing is saved when Zentyal and the kernel have the policy.
options:
  policy:
    description:
      - The resolved policy, see the head of C(plugins/module_utils/zentyal_policy.py).
    type: dict
    required: true
  member:
    description: Which of the zones' addresses are this host's.
    type: str
    required: true
  bridge:
    description: Text of the program that speaks with Zentyal, C(zentyal_policy.pl) of the role C(zentyal_nat).
    type: str
    required: true
  enable:
    description: Whether Zentyal's modules C(network) and C(firewall) may be switched on.
    type: bool
    default: false
requirements:
  - Zentyal 8.1 with its packages zentyal-network and zentyal-firewall
"""

EXAMPLES = r"""
- name: Apply the policy
  cloudexit.ha_stack.zentyal_policy:
    policy: "{{ resolved }}"
    member: "{{ inventory_hostname }}"
    bridge: "{{ lookup('ansible.builtin.file', 'zentyal_policy.pl') }}"
"""

RETURN = r"""
changes:
  description: What was changed, or would be, one text each.
  type: list
  elements: str
  returned: always
foreign:
  description: Rules in the tables which are not the policy's, behind those of the policy.
  type: list
  elements: str
  returned: always
messages:
  description: What Zentyal said when it saved.
  type: list
  elements: str
  returned: always
"""

import json
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import zentyal_policy as zentyal

# There while a save has begun and not ended well: Zentyal itself forgets that.
UNFINISHED = Path("/var/lib/zentyal_nat/unfinished")
NEXT = "Next: tail -n 50 /var/log/zentyal/zentyal.log; zs network restart; zs firewall restart; then run again"


class Bridge:
    """The program that speaks with Zentyal, and its answers."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.program = Path(module.tmpdir) / "zentyal_policy.pl"
        self.program.write_text(module.params["bridge"], encoding="utf-8")

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        question = self.program.with_suffix(".json")
        question.write_text(json.dumps(request), encoding="utf-8")
        rc, out, err = self.module.run_command(["perl", str(self.program), str(question)])
        try:
            return json.loads(out)
        except ValueError:
            said = (err or out).strip().splitlines()[-5:]
            lacking = any("Can't locate EBox" in text for text in said)
            self.module.fail_json(
                msg=f"zentyal_nat: Zentyal's Perl modules did not answer (exit status {rc}): {' '.join(said)}. "
                + ("Is Zentyal installed on this host? Next: apt install zentyal-firewall" if lacking else NEXT)
            )
            raise SystemExit(1) from None


def kernel_addresses(module: AnsibleModule) -> dict[str, list[str]]:
    """IPv4 addresses by interface."""
    _rc, out, _err = module.run_command(["ip", "-json", "address"], check_rc=True)
    return {
        link["ifname"]: [entry["local"] for entry in link["addr_info"] if entry["family"] == "inet"]
        for link in json.loads(out)
        if "ifname" in link
    }


def read(module: AnsibleModule, bridge: Bridge) -> dict[str, Any]:
    live = bridge.ask({"do": "read"})
    if "error" in live:
        module.fail_json(msg=f"zentyal_nat: Zentyal's configuration cannot be read: {live['error']}. {NEXT}")
    return live


def apply(module: AnsibleModule, bridge: Bridge, plan: zentyal.Plan) -> list[str]:
    """Zentyal's messages; fails with its own words if it refuses or cannot apply what it saved."""
    earlier = UNFINISHED.exists()
    UNFINISHED.parent.mkdir(mode=0o755, exist_ok=True)
    UNFINISHED.touch()
    answer = bridge.ask({"do": "apply", "changes": plan.changes})
    if answer.get("stage") == "change":
        if not earlier:
            UNFINISHED.unlink()
        module.fail_json(
            msg=f"zentyal_nat: Zentyal refuses the policy, and nothing was changed: {answer['error']}",
            changes=plan.texts,
        )
    if "error" in answer:
        more = [text for text in answer.get("logged", []) if text != answer["error"]]
        module.fail_json(
            msg=f"zentyal_nat: Zentyal saved the policy and could not apply it: {answer['error']}"
            + (f" ({'; '.join(more[:3])})" if more else "")
            + f". {NEXT}",
            changes=plan.texts,
        )
    if answer["missing"]:
        module.fail_json(
            msg=f"zentyal_nat: Zentyal saved the policy, but the kernel lacks {len(answer['missing'])} of its rules: "
            f"{answer['missing'][0]}. {NEXT}",
            changes=plan.texts,
        )
    UNFINISHED.unlink()
    return answer["messages"]


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            "policy": {"type": "dict", "required": True},
            "member": {"type": "str", "required": True},
            "bridge": {"type": "str", "required": True},
            "enable": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    try:
        want = zentyal.wanted(module.params["policy"], module.params["member"])
    except zentyal.Refused as err:
        module.fail_json(msg=f"zentyal_nat: {err}")
    bridge = Bridge(module)
    live = read(module, bridge)
    refusals = zentyal.refusals(live, want, module.params["enable"])
    if refusals:
        module.fail_json(msg="zentyal_nat: nothing was changed: " + "; ".join(refusals))
    before = kernel_addresses(module)
    plan = zentyal.plan(live, want, before, UNFINISHED.exists())
    for warning in plan.warnings:
        module.warn(f"zentyal_nat: {warning}")
    messages: list[str] = []
    if plan.changes and not module.check_mode:
        messages = apply(module, bridge, plan)
        for warning in zentyal.lost(want, before, kernel_addresses(module)):
            module.warn(f"zentyal_nat: {warning}")
    module.exit_json(
        changed=bool(plan.changes),
        changes=plan.texts,
        foreign=plan.foreign,
        messages=messages,
        diff={
            "before": "".join(f"{text}\n" for text in plan.before),
            "after": "".join(f"{text}\n" for text in plan.after),
        },
    )


if __name__ == "__main__":
    main()
