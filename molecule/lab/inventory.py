# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The Ansible inventory of a lab: nodes, groups, and what only the lab knows (keys, secrets, VIPs, power switch)."""

from __future__ import annotations

from typing import Any

from . import certificates, state, wheels
from .definitions import POWER_ADDRESS, Lab


def build(lab: Lab) -> dict[str, Any]:
    """The JSON an Ansible inventory script prints for --list."""
    key = state.client_key()
    groups: dict[str, dict[str, Any]] = {}
    for node in lab.nodes:
        for group in node.groups:
            groups.setdefault(group, {"hosts": []})["hosts"].append(node.name)
    ca, signed = certificates.ensure(lab) if lab.certificates else ("", {})
    own = {name: {"lab_certificate": text} for name, text in signed.items()}
    return {
        "_meta": {
            "hostvars": {n.name: {"ansible_host": n.address, **own.get(n.name, {}), **n.variables} for n in lab.nodes},
        },
        "all": {
            "children": ["ungrouped", *groups],
            "vars": {
                "ansible_user": "root",
                "ansible_ssh_private_key_file": str(key),
                "ansible_ssh_common_args": f"-o UserKnownHostsFile={state.known_hosts()} -o StrictHostKeyChecking=yes",
                "lab_name": lab.name,
                "lab_subnet": str(lab.subnet),
                "lab_vips": lab.vips,
                "lab_ca": ca,
                "lab_cache": str(wheels.CACHE),
                "lab_secrets": state.lab_secrets(lab),
                "lab_power_address": lab.at(POWER_ADDRESS),
                "lab_power_plugs": {node.name: node.container for node in lab.nodes},
            },
        },
        **groups,
    }
