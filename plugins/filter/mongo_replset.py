# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the role mongo_replset decides about versions and keys."""

from __future__ import annotations

from ansible_collections.cloudexit.ha_stack.plugins.module_utils import mongo_replset as mr


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, object]:
        return {"mongo_jump": mr.jump, "mongo_keys": mr.keys}
