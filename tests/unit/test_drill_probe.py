# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The probe of a drill as a process: it writes, ends when told, and never ends well when it cannot do its work."""

from __future__ import annotations

import contextlib
import http.server
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import drill

PROBE = Path(__file__).resolve().parents[2] / "roles" / "drill" / "files" / "probe"


class Server(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        with contextlib.suppress(OSError):  # the client may be dead by now
            self.wfile.write(b"ok")

    def log_message(self, *_arguments: Any) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def begin(folder: Path, url: str, kind: str = "http", **more: Any) -> subprocess.Popen[str]:
    settings = {"urls": [url], "timeout": 1, "headers": {}, "verify": True}
    process = subprocess.Popen(
        [sys.executable, str(PROBE), str(folder)], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdin
    process.stdin.write(json.dumps({"kind": kind, "rate": 50, "seconds": 60, "settings": settings, **more}))
    process.stdin.close()
    return process


def status(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / "status.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {"phase": "none", "streams": {}}
    return found


def until(what: Callable[[], Any]) -> None:
    end = time.monotonic() + 60
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)


def served(folder: Path) -> bool:
    return any(stream["last"] for stream in status(folder)["streams"].values())


def events(folder: Path) -> list[dict[str, Any]]:
    return drill.lines((folder / "events.jsonl").read_text(encoding="utf-8"))


def test_it_writes_until_it_is_told_to_stop(tmp_path: Path, url: str) -> None:
    process = begin(tmp_path, url)
    until(lambda: served(tmp_path))
    (tmp_path / "stop").touch()
    assert process.wait(60) == 0
    assert status(tmp_path)["phase"] == "end"
    found = drill.analyse(events(tmp_path), [{"m": "fault", "t": events(tmp_path)[-1]["t"]}])["streams"]
    assert len(found) == 1
    stream = next(iter(found.values()))
    assert stream["acknowledged"] and stream["lost"] is None


def test_it_ends_by_itself(tmp_path: Path, url: str) -> None:
    assert begin(tmp_path, url, seconds=1).wait(60) == 0


def test_a_stream_that_dies_ends_it_badly(tmp_path: Path, url: str) -> None:
    process = begin(tmp_path, url)
    until(lambda: served(tmp_path))
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
    for child in children:
        os.kill(int(child), signal.SIGKILL)
    assert process.wait(60) == 1
    with pytest.raises(drill.ProbeError, match="ended by itself"):
        drill.analyse(events(tmp_path), [])


def test_killed_it_leaves_a_log_that_is_no_pass(tmp_path: Path, url: str) -> None:
    process = begin(tmp_path, url)
    until(lambda: served(tmp_path))
    process.kill()
    process.wait()
    with pytest.raises(drill.ProbeError, match="the probe died"):
        drill.analyse(events(tmp_path), [])


@pytest.mark.parametrize(
    ("kind", "lacks"),
    [
        *(("http", ""), ("tcp", ""), ("redis", "redis"), ("memcached", "pymemcache"), ("mysql", "PyMySQL")),
        *(("mongo", "pymongo"), ("rabbitmq", "pika")),
    ],
)
def test_what_it_lacks_is_named(kind: str, lacks: str) -> None:
    for options, expected in (["-S"], lacks), ([], ""):
        command = [sys.executable, *options, str(PROBE), "--needs", kind]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == expected


class QuorumQueue:
    """As a connection of pika: a consumer has at most so many messages unacknowledged, 2000 if it names no limit."""

    def __init__(self, ready: int) -> None:
        self.ready, self.limit = list(range(ready)), 2000

    def channel(self) -> QuorumQueue:
        self.limit = 2000
        return self

    def basic_qos(self, prefetch_count: int) -> None:
        self.limit = prefetch_count

    def consume(self, _queue: str, inactivity_timeout: float) -> Iterator[tuple[Any, Any, bytes]]:
        mine, self.ready = self.ready[: self.limit], self.ready[self.limit :]
        assert inactivity_timeout > 0
        yield from (("method", None, str(number).encode()) for number in mine)
        yield None, None, b""

    def close(self) -> None:
        pass


@pytest.mark.parametrize("count", [0, 999, 1000, 2001, 5000])
def test_a_quorum_queue_is_read_to_its_end(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PROBE))
    of_rabbitmq = importlib.import_module("of_rabbitmq")
    monkeypatch.setattr(of_rabbitmq, "anywhere", lambda _settings: QuorumQueue(count))
    assert of_rabbitmq.read({}, "run", "confirmed") == list(range(count))
