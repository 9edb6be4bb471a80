# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A package repository as MongoDB has one, with the lab's server in it: signed, flat, made once.

repository.py PROGRAM VERSION FOLDER     the folder gets the package, its index, and signed.asc, the public key
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from email.utils import formatdate
from pathlib import Path

CONTROL = """Package: mongodb-org-server
Version: {version}
Architecture: amd64
Depends: libcurl4, libssl3
Maintainer: the lab <lab@example.invalid>
Description: MongoDB's server, for the lab
"""
RELEASE = """Origin: lab
Suite: lab
Date: {date}
SHA256:
 {digest} {size} Packages
"""


def package(program: Path, version: str, folder: Path) -> None:
    """The package and its index."""
    control = CONTROL.format(version=version)
    with tempfile.TemporaryDirectory(dir=folder) as made:
        tree = Path(made)
        tree.chmod(0o755)
        (tree / "DEBIAN").mkdir()
        (tree / "DEBIAN" / "control").write_text(control, encoding="ascii")
        (tree / "usr" / "bin").mkdir(parents=True)
        os.link(program, tree / "usr" / "bin" / "mongod")
        file = folder / f"mongodb-org-server_{version}_amd64.deb"
        fast = ["-Zgzip", "-z1", "--root-owner-group"]
        subprocess.run(["dpkg-deb", *fast, "--build", str(tree), str(file)], check=True, stdout=sys.stderr)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    entry = f"{control}Filename: ./{file.name}\nSize: {file.stat().st_size}\nSHA256: {digest}\n"
    (folder / "Packages").write_text(entry, encoding="ascii")


def sign(folder: Path) -> None:
    """The index's description, signed with a key that nobody has afterwards."""
    index = (folder / "Packages").read_bytes()
    release = RELEASE.format(date=formatdate(usegmt=True), digest=hashlib.sha256(index).hexdigest(), size=len(index))
    with tempfile.TemporaryDirectory() as home:
        gpg = ["gpg", "--homedir", home, "--batch", "--quiet", "--passphrase", ""]
        subprocess.run([*gpg, "--quick-generate-key", "lab", "ed25519", "sign", "never"], check=True)
        done = subprocess.run([*gpg, "--clearsign"], check=True, input=release.encode(), capture_output=True)
        (folder / "InRelease").write_bytes(done.stdout)
        key = subprocess.run([*gpg, "--armor", "--export"], check=True, capture_output=True).stdout
        (folder / "signed.asc").write_bytes(key)


def main() -> int:
    program, version, folder = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    half = folder.with_suffix(".new")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    package(program, version, half)
    sign(half)
    half.rename(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
