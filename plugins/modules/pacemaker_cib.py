#!/usr/bin/python
# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: pacemaker_cib
short_description: Declare what one owner wants in a Pacemaker cluster
version_added: 0.1.0
author: The cloudexit maintainers (@cloudexit)
description:
  - Brings the resources, constraints and options of one owner in the CIB of a running Pacemaker cluster to the wanted
    state with one atomic patch, waits until the cluster has settled, and fails with the cluster's own words when a
    resource of the owner is not active afterwards.
  - Only elements whose id is O(owner) or begins with O(owner) and a hyphen are created, changed or removed, and only
    those cluster options which are listed. Everything else in the CIB is left alone.
  - Run it with C(run_once) on one member that is online. Any will do.
  - Values are compared by meaning, so what Pacemaker or C(pcs) have written in other words is not a change.
notes:
  - An owner's name must not be the beginning of another owner's (C(mysql) and C(mysql-replica)).
  - A primitive's C(params) are declared completely, so a parameter that is no longer listed is removed.
    Of C(meta), only listed names are touched, so that C(target-role) or C(is-managed) set by an operator stay.
  - Operations which C(pcs resource create) would take from the agent's metadata are not added. List what you need,
    above all a monitor with an interval.
attributes:
  check_mode:
    support: full
    description: Also where Pacemaker is not installed or not running yet; the wish is compared with an empty CIB there.
  diff_mode:
    support: full
    description: The owner's resources and constraints before and after; secrets are hidden.
  idempotent:
    support: full
    description: The CIB is compared by meaning and patched only where it differs.
options:
  owner:
    description: Prefix of the ids that belong to the caller.
    type: str
    required: true
  primitives:
    description: Single resources, fence devices included.
    type: list
    elements: dict
    default: []
    suboptions:
      id:
        description: Id of the resource.
        type: str
        required: true
      agent:
        description: For example V(ocf:heartbeat:IPaddr2), V(systemd:haproxy) or V(stonith:fence_docker).
        type: str
        required: true
      params:
        description: Instance attributes, complete.
        type: dict
        default: {}
      meta:
        description: Meta attributes. Those not listed are left alone, a null value removes.
        type: dict
        default: {}
      operations:
        description: Operations, complete. Left as they are in the cluster if omitted.
        type: list
        elements: dict
        suboptions:
          name:
            description: Action, for example V(monitor).
            type: str
            required: true
          interval:
            description: Time between two runs; V(0s) for start, stop, promote and demote.
            type: str
            default: 0s
          timeout:
            description: How long the action may take.
            type: str
          role:
            description: Run a monitor only in this role, V(Promoted) or V(Unpromoted).
            type: str
          on_fail:
            description: What the cluster does when the action fails, for example V(restart), V(fence), V(ignore).
            type: str
          start_delay:
            description: Time to wait before the first run.
            type: str
          enabled:
            description: Whether the operation is run at all.
            type: bool
          record_pending:
            description: Whether the start of the operation is recorded.
            type: bool
          params:
            description: Parameters for this operation only, for example C(OCF_CHECK_LEVEL).
            type: dict
            default: {}
  groups:
    description: Resources that start in this order on one node.
    type: list
    elements: dict
    default: []
    suboptions:
      id:
        description: Id of the group.
        type: str
        required: true
      members:
        description: Ids out of O(primitives), in order.
        type: list
        elements: str
        required: true
      meta:
        description: Meta attributes. Those not listed are left alone, a null value removes.
        type: dict
        default: {}
  clones:
    description: Resources that are active on several nodes.
    type: list
    elements: dict
    default: []
    suboptions:
      id:
        description: Id of the clone.
        type: str
        required: true
      resource:
        description: Id out of O(primitives) or O(groups).
        type: str
        required: true
      promotable:
        description: Whether instances have the roles Promoted and Unpromoted. Left as it is if omitted.
        type: bool
      meta:
        description: Meta attributes. Those not listed are left alone, a null value removes.
        type: dict
        default: {}
  constraints:
    description: Where and in which order resources run.
    type: dict
    default: {}
    suboptions:
      orders:
        description: One action before another; O(constraints.orders[].first) and O(constraints.orders[].then), or sets.
        type: list
        elements: dict
        default: []
        suboptions:
          id:
            description: Id of the constraint.
            type: str
            required: true
          first:
            description: Resource that acts first.
            type: str
          first_action:
            description: V(start), V(stop), V(promote) or V(demote).
            type: str
          then:
            description: Resource that acts afterwards.
            type: str
          then_action:
            description: V(start), V(stop), V(promote) or V(demote).
            type: str
          kind:
            description: V(Mandatory), V(Optional) or V(Serialize).
            type: str
          symmetrical:
            description: Whether stopping happens in the reverse order.
            type: bool
          require_all:
            description: Whether all instances of a clone must be active first.
            type: bool
          sets: &sets
            description: Ordered sets of resources.
            type: list
            elements: dict
            default: []
            suboptions:
              resources:
                description: Ids of resources.
                type: list
                elements: str
                required: true
              sequential:
                description: Whether the members depend on each other in this order.
                type: bool
              require_all:
                description: Whether all members must be active.
                type: bool
              action:
                description: Action of the members.
                type: str
              role:
                description: Role of the members.
                type: str
      colocations:
        description: One resource where another is; C(rsc) follows C(with_rsc). Or sets.
        type: list
        elements: dict
        default: []
        suboptions:
          id:
            description: Id of the constraint.
            type: str
            required: true
          rsc:
            description: Resource that is placed.
            type: str
          rsc_role:
            description: Role of it that this is about.
            type: str
          with_rsc:
            description: Resource that is placed first.
            type: str
          with_rsc_role:
            description: Role of it that this is about.
            type: str
          score:
            description: V(INFINITY) for must, a number for should, negative for away from it.
            type: str
          node_attribute:
            description: Node attribute that must be equal, instead of the node's name.
            type: str
          influence:
            description: Whether the dependent resource's wishes move the other one.
            type: bool
          sets: *sets
      locations:
        description: Preference for a node, or a rule.
        type: list
        elements: dict
        default: []
        suboptions:
          id:
            description: Id of the constraint.
            type: str
            required: true
          rsc:
            description: Resource that is placed.
            type: str
          rsc_pattern:
            description: Regular expression for several resources.
            type: str
          node:
            description: Name of the node.
            type: str
          score:
            description: Preference for the node.
            type: str
          role:
            description: Role that this is about.
            type: str
          resource_discovery:
            description: V(always), V(never) or V(exclusive).
            type: str
          rule:
            description: Rule in place of a node.
            type: dict
            suboptions:
              score:
                description: Score where the rule is true.
                type: str
              score_attribute:
                description: Node attribute with the score.
                type: str
              role:
                description: Role that this is about.
                type: str
              boolean_op:
                description: How expressions are joined, V(and) or V(or).
                type: str
              expressions:
                description: Attributes of the XML element expression, for example C(attribute), C(operation), C(value).
                type: list
                elements: dict
                required: true
  properties:
    description: Cluster properties. Those not listed are left alone, a null value removes.
    type: dict
    default: {}
  rsc_defaults:
    description: Defaults for the meta attributes of all resources; treated like O(properties).
    type: dict
    default: {}
  op_defaults:
    description: Defaults for all operations; treated like O(properties).
    type: dict
    default: {}
  topology:
    description: Fencing levels.
    type: list
    elements: dict
    default: []
    suboptions:
      target:
        description: Name of the node.
        type: str
        required: true
      index:
        description: Level; the lowest is tried first.
        type: int
        required: true
      devices:
        description: Ids of fence devices, all of which must succeed.
        type: list
        elements: str
        required: true
  secret_params:
    description:
      - Further instance attributes, by the id of the primitive, whose values are never shown or logged.
      - 'For example C({"pcs-power": {"password": "..."}}).'
    type: dict
    default: {}
  purge:
    description: Remove resources, constraints and fencing levels of the owner which are not listed.
    type: bool
    default: false
  wait:
    description: After a change, wait until the cluster has settled and the owner's resources are active.
    type: bool
    default: true
  wait_timeout:
    description: How many seconds to wait at most.
    type: int
    default: 120
"""

EXAMPLES = r"""
- name: A balancer with its address, the address first
  cloudexit.ha_stack.pacemaker_cib:
    owner: haproxy
    primitives:
      - id: haproxy-vip
        agent: ocf:heartbeat:IPaddr2
        params: {ip: 192.0.2.10, cidr_netmask: 24}
        operations:
          - {name: monitor, interval: 5s, timeout: 20s}
      - id: haproxy-daemon
        agent: systemd:haproxy
        operations:
          - {name: monitor, interval: 5s, timeout: 20s}
          - {name: start, timeout: 60s}
          - {name: stop, timeout: 60s}
    groups:
      - id: haproxy
        members: [haproxy-vip, haproxy-daemon]
        meta: {resource-stickiness: 100}
  run_once: true

- name: A database on a replicated disk
  cloudexit.ha_stack.pacemaker_cib:
    owner: mysql
    primitives:
      - id: mysql-drbd
        agent: ocf:linbit:drbd
        params: {drbd_resource: mysql}
        operations:
          - {name: monitor, interval: 9s, role: Promoted, timeout: 20s}
          - {name: monitor, interval: 11s, role: Unpromoted, timeout: 20s}
      - id: mysql-fs
        agent: ocf:heartbeat:Filesystem
        params: {device: /dev/drbd0, directory: /var/lib/mysql, fstype: xfs}
        operations:
          - {name: monitor, interval: 10s, timeout: 40s}
    clones:
      - id: mysql-drbd-clone
        resource: mysql-drbd
        promotable: true
        meta: {notify: true, promoted-max: 1, clone-max: 2}
    constraints:
      orders:
        - id: mysql-promote-then-fs
          first: mysql-drbd-clone
          first_action: promote
          then: mysql-fs
          then_action: start
      colocations:
        - id: mysql-fs-with-promoted
          rsc: mysql-fs
          with_rsc: mysql-drbd-clone
          with_rsc_role: Promoted
          score: INFINITY
      locations:
        - {id: mysql-fs-likes-db1, rsc: mysql-fs, node: db1, score: 10}
  run_once: true

- name: A fence device with a password
  cloudexit.ha_stack.pacemaker_cib:
    owner: pcs-cluster
    primitives:
      - id: pcs-cluster-ipmi
        agent: stonith:fence_ipmilan
        params: {ip: 192.0.2.201, username: fencer, lanplus: true, pcmk_host_list: db1}
        operations:
          - {name: monitor, interval: 60s}
    secret_params:
      pcs-cluster-ipmi: {password: "{{ vault_ipmi }}"}
    properties:
      stonith-enabled: true
  run_once: true

- name: Remove everything the owner has
  cloudexit.ha_stack.pacemaker_cib:
    owner: mysql
    purge: true
  run_once: true
"""

RETURN = r"""
changes:
  description: What differs from the wish, one line per change. Secrets are not shown.
  type: list
  elements: str
  returned: always
  sample: ["resources.haproxy-vip.params.ip: 192.0.2.10 -> 192.0.2.11"]
failed_actions:
  description: Failed actions of the owner's resources which the cluster remembers.
  type: list
  elements: str
  returned: when the cluster runs
idle:
  description: Wished resources which should be active and are so on no node.
  type: list
  elements: str
  returned: when the cluster runs
"""

import os
import time
import xml.etree.ElementTree as ET
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import pacemaker_cib as cib_tools

RETRIES = 3
GRACE_SECONDS = 15

OPTIONAL: dict[str, Any] = {"type": "str"}
SETS = {
    "type": "list",
    "elements": "dict",
    "default": [],
    "options": {
        "resources": {"type": "list", "elements": "str", "required": True},
        "sequential": {"type": "bool"},
        "require_all": {"type": "bool"},
        "action": OPTIONAL,
        "role": OPTIONAL,
    },
}
ID = {"type": "str", "required": True}
DICT: dict[str, Any] = {"type": "dict", "default": {}}


def a_list(options: dict[str, Any]) -> dict[str, Any]:
    return {"type": "list", "elements": "dict", "default": [], "options": options}


ARGUMENTS: dict[str, Any] = {
    "owner": {"type": "str", "required": True},
    "primitives": a_list(
        {
            "id": ID,
            "agent": {"type": "str", "required": True},
            "params": DICT,
            "meta": DICT,
            "operations": {
                "type": "list",
                "elements": "dict",
                "options": {
                    "name": {"type": "str", "required": True},
                    "interval": {"type": "str", "default": "0s"},
                    "timeout": OPTIONAL,
                    "role": OPTIONAL,
                    "on_fail": OPTIONAL,
                    "start_delay": OPTIONAL,
                    "enabled": {"type": "bool"},
                    "record_pending": {"type": "bool"},
                    "params": DICT,
                },
            },
        }
    ),
    "groups": a_list({"id": ID, "members": {"type": "list", "elements": "str", "required": True}, "meta": DICT}),
    "clones": a_list(
        {"id": ID, "resource": {"type": "str", "required": True}, "promotable": {"type": "bool"}, "meta": DICT}
    ),
    "constraints": {
        "type": "dict",
        "default": {},
        "options": {
            "orders": a_list(
                {
                    "id": ID,
                    "first": OPTIONAL,
                    "first_action": OPTIONAL,
                    "then": OPTIONAL,
                    "then_action": OPTIONAL,
                    "kind": OPTIONAL,
                    "symmetrical": {"type": "bool"},
                    "require_all": {"type": "bool"},
                    "sets": SETS,
                }
            ),
            "colocations": a_list(
                {
                    "id": ID,
                    "rsc": OPTIONAL,
                    "rsc_role": OPTIONAL,
                    "with_rsc": OPTIONAL,
                    "with_rsc_role": OPTIONAL,
                    "score": OPTIONAL,
                    "node_attribute": OPTIONAL,
                    "influence": {"type": "bool"},
                    "sets": SETS,
                }
            ),
            "locations": a_list(
                {
                    "id": ID,
                    "rsc": OPTIONAL,
                    "rsc_pattern": OPTIONAL,
                    "node": OPTIONAL,
                    "score": OPTIONAL,
                    "role": OPTIONAL,
                    "resource_discovery": OPTIONAL,
                    "rule": {
                        "type": "dict",
                        "options": {
                            "score": OPTIONAL,
                            "score_attribute": OPTIONAL,
                            "role": OPTIONAL,
                            "boolean_op": OPTIONAL,
                            "expressions": {"type": "list", "elements": "dict", "required": True},
                        },
                    },
                }
            ),
        },
    },
    "properties": DICT,
    "rsc_defaults": DICT,
    "op_defaults": DICT,
    "topology": a_list(
        {
            "target": {"type": "str", "required": True},
            "index": {"type": "int", "required": True},
            "devices": {"type": "list", "elements": "str", "required": True},
        }
    ),
    "secret_params": {"type": "dict", "default": {}, "no_log": True},
    "purge": {"type": "bool", "default": False},
    "wait": {"type": "bool", "default": True},
    "wait_timeout": {"type": "int", "default": 120},
}


class Cluster:
    """Pacemaker's command line on this host."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.running = False

    def run(self, *command: str, data: str | None = None) -> tuple[int, str, str]:
        result: tuple[int, str, str] = self.module.run_command(list(command), data=data)
        return result

    def query(self) -> ET.Element:
        """The CIB; in check mode an empty one where Pacemaker is not there yet."""
        if self.module.get_bin_path("cibadmin"):
            code, out, err = self.run("cibadmin", "--query")
            self.running = code == 0
            if self.running:
                return ET.fromstring(out)
            reason = f"cibadmin says {err.strip() or out.strip()!r}"
        else:
            reason = "cibadmin is not installed (Debian's package is pacemaker-cli-utils)"
        if not self.module.check_mode:
            self.module.fail_json(
                msg=f"pacemaker_cib: the cluster does not run on this host: {reason}."
                " Next: pcs status; systemctl status pacemaker; journalctl -u pacemaker -n 50"
            )
        return ET.fromstring(cib_tools.EMPTY_CIB)

    def wait_for_coordinator(self, timeout: int) -> None:
        """Until a node is coordinator, this one's copy of the CIB may be an old one."""
        deadline = time.monotonic() + timeout
        while not cib_tools.has_coordinator(self.status()):
            if time.monotonic() > deadline:
                self.module.fail_json(
                    msg=f"pacemaker_cib: after {timeout} s the cluster has no coordinator (DC)."
                    " Next: pcs status; pcs quorum status; journalctl -u corosync -u pacemaker -n 50"
                )
            time.sleep(1)

    def verify(self, cib: str) -> str:
        if not self.module.get_bin_path("crm_verify"):
            return ""
        code, out, err = self.run("crm_verify", "-V", "--xml-pipe", data=cib)
        return "" if code == 0 else out + err

    def patch(self, old: str, new: str) -> str:
        """Apply the difference at once; returns why it did not work, or nothing."""
        paths = []
        for name, content in (("old.xml", old), ("new.xml", new)):
            path = os.path.join(self.module.tmpdir, name)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(content)
            paths.append(path)
        code, difference, err = self.run("crm_diff", "--original", paths[0], "--new", paths[1], "--no-version")
        for path in paths:
            os.unlink(path)
        if code not in (0, 1):
            return f"crm_diff: {err.strip()}"
        if not difference.strip():
            return ""
        code, out, err = self.run("cibadmin", "--patch", "--xml-pipe", data=difference)
        return "" if code == 0 else f"cibadmin --patch: {(err or out).strip()}"

    def status(self) -> ET.Element:
        code, out, err = self.run("crm_mon", "--one-shot", "--output-as=xml", "--inactive")
        try:
            return ET.fromstring(out)
        except ET.ParseError:
            self.module.fail_json(msg=f"pacemaker_cib: crm_mon says {err.strip() or out.strip()!r} ({code}).")
            raise

    def settle(self, deadline: float) -> str:
        """Wait until no action is pending; returns what is still pending."""
        seconds = max(1, int(deadline - time.monotonic()))
        code, out, err = self.run("crm_resource", "--wait", f"--timeout={seconds}s")
        return "" if code == 0 else (out + err).strip()


def settled(
    cluster: Cluster, wish: dict[str, Any], known: dict[str, str], timeout: int
) -> tuple[list[str], dict[str, str], str]:
    """Wait for the owner's resources: what is idle, what failed since, what is pending."""
    owner = wish["owner"]
    deadline = time.monotonic() + timeout
    quiet_since: float | None = None
    while True:
        pending = cluster.settle(deadline)
        status, cib = cluster.status(), cluster.query()
        new = {key: line for key, line in cib_tools.failures(status, owner).items() if key not in known}
        idle = cib_tools.idle(status, cib, wish)
        now = time.monotonic()
        quiet_since = quiet_since or now
        if not idle or pending or now > deadline or now - quiet_since > (2 if new else GRACE_SECONDS):
            return idle, new, pending
        time.sleep(0.5)


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    wish: dict[str, Any] = module.params
    owner = wish["owner"]
    wrong = cib_tools.check(owner, wish)
    if wrong:
        module.fail_json(msg=f"pacemaker_cib: what {owner} wants cannot be: " + "; ".join(wrong))
    hide = {name for params in wish["secret_params"].values() for name in params}
    for identifier in cib_tools.unmonitored(wish):
        module.warn(f"{identifier} has no monitor operation with an interval: its failure would not be noticed")

    cluster = Cluster(module)
    result: dict[str, Any] = {}
    for attempt in range(RETRIES):
        cib = cluster.query()
        if cluster.running and attempt == 0:
            cluster.wait_for_coordinator(wish["wait_timeout"])
            cib = cluster.query()
        try:
            new = cib_tools.build(cib, owner, wish, wish["purge"])
        except cib_tools.CibError as error:
            module.fail_json(msg=f"pacemaker_cib: {error}")
        before, after = (cib_tools.describe(tree, owner, wish, hide) for tree in (cib, new))
        old_text, new_text = (ET.tostring(tree, encoding="unicode") for tree in (cib, new))
        lines = cib_tools.changes(before, after) + cib_tools.secrets_changed(cib, new, wish["secret_params"])
        result = {"changed": old_text != new_text, "changes": lines, "diff": {"before": before, "after": after}}
        if not result["changed"]:
            break
        if cluster.running:
            complaints = cib_tools.new_complaints(cluster.verify(old_text), cluster.verify(new_text))
            if complaints:
                module.fail_json(
                    msg=f"pacemaker_cib: Pacemaker would not take what {owner} wants: " + "; ".join(complaints),
                    **{**result, "changed": False},
                )
        if module.check_mode:
            break
        known = cib_tools.failures(cluster.status(), owner)
        problem = cluster.patch(old_text, new_text)
        if not problem:
            break
        if attempt + 1 == RETRIES:
            module.fail_json(
                msg=f"pacemaker_cib: the patch was refused {RETRIES} times: {problem}."
                " Next: pcs status; is the cluster quorate?",
                **{**result, "changed": False},
            )
        time.sleep(1)

    if not cluster.running:
        module.exit_json(**result)
    if result["changed"] and not module.check_mode and wish["wait"]:
        idle, new_failures, pending = settled(cluster, wish, known, wish["wait_timeout"])
        result.update(idle=idle, failed_actions=list(new_failures.values()))
        if idle:
            words = [f"pacemaker_cib: changed, but not active: {', '.join(idle)}"]
            words += list(new_failures.values())
            if pending:
                words.append(f"after {wish['wait_timeout']} s the cluster was still busy: {pending}")
            if not new_failures:
                words += cib_tools.new_complaints("", cluster.verify(new_text))
            name = idle[0].split()[0]
            module.fail_json(
                msg="; ".join(words) + f". Next: pcs status --full; pcs resource debug-start {name}; once the"
                f" cause is gone: pcs resource cleanup {name}",
                **result,
            )
    else:
        status = cluster.status()
        result.update(
            idle=cib_tools.idle(status, new if not result["changed"] else cib, wish) if not result["changed"] else [],
            failed_actions=list(cib_tools.failures(status, owner).values()),
        )
    for line in result["failed_actions"]:
        module.warn(f"{line} (pcs resource cleanup makes the cluster forget it)")
    for name in result["idle"]:
        module.warn(f"{name} is not active on any node: pcs status --full tells why")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
