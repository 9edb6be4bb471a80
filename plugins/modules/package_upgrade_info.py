#!/usr/bin/python
# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an upgrade of a service's package would do on this host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: package_upgrade_info
short_description: Which version of a service's package a host has and could have, and which units run from an older one
version_added: 0.2.0
author: The cloudexit maintainers (@cloudexit)
description:
  - Asks dpkg, apt and systemd of a Debian host. Fetches no package lists.
  - A unit runs from an older version if its process was started before the file of its program was installed. So an
    upgrade that was broken off is finished by the next run.
extends_documentation_fragment:
  - cloudexit.ha_stack.reads_only
options:
  package:
    description: The package whose version counts.
    type: str
    required: true
  version:
    description: The version that is wanted, as Debian writes it; by default the newest that apt would install.
    type: str
    default: ''
  units:
    description: Units of systemd that run programs of the package, or patterns of them.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Look
  cloudexit.ha_stack.package_upgrade_info:
    package: memcached
    units: ['memcached@*.service']
"""

RETURN = r"""
installed:
  description: The installed version, empty if there is none.
  returned: always
  type: str
wanted:
  description: The version after an upgrade.
  returned: always
  type: str
offered:
  description: Whether it is installed, or some source has it.
  returned: always
  type: bool
packages:
  description: All installed packages of the same source, which go together.
  returned: always
  type: list
  elements: str
stale:
  description: The units that run from a version that is no longer installed.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import package_upgrade as pu


def installed(module: AnsibleModule, package: str) -> dict[str, str]:
    """Installed packages from the same source as `package`, with their versions."""
    shown = "--showformat=${Package} ${source:Package} ${Version} ${db:Status-Status}\n"
    output = module.run_command(["dpkg-query", "--show", shown], check_rc=True)[1]
    rows = [line.split() for line in output.splitlines()]
    rows = [row for row in rows if len(row) == 4 and row[3] == "installed"]
    source = next((row[1] for row in rows if row[0] == package), "")
    return {row[0]: row[2] for row in rows if row[1] == source}


def stale(module: AnsibleModule, patterns: list[str]) -> list[str]:
    """The running units whose program was replaced."""
    if not patterns:
        return []
    shown = module.run_command(
        ["systemctl", "show", "--property=Id,ActiveState,ExecStart,ExecMainStartTimestampMonotonic", *patterns]
    )[1]
    found = set()
    for block in shown.strip().split("\n\n"):
        unit = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        started = int(unit.get("ExecMainStartTimestampMonotonic") or 0)
        if unit.get("ActiveState") == "active" and pu.replaced(pu.binary(unit.get("ExecStart", "")), started):
            found.add(unit["Id"])
    return sorted(found)


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            "package": {"type": "str", "required": True},
            "version": {"type": "str", "default": ""},
            "units": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    package, version = module.params["package"], module.params["version"]
    packages = installed(module, package)
    now = packages.get(package, "")
    policy = module.run_command(["apt-cache", "policy", package], environ_update={"LC_ALL": "C"}, check_rc=True)[1]
    wanted = version or pu.candidate(policy) or now
    module.exit_json(
        changed=False,
        installed=now,
        wanted=wanted,
        offered=wanted == now or pu.offered(policy, wanted),
        packages=sorted(packages),
        stale=stale(module, module.params["units"]),
    )


if __name__ == "__main__":
    main()
