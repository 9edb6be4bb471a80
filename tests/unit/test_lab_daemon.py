# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the lab needs of its machine is said before anything comes onto it; what is not there need not be cleaned."""

from __future__ import annotations

import os
import subprocess
import sys

import docker.errors
import pytest
from lab import __main__ as command
from lab import daemon, nodes
from lab.definitions import Lab, LabError, parse


@pytest.fixture
def lab() -> Lab:
    return parse({"site": {"subnet": "10.9.0.0/24", "debian": 12, "nodes": {"db1": {"address": 11}}}}, "site")


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of root's without Docker, on which nothing may be installed or started."""

    def never(*_arguments: object) -> None:
        raise AssertionError("something was installed or started")

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(daemon, "installed", lambda: False)
    monkeypatch.setattr(daemon, "ensure", never)
    monkeypatch.setattr(daemon, "start", never)
    monkeypatch.setattr(nodes, "routes", list)


def test_without_root_and_dockers_group_there_is_no_lab(monkeypatch: pytest.MonkeyPatch, lab: Lab) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    with pytest.raises(LabError) as refusal:
        command.up(lab)
    assert str(refusal.value) == (
        "the lab needs Docker: run as root, or join the group that owns /var/run/docker.sock "
        "(sudo usermod -aG docker $USER, then log in again)"
    )


def test_a_member_of_dockers_group_is_told_what_root_must_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "access", lambda _path, _mode: True)
    monkeypatch.setattr(daemon, "_installed", lambda name: name != "mmdebstrap")
    with pytest.raises(LabError, match="not root, and mmdebstrap missing: sudo apt-get install mmdebstrap"):
        daemon.check_rights()
    monkeypatch.setattr(daemon, "_installed", lambda _name: True)
    daemon.check_rights()


@pytest.mark.usefixtures("bare")
def test_too_little_memory_is_said_before_docker_is_installed(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "CONTAINER_MEMORY", 10**9)
    with pytest.raises(LabError, match="lab site needs 1000000000 MiB of memory"):
        command.up(lab)


@pytest.mark.usefixtures("bare")
def test_too_small_a_disk_is_said_before_docker_is_installed(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon, "DOCKER_ROOT", "/no/such/folder/yet")
    monkeypatch.setattr(nodes, "DISK_GIB", 10**9)
    with pytest.raises(LabError, match=r"lab site needs 1000000004 GiB in /no/such/folder/yet"):
        command.up(lab)


@pytest.mark.usefixtures("bare")
def test_a_taken_subnet_is_said_before_docker_is_installed(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "routes", lambda: [{"dst": "10.9.0.0/16", "dev": "tun0"}])
    with pytest.raises(LabError, match=r"subnet 10.9.0.0/24 overlaps 10.9.0.0/16 on tun0"):
        command.up(lab)


@pytest.mark.usefixtures("bare")
def test_a_machine_without_docker_is_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    undone = []
    monkeypatch.setattr(daemon, "undo", lambda _log: undone.append(True))
    command.clean()
    assert undone


def test_a_command_that_fails_is_named_with_its_words() -> None:
    script = "import sys; sys.exit('no route to the mirror')"
    with pytest.raises(subprocess.CalledProcessError) as failure:
        subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    said = command.reason(failure.value)
    assert said.startswith(f"`{sys.executable} -c ")
    assert "failed with exit status 1\nno route to the mirror\n" in said
    assert said.endswith("run the same again")


def test_what_docker_says_is_passed_on() -> None:
    said = command.reason(docker.errors.APIError("no space left on device"))
    assert said.startswith("Docker: no space left on device\n  try: `docker info`")
