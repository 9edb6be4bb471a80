# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A power distribution unit for containers, spoken to by Debian's fence_docker agent.

It answers the few requests of the Docker API that the agent makes, over TLS, and forwards them for containers that
carry one label only: who reaches this switch can power the nodes of one lab, and do nothing else to the host.

    GET  /v*/containers/json            the nodes of this lab
    GET  /v*/containers/<node>/json     on or off
    POST /v*/containers/<node>/kill     power cut (also for /stop: power does not ask)
    POST /v*/containers/<node>/start    power back
"""

from __future__ import annotations

import http.client
import http.server
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import urllib.parse
from typing import Any

DOCKER = "/docker.sock"
REQUEST = re.compile(
    r"^(?:/v[0-9.]+)?/containers/(?:(?P<list>json)|(?P<node>\w[\w.-]*)/(?P<verb>json|kill|stop|start))$"
)


def route(method: str, path: str) -> tuple[str, str]:
    """(verb, node) of a request that is allowed by its form; raises PermissionError for all others."""
    found = REQUEST.match(urllib.parse.urlsplit(path).path)
    if found and method == "GET" and found["list"]:
        return "list", ""
    if found and found["node"]:
        verb = found["verb"]
        if method == "GET" and verb == "json":
            return "status", found["node"]
        if method == "POST" and verb in ("kill", "stop"):
            return "off", found["node"]
        if method == "POST" and verb == "start":
            return "on", found["node"]
    raise PermissionError(f"{method} {path} is not a power request")


def carries(container: dict[str, Any], label: str) -> bool:
    """Whether a container (as the API describes it) belongs to the lab that `label` (name=value) names."""
    name, value = label.split("=", 1)
    return container.get("Config", {}).get("Labels", {}).get(name) == value


class Engine(http.client.HTTPConnection):
    """The Docker API behind its socket."""

    def __init__(self) -> None:
        super().__init__("docker", timeout=30)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(DOCKER)


def ask(method: str, path: str) -> tuple[int, bytes]:
    engine = Engine()
    engine.request(method, path, headers={"Content-Length": "0"} if method == "POST" else {})
    answer = engine.getresponse()
    return answer.status, answer.read()


def act(label: str, method: str, path: str) -> tuple[int, bytes]:
    """Status and body for one request; power-off answers only when the node is dead."""
    verb, node = route(method, path)
    if verb == "list":
        filters = urllib.parse.quote(json.dumps({"label": [label]}))
        return ask("GET", f"/containers/json?all=1&filters={filters}")
    status, body = ask("GET", f"/containers/{node}/json")
    if status != 200:
        return status, body
    container = json.loads(body)
    if not carries(container, label):
        raise PermissionError(f"{node} is not a node of this lab")
    if verb == "status":
        return status, body
    if verb == "on":
        return ask("POST", f"/containers/{node}/start")
    if not container["State"]["Running"]:
        return 204, b""
    status, body = ask("POST", f"/containers/{node}/kill?signal=KILL")
    if status == 204:
        ask("POST", f"/containers/{node}/wait")
    return status, body


class Switch(http.server.BaseHTTPRequestHandler):
    label = ""
    timeout = 30

    def answer(self) -> None:
        try:
            status, body = act(self.label, self.command, self.path)
        except PermissionError as error:
            status, body = 403, json.dumps({"message": str(error)}).encode()
        except (OSError, http.client.HTTPException) as error:
            status, body = 502, json.dumps({"message": f"Docker does not answer: {error}"}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = do_PUT = answer


def main() -> None:
    Switch.label = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        pair = os.path.join(folder, "switch.pem")
        make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        make += ["-days", "3650", "-subj", "/CN=power", "-keyout", pair, "-out", f"{pair}.crt"]
        subprocess.run(make, check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{pair}.crt", pair)
    server = http.server.ThreadingHTTPServer(("0.0.0.0", 2376), Switch)
    # The handshake belongs to the request's thread: a client that hangs in it must not hold up a fencing.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


if __name__ == "__main__":
    main()
