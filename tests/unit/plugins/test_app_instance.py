# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What app_instance decides: names, states, what may be pruned, and health over a real unix socket."""

from __future__ import annotations

import http.server
import socketserver
import threading
from pathlib import Path

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.cloudexit.ha_stack.plugins.filter.source_digest import source_digest
from ansible_collections.cloudexit.ha_stack.plugins.module_utils.app_instance import (
    belongs,
    instance_id,
    nginx_workers,
    parse_status,
    probe,
    to_prune,
)

# supervisorctl status of supervisor 4.2.5 (Debian 12 and 13)
STATUS = """\
shop-4f2a9c81d0e7:web            RUNNING   pid 1074, uptime 0:01:12
shop-4f2a9c81d0e7:celery         STARTING
shop-8d1f20ab33c4:web            FATAL     Exited too quickly (process log may have details)
other                            STOPPED   Not started
unix:///var/run/supervisor.sock refused connection
"""


def test_an_instance_is_named_after_release_and_settings():
    one = instance_id("r1", {"a": "1", "b": "2"})
    assert one == instance_id("r1", {"b": "2", "a": "1"})
    assert len({one, instance_id("r2", {"a": "1", "b": "2"}), instance_id("r1", {"a": "12", "b": ""})}) == 3
    assert len(one) == 12


def test_states_are_read_by_group_and_process():
    assert parse_status(STATUS) == {
        "shop-4f2a9c81d0e7": {"web": "RUNNING", "celery": "STARTING"},
        "shop-8d1f20ab33c4": {"web": "FATAL"},
        "other": {"other": "STOPPED"},
    }


def test_only_instances_of_the_application_belong_to_it():
    assert belongs("shop-4f2a9c81d0e7", "shop")
    assert not belongs("shop-admin-4f2a9c81d0e7", "shop")
    assert not belongs("shop-web", "shop")


def test_the_current_instance_the_latest_others_and_their_releases_stay():
    known = [("a", "r1", 1.0), ("b", "r2", 2.0), ("c", "r3", 3.0), ("d", "r1", 4.0)]
    assert to_prune(1, known, "d") == (["a", "b"], {"r3", "r1"})
    assert to_prune(9, known, "d") == ([], {"r1", "r2", "r3"})
    assert to_prune(0, known, "a") == (["b", "c", "d"], {"r1"})


def test_what_never_served_is_not_kept_in_the_place_of_what_did():
    known = [("a", "r1", 1.0), ("b", "r2", 2.0), ("bad", "r3", 0.0), ("worse", "r4", 0.0)]
    assert to_prune(1, known, "b") == (["bad", "worse"], {"r1", "r2"})


def test_workers_of_one_nginx_are_told_from_all_else(tmp_path):
    def process(pid: int, parent: int, title: str, name: str = "nginx") -> None:
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "stat").write_text(f"{pid} ({name}) S {parent} 1 1 0", encoding="utf-8")
        (tmp_path / str(pid) / "cmdline").write_text(f"{title}\0", encoding="utf-8")

    process(10, 1, "nginx: master process /usr/sbin/nginx")
    process(11, 10, "nginx: worker process is shutting down")
    process(12, 10, "nginx: worker process")
    process(13, 10, "nginx: cache manager process")
    process(21, 20, "nginx: worker process", "odd) name")
    (tmp_path / "30").mkdir()
    assert nginx_workers(10, tmp_path) == {11: False, 12: True}
    assert nginx_workers(20, tmp_path) == {21: True}


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/good" else 500)
        self.end_headers()
        self.wfile.write(b"no\nluck")

    def log_message(self, *_arguments):
        pass

    def address_string(self):
        return "unix"


@pytest.fixture
def server(tmp_path):
    path = str(tmp_path / "s")
    with socketserver.UnixStreamServer(path, Answer) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield path
        running.shutdown()


def test_health_is_asked_on_the_socket(server, tmp_path):
    assert probe(server, "localhost", "/good") == ""
    assert probe(server, "localhost", "/bad") == "HTTP 500: no luck"
    assert probe(str(tmp_path / "none"), "localhost", "/").startswith("FileNotFoundError")


def test_a_source_is_named_after_what_counts_in_it(tmp_path):
    (tmp_path / "app").mkdir()
    code = tmp_path / "app" / "a.py"
    code.write_text("1", encoding="utf-8")
    before = source_digest(str(tmp_path / "app"))
    (tmp_path / "app" / "__pycache__").mkdir()
    Path(tmp_path / "app" / "__pycache__" / "a.pyc").write_text("x", encoding="utf-8")
    assert source_digest(str(tmp_path / "app")) == before
    code.write_text("2", encoding="utf-8")
    assert source_digest(str(tmp_path / "app")) != before
    with pytest.raises(AnsibleFilterError, match="nothing does not exist on the controller"):
        source_digest(str(tmp_path / "nothing"))
