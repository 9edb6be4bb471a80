# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where a MongoDB replica set is; the argument spec is ARGUMENTS of plugins/module_utils/mongo_replset.py."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
requirements:
  - pymongo 3.11 or later on the host that runs the module
options:
  set_name:
    description: Name of the set.
    type: str
    required: true
  members:
    description: The members, each with C(name), C(address), C(port) and, for an arbiter, C(arbiter=true).
    type: list
    elements: dict
    required: true
  keyfile:
    description: >-
      The set's key file on the host that runs the module. With it servers are asked as members ask each other.
    type: path
    required: true
  tls_ca:
    description: >-
      File with the authority of the members' certificates, on the host that runs the module; without it, no TLS.
    type: path
"""
