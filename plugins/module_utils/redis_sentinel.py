# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Redis under Sentinel: what is wanted, what is there, and the steps from one to the other.

Pure functions but for `connect` and `Cluster`, which ask the living servers.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.cloudexit.ha_stack.plugins.module_utils.resp import Client, RespError

MARK = "# cloudexit.ha_stack.redis_sentinel: written once; the server rewrites it. Change settings through the role."
PROBE = "cloudexit-probe"
SECRET_SETTINGS = ("masterauth", "requirepass", "sentinel-pass", "auth-pass")
MEMORY = re.compile(r"^(\d+)(k|kb|m|mb|g|gb)$", re.IGNORECASE)
User = Mapping[str, Any]
UNITS = {"k": 1000, "kb": 1024, "m": 1000**2, "mb": 1024**2, "g": 1000**3, "gb": 1024**3}

# What each module of the set must be told; described in plugins/doc_fragments/redis_sentinel.py.
ARGUMENTS: dict[str, Any] = {
    "master_name": {"type": "str", "required": True},
    "data": {"type": "list", "elements": "dict", "required": True},
    "sentinels": {"type": "list", "elements": "dict", "required": True},
    "admin_user": {"type": "str", "required": True},
    "admin_password": {"type": "str", "required": True, "no_log": True},
}


# Configuration ---------------------------------------------------------------


def value(thing: Any) -> str:
    """A setting as CONFIG GET prints it: yes/no, bytes in full, lists with blanks."""
    if isinstance(thing, bool):
        return "yes" if thing else "no"
    if isinstance(thing, (list, tuple)):
        return " ".join(value(item) for item in thing)
    text = str(thing)
    if text in ("True", "False"):
        return "yes" if text == "True" else "no"
    size = MEMORY.match(text)
    return str(int(size[1]) * UNITS[size[2].lower()]) if size else text


def quoted(word: str) -> str:
    """One argument of a line of redis.conf."""
    if word and re.fullmatch(r"[\w./:@%+,=~*&#|-]+", word):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def conf_text(settings: Mapping[str, str], users: Sequence[User], more: Iterable[Sequence[str]] = ()) -> str:
    """The first configuration file of a server; settings of several words are split at blanks."""
    lines = [MARK]
    for name, text in settings.items():
        words = [text] if name in SECRET_SETTINGS or not text else text.split(" ")
        lines.append(" ".join([name, *map(quoted, words)]))
    lines += [" ".join(map(quoted, words)) for words in more]
    lines += [" ".join(["user", user["name"], *user_rules(user)]) for user in users]
    return "\n".join(lines) + "\n"


def conf_lines(text: str) -> list[list[str]]:
    """The directives of a configuration file, split into words, comments left out."""
    found = []
    for line in text.splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                found.append(shlex.split(line))
            except ValueError:
                found.append(line.split())
    return found


def conf_value(text: str, *words: str) -> str:
    """The rest of the directive that begins with these words, the last one if there are several; or ''."""
    result = ""
    for line in conf_lines(text):
        if [w.lower() for w in line[: len(words)]] == [w.lower() for w in words]:
            result = " ".join(line[len(words) :])
    return result


def masked(text: str) -> str:
    """A configuration file without its secrets, for diffs."""
    lines = []
    for line in text.splitlines():
        words = line.split()
        at = next((i for i, word in enumerate(words[:2]) if word.lower() in SECRET_SETTINGS), None)
        if at is not None:
            kept = at + (2 if words[at].lower() == "auth-pass" else 1)  # auth-pass is followed by the master's name
            line = " ".join([*words[:kept], "********"])
        elif words[:1] == ["user"]:
            line = re.sub(r"(\s[#>])\S+", r"\1********", line)
        lines.append(line)
    return "\n".join(lines)


def changed_settings(live: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Settings whose live value is not the wanted one: (live, wanted). A setting this release lacks is ''."""
    result = {}
    for name, text in wanted.items():
        now = live.get(name, "")
        if sorted(now.split()) != sorted(text.split()) if name in ("bind", "save") else now != text:
            result[name] = (now, text)
    return result


# Users -----------------------------------------------------------------------


def digest(password: str) -> str:
    """What ACL GETUSER shows of a password."""
    return hashlib.sha256(password.encode()).hexdigest()


def user_rules(user: User) -> list[str]:
    """The whole of a user as ACL SETUSER takes it, passwords hashed."""
    if not user.get("enabled", True):
        return ["reset", "off"]
    rules = ["reset", "on", *(f"#{digest(p)}" for p in user["passwords"])]
    rules += [key if key[:1] in "~%" else f"~{key}" for key in user.get("keys", [])]
    rules += [f"&{channel.removeprefix('&')}" for channel in user.get("channels", [])]
    return rules + str(user["commands"]).split()


def comparable(shown: Sequence[Any]) -> dict[str, Any]:
    """ACL GETUSER's answer with what has no order in one order, and without on/off."""
    result = pairs(shown)
    result["passwords"] = sorted(result.get("passwords") or [])
    result["flags"] = sorted(f for f in result.get("flags") or [] if f not in ("on", "off"))
    for part in ("keys", "channels"):
        result[part] = " ".join(sorted(str(result.get(part) or "").split()))
    return result


def probe(ask: Callable[..., Any], user: User, atomic: bool) -> dict[str, Any]:
    """The user as this server would show it: the rules are given to a user that is gone at once.

    What a server makes of rules differs between releases, so texts cannot be compared. On a data server this is one
    transaction, nobody can see the user; a Sentinel knows no transactions, there the user is off.
    """
    rules = user_rules(user)
    if atomic:
        ask("MULTI")
        ask("ACL", "SETUSER", PROBE, *rules)
        ask("ACL", "GETUSER", PROBE)
        ask("ACL", "DELUSER", PROBE)
        made, shown, _gone = ask("EXEC")
        if isinstance(made, RespError):
            raise made
        return comparable(shown)
    try:
        ask("ACL", "SETUSER", PROBE, *rules, "off")
        return comparable(ask("ACL", "GETUSER", PROBE))
    finally:
        ask("ACL", "DELUSER", PROBE)


def changed_users(ask: Callable[..., Any], users: Sequence[User], atomic: bool) -> tuple[list[str], list[str]]:
    """(names to set, names to delete) so that the server has these users and no others."""
    differ = []
    for user in users:
        shown = ask("ACL", "GETUSER", user["name"])
        enabled = bool(shown) and "on" in (pairs(shown).get("flags") or [])
        if not user.get("enabled", True):
            if enabled:
                differ.append(user["name"])
        elif not enabled or comparable(shown) != probe(ask, user, atomic):
            differ.append(user["name"])
    surplus = sorted(set(ask("ACL", "USERS")) - {u["name"] for u in users} - {"default", PROBE})
    return differ, surplus


# Answers ---------------------------------------------------------------------


def pairs(answer: Sequence[Any] | None) -> dict[str, Any]:
    """A flat list of names and values as a dict."""
    flat = list(answer or [])
    return {str(flat[i]): flat[i + 1] for i in range(0, len(flat) - 1, 2)}


def info(text: str) -> dict[str, str]:
    """The answer of INFO."""
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line and not line.startswith("#"))


@dataclass(frozen=True)
class Server:
    """Where a server is, and what the inventory calls its host."""

    name: str
    address: str
    port: int

    def __str__(self) -> str:
        return f"{self.name} ({self.address}:{self.port})"

    @property
    def at(self) -> tuple[str, int]:
        return self.address, self.port


def servers(items: Iterable[Mapping[str, Any]]) -> list[Server]:
    """Servers from a module's arguments."""
    return [Server(str(i["name"]), str(i["address"]), int(i["port"])) for i in items]


class NoMaster(Exception):
    """Nobody can say who is master; the text says what was asked and what to do."""


def elect(answers: Mapping[str, tuple[str, int] | None]) -> tuple[str, int] | None:
    """The master that most of the answering Sentinels name; None if none of them knows one.

    Two camps of the same size are a failover that is being told around: NoMaster, to be asked again.
    """
    votes: dict[tuple[str, int], int] = {}
    for answer in answers.values():
        if answer:
            votes[answer] = votes.get(answer, 0) + 1
    if not votes:
        return None
    ranked = sorted(votes.items(), key=lambda item: -item[1])
    if len(ranked) > 1 and ranked[0][1] == ranked[1][1]:
        named = ", ".join(f"{who} says {where[0]}:{where[1]}" for who, where in sorted(answers.items()) if where)
        raise NoMaster(f"the Sentinels do not agree on a master ({named})")
    return ranked[0][0]


def master_by_roles(roles: Mapping[tuple[str, int], dict[str, str]]) -> tuple[str, int] | None:
    """The one master that all other answering data servers replicate, from INFO replication; None if unclear."""
    masters = [at for at, shown in roles.items() if shown.get("role") == "master"]
    followed = {
        (shown.get("master_host", ""), int(shown.get("master_port", "0")))
        for shown in roles.values()
        if shown.get("role") == "slave"
    }
    if len(masters) == 1 and followed <= set(masters):
        return masters[0]
    return None


def stranger(
    data: Sequence[Server], here: str, shown: Mapping[str, str], named: tuple[str, int] | None, master_name: str
) -> tuple[str, str]:
    """(address, who says so) of a server that is no member and yet master of the set or of this host's data server.

    `shown`: INFO of the data server here, empty if there is none; `named`: whom the Sentinels name.
    """
    members = [server.at for server in data]
    if named and named not in members:
        return named[0], f"the Sentinels name {named[0]}:{named[1]} as master of {master_name}"
    if shown.get("role") == "slave":
        at = shown.get("master_host", ""), int(shown.get("master_port", "0"))
        if at not in members:
            return at[0], f"the data server of {here} replicates {at[0]}:{at[1]}"
    return "", ""


FULL = 0.8  # share of maxmemory from which on a server is called full


def memory_worry(server: str, shown: Mapping[str, str]) -> str:
    """What INFO of a data server says about lack of memory, in words with what to do; or ''."""
    most, used = int(shown.get("maxmemory", 0)), int(shown.get("used_memory", 0))
    policy, dropped = shown.get("maxmemory_policy", ""), int(shown.get("evicted_keys", 0))
    if dropped:
        return (
            f"{server} has dropped {dropped} keys for want of memory since its start ({policy}): raise "
            "redis_sentinel_memory"
        )
    if most and used >= most * FULL:
        then = "refuses writes" if policy == "noeviction" else f"drops keys ({policy})"
        return (
            f"{server} is {used * 100 // most} % full ({used // 2**20} of {most // 2**20} MiB) and {then} when it is: "
            "raise redis_sentinel_memory"
        )
    return ""


# The living cluster ----------------------------------------------------------


def connect(server: Server, user: str, passwords: Sequence[str], timeout: float = 3.0) -> Client:
    """A connection that is let in with the first of the passwords that the server takes."""
    client = Client(server.address, server.port, timeout)
    refused: RespError | None = None
    for password in dict.fromkeys(p for p in passwords if p):
        try:
            client("AUTH", user, password)
            return client
        except RespError as err:
            refused = err
    client.close()
    raise refused or RespError("ERR no password given")


@dataclass(frozen=True)
class Cluster:
    """Who is asked about the state of things, and how."""

    master_name: str
    data: Sequence[Server]
    sentinels: Sequence[Server]
    user: str
    passwords: Sequence[str]
    timeout: float = 2.0

    def ask(self, server: Server, *words: str | int) -> Any:
        with connect(server, self.user, self.passwords, self.timeout) as client:
            return client(*words)

    def sentinel_answers(self, but: tuple[str, int] | None = None) -> dict[str, tuple[str, int] | None]:
        """Whom each Sentinel names; those that do not answer are left out."""
        result: dict[str, tuple[str, int] | None] = {}
        for server in self.sentinels:
            if server.at == but:
                continue
            try:
                found = self.ask(server, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.master_name)
            except (OSError, RespError):
                continue
            result[server.name] = (str(found[0]), int(found[1])) if found else None
        return result

    def roles(self) -> dict[tuple[str, int], dict[str, str]]:
        """INFO replication of the data servers that answer."""
        result = {}
        for server in self.data:
            try:
                result[server.at] = info(self.ask(server, "INFO", "replication"))
            except (OSError, RespError):
                continue
        return result

    def name_of(self, at: tuple[str, int] | None) -> str:
        for server in self.data:
            if server.at == at:
                return server.name
        return f"{at[0]}:{at[1]}" if at else "nobody"
