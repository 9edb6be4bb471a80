# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""playbooks/drill.yml on three tiers: what it refuses, what it measures, what mends a fault without a controller."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "molecule"))

from lab import outcome, remote  # noqa: E402
from lab.definitions import load  # noqa: E402

LAB = load("drill")
REPORT = outcome.REPORTS / "drill"
TIMER = "cloudexit-drill.timer"
SCENARIO = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
INVENTORY = ["-i", str(SCENARIO / "inventory")]
CONFIRM = ["-e", "drill_confirm=scenario"]


def extra(**values: Any) -> list[str]:
    return ["-e", json.dumps(values)]


def drill(name: str, *arguments: str) -> tuple[outcome.Play, str]:
    log = outcome.REPORTS / f"drill-{name}.log"
    played = outcome.play(LAB, "playbooks/drill.yml", [*INVENTORY, *arguments], log)
    return played, " ".join(log.read_text(encoding="utf-8").split())


def items() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((REPORT / "report.json").read_text(encoding="utf-8"))["items"]
    return found


def node(name: str, command: str) -> str:
    return remote.run(LAB.node(name), command).strip()


def armed(name: str) -> bool:
    return node(name, f"systemctl is-active {TIMER} || true") == "active"


def holder() -> str:
    """Who has the balancers' address, if one has."""
    return next((name for name in ("lb1", "lb2") if f" {LAB.vips['lb']}/" in node(name, "ip -o address")), "")


def until(what: Callable[[], Any], seconds: float) -> Any:
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, f"not within {seconds:g} s"
        time.sleep(0.2)
    return found


def test_nothing_is_drilled_unless_the_site_is_named() -> None:
    for arguments, said in (
        (
            [],
            "('scenario') and drill_confirm is not set. If you mean it: -e drill_confirm=scenario",
        ),
        (["-e", "drill_confirm=other"], "this is a production site ('scenario') and drill_confirm is 'other'"),
        (["-e", "drill_site="], "(drill_site is not set)"),
    ):
        played, text = drill("unconfirmed", *arguments)
        assert not played.good and not played.changed
        assert said.replace("'", "''") in text.replace("''", "'").replace("'", "''")


def test_a_fault_that_ends_before_the_objective_is_refused() -> None:
    played, text = drill("short", *CONFIRM, *extra(drill_tiers=["haproxy_lb"], drill_hold_seconds=10))
    assert not played.good and "drill_hold_seconds is 10, and haproxy_lb may take 15" in text


def test_a_dry_run_makes_no_fault() -> None:
    played, _text = drill("check", "--check", *CONFIRM, "--tags", "redis_sentinel,process_hung,disk_slow,power")
    assert played.good
    found = {item["fault"]: item for item in items()}
    assert found["process_hung"]["why"] == ["only looked (--check): every process of redis-server stands still"]
    assert found["power"]["why"] == ["only looked (--check): the power of redis1 is cut through fence_docker"]
    assert {item["status"] for item in items()} <= {"not_run", "not_possible"}
    assert not any(armed(name) for name in ("redis1", "redis2", "lb1", "lb2"))


def test_who_serves_is_asked_not_who_is_named_first() -> None:
    """Only there is the process of a database that another member runs, and its disk."""
    until(holder, 30)
    if holder() == "lb1":
        node("lb1", "crm_resource --move --resource lb-vip --node lb2")
    try:
        until(lambda: holder() == "lb2", 30)
        played, _text = drill("serves", "--check", *CONFIRM, "--tags", "haproxy_lb,process_hung")
    finally:
        node("lb1", "crm_resource --clear --resource lb-vip")
    assert played.good and [item["victim"] for item in items()] == ["lb2"]


def test_a_sick_tier_is_left_alone() -> None:
    node("redis2", "systemctl stop memcached@11211")
    try:
        played, text = drill("sick", *CONFIRM, "--tags", "memcached_pool,process_killed,process_hung")
    finally:
        node("redis2", "systemctl start memcached@11211")
    assert not played.good
    assert "memcached_pool is not healthy so that no fault was made" in text
    first, second = items()
    assert first["status"] == "error" and second["status"] == "not_run"
    assert second["why"] == ["the drill stopped at memcached_pool, process_killed"]


def test_the_matrix(matrix: list[dict[str, Any]]) -> None:
    """Every fault that is possible was made, nothing was lost, everybody was served again in time."""
    assert [item for item in matrix if item["status"] in ("failed", "error", "not_run")] == []
    made = {(item["tier"], item["fault"]) for item in matrix if item["status"] == "passed"}
    for fault in (
        "process_killed",
        "process_hung",
        "power",
        "network_peers",
        "network_out",
        "network_clients",
        "disk_full",
    ):
        assert ("redis_sentinel", fault) in made
    assert ("haproxy_lb", "power") in made and ("memcached_pool", "process_hung") in made
    why = {(item["fault"]): item["why"] for item in matrix if item["status"] == "not_possible"}
    assert why["clock"] == ["a container has the clock of its machine"]
    for item in matrix:
        for stream in item.get("result", {}).get("streams", {}).values():
            assert stream["rate"] >= 20, f"{item['tier']}, {item['fault']}: too few records to tell anything"


def test_who_is_cut_off_or_dead_is_replaced(matrix: list[dict[str, Any]]) -> None:
    """The faults were real: another server acknowledged, or none did while the fault lasted."""
    for item in matrix:
        if item["tier"] != "redis_sentinel" or item["status"] != "passed":
            continue
        plain = item["result"]["streams"]["plain"]
        held = item["result"]["marks"]["undone"] - item["result"]["marks"]["fault"]
        if item["fault"] in ("process_hung", "power", "network_peers", "network_out"):
            assert len({server["by"] for server in plain["servers"]}) == 2, item["fault"]
        if item["fault"] in ("disk_full", "network_clients"):
            assert plain["gap"] > held / 2, item["fault"]
        assert plain["errors"], item["fault"]


def test_the_site_was_run_again(matrix: list[dict[str, Any]]) -> None:
    again = [item for item in matrix if item.get("rerun")]
    assert again
    for item in again:
        assert item["rerun"]["after"]["rc"] == 0 and not item["rerun"]["after"]["changed"]
        assert not item["rerun"]["during"]["moved"] and not item["rerun"]["after"]["moved"]


@pytest.fixture(scope="module")
def matrix() -> list[dict[str, Any]]:
    drill("matrix", *CONFIRM, *extra(drill_rerun=["during", "after"], drill_hold_seconds=20))
    found = items()
    # for the browser
    for name in ("report.html", "report.json", "report.txt"):
        (REPORT / f"matrix-{name}").write_text((REPORT / name).read_text(encoding="utf-8"), encoding="utf-8")
    return found


def begun(name: str, *arguments: str) -> subprocess.Popen[bytes]:
    """A drill in a group of its own, up to the moment when a fault is in force on redis1 or redis2."""
    environment = {**os.environ, "LAB_NAME": LAB.name, "ANSIBLE_FORCE_COLOR": "0"}
    with (outcome.REPORTS / f"drill-{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [str(outcome.BIN / "ansible-playbook"), "playbooks/drill.yml", *INVENTORY, *CONFIRM, *arguments],
            **{"cwd": ROOT, "env": environment, "stdout": log, "stderr": subprocess.STDOUT, "start_new_session": True},
        )
    until(lambda: armed("redis1") or armed("redis2"), 120)
    return process


def states(name: str) -> set[str]:
    """Of redis' processes: S sleeps, T is stopped."""
    return set(node(name, "ps -o state= -C redis-server || true").split())


def test_a_fault_ends_although_the_controller_is_dead() -> None:
    arguments = extra(drill_hold_seconds=15, drill_grace_seconds=5)
    process = begun("killed", "--tags", "redis_sentinel,process_hung", *arguments)
    victim = next(name for name in ("redis1", "redis2") if armed(name))
    until(lambda: "T" in states(victim), 20)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    until(lambda: "T" not in states(victim), 40)
    until(lambda: not armed(victim), 20)
    # The probe lives on, for the next drill to end it.
    probe = json.loads((SCENARIO / "drill" / "redis_sentinel-process_hung" / "status.json").read_text(encoding="utf-8"))
    os.killpg(probe["pid"], signal.SIGKILL)


def test_a_probe_that_dies_is_no_pass() -> None:
    process = begun("dead", "--tags", "redis_sentinel,process_killed", *extra(drill_hold_seconds=15))
    status = SCENARIO / "drill" / "redis_sentinel-process_killed" / "status.json"
    os.killpg(json.loads(status.read_text(encoding="utf-8"))["pid"], signal.SIGKILL)
    assert process.wait(180) != 0
    (item,) = items()
    assert item["status"] == "error" and "the probe died" in item["why"][0]
    assert not armed("redis1") and not armed("redis2")
