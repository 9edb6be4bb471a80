# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether the pair is healthy, before anything is done to it on purpose. Called with one JSON object, answers with one.

name, members. `obstacles` are sentences, each with what to do; none of them means that the other member can take over.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any
from xml.etree import ElementTree


def obstacles(crm_mon: str, drbd: str, wish: dict[str, Any]) -> list[str]:
    """What keeps the other member from taking over: from crm_mon's XML, and what `drbdadm cstate` and `dstate` say."""
    tree = ElementTree.fromstring(crm_mon)
    found = []
    options = tree.find("./summary/cluster_options")
    if options is not None and options.get("maintenance-mode") == "true":
        found.append("the cluster is in maintenance mode: `pcs property set maintenance-mode=false`")
    nodes = {node.get("name"): node for node in tree.iterfind("./nodes/node")}
    for member in wish["members"]:
        node = nodes.get(member)
        if node is None or node.get("online") != "true":
            found.append(f"{member} is not online: start it")
            continue
        for flag in ("standby", "maintenance", "unclean", "pending", "shutdown"):
            if node.get(flag) == "true":
                found.append(
                    f"{member} is {flag}: `pcs node un{flag} {member}`"
                    if flag in ("standby", "maintenance")
                    else f"{member} is {flag}: wait, then see `pcs status`"
                )
    # Other tiers' failures are theirs; a fence device that was away for a moment is of no account once it is back.
    for failure in tree.iterfind("./failures/failure"):
        if str(failure.get("op_key", "")).startswith(f"{wish['name']}-"):
            found.append(
                f"the cluster remembers a failure ({failure.get('op_key')} on {failure.get('node')}): when its cause "
                "is gone, `pcs resource cleanup`"
            )
    for device in tree.iterfind("./resources//resource"):
        if str(device.get("resource_agent", "")).startswith("stonith:") and device.get("role") != "Started":
            found.append(
                f"the fence device {device.get('id')} is {str(device.get('role')).lower()}, and a member that fails "
                f"could not be fenced: `pcs stonith cleanup {device.get('id')}`, then `pcs status` says why"
            )
    for ban in tree.iterfind("./bans/ban"):
        if str(ban.get("resource", "")).startswith(f"{wish['name']}-"):
            found.append(
                f"the constraint {ban.get('id')} keeps {ban.get('resource')} from {ban.get('node')}: a fence of DRBD "
                "goes by itself once both disks are up to date; else look at `pcs constraint` and who set it"
            )
    if drbd.split() != ["Connected", "UpToDate/UpToDate"]:
        found.append(
            f"the replication is {' '.join(drbd.split())}, not Connected UpToDate/UpToDate: wait for the resync, "
            f"`drbdadm status {wish['name']}`"
        )
    return found


def ask(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout


def main() -> None:
    wish = json.loads(sys.argv[1])
    crm_mon = ask("crm_mon", "--one-shot", "--inactive", "--output-as=xml")
    if "<nodes>" in crm_mon:
        drbd = ask("drbdadm", "cstate", wish["name"]) + ask("drbdadm", "dstate", wish["name"])
        found = obstacles(crm_mon, drbd, wish)
    else:
        found = [f"the cluster does not run on {wish['member']}: `pcs cluster start` there"]
    print(json.dumps({"obstacles": found}))


if __name__ == "__main__":
    main()
