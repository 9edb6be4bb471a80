# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a RabbitMQ node is, whom it may join, and what its definitions lack."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Definitions = dict[str, Any]

# Minor releases that a server's data may come from, besides its own: https://www.rabbitmq.com/docs/upgrade
UPGRADES = {
    (3, 9): [(3, 8)],
    (3, 10): [(3, 9)],
    (3, 11): [(3, 10)],
    (3, 12): [(3, 11)],
    (3, 13): [(3, 12)],
    (4, 0): [(3, 13)],
    (4, 1): [(3, 13), (4, 0)],
    (4, 2): [(3, 13), (4, 0), (4, 1)],
    (4, 3): [(4, 2)],
}
# A flag that the release before must have enabled for this one to start, and the release that brought it
NEEDED_FLAGS = {(4, 0): ("message_containers", "3.13"), (3, 12): ("feature_flags_v2", "3.11")}


def release(version: str) -> tuple[int, int]:
    """4.0.5-8 → (4, 0); (0, 0) if it is none."""
    match = re.match(r"(\d+)\.(\d+)", version)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def may_follow(old: str, new: str) -> bool:
    """Whether a server of version `new` takes the data, or the company, of one of version `old`."""
    before, after = release(old), release(new)
    return before == after or before in UPGRADES.get(after, [])


def cluster_nodes(text: str) -> list[str]:
    """Members as cluster_nodes.config tells them, which a node keeps beside its data: {['a@x','b@y'],['a@x']}."""
    match = re.match(r"\s*\{\s*\[([^\]]*)\]", text)
    return sorted(name.strip().strip("'") for name in match[1].split(",") if name.strip()) if match else []


def wide_listeners(listing: str, ports: Iterable[int], allowed: Iterable[str]) -> list[str]:
    """Of `ss -Hltn`, the sockets on these ports that are not on one of the allowed addresses."""
    found = []
    for line in listing.splitlines():
        address, _colon, port = line.split()[3].rpartition(":")
        if port.isdigit() and int(port) in set(ports) and address.strip("[]") not in set(allowed):
            found.append(f"{address}:{port}")
    return sorted(found)


# The state of a node ---------------------------------------------------------


@dataclass(frozen=True)
class Seen:
    """What is found on a host."""

    node: str  # the name that the node shall have
    running: str = ""  # the name of the node that runs
    live: Mapping[str, Any] | None = None  # what it answered, None if it did not
    stored: Mapping[str, Sequence[str]] = field(default_factory=dict)  # node with data → members in its file
    members: Sequence[str] = ()  # nodes of the inventory


def is_empty(definitions: Mapping[str, Any]) -> bool:
    """Whether definitions are those of a server that nobody used: the user guest, the vhost /, nothing else."""
    named = {kind: [item.get("name", "") for item in definitions.get(kind, [])] for kind in ("users", "vhosts")}
    own = [item for item in definitions.get("parameters", []) if item.get("component") != "internal"]
    rest = [definitions.get(kind, []) for kind in ("queues", "exchanges", "bindings", "policies", "topic_permissions")]
    return set(named["users"]) <= {"guest"} and set(named["vhosts"]) <= {"/"} and not any(rest) and not own


def classify(seen: Seen) -> tuple[str, list[str]]:
    """One of the words below, and the members of the cluster that the node knows.

    absent   no data, does not run           stopped  data, does not run
    fresh    runs alone, nobody used it      alone    runs alone, with data
    member   in a cluster of the inventory   foreign  in a cluster of others, or data of a node of another name
    paused   runs, its application does not  silent   runs and does not answer
    """
    if seen.running:
        if seen.live is None:
            return "silent", []
        nodes = sorted(seen.live["members"])
        others = set(nodes) - {seen.running}
        if others and not others & (set(seen.members) - {seen.running}):
            return "foreign", nodes
        if not seen.live["running"]:
            return "paused", nodes
        if others:
            return ("member" if seen.running == seen.node else "foreign"), nodes
        return ("fresh" if is_empty(seen.live["definitions"]) else "alone"), nodes
    mine = sorted(seen.stored.get(seen.node, []))
    if seen.node in seen.stored:
        others = set(mine) - {seen.node}
        return ("foreign" if others and not others & set(seen.members) else "stopped"), mine
    return ("foreign" if seen.stored else "absent"), []


@dataclass(frozen=True)
class Host:
    """A host of the inventory and what was found on it in this run; state is empty if it was not reached."""

    name: str
    node: str
    state: str = ""
    nodes: Sequence[str] = ()  # members of the cluster that its node knows
    version: str = ""


IN_CLUSTER = ("member", "stopped", "paused")


def target(hosts: Sequence[Host], adopt: str) -> str:
    """Node that fresh ones join; empty if it cannot be told, which `obstacles` explains.

    A cluster that is there comes first, then the node that is adopted with its data. The first host is where a
    cluster is born, and only if every member was looked at and none has data.
    """
    formed = [host for host in hosts if host.state in IN_CLUSTER and len(host.nodes) > 1]
    for host in sorted(formed, key=lambda host: IN_CLUSTER.index(host.state)):
        return host.node
    for host in hosts:
        if host.name == adopt and host.state in ("alone", "stopped"):
            return host.node
    if hosts and all(host.state in ("absent", "fresh") for host in hosts):
        return hosts[0].node
    # An earlier run was stopped between the first server's start and the others' joining
    lone = [host for host in hosts if host.state == "stopped"]
    if (
        len(lone) == 1
        and all(host.state in ("absent", "fresh", "stopped") for host in hosts)
        and len(lone[0].nodes) < 2
    ):
        return lone[0].node
    return ""


def obstacles(here: Host, hosts: Sequence[Host], adopt: str) -> list[str]:
    """Why nothing may be done on this host, each with what to do about it."""
    found = []
    names = {host.node: host.name for host in hosts}
    data = f"/var/lib/rabbitmq/mnesia on {here.name}"
    aside = "systemctl stop rabbitmq-server; mv /var/lib/rabbitmq/mnesia /var/lib/rabbitmq/mnesia.old"
    if here.state == "foreign":
        others = ", ".join(node for node in here.nodes if node not in names) or "a node with another name"
        found.append(
            f"{here.name} belongs to another cluster or name ({others}); nothing was touched. If what it holds is "
            f"worth nothing, on it: {aside}. If it is the node that is meant, set rabbitmq_mirror_node_name for it"
        )
    strangers = sorted(set(here.nodes) - set(names)) if here.state in IN_CLUSTER else []
    if strangers:
        found.append(
            f"the cluster of {here.name} counts {', '.join(strangers)}, which the inventory does not: add it to "
            f"rabbitmq_mirror_members, or take it out: ansible-playbook playbooks/replace_queue_node.yml "
            f"-e rabbitmq_mirror_replace={strangers[0]}"
        )
    if here.state == "alone" and here.name != adopt:
        found.append(
            f"{here.name} runs alone and has data of its own; joining would delete them, nothing was touched. To build "
            f"the cluster around them: rabbitmq_mirror_adopt={here.name}. If they are worth nothing, on it: {aside}"
        )
    if here.state == "silent":
        found.append(
            f"the server on {here.name} runs and does not answer: it starts or stops, or it was started with another "
            f"cookie than {data.rsplit(' on ', 1)[0].rsplit('/', 1)[0]}/.erlang.cookie has now. Next, on it: "
            "rabbitmq-diagnostics status; journalctl -u rabbitmq-server"
        )
    if here.state in ("absent", "fresh"):
        counted = [host.name for host in hosts if here.node in host.nodes and host.name != here.name]
        joined = target(hosts, adopt)
        if counted:
            found.append(
                f"{here.name} has no data, but the cluster ({', '.join(counted)}) counts {here.node} as its member: it "
                f"lost its disk. Next: ansible-playbook playbooks/replace_queue_node.yml "
                f"-e rabbitmq_mirror_replace={here.name}"
            )
        elif not joined:
            missing = [host.name for host in hosts if not host.state]
            lone = [host.name for host in hosts if host.state == "alone"]
            why = (
                f"{', '.join(missing)} not reached in this run"
                if missing
                else f"{', '.join(lone)} running alone with data"
                if lone
                else "several nodes with data and no cluster"
            )
            found.append(
                f"{here.name} could become a second cluster, with {why}; it was left as it is. Start what is down, or "
                "run without --limit"
            )
        for host in hosts:
            if host.state == "member" and here.version and not may_follow(host.version, here.version):
                found.append(
                    f"{here.name} has or gets RabbitMQ {here.version}, {host.name} runs {host.version}: these two "
                    "cannot be one cluster. Upgrade through each minor release, or build a new cluster and move to it"
                )
                break
    knowing = [host for host in hosts if host.state == "member" and host.name != here.name]
    if here.state == "stopped" and len(here.nodes) > 1 and knowing and not any(here.node in h.nodes for h in knowing):
        found.append(
            f"the data of {here.name} say that it is a member, but the cluster ({', '.join(h.name for h in knowing)}) "
            f"has forgotten {here.node}. What the others have is newer; to let it join anew, on it: {aside}"
        )
    clusters = {tuple(sorted(host.nodes)) for host in hosts if host.state in IN_CLUSTER and len(host.nodes) > 1}
    if here.state in IN_CLUSTER and len(clusters) > 1 and not _overlap(clusters):
        shown = " and ".join(" + ".join(nodes) for nodes in sorted(clusters))
        found.append(
            f"the members form several clusters ({shown}): decide which one lives, and remove the other by hand"
        )
    return found


def _overlap(clusters: Iterable[Sequence[str]]) -> bool:
    sets = [set(nodes) for nodes in clusters]
    return all(a & b for a in sets for b in sets)


def refused_data(version: str, flags: str) -> str:
    """Why a server of this version does not start with data that have these feature flags, or ''."""
    needed = next((known for known in sorted(NEEDED_FLAGS, reverse=True) if release(version) >= known), None)
    if not needed or not flags or NEEDED_FLAGS[needed][0] in flags:
        return ""
    return (
        f"its data are of a release before {NEEDED_FLAGS[needed][1]}, and RabbitMQ {version} takes them from "
        f"{' or '.join(f'{major}.{minor}' for major, minor in UPGRADES[needed])} only: bring back the old package and "
        "upgrade through each minor release, or build a new cluster and move to it"
    )


def mirror_refusals(version: str, policies: Iterable[Mapping[str, Any]]) -> list[str]:
    """Policies that ask for what a release cannot do."""
    if release(version) < (4, 0):
        return []
    return [
        f"policy {policy['name']} asks for classic mirrored queues ({', '.join(sorted(ha))}), which RabbitMQ {version} "
        "no longer has; it would be kept and would mirror nothing. Take it out, and declare the queues with type quorum"
        for policy in policies
        if (ha := [key for key in policy.get("definition", {}) if str(key).startswith("ha-")])
    ]


# Definitions -----------------------------------------------------------------


def hashed(password: str, salt: bytes | None = None) -> str:
    """A password as RabbitMQ keeps it: base64 of four bytes of salt and SHA-256 of salt and password."""
    salt = os.urandom(4) if salt is None else salt
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def is_password(password: str, stored: str) -> bool:
    try:
        return hashed(password, base64.b64decode(stored)[:4]) == stored
    except ValueError:
        return False


def tags(value: Any) -> list[str]:
    """A user's tags, which some releases list and others separate by commas."""
    words = value.split(",") if isinstance(value, str) else list(value or [])
    return sorted(word.strip() for word in words if word.strip())


def queue_type(queue: Mapping[str, Any]) -> str:
    return str(queue.get("type") or queue.get("arguments", {}).get("x-queue-type") or "classic")


@dataclass
class Plan:
    """What is to be imported, what to be deleted by which rabbitmqctl commands, and what that changes, in words."""

    add: Definitions = field(default_factory=dict)
    delete: list[list[str]] = field(default_factory=list)
    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)

    def want(self, kind: str, item: Mapping[str, Any], before: str, after: str) -> None:
        self.add.setdefault(kind, []).append(dict(item))
        self.before += [before] if before else []
        self.after.append(after)

    def drop(self, command: list[str], before: str) -> None:
        self.delete.append(command)
        self.before.append(before)


def _by(items: Iterable[Mapping[str, Any]], *keys: str) -> dict[tuple[str, ...], Mapping[str, Any]]:
    return {tuple(str(item[key]) for key in keys): item for item in items}


def _user_text(name: str, item: Mapping[str, Any], note: str = "") -> str:
    return f"user {name} tags {tags(item.get('tags')) or 'none'}{note}"


def plan(live: Mapping[str, Any], wanted: Mapping[str, Any]) -> Plan:
    """From what is there to what is wanted.

    `wanted` has vhosts, users (with password, tags, permissions), policies, queues and absent_users. Vhosts, queues and
    policies that it does not name are left alone, they may hold data or be an application's own; a named user's
    permissions are exactly the given ones.
    """
    made = Plan()
    vhosts = _by(live.get("vhosts", []), "name")
    for vhost in wanted.get("vhosts", []):
        if (vhost["name"],) not in vhosts:
            made.want("vhosts", vhost, "", f"vhost {vhost['name']}")
    _plan_users(made, live, wanted)
    policies = _by(live.get("policies", []), "vhost", "name")
    for policy in wanted.get("policies", []):
        found = policies.get((policy["vhost"], policy["name"]))
        keys = ("pattern", "apply-to", "priority", "definition")
        now, then = ({key: (item or {}).get(key) for key in keys} for item in (found, policy))
        if now != then:
            text = f"policy {policy['vhost']} {policy['name']} "
            made.want("policies", policy, f"{text}{now}" if found else "", f"{text}{then}")
    queues = _by(live.get("queues", []), "vhost", "name")
    for queue in wanted.get("queues", []):
        there = queues.get((queue["vhost"], queue["name"]))
        text = f"queue {queue['name']} of vhost {queue['vhost']}"
        if there is None:
            made.want("queues", queue, "", f"{text}, {queue_type(queue)}, {queue['arguments']}")
        elif queue_type(there) != queue_type(queue):
            made.refusals.append(
                f"{text} is {queue_type(there)} and shall be {queue_type(queue)}; a queue's type cannot be changed. "
                "Move its messages to a queue of another name (shovel), or delete it when it is empty: "
                f"rabbitmqctl delete_queue --if-empty -p {queue['vhost']} {queue['name']}"
            )
        elif differ := _differing(there.get("arguments", {}), queue["arguments"]):
            made.refusals.append(
                f"{text} has {differ}; arguments of a queue cannot be changed. Take them out of rabbitmq_mirror_queues "
                "and set a policy, which can be changed at any time"
            )
    return made


def _differing(live: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    keys = sorted((set(live) | set(wanted)) - {"x-queue-type"})
    return ", ".join(
        f"{key} {live.get(key)} instead of {wanted.get(key)}" for key in keys if live.get(key) != wanted.get(key)
    )


def _plan_users(made: Plan, live: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    users = _by(live.get("users", []), "name")
    granted = _by(live.get("permissions", []), "user", "vhost")
    for user in wanted.get("users", []):
        name, found = user["name"], users.get((user["name"],))
        known = found is not None and is_password(user["password"], str(found.get("password_hash", "")))
        if found is None or not known or tags(found.get("tags")) != tags(user.get("tags")):
            item = {
                "name": name,
                "password_hash": found["password_hash"] if found and known else hashed(user["password"]),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": tags(user.get("tags")),
                "limits": (found or {}).get("limits", {}),
            }
            before = _user_text(name, found) if found else ""
            made.want(
                "users", item, before, _user_text(name, item, "" if known else ", another password" if found else "")
            )
        given = _by(user.get("permissions", []), "vhost")
        for (vhost,), permission in given.items():
            rights = {key: permission[key] for key in ("configure", "write", "read")}
            now = granted.get((name, vhost))
            if now is None or any(now[key] != rights[key] for key in rights):
                text = f"permissions of {name} in {vhost}: "
                before = f"{text}{ {key: now[key] for key in rights} }" if now else ""
                made.want("permissions", {"user": name, "vhost": vhost, **rights}, before, f"{text}{rights}")
        for (whom, vhost), _now in granted.items():
            if whom == name and (vhost,) not in given:
                made.drop(["clear_permissions", "-p", vhost, name], f"permissions of {name} in {vhost}")
    for name in wanted.get("absent_users", []):
        if (name,) in users:
            made.drop(["delete_user", name], f"user {name}")


def restored(live: Mapping[str, Any], saved: Mapping[str, Any]) -> Plan:
    """What saved definitions have and the server lacks, or has otherwise. Nothing is deleted."""
    made = Plan()
    keys: dict[str, tuple[str, ...]] = {
        "vhosts": ("name",),
        "users": ("name",),
        "permissions": ("user", "vhost"),
        "topic_permissions": ("user", "vhost", "exchange"),
        "parameters": ("component", "vhost", "name"),
        "policies": ("vhost", "name"),
        "queues": ("vhost", "name"),
        "exchanges": ("vhost", "name"),
        "bindings": ("vhost", "source", "destination_type", "destination", "routing_key", "properties_key"),
    }
    # What cannot be changed in place is there or not
    fixed = ("vhosts", "queues", "exchanges", "bindings")
    for kind, names in keys.items():
        found = {tuple(str(item.get(name)) for name in names): item for item in live.get(kind, [])}
        for item in saved.get(kind, []):
            key = tuple(str(item.get(name)) for name in names)
            text = f"{kind} {' '.join(key)}"
            if kind == "queues" and key in found and queue_type(found[key]) != queue_type(item):
                made.refusals.append(
                    f"queue {key[1]} of vhost {key[0]} is {queue_type(found[key])}, saved as {queue_type(item)}"
                )
            elif key not in found or (kind not in fixed and found[key] != item):
                made.want(kind, item, f"{text} as it is" if key in found else "", f"{text} as saved")
    return made


# Quorum queues ---------------------------------------------------------------


def leaderless(queues: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Quorum queues that nobody leads, as #13665 of rabbitmq-server has them after a rolling restart."""
    return [queue for queue in queues if not queue["leader"]]


def lacking(
    queues: Iterable[Mapping[str, Any]], nodes: Sequence[str], replicas: int
) -> list[tuple[Mapping[str, Any], list[str]]]:
    """Quorum queues with too few replicas, and on which nodes to put further ones, those with the fewest first."""
    found = list(queues)
    load = {node: sum(node in queue["members"] for queue in found) for node in nodes}
    result = []
    for queue in found:
        missing = min(replicas, len(nodes)) - len([node for node in queue["members"] if node in nodes])
        free = sorted((node for node in nodes if node not in queue["members"]), key=lambda node: load[node])
        if missing > 0 and free:
            chosen = free[:missing]
            for node in chosen:
                load[node] += 1
            result.append((queue, chosen))
    return result


def complaints(state: Mapping[str, Any], queues: Iterable[Mapping[str, Any]], expected: Iterable[str]) -> list[str]:
    """What keeps a cluster from being whole, in words; empty if it is."""
    members, running = set(state["members"]), set(state["running_nodes"])
    found = [f"{node} is not a member" for node in sorted(set(expected) - members)]
    found += [f"{node} does not run" for node in sorted(set(expected) & members - running)]
    found += [
        f"{node} does not see {', '.join(others)} (partition). Next: ansible-playbook playbooks/rabbitmq.yml"
        for node, others in _partitions(state)
        if others
    ]
    found += [f"alarm {alarm}" for alarm in state["alarms"]]
    found += [f"{node} is in maintenance" for node in state["drained"]]
    for queue in queues:
        name = f"queue {queue['name']} of vhost {queue['vhost']}"
        if not queue["leader"]:
            found.append(f"{name} has no leader")
        away = sorted(set(queue["members"]) & set(expected) - set(queue["online"]))
        if away:
            found.append(f"{name} has no replica running on {', '.join(away)}")
    return found


def cut_off(state: Mapping[str, Any], node: str) -> list[str]:
    """Members that `node` has lost although it runs, while they are a majority and have each other.

    That is what a node comes back to which hung for longer than net_ticktime: everybody is connected again, but each
    side still holds the other for lost, and pause_minority, which looks at connections, has nothing to do.
    """
    lost = {name: set(others) for name, others in _partitions(state)}
    without = lost.get(node, set())
    agreed = all(lost.get(other, set()) <= {node} for other in without)
    return sorted(without) if agreed and len(without) * 2 > len(state["members"]) else []


def _partitions(state: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    return sorted((str(item["node"]), sorted(item["without"])) for item in state.get("partitions", []))
