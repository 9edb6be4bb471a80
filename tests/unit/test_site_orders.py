# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The order client and the drill: what they count, and that they cannot pass by dying."""

from __future__ import annotations

import io
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "molecule" / "site"))

import drill
import orders
from lab import outcome


def order(key: str, number: str) -> orders.Order:
    return orders.Order(key, number, "Shipped")


def log(acks: dict[int, float], tries: int = 4, end: bool = True) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = [{"event": "start", "t": 0.0, "run": "r-"}]
    events += [{"event": "try", "n": n, "t": float(n)} for n in range(1, tries + 1)]
    for n, t in acks.items():
        ack = {"number": str(100 + n), "status": 201, "tries": 1, "new_session": False}
        events.append({"event": "ack", "n": n, "t": t, **ack})
    events.append({"event": "stop", "t": 10.0})
    return [*events, {"event": "end", "t": 11.0}] if end else events


class TestAnalyse:
    def test_all_well(self) -> None:
        result = orders.analyse(
            log({1: 1.5, 2: 2.5, 3: 9.5, 4: 9.6}), [order(f"r-{n}", f"{100 + n}") for n in range(1, 5)], 0
        )
        assert (result["attempted"], result["acknowledged"], result["lost"]) == (4, 4, 0)
        assert (result["longest_gap_s"], result["longest_gap_at_s"]) == (7.0, 2.5)
        assert not orders.failed(result)

    def test_lost(self) -> None:
        result = orders.analyse(log({1: 1.5, 2: 2.5}), [order("r-1", "101")], 0)
        assert (result["lost"], result["lost_keys"]) == (1, ["r-2"])
        assert orders.failed(result)

    def test_another_number_than_the_acknowledged_one_is_lost(self) -> None:
        assert orders.analyse(log({1: 1.5}), [order("r-1", "999")], 0)["lost"] == 1

    def test_placed_without_our_hearing_of_it_is_no_failure(self) -> None:
        result = orders.analyse(log({1: 1.5}), [order("r-1", "101"), order("r-2", "102")], 0)
        assert result["placed_but_not_acknowledged"] == 1
        assert not orders.failed(result)

    @pytest.mark.parametrize(
        ("stored", "counted", "what"),
        [
            ([order("r-1", "101"), order("r-77", "177")], 0, "unexpected"),
            ([order("r-1", "101"), order("r-1", "102")], 0, "duplicated"),
            ([order("r-1", "101")], 1, "duplicated"),
        ],
    )
    def test_more_than_was_ordered(self, stored: list[orders.Order], counted: int, what: str) -> None:
        result = orders.analyse(log({1: 1.5}), stored, counted)
        assert result[what] == 1
        assert orders.failed(result)

    def test_a_client_that_died_does_not_pass(self) -> None:
        with pytest.raises(orders.ProbeError, match="the client died"):
            orders.analyse(log({1: 1.5}, end=False), [order("r-1", "101")], 0)
        with pytest.raises(orders.ProbeError, match="none of 4 orders was acknowledged"):
            orders.analyse(log({}), [], 0)

    def test_the_end_counts_as_a_gap(self) -> None:
        assert orders.longest_gap(0, 10, [1, 2]) == (8, 2)
        assert orders.longest_gap(0, 10, []) == (10, 0)


class FakeShop(BaseHTTPRequestHandler):
    """Places orders, but not always tells; answers as the test wants it to first."""

    protocol_version = "HTTP/1.1"
    placed: dict[str, str]
    moods: list[str]

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        mood = self.moods.pop(0) if self.moods else ""
        if mood == "busy":
            return self.answer(503, {"backend": "database"})
        if mood == "refuse":
            return self.answer(409, {"error": "sold out"})
        new = body["key"] not in self.placed
        number = self.placed.setdefault(body["key"], str(1000 + len(self.placed)))
        if mood == "deaf":
            self.close_connection = True
            return self.connection.close()
        return self.answer(201 if new else 200, {"key": body["key"], "number": number})

    def do_GET(self) -> None:
        self.answer(
            200,
            {
                "orders": [{"key": k, "number": n, "status": "Shipped"} for k, n in self.placed.items()],
                "next": None,
                "duplicated": 0,
            },
        )

    def answer(self, status: int, body: dict[str, Any]) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


@pytest.fixture
def shop() -> Iterator[tuple[str, type[FakeShop]]]:
    handler = type("Handler", (FakeShop,), {"placed": {}, "moods": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", handler
    server.shutdown()
    server.server_close()


class TestProbe:
    def run(self, url: str, seconds: float = 2) -> tuple[list[dict[str, Any]], orders.Probe]:
        out = io.StringIO()
        probe = orders.Probe(url, "token", out, rate=40, workers=2, timeout=2)
        probe.start()
        threading.Event().wait(seconds)
        probe.stop(grace=5)
        return [json.loads(line) for line in out.getvalue().splitlines()], probe

    def test_unheard_and_refused_attempts_are_repeated_with_their_key(self, shop: tuple[str, type[FakeShop]]) -> None:
        url, handler = shop
        handler.moods[:] = ["", "deaf", "busy", "deaf"]
        events, probe = self.run(url)
        result = orders.analyse(events, *orders.stored(url, "token", probe.run))
        assert result["attempted"] == result["acknowledged"] == len(handler.placed) > 5
        assert not orders.failed(result)
        assert result["errors"]["http 503 database"] == 1
        assert sum(result["errors"].values()) == 3

    def test_a_refusal_for_good_ends_the_probe_and_the_drill(self, shop: tuple[str, type[FakeShop]]) -> None:
        url, handler = shop
        handler.moods[:] = ["", "refuse"]
        with pytest.raises(orders.ProbeError, match="the shop refuses with 409: sold out"):
            self.run(url)

    def test_an_address_that_is_none(self) -> None:
        with pytest.raises(orders.ProbeError, match="give https://HOST"):
            orders.Shop("shop.example", "token", 1)


CRM_MON = """<pacemaker-result><nodes><node name="db1" online="true" unclean="false" standby="false"/>
<node name="db2" online="{online}" unclean="{unclean}" standby="false"/></nodes>
<resources><clone id="c"><resource id="drbd" role="Promoted" active="true" failed="false"/>
<resource id="drbd" role="{role}" active="true" failed="{failed}"/></clone></resources></pacemaker-result>"""


class TestDrill:
    @pytest.mark.parametrize(
        ("values", "complaints"),
        [
            ({}, []),
            ({"online": "false"}, ["db2 is not online"]),
            ({"unclean": "true"}, ["db2 is unclean"]),
            ({"role": "Stopped"}, ["resource drbd is stopped"]),
            ({"failed": "true"}, ["resource drbd is failed"]),
        ],
    )
    def test_the_cluster_is_whole(self, values: dict[str, str], complaints: list[str]) -> None:
        good = {"online": "true", "unclean": "false", "role": "Unpromoted", "failed": "false"}
        assert outcome.cluster_complaints(CRM_MON.format(**{**good, **values}), ["db1", "db2"]) == complaints

    def test_changes_of_a_run(self) -> None:
        output = (
            "TASK [cloudexit.ha_stack.redis_sentinel : Install] ****\nok: [redis1]\nchanged: [redis2] => (item=a)\n"
            "RUNNING HANDLER [reload] ***\nchanged: [lb1]\n"
        )
        expected = ["redis2: cloudexit.ha_stack.redis_sentinel : Install", "lb1: reload"]
        assert outcome.changes(output) == expected

    def test_orders_flow_if_each_of_the_last_seconds_has_one(self) -> None:
        assert drill.flowing([7.5, 8.5, 9.5], 10.0)
        assert not drill.flowing([7.5, 9.5], 10.0)
        assert not drill.flowing([], 10.0)

    def test_what_fails_a_drill(self) -> None:
        counted = {"lost": 0, "unexpected": 0, "duplicated": 0, "unshipped": 0}
        good = {"fault": "lb", **counted, "whole_again_s": 9.0, "complaints": [], "unsaid": []}
        assert drill.failures(good) == []
        bad = {**good, "lost": 2, "unshipped": 3, "whole_again_s": None, "complaints": ["lb2 is not online"]}
        bad["unsaid"] = ["/healthz/deep says 200 ok"]
        bad["rerun"] = {"changed": ["lb1: x"], "moved": ["lb VIP: lb1 → lb2"]}
        assert drill.failures(bad) == [
            "lb: 2 lost",
            "lb: 3 unshipped",
            "lb: not whole 240 s after: lb2 is not online",
            "lb: /healthz/deep says 200 ok",
            "lb: site.yml changed lb1: x",
            "lb: site.yml moved lb VIP: lb1 → lb2",
        ]
