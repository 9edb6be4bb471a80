# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The resource agent: a broken one has a cluster fence its nodes, so it is started here as the cluster would."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import threading
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType

import pytest
import yaml

ROLE = Path(__file__).resolve().parents[2] / "roles" / "nginx_cdn"
SOURCE = ROLE / "files" / "nginx_cdn_agent.py"


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("nginx_cdn_agent", SOURCE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setenv("OCF_RESKEY_socket", str(tmp_path / "status.sock"))
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
    files = yaml.safe_load((ROLE / "vars" / "main.yml").read_text(encoding="utf-8"))["__nginx_cdn_files"]
    shebang = files[0]["content"].partition("{{")[0]
    assert shebang == "#!/usr/bin/python3 -IS\n"
    installed = tmp_path / "nginx_cdn"
    installed.write_text(shebang + SOURCE.read_text(encoding="utf-8"), encoding="utf-8")
    installed.chmod(0o755)
    answer = subprocess.run([installed, "meta-data"], capture_output=True, text=True, check=True)
    root = ET.fromstring(answer.stdout)
    assert {action.get("name") for action in root.iter("action")} >= {"start", "stop", "monitor", "meta-data"}


def test_an_answer_is_success_without_asking_systemd(agent: ModuleType, tmp_path: Path) -> None:
    with serve(tmp_path / "status.sock", b"HTTP/1.1 200 OK\r\n\r\n"):
        assert agent.monitor() == agent.SUCCESS


@pytest.mark.parametrize(("state", "result"), [("inactive", 7), ("failed", 7), ("active", 1), ("activating", 1)])
def test_silence_is_judged_by_the_units_state(
    agent: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, state: str, result: int
) -> None:
    monkeypatch.setattr(agent, "state", lambda: state)
    with serve(tmp_path / "status.sock", b""):
        assert agent.monitor() == result


def test_an_answer_that_is_no_answer_is_silence(
    agent: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(agent, "state", lambda: "active")
    with serve(tmp_path / "status.sock", b"HTTP/1.1 500 Internal Server Error\r\n\r\n"):
        assert agent.monitor() == agent.GENERIC


@pytest.mark.parametrize(("advance", "least", "most"), [(0, 0.3, 0.8), (1, 1.5, 2.2)])
def test_a_busy_worker_has_five_times_as_long(
    agent: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, advance: int, least: float, most: float
) -> None:
    ticks = iter(range(0, 1000, advance) if advance else [7] * 1000)
    monkeypatch.setattr(agent, "state", lambda: "active")
    monkeypatch.setattr(agent, "computing", lambda: {"12": next(ticks)})
    begin = time.monotonic()
    with serve(tmp_path / "status.sock", b""):
        assert agent.monitor() == agent.GENERIC
    assert least <= time.monotonic() - begin <= most


def test_only_a_hung_process_is_killed(agent: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[tuple[str, ...]] = []
    monkeypatch.setattr(agent, "systemctl", lambda *arguments: done.append(arguments))
    monkeypatch.setattr(agent, "monitor", lambda: agent.GENERIC)
    for state in ("activating", "active"):
        monkeypatch.setattr(agent, "state", lambda state=state: state)
        assert agent.check() == agent.GENERIC
    assert done == [("kill", "--signal=KILL", "nginx-cdn.service")]
