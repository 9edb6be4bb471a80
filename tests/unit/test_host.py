# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What several modules do on a host."""

from __future__ import annotations

import os
from types import SimpleNamespace

from ansible_collections.cloudexit.ha_stack.plugins.module_utils import host

INSTALLED = "nginx install ok installed\nold deinstall ok config-files\n"


def module(out: str) -> SimpleNamespace:
    return SimpleNamespace(run_command=lambda _command: (1, out, ""))


def test_a_file_has_its_mode_whatever_the_umask_and_leaves_nothing_beside_it(tmp_path):
    before = os.umask(0o077)
    try:
        (tmp_path / ".conf.partial").write_text("left by an interrupted run")
        host.write(tmp_path / "conf", "text", 0o644)
    finally:
        os.umask(before)
    assert [path.name for path in tmp_path.iterdir()] == ["conf"]
    assert (tmp_path / "conf").read_text() == "text"
    assert (tmp_path / "conf").stat().st_mode & 0o777 == 0o644


def test_a_package_whose_files_are_gone_is_missing():
    assert host.missing_packages(module(INSTALLED), ["nginx", "old", "never"]) == ["old", "never"]  # type: ignore[arg-type]
    assert host.missing_packages(module(""), []) == []  # type: ignore[arg-type]


def test_addresses_have_the_lengths_of_their_networks():
    shown = '[{"ifname": "lo", "addr_info": [{"local": "127.0.0.1", "prefixlen": 8}]}, {"ifname": "eth0"}]'
    assert host.addresses(module(shown)) == {"127.0.0.1": 8}  # type: ignore[arg-type]
