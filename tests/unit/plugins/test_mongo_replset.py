# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is made of the answers of mongod, recorded from 6.0.5."""

from __future__ import annotations

import copy
import datetime
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import mongo_replset as mr
from bson import json_util

RECORDED = Path(__file__).resolve().parents[1] / "recorded" / "mongo_6.0"
A, B = mr.Member("mongo1", "10.203.12.11", 27017), mr.Member("mongo2", "10.203.12.12", 27017)
ARBITER = mr.Member("arb1", "10.203.12.13", 27017, arbiter=True)
C = mr.Member("mongo3", "10.203.12.14", 27017)
PSA = [A, B, ARBITER]


def recorded(name: str) -> Any:
    return json_util.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture
def config() -> dict[str, Any]:
    """replSetGetConfig of two data members and an arbiter."""
    return recorded("config")["config"]


def settings(config: dict[str, Any], **changed: int) -> dict[str, Any]:
    names = ("electionTimeoutMillis", "heartbeatIntervalMillis", "heartbeatTimeoutSecs", "catchUpTimeoutMillis")
    return {name: config["settings"][name] for name in names} | changed


# One host ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "data", "active", "hello", "state"),
    [
        (False, False, False, None, "absent"),
        (True, False, False, None, "absent"),
        (True, True, False, None, "stopped"),
        (False, True, False, None, "standalone"),
        (False, True, True, None, "standalone"),
        (True, True, True, None, "silent"),
        (True, True, True, "hello_unborn", "forming"),
        (True, True, True, "hello_primary", "member"),
        (False, True, True, "hello_standalone", "standalone"),
    ],
)
def test_a_host_is_classified(ours: bool, data: bool, active: bool, hello: str | None, state: str) -> None:
    answer = recorded(hello) if hello else None
    assert mr.classify("main", ours, data, active, answer) == state


def test_a_member_of_another_set_is_foreign() -> None:
    assert mr.classify("other", True, True, True, recorded("hello_primary")) == "foreign"


@pytest.mark.parametrize(("active", "hello"), [(True, "hello_unborn"), (False, None)])
def test_a_server_that_was_set_up_for_another_set_is_foreign(active: bool, hello: str | None) -> None:
    answer = recorded(hello) if hello else None
    assert mr.classify("other", True, True, active, answer, "main") == "foreign"
    assert mr.classify("main", True, True, active, answer, "main") != "foreign"


def test_what_a_server_was_started_for_counts_more_than_what_its_file_says_now() -> None:
    parsed = recorded("command_line")["parsed"]
    assert mr.told(parsed, "replication:\n  replSetName: other\n") == "main"
    assert mr.told({}, "replication:\n  replSetName: 'other'\n") == "other"
    assert mr.told({}, "") == ""


def test_settings_that_run_are_those_that_were_written() -> None:
    parsed = recorded("command_line")["parsed"]
    wanted: dict[str, Any] = {
        "net": {
            "bindIp": "127.0.0.1,10.203.12.11",
            "port": "27017",
            "tls": {
                "mode": "requireTLS",
                "CAFile": "/etc/mongodb/ca.pem",
                "certificateKeyFile": "/etc/mongodb/server.pem",
                "allowConnectionsWithoutCertificates": True,
            },
        },
        "replication": {"replSetName": "main"},
        "security": {"authorization": "enabled", "keyFile": "/etc/mongodb/keyfile"},
        "setParameter": {"enableLocalhostAuthBypass": False},
        "storage": {"dbPath": "/var/lib/mongodb", "wiredTiger": {"engineConfig": {"cacheSizeGB": "0.25"}}},
    }
    assert mr.pending(wanted, parsed) == []
    wanted["net"]["port"] = 27018
    wanted["storage"]["journal"] = {"commitIntervalMs": 50}
    assert mr.pending(wanted, parsed) == [
        "net.port 27018, runs with 27017",
        "storage.journal.commitIntervalMs 50, runs with unset",
    ]


@pytest.mark.parametrize(
    ("live", "wanted", "feature", "said"),
    [
        ("", "6.0.5", "", ""),
        ("6.0.5", "6.0.9", "6.0", ""),
        ("6.0.9", "6.0.5", "6.0", ""),
        ("6.0.5", "7.0.1", "6.0", ""),
        ("6.0.5", "7.0.1", "5.0", "the set's feature compatibility version is 5.0; it must be 6.0 before 7.0.1"),
        ("6.0.5", "8.0.4", "6.0", "from 6.0.5 to 8.0.4 skips 7.0"),
        ("5.0.5", "8.0.4", "", "from 5.0.5 to 8.0.4 skips 6.0, 7.0"),
        ("6.0.5", "5.0.1", "", "from 6.0.5 back to 5.0.1 is a downgrade"),
        ("4.4.1", "5.0.1", "", "4.4.1 is of no series"),
        ("", "4.4.1", "", "4.4.1 is of no series"),
    ],
)
def test_versions_go_from_one_series_to_the_next(live: str, wanted: str, feature: str, said: str) -> None:
    found = mr.jump(live, wanted, feature)
    assert found.startswith(said)
    assert bool(found) == bool(said)


@pytest.mark.parametrize(
    ("text", "keys"),
    [("abc\n", ["abc"]), ("ab\ncd\n", ["abcd"]), ('- new\n- "old"\n', ["new", "old"]), ("", []), (" \n", [])],
)
def test_keys_of_a_key_file(text: str, keys: list[str]) -> None:
    assert mr.keys(text) == keys


# The set's configuration -------------------------------------------------------


def test_a_set_is_born_with_its_arbiter_as_arbiter() -> None:
    born = mr.first_config("main", PSA, {"electionTimeoutMillis": 1500})
    assert born["members"] == [
        {"_id": 0, "host": "10.203.12.11:27017"},
        {"_id": 1, "host": "10.203.12.12:27017"},
        {"_id": 2, "host": "10.203.12.13:27017", "arbiterOnly": True},
    ]


def test_a_living_set_as_wanted_needs_no_step(config: dict[str, Any]) -> None:
    assert mr.plan(config, PSA, settings(config), []) == []
    assert mr.voters(config) == 3
    assert mr.voteless(config, PSA) == []


def test_a_lost_vote_is_left_alone_and_told(config: dict[str, Any]) -> None:
    taken = mr.revote(config, B.host, 0, 0)
    assert mr.plan(taken, PSA, settings(config), []) == []
    assert mr.voters(taken) == 2
    assert mr.voteless(taken, PSA) == ["mongo2 (10.203.12.12:27017)"]
    assert mr.shown(taken)["members"][B.host] == "data, no vote, priority 0"
    assert mr.voters(config) == 3  # the one it was made of is as it was


def test_only_beside_an_arbiter_has_the_other_data_member_everything(config: dict[str, Any]) -> None:
    assert mr.has_all_commits(config, A.host, B.host)
    assert not mr.has_all_commits(config, A.host, C.host)
    assert not mr.has_all_commits(mr.revote(config, B.host, 0, 0), A.host, B.host)
    three = {"members": [{"host": m.host} for m in (A, B, C)]}
    assert not mr.has_all_commits(three, A.host, B.host)


def test_members_come_before_others_go_and_only_those_named_go(config: dict[str, Any]) -> None:
    wanted = [A, B, C]
    kept = mr.plan(config, wanted, settings(config), [])
    assert [step.text for step in kept] == ["add data member mongo3 (10.203.12.14:27017)"]
    assert mr.surplus(config, wanted) == [ARBITER.host]
    steps = mr.plan(config, wanted, settings(config), [ARBITER.host, A.host])
    assert [step.text.split(" ")[0] for step in steps] == ["add", "remove"]
    result = copy.deepcopy(config)
    for step in steps:
        result = step.change(result)
    assert [(m["_id"], m["host"]) for m in result["members"]] == [(0, A.host), (1, B.host), (3, C.host)]


def test_settings_are_one_step(config: dict[str, Any]) -> None:
    (step,) = mr.plan(config, PSA, settings(config, electionTimeoutMillis=9000, heartbeatTimeoutSecs=3), [])
    assert step.text == "settings: electionTimeoutMillis 1500 → 9000, heartbeatTimeoutSecs 1 → 3"
    assert step.change(config)["settings"]["electionTimeoutMillis"] == 9000
    assert step.change(config)["settings"]["replicaSetId"] == config["settings"]["replicaSetId"]


def test_a_data_member_cannot_become_an_arbiter(config: dict[str, Any]) -> None:
    wrong = mr.Member("mongo2", B.address, B.port, arbiter=True)
    (said,) = mr.changed_role(config, [A, wrong, ARBITER])
    assert said == "mongo2 (10.203.12.12:27017) is a data member of the set and an arbiter in the inventory"
    assert mr.changed_role(config, PSA) == []


def test_the_default_write_concern_is_told_from_the_servers_own() -> None:
    answer = recorded("default_concern")
    assert mr.concern(answer) == {"w": 1}
    assert mr.concern({**answer, "defaultWriteConcernSource": "implicit"}) == {}
    assert mr.concern({**answer, "defaultWriteConcern": {"w": 1, "wtimeout": 5}}) == {"w": 1, "wtimeout": 5}


# What members say of each other --------------------------------------------------


def test_a_whole_set_has_no_complaints(config: dict[str, Any]) -> None:
    assert mr.complaints(recorded("status"), config, PSA, 10) == []


def changed(host: str, **fields: Any) -> dict[str, Any]:
    """The recorded status, but for what it says of one member."""
    status = recorded("status")
    next(m for m in status["members"] if m["name"] == host).update(fields)
    return status


def test_a_lost_member_is_named_with_the_reason(config: dict[str, Any]) -> None:
    lost = changed(B.host, health=0.0, stateStr="(not reachable/healthy)", lastHeartbeatMessage="Connection refused")
    said = "mongo2 (10.203.12.12:27017) is (not reachable/healthy) (Connection refused)"
    assert mr.complaints(lost, config, PSA, 10) == [said]


def test_a_member_that_is_behind_is_named(config: dict[str, Any]) -> None:
    newest = max(m["optimeDate"] for m in recorded("status")["members"] if m.get("optimeDate"))
    late = changed(B.host, optimeDate=newest - datetime.timedelta(seconds=11))
    assert mr.complaints(late, config, PSA, 10) == ["mongo2 (10.203.12.12:27017) is 11 s behind"]
    assert mr.complaints(late, config, PSA, 12) == []


def test_states_of_members() -> None:
    status = recorded("status")
    assert {mr.member_state(status, m.host) for m in (A, B)} == {"PRIMARY", "SECONDARY"}
    assert mr.member_state(status, C.host) == "unknown"


def test_of_two_that_say_they_are_primary_the_one_elected_last_counts() -> None:
    hello = recorded("hello_primary")
    old = {**hello, "electionId": "7fffffff0000000000000009"}
    new = {**hello, "electionId": "7fffffff000000000000000a"}
    assert mr.newest_primary({A: old, B: new, C: "timed out"}) == B
    assert mr.newest_primary({A: new, B: old}) == A
    assert mr.newest_primary({A: recorded("hello_standalone"), B: "timed out"}) is None


# Users -----------------------------------------------------------------------


@pytest.fixture
def user() -> dict[str, Any]:
    """usersInfo with showCredentials, of a user whose password is "secret"."""
    return recorded("user")["users"][0]


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-1", "SCRAM-SHA-256"])
def test_a_password_is_compared_with_what_the_server_keeps(user: dict[str, Any], mechanism: str) -> None:
    user["credentials"] = {mechanism: user["credentials"][mechanism]}
    assert mr.password_matches(user, "secret")
    assert not mr.password_matches(user, "Secret")
    assert not mr.password_matches({**user, "credentials": {}}, "secret")


def test_what_differs_of_a_user(user: dict[str, Any]) -> None:
    wanted = {"name": "u", "database": "admin", "password": "secret", "roles": [{"role": "readWrite", "db": "x"}]}
    assert mr.user_change(wanted, user) == []
    assert mr.user_change({**wanted, "roles": [{"role": "read", "db": "x"}]}, user) == ["roles"]
    assert mr.user_change({**wanted, "password": "other"}, user) == ["password"]
    assert mr.user_change(wanted, None) == ["absent"]
    assert mr.user_change({**wanted, "state": "absent"}, user) == ["present"]
    assert mr.user_change({**wanted, "state": "absent"}, None) == []


def test_a_bare_role_is_of_the_users_own_database() -> None:
    assert mr.roles({"database": "admin", "roles": ["root", {"role": "read", "db": "x"}]}) == [
        ("admin", "root"),
        ("x", "read"),
    ]
