# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module inventory_check: all of it happens here, on the controller."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import site_inventory
from ansible_collections.cloudexit.ha_stack.plugins.plugin_utils.site_view import View


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        self.validate_argument_spec(argument_spec={})
        task_vars = task_vars or {}
        view = View(self._loader, task_vars["hostvars"], task_vars["groups"])
        found = site_inventory.findings(view)
        return {
            "changed": False,
            "findings": [finding._asdict() for finding in found],
            "messages": [str(finding) for finding in found],
            "unchecked": site_inventory.unchecked(view),
        }
