# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where the tests find what they test: the collection by its full name, the lab, the checks."""

from __future__ import annotations

import sys
from pathlib import Path

from ansible.plugins.loader import init_plugin_loader

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / ".lab" / "collections"), str(ROOT / "molecule"), str(ROOT / "tests")]
# Ansible's own finder, so that its templates find the collection's filters, too.
init_plugin_loader([str(ROOT / ".lab" / "collections")])
