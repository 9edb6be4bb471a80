#!/usr/bin/python
# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_cdn_config
short_description: Write the CDN's configuration as one generation, and reload it without losing a request
version_added: 0.3.0
author: The cloudexit maintainers (@cloudexit)
description:
  - Writes all files of a configuration into a folder of their own under C(/etc/nginx-cdn), has Nginx try them there,
    and only then turns the link C(/etc/nginx-cdn/current) to it, in one step. What Nginx refuses changes nothing.
  - Reloads a running Nginx whenever what it runs is not what is on disk, also if an earlier run was interrupted before
    its reload, and waits until the new generation answers. The cache stays.
  - A Nginx that does not run is not started. The generation before is kept, older ones are removed.
attributes:
  check_mode:
    support: full
    description: The configuration is not tried, because a certificate that does not exist yet belongs to it.
  diff_mode:
    support: full
    description: Of secret files and certificates, only their names.
  idempotent:
    support: full
    description: Nothing is written or reloaded when the same configuration is there and runs.
options:
  configuration:
    description: >-
      Files of the generation by name, C(nginx.conf) among them; their mode is 0644. C(@generation@) in them is replaced
      with the generation's name.
    type: dict
    required: true
  secrets:
    description: Likewise, never shown; their mode is 0600.
    type: dict
    default: {}
  certificates:
    description: Certificate files by name; the text, or null for a file that exists already.
    type: dict
    default: {}
  folders:
    description: Folders of the user www-data, made if they are missing.
    type: list
    elements: path
    default: []
  files:
    description: Other files to write, each with C(path), C(content) and C(mode). They do not make Nginx reload.
    type: list
    elements: dict
    default: []
  units:
    description: >-
      Units beside Nginx that shall run and be started at boot, each with the paths in O(files) that make it restart.
    type: dict
    default: {}
  absent_units:
    description: Units that shall neither run nor be started at boot. Their files go, too.
    type: list
    elements: str
    default: []
  reload_timeout:
    description: Seconds to wait until the new generation is served.
    type: int
    default: 30
"""

EXAMPLES = r"""
- name: Configure the CDN
  cloudexit.ha_stack.nginx_cdn_config:
    configuration:
      nginx.conf: "{{ lookup('ansible.builtin.template', 'nginx.conf.j2') }}"
    secrets:
      origins.json: "{{ origins | to_json }}"
"""

RETURN = r"""
generation:
  description: Name of the configuration.
  type: str
  returned: always
reloaded:
  description: Whether a running Nginx was reloaded.
  type: bool
  returned: always
removed:
  description: Certificate files and generations that were replaced and removed.
  type: list
  elements: str
  returned: always
"""

import os
import pwd
import resource
import shutil
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import nginx_cdn
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import nginx_cdn_host as host
from ansible_collections.cloudexit.ha_stack.plugins.module_utils.host import write

PAUSE = 0.1
FILES = 65536
UNITS = Path("/etc/systemd/system")


def ended(text: str) -> str:
    return text if text.endswith("\n") else f"{text}\n"


def other_files(files: list[dict[str, Any]]) -> list[tuple[Path, str, int]]:
    """Those that are missing or differ."""
    wanted = [(Path(f["path"]), ended(f["content"]), int(f["mode"], 8)) for f in files]
    return [
        (path, text, mode)
        for path, text, mode in wanted
        if not path.exists() or host.read(path) != text or path.stat().st_mode & 0o777 != mode
    ]


def missing_folders(folders: list[str]) -> list[Path]:
    return [Path(folder) for folder in folders if not Path(folder).is_dir()]


def is_on(module: AnsibleModule, unit: str) -> bool:
    """Whether a unit runs and is started at boot."""
    shown = module.run_command(["systemctl", "show", "--property=ActiveState,UnitFileState", unit])[1].split()
    return "ActiveState=active" in shown and "UnitFileState=enabled" in shown


def put_in_place(module: AnsibleModule, name: str, files: dict[str, str], secret: set[str]) -> None:
    """Have Nginx try the generation, then turn the link to it."""
    folder = nginx_cdn.HOME / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o755)
    for file, text in files.items():
        write(folder / file, text, 0o600 if file in secret else 0o644)
    # Where Nginx never ran, its unit has not made these yet.
    for needed in (nginx_cdn.LOGS, nginx_cdn.PID.parent):
        needed.mkdir(mode=0o755, exist_ok=True)
    # As the unit has it; Nginx warns of less.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILES, hard) if hard > 0 else FILES, hard))
    rc, out, err = module.run_command([nginx_cdn.BINARY, "-t", "-c", str(folder / "nginx.conf")])
    found = nginx_cdn.complaints(out + err, str(folder), {f: t for f, t in files.items() if f not in secret})
    if rc != 0:
        shutil.rmtree(folder)
        module.fail_json(
            msg="nginx_cdn: Nginx refuses the new configuration, the old one stays in place and goes on serving: "
            + ("; ".join(found) or (out + err).strip())
        )
    for complaint in found:
        module.warn(f"nginx_cdn: {complaint}")
    link = nginx_cdn.HOME / ".current.partial"
    link.unlink(missing_ok=True)
    link.symlink_to(name)
    link.rename(nginx_cdn.CURRENT)


def reload(module: AnsibleModule, wanted: str, timeout: int) -> None:
    """Reload and wait until the new workers answer."""
    rc, out, err = module.run_command(["systemctl", "reload", nginx_cdn.UNIT])
    deadline = time.monotonic() + timeout
    while rc == 0 and host.running() != wanted and time.monotonic() < deadline:
        time.sleep(PAUSE)
    if rc != 0 or host.running() != wanted:
        module.fail_json(
            msg=f"nginx_cdn: Nginx did not take over the new configuration within {timeout} s, the former workers go "
            f"on serving with the old one: {(out + err).strip() or 'no message'}. "
            "`tail /var/log/nginx-cdn/error.log` says why. If its packages were upgraded, run "
            "playbooks/rolling_restart.yml"
        )


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "configuration": {"type": "dict", "required": True},
            "secrets": {"type": "dict", "default": {}, "no_log": True},
            "certificates": {"type": "dict", "default": {}, "no_log": True},
            "folders": {"type": "list", "elements": "path", "default": []},
            "files": {"type": "list", "elements": "dict", "default": []},
            "units": {"type": "dict", "default": {}},
            "absent_units": {"type": "list", "elements": "str", "default": []},
            "reload_timeout": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    wish = module.params
    secret = set(wish["secrets"])
    open_files = {name: ended(text) for name, text in wish["configuration"].items()}
    name, files = nginx_cdn.sealed({**open_files, **{n: ended(t) for n, t in wish["secrets"].items()}})
    folder = nginx_cdn.CERTIFICATES
    existing = sorted(os.listdir(folder)) if folder.is_dir() else []
    certificates: dict[str, str | None] = wish["certificates"]
    missing = {file: text for file, text in certificates.items() if file not in existing}
    before = host.written()
    others, live = other_files(wish["files"]), host.running()
    written = {str(path) for path, _text, _mode in others}
    pending = bool(live) and live != name
    units = {
        unit: bool(written & set(paths)) for unit, paths in wish["units"].items()
    }  # whether it is restarted; it is started in any case
    off = [unit for unit in units if not is_on(module, unit)]
    unwanted = [unit for unit in wish["absent_units"] if (UNITS / unit).exists()]
    generations = [entry for entry in host.generations() if entry not in (name, before)]
    removed = nginx_cdn.obsolete(existing, list(certificates))
    folders = missing_folders(wish["folders"])
    rewrite = before != name
    old = {file: host.read(nginx_cdn.CURRENT / file) for file in host.files_of(before)}

    def listed(names: Any) -> str:
        return "".join(f"{each}\n" for each in sorted(names))

    result = {
        "changed": bool(
            rewrite or missing or pending or removed or others or off or unwanted or folders or any(units.values())
        ),
        "generation": name,
        "reloaded": pending,
        "removed": [*removed, *(generations if rewrite else [])],
        "diff": [
            *(
                {
                    "before_header": str(nginx_cdn.CURRENT / file),
                    "after_header": str(nginx_cdn.CURRENT / file),
                    "before": "(secret)\n" if file in secret and file in old else old.get(file, ""),
                    "after": (
                        f"(secret{', changed' if old.get(file) != files[file] and file in old else ''})\n"
                        if file in secret
                        else files.get(file, "")
                    ),
                }
                for file in sorted({*old, *files})
                if old.get(file) != files.get(file)
            ),
            {
                "before_header": str(folder),
                "after_header": str(folder),
                "before": listed(existing),
                "after": listed({*existing, *missing} - set(removed)),
            },
            *(
                {"before_header": str(path), "after_header": str(path), "before": host.read(path), "after": text}
                for path, text, _mode in others
            ),
        ],
    }
    if module.check_mode or not result["changed"]:
        module.exit_json(**result)
    lost = sorted(file for file, text in missing.items() if not text)
    if lost:
        module.fail_json(msg=f"nginx_cdn: {', '.join(lost)} vanished from {folder} since the run began. Run it again")

    nginx_cdn.HOME.mkdir(mode=0o755, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    owner = pwd.getpwnam("www-data")
    for path in folders:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        path.mkdir(mode=0o700)
        os.chown(path, owner.pw_uid, owner.pw_gid)
    for path, text, mode in others:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        write(path, text, mode)
    for file, certificate in missing.items():
        write(folder / file, certificate or "", 0o600)
    if rewrite:
        put_in_place(module, name, files, secret)
    for unit in unwanted:
        module.run_command(["systemctl", "disable", "--now", unit], check_rc=True)
        (UNITS / unit).unlink()
    if unwanted or any(path.startswith(str(UNITS)) for path in written):
        module.run_command(["systemctl", "daemon-reload"], check_rc=True)
    if pending:
        reload(module, name, wish["reload_timeout"])
    for unit in off:
        module.run_command(["systemctl", "enable", unit], check_rc=True)
    for unit in {*off, *(unit for unit, again in units.items() if again)}:
        module.run_command(["systemctl", "restart", unit], check_rc=True)
    for file in removed:
        (folder / file).unlink()
    for entry in generations if rewrite else []:
        shutil.rmtree(nginx_cdn.HOME / entry)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
