# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The power switch powers the nodes of its lab and refuses everything else. Docker's answers are recorded ones."""

from __future__ import annotations

import http.client
import http.server
import json
import socketserver
import threading

import pytest
from lab import power
from lab.power_switch import switch

LABEL = "cloudexit.lab.power=site"


def container(name: str, labels: dict[str, str], running: bool = True) -> dict:
    state = {"Status": "running" if running else "exited", "Running": running, "Paused": False, "Restarting": False}
    return {"Name": f"/{name}", "State": {**state, "ExitCode": 0 if running else 137}, "Config": {"Labels": labels}}


CONTAINERS = {
    "cloudexit-site-db1": container("cloudexit-site-db1", {"cloudexit.lab": "1", "cloudexit.lab.power": "site"}),
    "cloudexit-site-db2": container("cloudexit-site-db2", {"cloudexit.lab.power": "site"}, running=False),
    "cloudexit-site-power": container("cloudexit-site-power", {"cloudexit.lab": "1", "cloudexit.lab.name": "site"}),
    "cloudexit-other-db1": container("cloudexit-other-db1", {"cloudexit.lab.power": "other"}),
    "postgres": container("postgres", {}),
}


class Docker(http.server.BaseHTTPRequestHandler):
    """Answers as Docker 20.10 does, and notes what it was asked for."""

    requests: list[str]

    def answer(self) -> None:
        self.requests.append(f"{self.command} {self.path}")
        name, _slash, verb = self.path.removeprefix("/containers/").partition("/")
        status, body = 204, b""
        if self.path.startswith("/containers/json"):
            status, body = 200, b"[]"
        elif name not in CONTAINERS:
            status, body = 404, json.dumps({"message": f"No such container: {name}"}).encode()
        elif verb == "json":
            status, body = 200, json.dumps(CONTAINERS[name]).encode()
        elif verb == "wait":
            status, body = 200, b'{"Error":null,"StatusCode":137}\n'
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_arguments) -> None:
        """Nothing."""


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """A Docker API on a socket; what it was asked for, in order."""
    path = str(tmp_path / "docker.sock")
    requests: list[str] = []
    handler = type("Recorded", (Docker,), {"requests": requests})
    with socketserver.ThreadingUnixStreamServer(path, handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setattr(switch, "DOCKER", path)
        yield requests
        server.shutdown()


def test_off_is_a_kill_that_is_waited_for(asked):
    assert switch.act(LABEL, "POST", "/v1.40/containers/cloudexit-site-db1/kill") == (204, b"")
    base = "/containers/cloudexit-site-db1"
    assert asked == [f"GET {base}/json", f"POST {base}/kill?signal=KILL", f"POST {base}/wait"]


def test_a_stop_is_a_power_cut_too_and_the_callers_query_is_not_forwarded(asked):
    switch.act(LABEL, "POST", "/v1.40/containers/cloudexit-site-db1/stop?t=600&signal=HUP")
    assert "POST /containers/cloudexit-site-db1/kill?signal=KILL" in asked


def test_off_of_a_node_that_is_off_does_nothing(asked):
    assert switch.act(LABEL, "POST", "/v1.40/containers/cloudexit-site-db2/kill") == (204, b"")
    assert asked == ["GET /containers/cloudexit-site-db2/json"]


def test_on_and_status(asked):
    assert switch.act(LABEL, "POST", "/v1.40/containers/cloudexit-site-db2/start") == (204, b"")
    assert asked[-1] == "POST /containers/cloudexit-site-db2/start"
    status, body = switch.act(LABEL, "GET", "/containers/cloudexit-site-db2/json")
    assert (status, json.loads(body)["State"]["Running"]) == (200, False)


def test_the_list_is_of_this_labs_nodes_whatever_was_asked(asked):
    switch.act(LABEL, "GET", "/v1.40/containers/json?all=1&filters=%7B%7D")
    assert asked == ["GET /containers/json?all=1&filters=%7B%22label%22%3A%20%5B%22cloudexit.lab.power%3Dsite%22%5D%7D"]


@pytest.mark.parametrize("name", ["cloudexit-other-db1", "postgres", "cloudexit-site-power"])
@pytest.mark.parametrize(("method", "verb"), [("GET", "json"), ("POST", "kill"), ("POST", "stop"), ("POST", "start")])
def test_containers_that_are_no_nodes_of_this_lab_are_refused(asked, name, method, verb):
    with pytest.raises(PermissionError, match=f"{name} is not a node of this lab"):
        switch.act(LABEL, method, f"/v1.40/containers/{name}/{verb}")
    assert asked == [f"GET /containers/{name}/json"]


def test_an_unknown_container_gets_dockers_answer(asked):
    status, body = switch.act(LABEL, "POST", "/v1.40/containers/nope/kill")
    assert (status, json.loads(body)) == (404, {"message": "No such container: nope"})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1.40/containers/create"),
        ("POST", "/v1.40/containers/cloudexit-site-db1/exec"),
        ("POST", "/v1.40/containers/cloudexit-site-db1/json"),
        ("GET", "/v1.40/containers/cloudexit-site-db1/kill"),
        ("GET", "/v1.40/containers/cloudexit-site-db1/archive?path=/"),
        ("PUT", "/v1.40/containers/cloudexit-site-db1/archive"),
        ("DELETE", "/v1.40/containers/cloudexit-site-db1"),
        ("GET", "/v1.40/containers/../images/json"),
        ("GET", "/containers/../json"),
        ("GET", "/containers/%2e%2e/json"),
        ("GET", "/v1.40/images/json"),
        ("GET", "/_ping"),
        ("GET", "http://docker/v1.40/info"),
    ],
)
def test_everything_else_is_refused_without_asking_docker(asked, method, path):
    with pytest.raises(PermissionError, match="is not a power request"):
        switch.act(LABEL, method, path)
    assert asked == []


def test_over_the_wire_a_refusal_is_a_403_that_says_why(asked):
    handler = type("OfSite", (switch.Switch,), {"label": LABEL, "log_message": Docker.log_message})
    with socketserver.TCPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        client = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=5)
        client.request("DELETE", "/v1.40/containers/cloudexit-site-db1")
        answer = client.getresponse()
        message = json.loads(answer.read())["message"]
        server.shutdown()
    assert (answer.status, message) == (403, "DELETE /v1.40/containers/cloudexit-site-db1 is not a power request")


def test_a_silent_docker_is_a_502(tmp_path, monkeypatch):
    monkeypatch.setattr(switch, "DOCKER", str(tmp_path / "nothing.sock"))
    handler = type("OfSite", (switch.Switch,), {"label": LABEL, "log_message": Docker.log_message})
    with socketserver.TCPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        client = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=5)
        client.request("GET", "/v1.40/containers/cloudexit-site-db1/json")
        answer = client.getresponse()
        message = json.loads(answer.read())["message"]
        server.shutdown()
    assert answer.status == 502
    assert message.startswith("Docker does not answer: ")


def test_the_switch_has_dockers_socket_and_nothing_else_of_the_host():
    args = power.container_args("site")
    assert args["command"] == ["python3", "/switch.py", LABEL]
    assert args["volumes"] == {"/var/run/docker.sock": {"bind": "/docker.sock", "mode": "rw"}}
    assert not {"privileged", "cap_add", "network_mode", "ports", "pid_mode"} & set(args)
