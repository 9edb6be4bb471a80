# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The Ansible inventory of a lab: nodes, groups, and what only the lab knows (keys, secrets, VIPs, power switch)."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import certificates, state, wheels
from .definitions import POWER_ADDRESS, ROOT, Lab


def build(lab: Lab) -> dict[str, Any]:
    """The JSON an Ansible inventory script prints for --list."""
    key, known = state.client_key(), state.lab_secrets(lab)
    groups: dict[str, dict[str, Any]] = {}
    for node in lab.nodes:
        for group in node.groups:
            groups.setdefault(group, {"hosts": []})["hosts"].append(node.name)
    ca, signed = certificates.ensure(lab) if lab.certificates else ("", {})
    homes = {node.name: lab.network(node.network) for node in lab.nodes}
    own = {
        name: {"lab_power_address": home.at(POWER_ADDRESS), "site_network": str(home.subnet)}
        for name, home in homes.items()
    }
    for name, text in signed.items():
        own[name]["lab_certificate"] = text
    return {
        "_meta": {
            "hostvars": {n.name: {"ansible_host": n.address, **own[n.name], **n.variables} for n in lab.nodes},
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
                "lab_networks": {
                    name: {
                        "subnet": str(network.subnet),
                        "router": network.router,
                        "addresses": {node.name: node.links[name] for node in lab.nodes if name in node.links},
                    }
                    for name, network in lab.networks.items()
                },
                "lab_ca": ca,
                "lab_root": str(ROOT),
                "lab_cache": str(wheels.CACHE),
                "lab_secrets": known,
                "lab_public_keys": state.public_keys(known),
                "lab_power_plugs": {node.name: node.container for node in lab.nodes},
            },
        },
        **groups,
    }


@contextlib.contextmanager
def sources(lab: Lab) -> Iterator[list[str]]:
    """Arguments of Ansible's commands for a lab's inventory with its variables, as molecule has it for a scenario."""
    if lab.name == "site":
        yield ["-i", str(ROOT / "inventories" / "lab")]
        return
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "hosts").symlink_to(ROOT / "molecule" / "lab" / "inventory.sh")
        (Path(folder) / "group_vars").symlink_to(ROOT / "molecule" / lab.name / "group_vars")
        yield ["-i", folder]
