# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A MongoDB replica set: what is wanted, what is there, and the steps from one to the other. Pure functions.

Documents are those of the server: `config` is the answer of replSetGetConfig, `status` of replSetGetStatus, `hello` of
hello (https://www.mongodb.com/docs/v6.0/reference/replica-configuration/).
"""

from __future__ import annotations

import base64
import copy
import hashlib
import hmac
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

Document = Mapping[str, Any]
SERIES = ("5.0", "6.0", "7.0", "8.0")  # release series, each of which can be upgraded to the next one only
OLDEST = SERIES[0]
ADOPTED = "cloudexit-adopted"  # a file in the data directory of a standalone server that becomes the first member
MARK = "# cloudexit.ha_stack.mongo_replset"

# What each module of the set must be told; described in plugins/doc_fragments/mongo_replset.py.
ARGUMENTS: dict[str, Any] = {
    "set_name": {"type": "str", "required": True},
    "members": {"type": "list", "elements": "dict", "required": True},
    "keyfile": {"type": "path", "required": True, "no_log": False},
    "tls_ca": {"type": "path"},
}


class NoPrimary(Exception):
    """Nobody takes writes; the text says what was seen and what to do."""


@dataclass(frozen=True)
class Member:
    """A server of the set, and what the inventory calls its host."""

    name: str
    address: str
    port: int
    arbiter: bool = False

    @property
    def host(self) -> str:
        """As the set's configuration writes it."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    def __str__(self) -> str:
        return f"{self.name} ({self.host})"


def members(items: Iterable[Mapping[str, Any]]) -> list[Member]:
    """Members from a module's arguments."""
    return [Member(str(i["name"]), str(i["address"]), int(i["port"]), bool(i.get("arbiter"))) for i in items]


def name_of(host: str, known: Iterable[Member]) -> str:
    """The inventory's name of a host of the configuration, with the host; or the host alone."""
    return next((str(member) for member in known if member.host == host), host)


def keys(text: str) -> list[str]:
    """The keys of a key file: one, or a YAML sequence of several, the first of which is used to log in."""
    listed = re.findall(r"^\s*-\s+[\"']?(.*?)[\"']?\s*$", text, re.MULTILINE)
    return ["".join(key.split()) for key in listed or [text] if key.strip()]


# One host ----------------------------------------------------------------------


def classify(set_name: str, ours: bool, data: bool, active: bool, hello: Document | None, told: str = "") -> str:
    """The state of the server of one host; `told` is the set that its own configuration names.

    absent: nothing is there. standalone: data of a server that is in no set. foreign: it is in another set, or was set
    up for one. forming: it waits for the set's configuration. member: it has it. stopped: it was set up by the role and
    does not run. silent: it runs and does not answer.
    """
    other = told not in ("", set_name)
    if hello is not None:
        if hello.get("setName"):
            return "member" if hello["setName"] == set_name else "foreign"
        if hello.get("isreplicaset"):
            return "foreign" if other else "forming"
        return "standalone"
    if active:
        return "silent" if ours else "standalone"
    if data:
        return ("foreign" if other else "stopped") if ours else "standalone"
    return "absent"


def told(parsed: Document, conf: str) -> str:
    """The set that a server was started for (see pending), or else will be, by the text of its mongod.conf; or ''."""
    replication = parsed.get("replication", {})
    written = re.search(r"^\s*replSetName:\s*[\"']?([^\"'\s]+)", conf, re.MULTILINE)
    return str(replication.get("replSet") or replication.get("replSetName") or (written[1] if written else ""))


def pending(wanted: Document, parsed: Document) -> list[str]:
    """Settings of mongod.conf that the running server does not have, as "net.port 27017, not 27018".

    `parsed` is what getCmdLineOpts says of the file that the server read at its start.
    """
    now, then = flat(wanted), flat({name: value for name, value in parsed.items() if name != "config"})
    # Written as replSetName, shown as replSet.
    then = {("replication.replSetName" if name == "replication.replSet" else name): v for name, v in then.items()}
    return [
        f"{name} {now.get(name, 'unset')}, runs with {then.get(name, 'unset')}"
        for name in sorted({*now, *then})
        if not same(now.get(name), then.get(name))
    ]


def same(one: Any, other: Any) -> bool:
    """Whether two settings mean the same; templates make texts of numbers and booleans."""
    words = {"true": "1", "enabled": "1", "false": "0", "disabled": "0"}
    texts = [str(value).lower() for value in (one, other)]
    if texts[0] == texts[1]:
        return True
    texts = [words.get(text, text) for text in texts]
    try:
        return float(texts[0]) == float(texts[1])
    except ValueError:
        return texts[0] == texts[1]


def flat(document: Document, prefix: str = "") -> dict[str, Any]:
    """{"net": {"port": 1}} → {"net.port": 1}"""
    found: dict[str, Any] = {}
    for name, value in document.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def series(version: str) -> str:
    """6.0.5 → 6.0"""
    return ".".join(version.split(".")[:2])


def jump(live: str, wanted: str, feature: str = "") -> str:
    """Why a server of version `live` cannot become `wanted`, or ''; `feature` is what the data are compatible with."""
    old, new = series(live), series(wanted)
    if new not in SERIES:
        return f"{wanted} is of no series that this role knows ({', '.join(SERIES)})"
    if not live or old == new:
        return ""
    if old not in SERIES:
        return f"{live} is of no series that this role knows ({', '.join(SERIES)})"
    step = SERIES.index(new) - SERIES.index(old)
    if step > 1:
        return f"from {live} to {wanted} skips {', '.join(SERIES[SERIES.index(old) + 1 : SERIES.index(new)])}"
    if step < 0:
        return f"from {live} back to {wanted} is a downgrade"
    if feature and feature != old:
        return f"the set's feature compatibility version is {feature}; it must be {old} before {wanted}"
    return ""


# The set's configuration -------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """One change of the configuration: servers take no more than one voter at a time."""

    text: str
    change: Callable[[dict[str, Any]], dict[str, Any]]
    joins: Member | None = None
    leaves: str = ""


def first_config(set_name: str, wanted: Sequence[Member], settings: Document) -> dict[str, Any]:
    """What a set is born with."""
    return {
        "_id": set_name,
        "members": [
            {"_id": number, "host": member.host, **({"arbiterOnly": True} if member.arbiter else {})}
            for number, member in enumerate(wanted)
        ],
        "settings": dict(settings),
    }


def surplus(config: Document, wanted: Sequence[Member]) -> list[str]:
    """Hosts in the configuration that the inventory does not know."""
    known = {member.host for member in wanted}
    return [member["host"] for member in config["members"] if member["host"] not in known]


def changed_role(config: Document, wanted: Sequence[Member]) -> list[str]:
    """Members that should be arbiters and hold data, or the other way round: neither can become the other."""
    now = {member["host"]: bool(member.get("arbiterOnly")) for member in config["members"]}
    return [
        f"{member} is {'an arbiter' if now[member.host] else 'a data member'} of the set "
        f"and {'an arbiter' if member.arbiter else 'a data member'} in the inventory"
        for member in wanted
        if member.host in now and now[member.host] != member.arbiter
    ]


def plan(config: Document, wanted: Sequence[Member], settings: Document, remove: Sequence[str]) -> list[Step]:
    """The steps from a living configuration to the wanted one. Votes and priorities of members are left as they are.

    A new member comes before an old one goes, so that the set is never smaller than before. A server counts a new one's
    vote when it has the data (https://www.mongodb.com/docs/v6.0/tutorial/expand-replica-set/).
    """
    steps: list[Step] = []
    live = config.get("settings", {})
    differ = {name: value for name, value in settings.items() if live.get(name) != value}
    if differ:
        text = ", ".join(f"{name} {live.get(name)} → {value}" for name, value in sorted(differ.items()))
        steps.append(Step(f"settings: {text}", lambda c: {**c, "settings": {**c.get("settings", {}), **differ}}))
    present = {member["host"] for member in config["members"]}
    for member in wanted:
        if member.host not in present:
            kind = "arbiter" if member.arbiter else "data member"
            steps.append(Step(f"add {kind} {member}", partial(added, member=member), joins=member))
    for host in surplus(config, wanted):
        if host in remove:
            steps.append(Step(f"remove {host}", partial(without, host=host), leaves=host))
    return steps


def added(config: dict[str, Any], member: Member) -> dict[str, Any]:
    """The configuration with one more member."""
    number = max((m["_id"] for m in config["members"]), default=-1) + 1
    entry = {"_id": number, "host": member.host, **({"arbiterOnly": True, "priority": 0} if member.arbiter else {})}
    return {**config, "members": [*config["members"], entry]}


def without(config: dict[str, Any], host: str) -> dict[str, Any]:
    """The configuration without a member."""
    return {**config, "members": [m for m in config["members"] if m["host"] != host]}


def revote(config: Document, host: str, votes: int, priority: float) -> dict[str, Any]:
    """The configuration with another weight of one member."""
    result = copy.deepcopy(dict(config))
    for member in result["members"]:
        if member["host"] == host:
            member.update(votes=votes, priority=priority)
    return result


def has_all_commits(config: Document, primary: str, lost: str) -> bool:
    """Whether the primary has whatever was ever acknowledged with w majority: where it and the lost member are the only
    data members that vote, and an arbiter votes, a majority was both of them."""
    data = {m["host"] for m in config["members"] if m.get("votes", 1) and not m.get("arbiterOnly")}
    return data == {primary, lost} and voters(config) == 3


def shown(config: Document | None, write_concern: Document | None = None) -> dict[str, Any]:
    """What a diff shows of a configuration."""
    if not config:
        return {}
    listed = {
        m["host"]: ("arbiter" if m.get("arbiterOnly") else "data")
        + ("" if m.get("votes", 1) else f", no vote, priority {m.get('priority', 1):g}")
        for m in config["members"]
    }
    names = ("electionTimeoutMillis", "heartbeatIntervalMillis", "heartbeatTimeoutSecs", "catchUpTimeoutMillis")
    settings = {name: config.get("settings", {}).get(name) for name in names}
    return {"members": listed, "settings": settings, "write_concern": dict(write_concern or {})}


def voters(config: Document) -> int:
    return sum(1 for member in config["members"] if member.get("votes", 1))


def concern(answer: Document) -> dict[str, Any]:
    """The set's default write concern from getDefaultRWConcern, without a wtimeout of 0; {} if none was set."""
    if answer.get("defaultWriteConcernSource") != "global":
        return {}
    return {name: value for name, value in answer.get("defaultWriteConcern", {}).items() if name != "wtimeout" or value}


# What members say of each other --------------------------------------------------


def complaints(status: Document, config: Document, known: Sequence[Member], lag_seconds: float) -> list[str]:
    """Members that are not what they should be, each as a sentence; empty if every one could be lost."""
    found = []
    states = {member["name"]: member for member in status["members"]}
    newest = max((m["optimeDate"] for m in status["members"] if m.get("optimeDate")), default=None)
    for member in config["members"]:
        host = member["host"]
        seen = states.get(host, {})
        state = seen.get("stateStr", "unknown")
        if state not in (("ARBITER",) if member.get("arbiterOnly") else ("PRIMARY", "SECONDARY")):
            why = seen.get("lastHeartbeatMessage") or seen.get("infoMessage") or ""
            found.append(f"{name_of(host, known)} is {state}{f' ({why})' if why else ''}")
        elif newest and not member.get("arbiterOnly"):
            behind = (newest - seen["optimeDate"]).total_seconds()
            if behind > lag_seconds:
                found.append(f"{name_of(host, known)} is {behind:.0f} s behind")
    return found


def member_state(status: Document, host: str) -> str:
    return next((m.get("stateStr", "unknown") for m in status["members"] if m["name"] == host), "unknown")


def newest_primary(answers: Mapping[Member, Document | str]) -> Member | None:
    """Who says that it is primary; of two, one of which is cut off and does not know yet, the one elected last."""
    claims = {
        member: str(answer.get("electionId", ""))  # an ObjectId that grows with the term
        for member, answer in answers.items()
        if not isinstance(answer, str) and answer.get("isWritablePrimary") and answer.get("setName")
    }
    return max(claims, key=claims.__getitem__, default=None)


def voteless(config: Document, known: Sequence[Member]) -> list[str]:
    """Members of the inventory whose vote was taken away."""
    hosts = {member.host for member in known}
    return [name_of(m["host"], known) for m in config["members"] if m["host"] in hosts and not m.get("votes", 1)]


def without_primary(answers: Mapping[str, str]) -> str:
    """Why nobody takes writes and what to do; `answers` says for each member what it is, or why it did not answer."""
    said = "; ".join(f"{who}: {what}" for who, what in answers.items())
    return (
        f"no member is primary ({said}). A majority of the voters must run and see each other: start the missing ones "
        "(systemctl start mongod; journalctl -u mongod). If they are gone for good: docs/runbooks/mongo.md"
    )


# Users -----------------------------------------------------------------------


def prepared(password: str) -> str:
    """As drivers prepare a password for SCRAM-SHA-256 (RFC 4013, but for what no password should have in it)."""
    return unicodedata.normalize("NFKC", password)


def password_matches(user: Document, password: str) -> bool:
    """Whether this is the password of a user, from his credentials (usersInfo with showCredentials)."""
    credentials = user.get("credentials", {})
    for mechanism, digest, secret in (
        ("SCRAM-SHA-256", "sha256", prepared(password)),
        ("SCRAM-SHA-1", "sha1", hashlib.md5(f"{user['user']}:mongo:{password}".encode()).hexdigest()),
    ):
        if mechanism in credentials:
            stored = credentials[mechanism]
            salt = base64.b64decode(stored["salt"])
            salted = hashlib.pbkdf2_hmac(digest, secret.encode(), salt, int(stored["iterationCount"]))
            client_key = hmac.digest(salted, b"Client Key", digest)
            key = hashlib.new(digest, client_key).digest()
            return hmac.compare_digest(key, base64.b64decode(stored["storedKey"]))
    return False


def roles(user: Document) -> list[tuple[str, str]]:
    """A user's roles as (database, role), from the inventory or from the server; a bare name is of his own database."""
    database = user.get("db") or user.get("database") or "admin"
    found = [(r.get("db", database), r["role"]) if isinstance(r, Mapping) else (database, r) for r in user["roles"]]
    return sorted(set(found))


def user_change(wanted: Document, live: Document | None) -> list[str]:
    """What differs of a user: absent, present, password, roles; an empty list if nothing does."""
    if wanted.get("state", "present") == "absent":
        return ["present"] if live else []
    if live is None:
        return ["absent"]
    found = [] if password_matches(live, wanted["password"]) else ["password"]
    return [*found, *(["roles"] if roles(wanted) != roles(live) else [])]
