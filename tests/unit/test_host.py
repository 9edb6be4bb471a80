# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What several modules do on a host."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import host
from ansible_collections.cloudexit.ha_stack.plugins.modules.zentyal_nat_host import Host

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


def test_the_properties_of_a_unit_may_be_empty_and_have_equals_signs():
    shown = "ActiveState=active\nUnitFileState=\nExecStart={ argv[]=/bin/x a=b }\n"
    assert host.unit(module(shown), "x.service", "ActiveState", "UnitFileState", "ExecStart") == {  # type: ignore[arg-type]
        "ActiveState": "active",
        "UnitFileState": "",
        "ExecStart": "{ argv[]=/bin/x a=b }",
    }


@pytest.mark.parametrize(
    ("shown", "runs"),
    [
        ("ActiveState=active\nJob=\n", True),
        ("ActiveState=activating\nJob=12\n", True),
        ("ActiveState=inactive\nJob=12\n", True),  # its turn comes
        ("ActiveState=inactive\nJob=\n", False),
        ("ActiveState=failed\nJob=0\n", False),
        ("", False),
    ],
)
def test_a_unit_of_a_firewall_that_runs_or_will_in_a_moment(shown, runs):
    firewall = Host.__new__(Host)
    firewall.module = module(shown)  # type: ignore[assignment]
    assert firewall.runs("conntrackd.service") is runs
