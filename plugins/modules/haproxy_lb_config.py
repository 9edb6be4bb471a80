#!/usr/bin/python
# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: haproxy_lb_config
short_description: Write HAProxy's configuration and certificates, and reload it without losing a request
version_added: 0.1.0
author: The cloudexit maintainers (@cloudexit)
description:
  - Writes new certificates beside the old ones, has HAProxy try the new configuration with them, and only then puts it
    in place, in one step. What HAProxy refuses changes nothing.
  - Reloads a running HAProxy whenever what it runs is not what is on disk, also if an earlier run was interrupted
    before its reload, and waits until the new process serves. States of servers, maintenance by hand included, survive.
  - A HAProxy that does not run is not started.
attributes:
  check_mode:
    support: full
    description: The configuration is not tried, because certificates that do not exist yet belong to it.
  diff_mode:
    support: full
    description: Of certificates, only the names of the files.
  idempotent:
    support: full
    description: Nothing is written or reloaded when the same configuration is there and runs.
options:
  config:
    description: Text of the configuration. C(@digest@) in it is replaced with a digest of it.
    type: str
    required: true
  certificates:
    description: Certificate files by name; the text, or null for a file that exists already.
    type: dict
    default: {}
  files:
    description: Other files to write, each with C(path), C(content) and C(mode). They do not make HAProxy reload.
    type: list
    elements: dict
    default: []
  reload_timeout:
    description: Seconds to wait until the new configuration is served.
    type: int
    default: 30
"""

EXAMPLES = r"""
- name: Configure HAProxy
  cloudexit.ha_stack.haproxy_lb_config:
    config: "{{ lookup('ansible.builtin.template', 'haproxy.cfg.j2') }}"
    certificates:
      shop-0123456789ab.pem: "{{ vault_shop_pem }}"
"""

RETURN = r"""
reloaded:
  description: Whether a running HAProxy was reloaded.
  type: bool
  returned: always
removed:
  description: Certificate files that were replaced and removed.
  type: list
  elements: str
  returned: always
"""

import os
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import haproxy_lb
from ansible_collections.cloudexit.ha_stack.plugins.module_utils.host import write

BINARY = "/usr/sbin/haproxy"
PAUSE = 0.1


def read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def other_files(files: list[dict[str, Any]]) -> list[tuple[Path, str, int]]:
    """Those that are missing or differ."""
    wanted = [(Path(f["path"]), ended(f["content"]), int(f["mode"], 8)) for f in files]
    return [
        (path, text, mode)
        for path, text, mode in wanted
        if not path.exists() or read(path) != text or path.stat().st_mode & 0o777 != mode
    ]


def ended(text: str) -> str:
    return text if text.endswith("\n") else f"{text}\n"


def running() -> str | None:
    """Digest of the configuration that HAProxy runs; None if it does not run."""
    info = haproxy_lb.ask("show info")
    return None if info is None else haproxy_lb.running_digest(info)


def put_in_place(module: AnsibleModule, config: str) -> None:
    """Have HAProxy try the configuration, then let it replace the old one."""
    target = Path(haproxy_lb.CONFIG)
    candidate = target.with_name(".haproxy.cfg.candidate")
    write(candidate, config, 0o600)
    rc, out, err = module.run_command([BINARY, "-c", "-f", str(candidate)])
    found = haproxy_lb.complaints(out + err, str(candidate), config)
    if rc != 0:
        candidate.unlink()
        module.fail_json(
            msg="haproxy_lb: HAProxy refuses the new configuration, the old one stays in place and goes on serving: "
            + ("; ".join(found) or (out + err).strip())
        )
    for complaint in found:
        module.warn(f"haproxy_lb: {complaint}")
    before = target.with_name("haproxy.cfg.before-haproxy_lb")
    old = read(target)
    if old and not haproxy_lb.written_digest(old) and not before.exists():
        write(before, old, 0o600)
    candidate.rename(target)


def reload(module: AnsibleModule, wanted: str, timeout: int) -> None:
    """Reload and wait until the new process answers."""
    state = Path(haproxy_lb.STATE)
    write(state, haproxy_lb.ask("show servers state") or "", 0o600)
    rc, out, err = module.run_command(["systemctl", "reload", "haproxy.service"])
    deadline = time.monotonic() + timeout
    while rc == 0 and running() != wanted and time.monotonic() < deadline:
        time.sleep(PAUSE)
    # At another time, what it says would no longer be true.
    state.unlink(missing_ok=True)
    if rc != 0 or running() != wanted:
        module.fail_json(
            msg=f"haproxy_lb: HAProxy did not take over the new configuration within {timeout} s, the former process "
            f"goes on serving with the old one: {(out + err).strip() or 'no message'}. "
            "`journalctl -u haproxy -n 30` says why"
        )


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "config": {"type": "str", "required": True},
            "certificates": {"type": "dict", "default": {}, "no_log": True},
            "files": {"type": "list", "elements": "dict", "default": []},
            "reload_timeout": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    config = haproxy_lb.sealed(ended(module.params["config"]))
    wanted = haproxy_lb.written_digest(config)
    folder = Path(haproxy_lb.CERTIFICATES)
    existing = sorted(os.listdir(folder)) if folder.is_dir() else []
    certificates: dict[str, str | None] = module.params["certificates"]
    missing = {name: text for name, text in certificates.items() if name not in existing}
    old = read(Path(haproxy_lb.CONFIG))
    rewrite = old != config
    others = other_files(module.params["files"])
    live = running()
    pending = live is not None and live != wanted
    removed = haproxy_lb.obsolete(existing, list(certificates))
    result = {
        "changed": bool(rewrite or missing or pending or removed or others),
        "reloaded": pending,
        "removed": removed,
        "diff": [
            {"before_header": haproxy_lb.CONFIG, "after_header": haproxy_lb.CONFIG, "before": old, "after": config},
            {
                "before_header": haproxy_lb.CERTIFICATES,
                "after_header": haproxy_lb.CERTIFICATES,
                "before": "".join(f"{name}\n" for name in existing),
                "after": "".join(f"{name}\n" for name in sorted({*existing, *missing} - set(removed))),
            },
            *(
                {"before_header": str(path), "after_header": str(path), "before": read(path), "after": text}
                for path, text, _mode in others
            ),
        ],
    }
    if module.check_mode or not result["changed"]:
        module.exit_json(**result)
    lost = sorted(name for name, text in missing.items() if not text)
    if lost:
        module.fail_json(msg=f"haproxy_lb: {', '.join(lost)} vanished from {folder} since the run began. Run it again")

    for path, text, mode in others:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        write(path, text, mode)
    if any(path.suffix == ".conf" for path, _text, _mode in others):
        module.run_command(["systemctl", "daemon-reload"], check_rc=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    for name, certificate in missing.items():
        write(folder / name, certificate or "", 0o600)
    if rewrite:
        put_in_place(module, config)
    if pending:
        reload(module, wanted, module.params["reload_timeout"])
    for name in removed:
        (folder / name).unlink()
    module.exit_json(**result)


if __name__ == "__main__":
    main()
