#!/usr/bin/python
# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_cdn_restart
short_description: Replace the running Nginx of the CDN by the installed one, without closing its sockets
version_added: 0.3.0
author: The cloudexit maintainers (@cloudexit)
description:
  - Has the running master start a new one from the installed program, which takes over the listening sockets; once the
    new one answers, the old one ends after its last request. No connection is refused, no address moves.
  - Where the new one does not come up, the old one goes on serving.
attributes:
  check_mode:
    support: full
    description: Says whether it would be replaced.
  diff_mode:
    support: none
    description: There is nothing to compare.
  idempotent:
    support: partial
    description: With O(force) it is replaced each time.
options:
  force:
    description: Replace it even if it runs from what is installed.
    type: bool
    default: false
  timeout:
    description: Seconds until the new one has to answer.
    type: int
    default: 30
"""

EXAMPLES = r"""
- name: Run what is installed
  cloudexit.ha_stack.nginx_cdn_restart:
"""

RETURN = r"""
stale:
  description: Whether it ran from something older than what is installed.
  type: bool
  returned: always
"""

import os
import signal
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import nginx_cdn
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import nginx_cdn_host as host

PAUSE = 0.1


def children(process: int) -> list[int]:
    """Processes that a process has started and that are there."""
    try:
        return [int(n) for n in Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii").split()]
    except OSError:
        return []


def main() -> None:
    module = AnsibleModule(
        argument_spec={"force": {"type": "bool", "default": False}, "timeout": {"type": "int", "default": 30}},
        supports_check_mode=True,
    )
    old, stale = host.master(), host.stale()
    if not old or not (stale or module.params["force"]):
        module.exit_json(changed=False, stale=stale)
    if module.check_mode:
        module.exit_json(changed=True, stale=stale)
    timeout = module.params["timeout"]
    rc, out, err = module.run_command([nginx_cdn.BINARY, "-t", "-c", str(nginx_cdn.CURRENT / "nginx.conf")])
    if rc != 0:
        module.fail_json(
            msg="nginx_cdn: the installed Nginx refuses the configuration, the running one goes on: "
            + (out + err).strip()
        )
    os.kill(old, signal.SIGUSR2)
    deadline = time.monotonic() + timeout
    while host.master() in (0, old) and time.monotonic() < deadline:
        time.sleep(PAUSE)
    new = host.master()
    # The new master is ready when it has workers of its own.
    while new != old and not children(new) and time.monotonic() < deadline:
        time.sleep(PAUSE)
    if new in (0, old) or not children(new):
        module.fail_json(
            msg=f"nginx_cdn: the installed Nginx did not start beside the running one within {timeout} s, which goes "
            "on serving: `tail /var/log/nginx-cdn/error.log` says why"
        )
    os.kill(old, signal.SIGQUIT)
    while host.running() != host.written() and time.monotonic() < deadline:
        time.sleep(PAUSE)
    if host.running() != host.written():
        module.fail_json(
            msg=f"nginx_cdn: the new Nginx does not answer within {timeout} s: `systemctl status {nginx_cdn.UNIT}`"
        )
    module.exit_json(changed=True, stale=stale)


if __name__ == "__main__":
    main()
