# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The resource agent: a broken one has a cluster fence its nodes, so it is started here as the cluster would."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import threading
import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType

import pytest
import yaml

ROLE = Path(__file__).resolve().parents[2] / "roles" / "haproxy_lb"
SOURCE = ROLE / "files" / "haproxy_agent.py"


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("haproxy_agent", SOURCE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setenv("OCF_RESKEY_socket", str(tmp_path / "admin.sock"))
    monkeypatch.setenv("OCF_RESKEY_patience", "0.3")
    return module


def serve(path: Path, answer: bytes) -> socket.socket:
    """A socket that answers the first question, or takes it and says nothing."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(path))
    server.listen()

    def once() -> None:
        connection, _address = server.accept()
        with connection:
            connection.recv(100)
            connection.sendall(answer)

    if answer:
        threading.Thread(target=once, daemon=True).start()
    return server


def test_it_is_installed_with_an_interpreter_and_runs(tmp_path: Path) -> None:
    files = yaml.safe_load((ROLE / "vars" / "main.yml").read_text(encoding="utf-8"))["__haproxy_lb_files"]
    shebang = files[0]["content"].partition("{{")[0]
    assert shebang == "#!/usr/bin/python3 -IS\n"
    installed = tmp_path / "haproxy_lb"
    installed.write_text(shebang + SOURCE.read_text(encoding="utf-8"), encoding="utf-8")
    installed.chmod(0o755)
    answer = subprocess.run([installed, "meta-data"], capture_output=True, text=True, check=True)
    root = ET.fromstring(answer.stdout)
    assert {action.get("name") for action in root.iter("action")} >= {"start", "stop", "monitor", "meta-data"}


def test_an_answer_is_success_without_asking_systemd(agent: ModuleType, tmp_path: Path) -> None:
    with serve(tmp_path / "admin.sock", b"3.0\n"):
        assert agent.monitor() == agent.SUCCESS


@pytest.mark.parametrize(("state", "result"), [("inactive", 7), ("failed", 7), ("active", 1), ("activating", 1)])
def test_silence_is_judged_by_the_units_state(
    agent: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, state: str, result: int
) -> None:
    monkeypatch.setattr(agent, "state", lambda: state)
    with serve(tmp_path / "admin.sock", b""):
        assert agent.monitor() == result


def test_only_a_hung_process_is_killed(agent: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[tuple[str, ...]] = []
    monkeypatch.setattr(agent, "systemctl", lambda *arguments: done.append(arguments))
    monkeypatch.setattr(agent, "monitor", lambda: agent.GENERIC)
    for state in ("activating", "active"):
        monkeypatch.setattr(agent, "state", lambda state=state: state)
        assert agent.check() == agent.GENERIC
    assert done == [("kill", "--signal=KILL", "haproxy.service")]
