# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Programs that Debian has not and PyPI has, inside of wheels: downloaded once into .lab/cache for all labs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from . import state
from .definitions import STATE, Lab

CACHE = STATE / "cache"


def file_of(requirement: str) -> Path | None:
    """The wheel of `name==version`, if it was downloaded."""
    name, _equals, version = requirement.partition("==")
    return next(iter(sorted(CACHE.glob(f"{name.replace('-', '_')}-{version}-*.whl"))), None)


def ensure(lab: Lab, log: Callable[[str], None]) -> None:
    for requirement in lab.wheels:
        with state.lock("wheels"):
            if not file_of(requirement):
                log(f"downloading {requirement}")
                command = [
                    sys.executable,
                    "-m",
                    "pip",
                    "download",
                    "--quiet",
                    "--disable-pip-version-check",
                    "--no-deps",
                ]
                subprocess.run(
                    [*command, "--dest", str(CACHE), requirement], check=True, capture_output=True, text=True
                )
