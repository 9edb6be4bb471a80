#!/usr/bin/python
# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: host_files
short_description: Several directories and files in one call
version_added: 0.1.0
author: The cloudexit maintainers (@cloudexit)
description:
  - Makes directories, then writes files, each whole before it has its name, with their owners and modes.
  - M(ansible.builtin.template) and M(ansible.builtin.copy) ask the host twice for each file, which is most of the time
    of a run that has nothing to do. Here all files of a service are one question.
  - Nothing is ever removed. A symbolic link at a file's path is replaced by the file.
attributes:
  check_mode:
    support: full
    description: What would be written is told.
  diff_mode:
    support: full
    description: Of O(secret_files), only whether they differ.
  idempotent:
    support: full
    description: A file with this content, owner and mode is not touched.
options:
  directories:
    description: Directories, made in this order.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path.
        type: path
        required: true
      owner:
        description: User that owns it; by default it keeps its own, and a new one is root's.
        type: str
      group:
        description: Its group, likewise.
        type: str
      mode:
        description: Permissions, by default V(0755) of a directory and V(0644) of a file.
        type: raw
  files:
    description: Files; the folder of each must be there, or be one of O(directories).
    type: list
    elements: dict
    default: []
    suboptions: &text
      path:
        description: Absolute path.
        type: path
        required: true
      content:
        description: The whole text.
        type: str
        required: true
      owner:
        description: User that owns it; by default it keeps its own, and a new one is root's.
        type: str
      group:
        description: Its group, likewise.
        type: str
      mode:
        description: Permissions, by default V(0644), of O(secret_files) V(0600).
        type: raw
  secret_files:
    description: Files whose text is in no log and in no diff, written after the others.
    type: list
    elements: dict
    default: []
    suboptions: *text
"""

EXAMPLES = r"""
- name: Write the settings
  cloudexit.ha_stack.host_files:
    directories:
      - path: /etc/systemd/system/mongod.service.d
    files:
      - path: /etc/mongod.conf
        content: "{{ lookup('ansible.builtin.template', 'mongod.conf.j2') }}"
    secret_files:
      - path: /etc/mongod.key
        content: "{{ mongo_replset_key }}"
        owner: mongodb
        mode: "0400"
"""

RETURN = r"""
written:
  description: Paths of the directories and files that were made, written or given another owner or mode.
  returned: always
  type: list
  elements: str
"""

import os
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cloudexit.ha_stack.plugins.module_utils.host import write


def attributes(module: AnsibleModule, entry: dict[str, Any], mode: str) -> bool:
    """Give a path its owner and mode; whether it had others."""
    path = entry["path"]
    changed = module.set_owner_if_different(path, entry["owner"], False)
    changed = module.set_group_if_different(path, entry["group"], changed)
    return bool(module.set_mode_if_different(path, entry["mode"] or mode, changed))


def directory(module: AnsibleModule, entry: dict[str, Any]) -> tuple[bool, dict[str, str]]:
    """Whether a directory was made or changed, and the diff."""
    path = Path(entry["path"])
    missing = not path.is_dir()
    if missing and module.check_mode:
        return True, {"before": "", "after": "directory\n"}
    if missing:
        path.mkdir(parents=True)
    changed = attributes(module, entry, "0755")
    return missing or changed, {"before": "" if missing else "directory\n", "after": "directory\n"}


def file(
    module: AnsibleModule, entry: dict[str, Any], mode: str = "0644", secret: bool = False
) -> tuple[bool, dict[str, str]]:
    """Whether a file was written or changed, and the diff."""
    path, text = Path(entry["path"]), entry["content"]
    there = path.is_file() and not path.is_symlink()
    before = path.read_text(encoding="utf-8", errors="replace") if there else ""
    differs = not there or before != text
    shown = {"before": before, "after": text}
    if secret:
        kept = "a secret\n"
        shown = {"before": kept * there, "after": "another secret\n" if differs and there else kept}
    if module.check_mode and not there:
        return True, shown
    if differs and not module.check_mode:
        if not path.parent.is_dir():
            module.fail_json(
                msg=f"host_files: {path.parent} is not there: name it in directories, or have it installed"
            )
        old = path.stat() if there else None
        write(path, text, (old.st_mode & 0o7777) if old else 0o600)
        if old:
            os.chown(path, old.st_uid, old.st_gid)
    return attributes(module, entry, mode) or differs, shown


def secret_file(module: AnsibleModule, entry: dict[str, Any]) -> tuple[bool, dict[str, str]]:
    """Whether a file was written or changed, and no more than that in the diff."""
    return file(module, entry, mode="0600", secret=True)


def main() -> None:
    """Ansible's entry point."""
    entry: dict[str, Any] = {
        "path": {"type": "path", "required": True},
        "owner": {"type": "str"},
        "group": {"type": "str"},
        "mode": {"type": "raw"},
    }
    text = {"content": {"type": "str", "required": True}}
    secret = {"content": {"type": "str", "required": True, "no_log": True}}
    module = AnsibleModule(
        argument_spec={
            "directories": {"type": "list", "elements": "dict", "default": [], "options": entry},
            "files": {"type": "list", "elements": "dict", "default": [], "options": entry | text},
            "secret_files": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "no_log": False,
                "options": entry | secret,
            },
        },
        supports_check_mode=True,
    )
    written, diff = [], []
    for kind, make in (("directories", directory), ("files", file), ("secret_files", secret_file)):
        for given in module.params[kind]:
            changed, shown = make(module, given)
            if changed:
                written.append(given["path"])
                diff.append({**shown, "before_header": given["path"], "after_header": given["path"]})
    module.exit_json(changed=bool(written), written=written, diff=diff)


if __name__ == "__main__":
    main()
