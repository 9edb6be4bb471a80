# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An inventory as the roles of this collection would see it, worked out on the controller; no host is asked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.parameters import remove_values
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.cloudexit.ha_stack.plugins.module_utils.site_inventory import TIERS, Tier, Unknown

ROLES = Path(__file__).resolve().parents[2] / "roles"
TEMPLATE = re.compile(r"{[{%]")
UNDEFINED = re.compile(r"'(\w+)' is undefined")


@cache
def of_role(role: str, room: str, name: str = "main.yml") -> dict[str, Any]:
    """A file of a role as Ansible reads it."""
    return DataLoader().load_from_file(str(ROLES / role / room / name), trusted_as_template=True) or {}


class View:
    """What module_utils/site_inventory.py asks of an inventory; see `Site` there."""

    def __init__(self, loader: DataLoader, hostvars: Mapping[str, Any], groups: Mapping[str, Iterable[str]]) -> None:
        """`hostvars` is Ansible's own: it gives a host's variables as they are written (raw_get), and evaluated."""
        self.loader, self.hostvars = loader, hostvars
        self.groups = {name: list(hosts) for name, hosts in groups.items()}
        self.given = {host: hostvars.raw_get(host) for host in self.groups["all"]}  # type: ignore[attr-defined]
        self.missing: dict[str, set[tuple[str, str]]] = {}
        self.failures: dict[tuple[str, str], set[str]] = {}
        roles = [tier.role for tier in TIERS] + ["pcs_cluster", "raid10_disk"]
        self.defaults = {role: of_role(role, "defaults") for role in dict.fromkeys(roles)}
        self.internals = {role: of_role(role, "vars") for role in self.defaults}
        self.specs = {role: of_role(role, "meta", "argument_specs.yml")["argument_specs"] for role in self.defaults}
        self._templar = cache(self._make_templar)
        self._value = cache(self._evaluate)

    def _make_templar(self, host: str, tier: Tier | None) -> Templar:
        play = [one for group in (tier.groups if tier else ["all"]) for one in self.groups.get(group, [])]
        own: dict[str, Any] = {}
        for layer in (*self.defaults.values(), self.given[host], *self.internals.values()):
            own.update(layer)
        own.update(
            hostvars=self.hostvars,
            groups=self.groups,
            ansible_play_hosts=list(dict.fromkeys(play)),
            ansible_play_hosts_all=list(dict.fromkeys(play)),
        )
        return Templar(loader=self.loader, variables=own)

    def _evaluate(self, host: str, expression: str, tier: Tier | None) -> Any:
        templar = self._templar(host, tier)
        if expression in templar.available_variables and not TEMPLATE.search(
            str(templar.available_variables[expression])
        ):
            return templar.available_variables[expression]  # most are; to compile them would take most of the time
        try:
            return templar.evaluate_expression(trust_as_template(expression))
        except AnsibleError as err:
            name = UNDEFINED.search(str(err))
            if name:
                self.missing.setdefault(name[1], set()).add((host, expression))
            else:
                self.failures.setdefault((expression, str(err)), set()).add(host)
            return Unknown

    def value(self, host: str, expression: str, tier: Tier | None = None) -> Any:
        """A variable or expression as `host` would see it in a play of `tier`; Unknown if it cannot be evaluated."""
        return self._value(host, expression, tier)

    def spec_errors(self, host: str, tier: Tier, role: str, entry: str) -> list[str]:
        """What the role's argument spec has against the host's variables."""
        options, variables = self.specs[role][entry]["options"], self._templar(host, tier).available_variables
        # The defaults are right: tests/specs.py sees to it.
        values = {name: self.value(host, name, tier) for name in options if name in self.given[host]}
        known = {name: value for name, value in values.items() if value is not Unknown}
        judged = {
            name: option
            for name, option in options.items()
            if name in known or (option.get("required") and name not in variables)
        }
        result = ArgumentSpecValidator(judged).validate(known)
        return [remove_values(text, result._no_log_values) for text in result.error_messages]
