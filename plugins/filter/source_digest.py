# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import hashlib
from pathlib import Path

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: source_digest
short_description: A short hash of a file or of a folder's contents on the controller
version_added: 0.1.0
description:
  - Names a release after what is in it, so that the same source gives the same release on every run and host.
  - Of a folder, the relative paths and contents of all files count, but not what tools leave behind (C(.git),
    C(__pycache__), C(*.pyc), C(*.egg-info), C(build), C(dist), virtualenvs and caches).
author: The cloudexit maintainers (@cloudexit)
options:
  _input:
    description: Path of the file or folder on the controller.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Name the release
  ansible.builtin.set_fact:
    release: "{{ '/home/me/shop' | cloudexit.ha_stack.source_digest }}"
"""

RETURN = r"""
_value:
  description: 12 hex digits of a SHA-256.
  type: str
"""

LEFT_BEHIND = {".git", "__pycache__", "build", "dist", ".venv", "venv", ".tox", ".pytest_cache", ".ruff_cache"}


def source_files(root: Path) -> list[Path]:
    """The files of a source tree that count, in a stable order."""
    return sorted(
        path
        for path in root.rglob("*")
        if path.is_file()
        and path.suffix != ".pyc"
        and not any(part in LEFT_BEHIND or part.endswith(".egg-info") for part in path.relative_to(root).parts)
    )


def source_digest(value: str) -> str:
    root = Path(value).expanduser()
    if not root.exists():
        raise AnsibleFilterError(f"source_digest: {value} does not exist on the controller")
    digest = hashlib.sha256()
    for path in [root] if root.is_file() else source_files(root):
        digest.update(f"{path.relative_to(root.parent if root.is_file() else root)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


class FilterModule:
    def filters(self):
        return {"source_digest": source_digest}
