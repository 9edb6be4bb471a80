# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is made of the state and the definitions of RabbitMQ, recorded from 4.0.5."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import rabbitmq as mq

A, B, C = (f"rabbit@10.203.13.1{n}" for n in (1, 2, 3))
STRANGER = "rabbit@10.9.9.9"
# A server that was started and never used
VIRGIN: dict[str, Any] = json.loads(
    """
{"permissions":[{"configure":".*","read":".*","user":"guest","vhost":"/","write":".*"}],"bindings":[],"queues":[],
"parameters":[],"policies":[],"rabbitmq_version":"4.0.5","rabbit_version":"4.0.5","exchanges":[],"vhosts":[
{"default_queue_type":"quorum","limits":[],"metadata":{"description":"Default virtual host","tags":[]},"name":"/"}],
"users":[{"hashing_algorithm":"rabbit_password_hashing_sha256","limits":{},"name":"guest",
"password_hash":"9tz9QZRhVmNHkcOcnt3JSqXelTLIqGf80SaSlDNJgP74UNqG","tags":["administrator"]}],
"global_parameters":[{"name":"cluster_tags","value":[]}],"topic_permissions":[]}
"""
)
ALL = {"configure": ".*", "write": ".*", "read": ".*"}
POLICY = {
    **{"vhost": "/", "name": "limits", "pattern": "^a", "apply-to": "queues", "priority": 0},
    "definition": {"max-length": 10},
}
QUEUE = {"vhost": "/", "name": "q", "durable": True, "auto_delete": False, "arguments": {"x-queue-type": "quorum"}}


def live(*members: str, running: bool = True, definitions: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"members": list(members), "running": running, "definitions": definitions or VIRGIN}


@pytest.mark.parametrize(
    ("seen", "state"),
    [
        (mq.Seen(A, members=[A, B, C]), "absent"),
        (mq.Seen(A, stored={A: [A, B]}, members=[A, B, C]), "stopped"),
        (mq.Seen(A, stored={A: [A, STRANGER]}, members=[A, B, C]), "foreign"),
        (mq.Seen(A, stored={"rabbit@mq1": ["rabbit@mq1"]}, members=[A, B, C]), "foreign"),
        (mq.Seen(A, A, live(A), members=[A, B, C]), "fresh"),
        (mq.Seen(A, "rabbit@mq1", live("rabbit@mq1"), members=[A, B, C]), "fresh"),
        (mq.Seen(A, A, live(A, definitions={**VIRGIN, "vhosts": [{"name": "/"}, {"name": "x"}]})), "alone"),
        (mq.Seen(A, A, live(A, B), members=[A, B, C]), "member"),
        (mq.Seen(A, A, live(A, B, running=False), members=[A, B, C]), "paused"),
        (mq.Seen(A, A, live(A, STRANGER), members=[A, B, C]), "foreign"),
        (mq.Seen(A, "rabbit@mq1", live("rabbit@mq1", B), members=[A, B, C]), "foreign"),
        (mq.Seen(A, A, None, members=[A, B, C]), "silent"),
    ],
)
def test_states(seen: mq.Seen, state: str) -> None:
    assert mq.classify(seen)[0] == state


def hosts(*states: str, nodes: tuple[str, ...] = (A, B, C)) -> list[mq.Host]:
    """mq1, mq2, mq3 in these states; those in a cluster know `nodes`."""
    return [
        mq.Host(f"mq{n}", node, state, nodes if state in mq.IN_CLUSTER else (), "4.0.5")
        for n, (node, state) in enumerate(zip((A, B, C), states, strict=True), 1)
    ]


@pytest.mark.parametrize(
    ("states", "adopt", "target"),
    [
        (("absent", "absent", "absent"), "", A),
        (("fresh", "absent", "fresh"), "", A),
        (("absent", "member", "member"), "", B),
        (("absent", "stopped", "member"), "", C),
        (("absent", "", "absent"), "", ""),
        (("absent", "alone", "absent"), "", ""),
        (("absent", "alone", "absent"), "mq2", B),
    ],
)
def test_whom_fresh_nodes_join(states: tuple[str, ...], adopt: str, target: str) -> None:
    assert mq.target(hosts(*states, nodes=(B, C)), adopt) == target


def test_an_interrupted_birth_goes_on() -> None:
    """The first server was started and stopped again before any other joined it."""
    assert mq.target(hosts("stopped", "absent", "absent", nodes=(A,)), "") == A


@pytest.mark.parametrize(
    ("states", "nodes", "said"),
    [
        (("alone", "absent", "absent"), (), "mq1 runs alone and has data of its own; joining would delete them"),
        (("absent", "", "absent"), (), "mq1 could become a second cluster, with mq2 not reached in this run"),
        (("absent", "alone", "absent"), (), "mq1 could become a second cluster, with mq2 running alone with data"),
        (("absent", "member", "member"), (A, B, C), "mq1 has no data, but the cluster (mq2, mq3) counts"),
        (("silent", "member", "member"), (A, B, C), "the server on mq1 runs and does not answer"),
        (
            ("member", "member", "member"),
            (A, B, C, STRANGER),
            f"the cluster of mq1 counts {STRANGER}, which the inventory",
        ),
        (("foreign", "member", "member"), (A, B, C), "mq1 belongs to another cluster or name"),
    ],
)
def test_obstacles(states: tuple[str, ...], nodes: tuple[str, ...], said: str) -> None:
    found = hosts(*states, nodes=nodes)
    obstacles = mq.obstacles(found[0], found, "")
    assert len(obstacles) == 1
    assert said in obstacles[0]


@pytest.mark.parametrize(
    "states", [("member",) * 3, ("stopped", "member", "member"), ("absent",) * 3, ("member", "", "member")]
)
def test_no_obstacles(states: tuple[str, ...]) -> None:
    found = hosts(*states)
    assert mq.obstacles(found[0], found, "") == []


def test_who_was_forgotten_does_not_start_with_its_old_data() -> None:
    found = [mq.Host("mq1", A, "stopped", (A, B, C)), mq.Host("mq2", B, "member", (B, C)), mq.Host("mq3", C)]
    assert "the cluster (mq2) has forgotten rabbit@10.203.13.11" in mq.obstacles(found[0], found, "")[0]


def test_two_clusters_are_not_one() -> None:
    found = [mq.Host("mq1", A, "member", (A, "x@1")), mq.Host("mq2", B, "member", (B, "y@1")), mq.Host("mq3", C)]
    assert "the members form several clusters" in mq.obstacles(found[0], found, "")[-1]


def test_releases_that_cannot_meet() -> None:
    found = [mq.Host("mq1", A, "absent", (), "4.0.5"), mq.Host("mq2", B, "member", (B, C), "3.10.8"), mq.Host("mq3", C)]
    said = mq.obstacles(found[0], found, "")[0]
    assert said.startswith("mq1 has or gets RabbitMQ 4.0.5, mq2 runs 3.10.8: these two cannot be one cluster")
    assert mq.may_follow("3.13.7", "4.0.5") and mq.may_follow("4.0.2", "4.0.5") and not mq.may_follow("3.10.8", "4.0.5")


def test_data_of_an_old_release() -> None:
    old = "[classic_mirrored_queue_version,\n implicit_default_bindings,\n quorum_queue]."
    assert "its data are of a release before 3.13, and RabbitMQ 4.0.5 takes them from 3.13 only" in mq.refused_data(
        "4.0.5", old
    )
    assert mq.refused_data("4.0.5", old.replace("quorum", "message_containers,quorum")) == ""
    assert mq.refused_data("3.10.8", old) == ""
    assert mq.refused_data("4.0.5", "") == ""


def test_mirrored_queues_need_release_3() -> None:
    policy = {"name": "mirror", "definition": {"ha-mode": "all", "ha-sync-mode": "automatic"}}
    assert mq.mirror_refusals("3.10.8", [policy]) == []
    (said,) = mq.mirror_refusals("4.0.5", [policy, POLICY])
    assert said.startswith(
        "policy mirror asks for classic mirrored queues (ha-mode, ha-sync-mode), which RabbitMQ 4.0.5"
    )


def test_files() -> None:
    assert mq.cluster_nodes(f"{{['{A}','{B}'],['{A}']}}.\n") == [A, B]
    assert mq.cluster_nodes("") == []
    listing = (
        "LISTEN 0 128 10.203.13.11:25672 0.0.0.0:*\nLISTEN 0 4096 127.0.0.1:4369 0.0.0.0:*\n"
        "LISTEN 0 128 0.0.0.0:22 0.0.0.0:*\nLISTEN 0 128 *:5672 *:*\n"
    )
    assert mq.wide_listeners(listing, [4369, 5672, 25672], ["10.203.13.11", "127.0.0.1"]) == ["*:5672"]


def wanted(**changes: Any) -> dict[str, Any]:
    """What the role gives, changed."""
    user = {"name": "app", "password": "p", "tags": [], "permissions": [{"vhost": "/", **ALL}]}
    return {
        "vhosts": [{"name": "/"}],
        "users": [user],
        "absent_users": ["guest"],
        "policies": [POLICY],
        "queues": [QUEUE],
        **changes,
    }


def done(plan: mq.Plan, before: dict[str, Any] = VIRGIN) -> dict[str, Any]:
    """The definitions after an import."""
    after = {kind: list(items) for kind, items in before.items() if isinstance(items, list)}
    for kind, items in plan.add.items():
        after[kind] = [*after.get(kind, []), *items]
    after["users"] = [user for user in after["users"] if user["name"] != "guest"]
    return after


def test_a_virgin_server_gets_all_of_it_once() -> None:
    plan = mq.plan(VIRGIN, wanted())
    assert sorted(plan.add) == ["permissions", "policies", "queues", "users"]
    assert plan.delete == [["delete_user", "guest"]]
    again = mq.plan(done(plan), wanted())
    assert (again.add, again.delete, again.refusals) == ({}, [], [])


def test_passwords_are_compared_and_never_shown() -> None:
    after = done(mq.plan(VIRGIN, wanted()))
    user = {"name": "app", "password": "new", "tags": ["monitoring"], "permissions": []}
    plan = mq.plan(after, wanted(users=[user]))
    assert mq.is_password("new", plan.add["users"][0]["password_hash"])
    assert plan.delete == [["clear_permissions", "-p", "/", "app"]]
    assert "new" not in "".join(plan.before + plan.after)
    assert mq.is_password("guest", VIRGIN["users"][0]["password_hash"])


def test_what_a_queue_is_cannot_be_changed() -> None:
    after = done(mq.plan(VIRGIN, wanted()))
    classic = {**QUEUE, "arguments": {"x-queue-type": "classic"}}
    assert (
        "is quorum and shall be classic; a queue's type cannot be changed"
        in mq.plan(after, wanted(queues=[classic])).refusals[0]
    )
    longer = {**QUEUE, "arguments": {"x-queue-type": "quorum", "x-max-length": 5}}
    assert "has x-max-length None instead of 5" in mq.plan(after, wanted(queues=[longer])).refusals[0]


def test_a_restore_adds_what_is_missing_and_deletes_nothing() -> None:
    saved = done(mq.plan(VIRGIN, wanted()))
    assert mq.restored(saved, saved).add == {}
    lost = {**saved, "queues": [], "policies": [{**POLICY, "priority": 7}]}
    plan = mq.restored(lost, saved)
    assert sorted(plan.add) == ["policies", "queues"] and plan.delete == []
    other = {**saved, "queues": [{**QUEUE, "arguments": {}}]}
    assert mq.restored(other, saved).refusals == ["queue q of vhost / is classic, saved as quorum"]


def queue(name: str, leader: str, members: list[str], online: list[str] | None = None) -> dict[str, Any]:
    return {
        "vhost": "/",
        "name": name,
        "raft": f"%2F_{name}",
        "leader": leader,
        "members": members,
        "online": online or members,
    }


def test_queues_get_back_the_replicas_they_lack() -> None:
    queues = [queue("a", A, [A, B]), queue("b", B, [A, B, C]), queue("c", A, [A])]
    assert [(q["name"], nodes) for q, nodes in mq.lacking(queues, [A, B, C], 3)] == [("a", [C]), ("c", [B, C])]
    assert mq.lacking(queues, [A, B], 3) == [(queues[2], [B])]
    assert mq.leaderless([queue("a", "", [A, B])]) == [queue("a", "", [A, B])]


def test_what_keeps_a_cluster_from_being_whole() -> None:
    state = {
        "members": [A, B],
        "running_nodes": [A],
        "partitions": [{"node": A, "without": [B]}],
        "alarms": ["{resource_limit,disk,x}"],
        "drained": [A],
    }
    assert mq.complaints(state, [queue("q", "", [A, B], [A])], [A, B, C]) == [
        f"{C} is not a member",
        f"{B} does not run",
        f"{A} does not see {B} (partition). Next: ansible-playbook playbooks/rabbitmq.yml",
        "alarm {resource_limit,disk,x}",
        f"{A} is in maintenance",
        "queue q of vhost / has no leader",
        f"queue q of vhost / has no replica running on {B}",
    ]
    whole = {"members": [A, B, C], "running_nodes": [A, B, C], "partitions": [], "alarms": [], "drained": []}
    assert mq.complaints(whole, [queue("q", A, [A, B, C])], [A, B, C]) == []


@pytest.mark.parametrize(
    ("partitions", "lost"),
    [
        ({}, {}),
        ({A: [B], B: [A, C]}, {B: [A, C]}),  # as seen on 4.0.5 after B had hung
        ({A: [B], B: [A, C], C: [B]}, {B: [A, C]}),
        ({A: [B], B: [A]}, {}),  # nobody knows whose fault it is
        ({A: [B, C], B: [A, C], C: [A, B]}, {}),  # there is no majority to come back to
    ],
)
def test_who_is_cut_off(partitions: dict[str, list[str]], lost: dict[str, list[str]]) -> None:
    state = {"members": [A, B, C], "partitions": [{"node": n, "without": w} for n, w in partitions.items()]}
    assert {node: mq.cut_off(state, node) for node in (A, B, C) if mq.cut_off(state, node)} == lost
