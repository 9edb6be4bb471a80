# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""playbooks/awx.yml, run by the modules of awx.awx against something that keeps what it is given as AWX's API does.

It is not AWX: it shows that the modules take our data, in an order in which each name is there when it is needed, and
that a second run has nothing to do. AWX's own rules for surveys are in test_awx.py.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import awx
import pytest

BIN = Path(sys.executable).parent
GIVEN = ("organizations", "projects", "inventories", "execution_environments", "credentials")
SITE = {
    "awx_site": "production",
    "awx_organization": "shop",
    "awx_project": "shop",
    "awx_inventory": "shop",
    "awx_execution_environment": "shop",
    "awx_credentials": ["shop"],
}


class Api(ThreadingHTTPServer):
    """Lists of items under /api/v2/, found by their fields, and what belongs to an item under its own address."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.numbers = itertools.count(1)
        self.items: dict[str, dict[int, dict[str, Any]]] = {}
        self.belongings: dict[str, Any] = {}
        self.writes: list[str] = []
        for kind in GIVEN:
            self.add(kind, {"name": "shop", "organization": 1})
        self.writes.clear()

    def add(self, kind: str, item: dict[str, Any]) -> dict[str, Any]:
        number = next(self.numbers)
        url = f"/api/v2/{kind}/{number}/"
        item |= {"id": number, "url": url, "type": kind.rstrip("s"), "related": {"survey_spec": f"{url}survey_spec/"}}
        self.items.setdefault(kind, {})[number] = item
        return item

    def found(self, kind: str, wanted: dict[str, str]) -> list[dict[str, Any]]:
        if kind == "unified_job_templates":
            return [item for name in ("job_templates", "workflow_job_templates") for item in self.found(name, wanted)]
        fields = {name: value for name, value in wanted.items() if name not in ("page", "page_size", "order_by")}
        return [
            item
            for item in self.items.get(kind, {}).values()
            if all(str(item.get(name)) == value for name, value in fields.items())
        ]


class Handler(BaseHTTPRequestHandler):
    server: Api

    def answer(self, status: int, body: Any = None) -> None:
        content = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def body(self) -> dict[str, Any]:
        return json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        path = asked.path.removeprefix("/api/v2/").strip("/").split("/")
        if len(path) == 1:
            results = self.server.found(path[0], dict(parse_qsl(asked.query)))
            self.answer(200, {"count": len(results), "results": results, "next": None})
        elif len(path) == 2:
            self.answer(200, self.server.items[path[0]][int(path[1])])
        elif path[2] == "survey_spec":
            self.answer(200, self.server.belongings.get(asked.path, {}))
        else:
            results = [{"id": number} for number in self.server.belongings.get(asked.path, [])]
            self.answer(200, {"count": len(results), "results": results, "next": None})

    def do_POST(self) -> None:
        given = self.body()
        path = urlsplit(self.path).path
        self.server.writes.append(f"POST {path}")
        kind, *rest = path.removeprefix("/api/v2/").strip("/").split("/")
        if not rest:
            self.answer(201, self.server.add(kind, given))
        elif rest[1] == "survey_spec":
            self.server.belongings[path] = given
            self.answer(200, {})
        else:
            self.server.belongings.setdefault(path, []).append(given["id"])
            self.answer(204)

    def do_PATCH(self) -> None:
        self.server.writes.append(f"PATCH {self.path}")
        kind, number = self.path.removeprefix("/api/v2/").strip("/").split("/")
        self.server.items[kind][int(number)] |= self.body()
        self.answer(200, self.server.items[kind][int(number)])

    def do_DELETE(self) -> None:
        self.server.belongings.pop(self.path, None)
        self.answer(200, {})

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def api() -> Iterator[Api]:
    server = Api()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def play(api: Api, given: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    environment = {
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        "CONTROLLER_HOST": f"http://127.0.0.1:{api.server_port}",
        "CONTROLLER_OAUTH_TOKEN": "of-nobody",
    }
    return subprocess.run(
        [str(BIN / "ansible-playbook"), "-i", "localhost,", "playbooks/awx.yml", "-e", json.dumps(given)],
        cwd=awx.ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_awx_gets_all_of_it_once(api: Api) -> None:
    first = play(api, SITE)
    assert first.returncode == 0, first.stdout + first.stderr
    made = awx.load()

    kinds = {item["name"].removeprefix("ha_stack: "): item for item in api.items["credential_types"].values()}
    for kind in made["awx_credential_types"]:
        assert kinds[kind["name"]]["inputs"] == kind["inputs"]
        assert kinds[kind["name"]]["injectors"] == kind["injectors"]

    templates = {item["name"].removeprefix("production: "): item for item in api.items["job_templates"].values()}
    assert set(templates) == {template["name"] for template in made["awx_job_templates"]}
    for template in made["awx_job_templates"]:
        there = templates[template["name"]]
        extra = {name: value for name, value in template.items() if name not in ("name", "survey_spec")}
        assert {name: there[name] for name in extra} == extra
        assert api.belongings.get(f"{there['url']}survey_spec/", {}) == template["survey_spec"]
        assert len(api.belongings[f"{there['url']}credentials/"]) == 1

    nodes = {item["id"]: item for item in api.items["workflow_job_template_nodes"].values()}
    flows = {item["id"]: item["name"] for item in api.items["workflow_job_templates"].values()}
    for workflow in made["awx_workflows"]:
        mine = [
            node for node in nodes.values() if flows[node["workflow_job_template"]] == f"production: {workflow['name']}"
        ]
        by_number = {item["id"]: name for name, item in templates.items()}
        steps = [node["unified_job_template"]["name"] for node in workflow["workflow_nodes"]]
        assert [by_number[node["unified_job_template"]] for node in mine] == steps
        follow = [api.belongings.get(f"{node['url']}success_nodes/", []) for node in mine]
        assert follow == [[node["id"]] for node in mine[1:]] + [[]]

    api.writes.clear()
    second = play(api, SITE)
    assert second.returncode == 0, second.stdout + second.stderr
    assert api.writes == []
    assert re.search(r"localhost +: ok=\d+ +changed=0 ", second.stdout)


def test_what_is_not_said_is_asked_for_at_once(api: Api) -> None:
    run = play(api, {"awx_site": "production"})
    said = " ".join(run.stdout.split())
    assert run.returncode != 0
    assert (
        "awx: awx_organization, awx_project, awx_inventory, awx_execution_environment, awx_credentials not set." in said
    )
    assert api.writes == []
