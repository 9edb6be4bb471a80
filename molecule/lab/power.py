# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The power switch of a lab: a container in its network through which fence agents power its nodes, and only them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import images
from .definitions import LABEL_POWER

RELEASE = "12"
SWITCH = Path(__file__).parent / "power_switch" / "switch.py"


def container_name(lab: str) -> str:
    return f"cloudexit-{lab}-power"


def container_args(lab: str) -> dict[str, Any]:
    """Docker's create arguments. The program is put into the container by the caller."""
    return {
        "image": images.name(RELEASE),
        "command": ["python3", "/switch.py", f"{LABEL_POWER}={lab}"],
        "volumes": {"/var/run/docker.sock": {"bind": "/docker.sock", "mode": "rw"}},
        "restart_policy": {"Name": "unless-stopped"},
        "init": True,
    }


def files() -> dict[str, tuple[str, int]]:
    return {"switch.py": (SWITCH.read_text(encoding="utf-8"), 0o644)}
