# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a drill's probe saw is judged right, and its faults have a way back."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.cloudexit.ha_stack.plugins.filter import drill as filters
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import drill
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import drill_faults as df

# --- what the probe saw ---------------------------------------------------------


def log(
    lost: tuple[int, ...] = (), dead: bool = False, silence: float = 0.0, extra: tuple[int, ...] = ()
) -> list[dict[str, Any]]:
    """Ten seconds of ten records a second, silent from 5.0 on for so long."""
    told = {"what": "rows", "judge": ["gap", "lost"], "note": ""}
    events: list[dict[str, Any]] = [
        {"e": "tick", "t": 99.9},
        {"e": "start", "t": 100.0, "run": "r", "rate": 10, "streams": {"rows": told}},
    ]
    acked = []
    for number in range(1, 100):
        t = 100 + number / 10
        events += [{"e": "tick", "t": t}, {"e": "try", "t": t, "s": "rows", "n": number}]
        if 105 <= t < 105 + silence:
            events.append({"e": "err", "t": t, "s": "rows", "n": number, "kind": "OSError"})
        else:
            acked.append(number)
            events.append({"e": "ack", "t": t, "s": "rows", "n": number, "by": "a" if t < 105 else "b"})
    events.append({"e": "stop", "t": 110.0})
    if not dead:
        there = [number for number in acked if number not in lost] + list(extra)
        events += [{"e": "found", "t": 110.1, "s": "rows", "numbers": there}, {"e": "end", "t": 110.2}]
    return events


MARKS = [{"m": "fault", "t": 104.9}, {"m": "undone", "t": 108.0}]


def test_a_run_is_judged() -> None:
    result = drill.analyse(log(silence=2.0), MARKS)
    rows = result["streams"]["rows"]
    assert (rows["attempted"], rows["acknowledged"], rows["lost"]) == (99, 79, 0)
    assert rows["gap"] == pytest.approx(2.1) and rows["gap_at"] == pytest.approx(4.9)
    assert [server["by"] for server in rows["servers"]] == ["a", "b"]
    assert rows["errors"] == {"OSError": 20}
    assert 9 < rows["rate"] < 11
    assert sum(rows["acks"]["counts"]) == 79
    assert drill.failures(result, 3, 1) == []
    assert drill.failures(result, 2, 1) == ["rows: a gap of 2.1 s, allowed are 2 s"]
    assert drill.failures(result, 2, 1.5) == []
    assert drill.failures(result, 1, 1, held=1.5) == []


def test_what_must_be_kept_and_is_not_is_named() -> None:
    result = drill.analyse(log(lost=(3, 4), extra=(5, 777)), MARKS)
    assert drill.failures(result, 3, 1) == [
        "rows: 2 acknowledged records are lost",
        "rows: 1 unexpected",
        "rows: 1 duplicated",
    ]


def test_what_is_there_without_an_acknowledgement_is_no_fault() -> None:
    result = drill.analyse(log(silence=1.0, extra=(51, 52)), MARKS)
    assert result["streams"]["rows"]["unsure"] == 2
    assert drill.failures(result, 3, 1) == []


def test_a_dead_probe_is_an_error_and_no_pass() -> None:
    with pytest.raises(drill.ProbeError, match="the probe died"):
        drill.analyse(log(dead=True), MARKS)
    with pytest.raises(drill.ProbeError, match="could not do its work: no way"):
        drill.analyse([*log(), {"e": "fatal", "t": 111, "text": "no way"}], MARKS)
    with pytest.raises(drill.ProbeError, match="served nothing before the fault"):
        drill.analyse(log(), [{"m": "fault", "t": 100.05}])


def test_a_probe_that_stood_still_proves_nothing() -> None:
    events = [event for event in log() if not (event["e"] == "tick" and 106 < event["t"] < 109)]
    found = drill.failures(drill.analyse(events, MARKS), 5, 1)
    assert len(found) == 1 and found[0].startswith("the probe itself stood still for 3.")


def test_a_line_that_the_probe_did_not_finish_is_left_out() -> None:
    assert drill.lines('{"e": "tick"}\n\n{"e": "st') == [{"e": "tick"}]


# --- faults -------------------------------------------------------------------

GIVEN: dict[str, Any] = {
    **{"unit": "redis-server", "peers": ["192.0.2.1", "2001:db8::1"], "ports": [6379], "path": "/srv", "max_mib": 10},
    **{"seconds": 60, "iops": 20, "jump": -60, "victim": "db1", "agent": "fence_ipmilan"},
    **{"agent_options": {"ip": "192.0.2.9", "lanplus": True}, "agent_secrets": {"password": "it's secret"}},
}


@pytest.mark.parametrize("kind", df.KINDS)
def test_every_fault_is_a_script_and_has_a_way_back(kind: str) -> None:
    plan = df.plan(kind, GIVEN)
    for script in (plan.fault, plan.back, *(condition for condition, _why in plan.conditions)):
        subprocess.run(["/bin/sh", "-n", "-c", script], check=True)
    assert plan.say and plan.conditions and all(why for _condition, why in plan.conditions)
    assert "secret" not in plan.fault + plan.back + plan.say


def test_the_way_back_is_a_timer_that_needs_nobody() -> None:
    command = df.arm(90, "kill -CONT $(cat pid)")
    assert command[0] == "systemd-run" and "--on-active=90s" in command
    assert command[-1] == "kill -CONT $$(cat pid)"  # systemd would replace what begins with one $


def test_what_pacemaker_runs_is_not_started_by_the_way_back() -> None:
    assert "systemctl start redis-server" in df.plan("process_killed", GIVEN).back
    assert df.plan("process_killed", {**GIVEN, "restart": False}).back == "true"
    assert df.plan("process_killed", {"process": "mariadbd"}).fault == "pkill -KILL -x mariadbd"


def test_the_power_comes_back_by_the_same_agent() -> None:
    plan = df.plan("power", GIVEN)
    assert plan.files == {df.OPTIONS: "ip=192.0.2.9\nlanplus=1\npassword=it's secret\n"}
    assert "action=off" in plan.fault and "action=on" in plan.back
    with pytest.raises(df.FaultError, match="more than one line"):
        df.plan("power", {**GIVEN, "agent_options": {"ip": "a\nb"}})


def test_one_way_loses_only_what_is_sent() -> None:
    both, one = df.plan("network_peers", GIVEN).fault, df.plan("network_out", GIVEN).fault
    assert "hook input" in both and "hook output" in both
    assert "hook input" not in one and "ip daddr { 192.0.2.1 } drop; ip6 daddr { 2001:db8::1 } drop" in one


def test_clients_are_cut_off_by_port_and_peers_are_not() -> None:
    assert df.client_rules(["192.0.2.1"], [1, 2]) == (
        "table inet cloudexit_drill { chain input { type filter hook input priority -300;"
        " ip saddr != { 192.0.2.1 } tcp dport { 1, 2 } drop; }; chain output { type filter hook output priority -300;"
        " ip daddr != { 192.0.2.1 } tcp sport { 1, 2 } drop; }; }"
    )


@pytest.mark.skipif(not shutil.which("nft") or os.getuid() != 0, reason="no nftables here, or nobody who may ask it")
@pytest.mark.parametrize("script", [df.rules(["192.0.2.1", "::1"], ["in", "out"]), df.client_rules(["192.0.2.1"], [1])])
def test_nft_takes_the_rules(script: str) -> None:
    subprocess.run(["nft", "--check", script], check=True)


@pytest.mark.parametrize(
    ("kind", "without"),
    [
        *(("network_peers", "peers"), ("network_out", "peers"), ("network_clients", "ports"), ("disk_full", "path")),
        *(("disk_slow", "unit"), ("clock", "jump"), ("power", "agent"), ("process_hung", "unit")),
    ],
)
def test_what_is_missing_is_said(kind: str, without: str) -> None:
    with pytest.raises(df.FaultError):
        df.plan(kind, {**GIVEN, without: None})


# --- decisions and shapes -------------------------------------------------------

TIERS = {"redis_sentinel": {"kinds": ["process_hung", "disk_full"]}, "haproxy_lb": {"kinds": ["process_hung"]}}


def test_the_matrix_has_what_makes_sense() -> None:
    assert filters.matrix(TIERS, ["haproxy_lb", "redis_sentinel", "nginx_cdn"], ["process_hung", "disk_full"]) == [
        {"tier": "haproxy_lb", "fault": "process_hung"},
        {"tier": "redis_sentinel", "fault": "process_hung"},
        {"tier": "redis_sentinel", "fault": "disk_full"},
    ]
    with pytest.raises(AnsibleFilterError, match="no tier here knows the faults eclipse"):
        filters.matrix(TIERS, ["haproxy_lb"], ["eclipse"])


OUTPUT = """
TASK [cloudexit.ha_stack.redis_sentinel : Look] ***
ok: [redis1]
fatal: [redis2]: UNREACHABLE! =>
    msg: 'Failed to connect to the host via ssh: No route to host'
TASK [Write] ***
changed: [redis1]
changed: [web1 -> localhost] => (item=1)
fatal: [redis1]: FAILED! =>
    msg: 'redis_sentinel: redis2 is a data server and does not answer'

PLAY RECAP ***
redis1                     : ok=5    changed=1    unreachable=0    failed=1
redis2                     : ok=0    changed=0    unreachable=1    failed=0
"""


def test_another_run_is_understood() -> None:
    told = filters.recap(OUTPUT)
    assert told["changed"] == {"redis1": ["Write"], "web1": ["Write"]}
    assert (told["unreachable"], told["failed"], told["hosts"]) == (["redis2"], ["redis1"], ["redis1", "redis2"])
    assert "does not answer" in told["said"][1]


def test_another_run_must_leave_the_healthy_alone_and_name_whom_it_misses() -> None:
    told = {"changed": {}, "unreachable": ["redis2"], "failed": [], "said": ["fatal: [redis2]"], "rc": 4, "moved": ""}
    assert filters.rerun_failures(told, "redis2", "during") == []
    assert filters.rerun_failures({**told, "changed": {"redis2": ["Start"]}}, "redis2", "during") == []
    (text,) = filters.rerun_failures({**told, "changed": {"redis1": ["Restart"]}}, "redis2", "during")
    assert text == "site.yml during the fault changed redis1: Restart"
    (text,) = filters.rerun_failures({**told, "said": ["fatal: [redis1]: no"]}, "redis2", "during")
    assert "did not name redis2" in text
    (text,) = filters.rerun_failures(told, "redis2", "after")
    assert text.startswith("site.yml after the fault failed on redis2")
    assert len(filters.rerun_failures({**told, "rc": 0, "moved": "a → b"}, "redis2", "during")) == 1
    for when in ("during", "after"):
        (text,) = filters.rerun_failures({**told, "rc": 124}, "redis2", when)
        assert text == f"site.yml {when} the fault did not end: it was stopped after drill_recovery_seconds"


def entry(**more: Any) -> dict[str, Any]:
    return {
        **{"tier": "redis_sentinel", "fault": "power", "victim": "redis1", "status": "passed", "why": []},
        **{"objective": 3.0, "slowness": 1.0, "held": False, "result": drill.analyse(log(silence=2.0), MARKS), **more},
    }


def test_while_a_server_refuses_rightly_its_gap_is_as_long_as_the_fault() -> None:
    long = drill.analyse(log(silence=4.0), MARKS)
    assert filters.verdict(entry(objective=2.0, result=long, held=True)) == []
    assert filters.verdict(entry(objective=2.0, result=long)) != []


def test_a_run_that_was_to_be_during_the_fault_must_have_been() -> None:
    told = {"changed": {}, "unreachable": [], "failed": [], "said": [], "rc": 0, "moved": ""}
    lasted = 3.1  # see MARKS
    assert filters.verdict(entry(rerun={"during": told}, armed=lasted + 1)) == []
    (text,) = filters.verdict(entry(rerun={"during": told}, armed=lasted - 2))
    assert "timer had ended 2 s before" in text and text.endswith("raise drill_grace_seconds")
    assert filters.verdict(entry(rerun={"after": told}, armed=lasted - 2)) == []


def test_the_table_shows_every_entry() -> None:
    text = filters.table([entry(), {**entry(status="not_possible", why=["no disk"], victim="redis2"), "result": {}}])
    assert "2.1 s" in text and "not possible here: no disk" in text
    assert len({len(line) for line in text.splitlines()[1:2]}) == 1


def test_losses_that_are_not_judged_are_counted_all_the_same() -> None:
    result = drill.analyse(log(lost=(3, 4)), MARKS)
    assert filters.forgone(entry(result=result)) == 0
    result["streams"]["rows"]["judge"] = ["gap"]
    assert filters.forgone(entry(result=result)) == 2 and filters.verdict(entry(result=result)) == []


def test_the_timeline_has_a_lane_for_each_stream_and_fits() -> None:
    shapes = filters.timeline(entry())
    (lane,) = shapes["lanes"]
    assert lane["gap_x"] == pytest.approx(490, abs=1) and lane["gap_width"] == pytest.approx(210, abs=1)
    assert lane["bottom"] < shapes["height"] and shapes["marks"]["fault"] == pytest.approx(490, abs=1)
    assert shapes["ticks"][-1] == {"x": 1000.0, "label": "10 s"}
