# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The shop's unit tests, in a virtualenv of its own (.lab/shop) that is made anew when its dependencies change."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHOP = ROOT / "molecule" / "shop"
VENV = ROOT / ".lab" / "shop"


def environment() -> Path:
    """The virtualenv's Python, with what pyproject.toml names."""
    project = tomllib.loads((SHOP / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = hashlib.sha256("\n".join(project["dependencies"]).encode()).hexdigest()
    mark = VENV / "dependencies"
    if not mark.exists() or mark.read_text(encoding="utf-8") != wanted:
        shutil.rmtree(VENV, ignore_errors=True)
        venv.create(VENV, with_pip=True)
        install = [str(VENV / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*install, *project["dependencies"]], check=True)
        mark.write_text(wanted, encoding="utf-8")
    return VENV / "bin" / "python"


def main() -> int:
    command = [str(environment()), "-m", "django"]
    settings = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONDONTWRITEBYTECODE": "1"}
    settings.pop("PYTHONPATH", None)
    for arguments in (["makemigrations", "--check", "--dry-run"], ["test", "tests", *sys.argv[1:]]):
        code = subprocess.call([*command, *arguments, "--pythonpath", "."], cwd=SHOP, env=settings)
        if code != 0:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
