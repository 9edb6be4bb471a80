# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where a Redis Sentinel set is; the argument spec is ARGUMENTS of plugins/module_utils/redis_sentinel.py."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  master_name:
    description: Name of the monitored master.
    type: str
    required: true
  data:
    description: The data servers, each with C(name), C(address) and C(port).
    type: list
    elements: dict
    required: true
  sentinels:
    description: The Sentinels, each with C(name), C(address) and C(port).
    type: list
    elements: dict
    required: true
  admin_user:
    description: The user who may do everything, on data servers and Sentinels.
    type: str
    required: true
  admin_password:
    description: His password.
    type: str
    required: true
"""
