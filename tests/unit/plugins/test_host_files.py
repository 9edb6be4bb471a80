# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module that writes several files: run as Ansible runs it, in a folder of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.cloudexit.ha_stack.plugins.modules import host_files


def run(capsys: pytest.CaptureFixture[str], check: bool = False, **given: Any) -> dict[str, Any]:
    with patch_module_args({**given, "_ansible_check_mode": check, "_ansible_diff": True}), pytest.raises(SystemExit):
        host_files.main()
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_written_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, conf = tmp_path / "unit.d", tmp_path / "unit.d" / "conf"
    given: dict[str, Any] = {
        "directories": [{"path": str(folder), "mode": "0750"}],
        "files": [{"path": str(conf), "content": "a\n"}],
    }
    would = run(capsys, check=True, **given)
    assert would["written"] == [str(folder), str(conf)]
    assert not folder.exists()
    done = run(capsys, **given)
    assert done["written"] == would["written"] and done["diff"] == would["diff"]
    assert (conf.read_text(), mode(folder), mode(conf)) == ("a\n", 0o750, 0o644)
    began = conf.stat()
    assert run(capsys, **given) | {"invocation": 0} == {"changed": False, "written": [], "diff": [], "invocation": 0}
    assert (conf.stat().st_mtime_ns, conf.stat().st_ino) == (began.st_mtime_ns, began.st_ino)


def test_another_text_or_mode_is_told_and_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conf, key = tmp_path / "conf", tmp_path / "key"
    conf.write_text("a\n")
    key.write_text("k")
    key.chmod(0o644)
    files = [{"path": str(conf), "content": "b\n"}, {"path": str(key), "content": "k", "mode": "0400"}]
    would = run(capsys, check=True, files=files)
    assert would["written"] == [str(conf), str(key)]
    assert (conf.read_text(), mode(key)) == ("a\n", 0o644)
    assert run(capsys, files=files)["diff"][0] == {
        "before": "a\n",
        "after": "b\n",
        "before_header": str(conf),
        "after_header": str(conf),
    }
    assert (conf.read_text(), mode(key)) == ("b\n", 0o400)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["conf", "key"]


def test_a_secret_is_in_no_diff(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = tmp_path / "key"
    assert run(capsys, secret_files=[{"path": str(key), "content": "hush-1"}])["diff"][0]["after"] == "a secret\n"
    assert mode(key) == 0o600
    told = run(capsys, secret_files=[{"path": str(key), "content": "hush-2", "mode": "0400"}])
    assert (told["diff"][0]["before"], told["diff"][0]["after"]) == ("a secret\n", "another secret\n")
    assert (key.read_text(), mode(key)) == ("hush-2", 0o400)
    assert "hush" not in json.dumps(told), "the arguments that a callback may show"


def test_a_link_gives_way_to_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other, conf = tmp_path / "other", tmp_path / "conf"
    other.write_text("o")
    conf.symlink_to(other)
    assert run(capsys, files=[{"path": str(conf), "content": "o"}])["changed"]
    assert not conf.is_symlink() and other.read_text() == "o"


def test_a_folder_that_is_missing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failed = run(capsys, files=[{"path": str(tmp_path / "no" / "conf"), "content": "a"}])
    assert failed["msg"] == f"host_files: {tmp_path}/no is not there: name it in directories, or have it installed"
