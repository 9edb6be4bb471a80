# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An inventory of this repository, with generated secrets, to be spoilt by tests."""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.template import trust_as_template
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import site_inventory
from ansible_collections.cloudexit.ha_stack.plugins.plugin_utils.site_view import View

ROOT = Path(__file__).resolve().parents[2]
INVENTORIES = ROOT / "inventories"


def secret_names(inventory: str) -> list[str]:
    text = (INVENTORIES / inventory / "group_vars/all/vault.yml.example").read_text(encoding="utf-8")
    return re.findall(r"^(vault_\w+):", text, re.MULTILINE)


def vault(inventory: str) -> dict[str, str]:
    """A value for each secret that the example names."""
    made = {name: secrets.token_hex(24) for name in secret_names(inventory)}
    return {**made, "vault_mongo_key": base64.b64encode(secrets.token_bytes(48)).decode()}


def written(value: Any) -> Any:
    """A value as if it were written in a file: its templates are templates."""
    if isinstance(value, dict):
        return {key: written(one) for key, one in value.items()}
    if isinstance(value, list):
        return [written(one) for one in value]
    return trust_as_template(value) if isinstance(value, str) else value


class Inventory:
    """An inventory of this repository that can be changed before it is looked at."""

    def __init__(self, name: str) -> None:
        self.loader = DataLoader()
        self.loader.set_basedir(str(ROOT / "playbooks"))
        self.manager = InventoryManager(self.loader, sources=[str(INVENTORIES / name)])
        self.variables = VariableManager(self.loader, self.manager)
        self.over: dict[str, Any] = {**vault(name)}
        self.variables._extra_vars = self.over  # as -e would; those of the command line are shared by all

    def set(self, where: str, **values: Any) -> None:
        """Variables of a host or of all hosts of a group, over what they have; of all: over everything."""
        hosts = self.manager.get_hosts(where)
        assert hosts, where
        for host in hosts:
            host.vars.update(written(values))
        if where == "all":
            self.over.update(written(values))

    def add(self, group: str, *hosts: str, **values: Any) -> None:
        if group not in self.manager.groups:
            self.manager.add_group(group)
        for host in hosts:
            self.manager.add_host(host, group)
            self.manager.get_host(host).vars.update(values)

    def remove(self, group: str, *hosts: str) -> None:
        for host in hosts:
            self.manager.groups[group].remove_host(self.manager.get_host(host))

    def forget(self, name: str) -> None:
        """Take a secret out of the vault."""
        del self.over[name]

    def drop_flow(self, name: str) -> None:
        """Take a flow out of the firewalls' policy."""
        path = INVENTORIES / "production/group_vars/firewall.yml"
        flows = self.loader.load_from_file(str(path), trusted_as_template=True)["zentyal_nat_flows"]
        self.set("firewall", zentyal_nat_flows=[flow for flow in flows if flow["name"] != name])

    def view(self) -> View:
        self.manager.clear_caches()
        hostvars = HostVars(self.manager, self.variables, self.loader)
        return View(self.loader, hostvars, self.manager.get_groups_dict())

    def findings(self, *only: Callable[..., Any]) -> list[str]:
        """What the checks say, all of them or those given."""
        return [str(finding) for finding in site_inventory.findings(self.view(), only or site_inventory.CHECKS)]

    def unchecked(self) -> list[str]:
        return site_inventory.unchecked(self.view())
