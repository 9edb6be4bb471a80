# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The living servers of a MongoDB replica set, asked with pymongo (3.11 of Debian 12 or 4.x).

They are asked as the set's own members ask each other, with the key file: that works at the birth of a set when there
are no users, on an arbiter, which never has any, and whatever became of the administrator's password.
"""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import mongo_replset as mr

PYMONGO_ERROR: str | None
try:
    from pymongo import MongoClient, ReadPreference
    from pymongo.errors import OperationFailure, PyMongoError
except ImportError:  # not there before the role has installed it
    PYMONGO_ERROR = traceback.format_exc()
    MongoClient = None  # type: ignore[assignment,misc]

    class PyMongoError(Exception):  # type: ignore[no-redef]
        """Stands in for pymongo's."""

    class OperationFailure(PyMongoError):  # type: ignore[no-redef]
        """Stands in for pymongo's."""

    SECONDARY = None
else:
    PYMONGO_ERROR = None
    SECONDARY = ReadPreference.SECONDARY_PREFERRED

POLL = 0.1  # seconds between two looks


def require(module: AnsibleModule) -> None:
    """Ends the module if pymongo is missing."""
    if PYMONGO_ERROR:
        module.fail_json(msg=f"mongo_replset: {missing_required_lib('pymongo')}", exception=PYMONGO_ERROR)


class Cluster:
    """Connections to the members, one each, made when they are needed."""

    def __init__(self, given: Mapping[str, Any], timeout: float = 5.0) -> None:
        self.set_name: str = given["set_name"]
        self.members = mr.members(given["members"])
        self.tls_ca: str | None = given["tls_ca"]
        self.timeout = timeout
        try:
            self.keys = mr.keys(Path(given["keyfile"]).read_text(encoding="utf-8"))
        except FileNotFoundError:
            self.keys = []
        self._clients: dict[tuple[str, bool], Any] = {}
        self._last: mr.Member | None = None

    def close(self) -> None:
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    def client(self, member: mr.Member, login: bool = True, socket_timeout: float = 30.0, **more: Any) -> Any:
        """A connection to this server alone. Nothing is sent yet."""
        known = (member.host, login)
        if known in self._clients and not more:
            return self._clients[known]
        options: dict[str, Any] = {
            "directConnection": True,
            "serverSelectionTimeoutMS": int(self.timeout * 1000),
            "connectTimeoutMS": int(self.timeout * 1000),
            "socketTimeoutMS": int((socket_timeout if login else self.timeout) * 1000),
            "retryWrites": False,
        }
        if self.tls_ca:
            options |= {"tls": True, "tlsCAFile": self.tls_ca}
        if login:
            options |= {"username": "__system", "password": self.key(member), "authSource": "local"}
            options["authMechanism"] = "SCRAM-SHA-256"
        client = MongoClient(member.address, member.port, **(options | more))
        if not more:
            self._clients[known] = client
        return client

    def key(self, member: mr.Member) -> str:
        """The first of the keys that this server takes; several are valid during a change."""
        for key in self.keys[:-1]:
            with (
                contextlib.closing(
                    self.client(member, login=False, username="__system", password=key, **LOGIN)
                ) as client,
                contextlib.suppress(OperationFailure),
            ):
                client.admin.command("ping")
                return key
        return self.keys[-1] if self.keys else ""

    def hello(self, member: mr.Member) -> dict[str, Any]:
        """Needs no login."""
        return dict(self.client(member, login=False).admin.command("hello"))

    def command(self, member: mr.Member, name: str, value: Any = 1, **more: Any) -> dict[str, Any]:
        return dict(self.client(member).admin.command(name, value, **more))

    def hellos(self) -> dict[mr.Member, dict[str, Any] | str]:
        """What each member says, or why it does not."""

        def ask(member: mr.Member) -> dict[str, Any] | str:
            try:
                return self.hello(member)
            except PyMongoError as error:
                return brief(error)

        # All at once: one that lost its power answers nothing until the time is over.
        with ThreadPoolExecutor(len(self.members)) as pool:
            return dict(zip(self.members, pool.map(ask, self.members), strict=True))

    def primary(self, wait: float = 0.0) -> mr.Member:
        """The member that takes writes; mr.NoPrimary if there is none within `wait` seconds."""
        end = time.monotonic() + wait
        while True:
            with contextlib.suppress(PyMongoError):
                if self._last and self.hello(self._last).get("isWritablePrimary"):
                    return self._last
            answers = self.hellos()
            if (found := mr.newest_primary(answers)) is not None:
                self._last = found
                return found
            for host in {a["primary"] for a in answers.values() if not isinstance(a, str) and a.get("primary")}:
                # One that the inventory does not know any more can still be primary.
                address, _colon, port = host.rpartition(":")
                stranger = mr.Member(host, address.strip("[]"), int(port))
                with contextlib.suppress(PyMongoError):
                    if host not in [m.host for m in self.members] and self.hello(stranger).get("isWritablePrimary"):
                        return stranger
            if time.monotonic() >= end:
                raise mr.NoPrimary(mr.without_primary({str(m): role_of(a) for m, a in answers.items()}))
            time.sleep(POLL)

    def config(self, member: mr.Member) -> dict[str, Any]:
        return dict(self.command(member, "replSetGetConfig")["config"])

    def status(self, member: mr.Member) -> dict[str, Any]:
        return self.command(member, "replSetGetStatus")

    def reconfigure(
        self, change: Callable[[dict[str, Any]], dict[str, Any]], timeout: float, force: bool = False
    ) -> None:
        """One change of the living configuration, tried again while the set is busy with another one.

        With `force` the primary does not wait until a majority has what was committed before.
        """
        end = time.monotonic() + timeout
        while True:
            primary = self.primary(max(1.0, end - time.monotonic()))
            now = self.config(primary)
            wanted = {**change(now), "version": now["version"] + 1}
            try:
                # less than the socket's patience, so that it is the server that says what it waits for
                patience = int(min(timeout, 20) * 1000)
                self.command(primary, "replSetReconfig", wanted, force=force, maxTimeMS=patience)
                return
            except PyMongoError as error:
                if time.monotonic() > end or getattr(error, "code", None) not in BUSY:
                    raise
            time.sleep(POLL)

    def step_down(self, primary: mr.Member, timeout: float) -> mr.Member:
        """Let a member that has everything take over; the new primary."""
        seconds = max(2, int(timeout))
        try:
            self.command(primary, "replSetStepDown", seconds + 10, secondaryCatchUpPeriodSecs=seconds)
        except OperationFailure as error:
            if getattr(error, "code", None) not in BUSY:
                raise
        except PyMongoError:  # older servers close all connections with it
            pass
        new = self.primary(timeout)
        if new == primary:
            raise mr.NoPrimary(f"{primary} is primary again: no other member took over within {seconds} s")
        return new


LOGIN: dict[str, Any] = {"authSource": "local", "authMechanism": "SCRAM-SHA-256"}
# ConfigurationInProgress, CurrentConfigNotCommittedYet, NewReplicaSetConfigurationIncompatible (another one was first),
# NotWritablePrimary, PrimarySteppedDown, InterruptedDueToReplStateChange, MaxTimeMSExpired
BUSY = (109, 308, 103, 10107, 189, 11602, 50)


def role_of(answer: Mapping[str, Any] | str) -> str:
    """A member's answer in a word."""
    if isinstance(answer, str):
        return answer
    for field, word in (("isWritablePrimary", "primary"), ("secondary", "secondary"), ("arbiterOnly", "arbiter")):
        if answer.get(field):
            return word
    return "in no set" if not answer.get("setName") else "neither primary nor secondary"


def brief(error: Exception) -> str:
    """An error of pymongo without its description of the whole topology."""
    text = str(error)
    for rest in (", full error", " (configured timeouts", ", Timeout:"):
        text = text.partition(rest)[0]
    return text


def until(seconds: float) -> Iterator[float]:
    """Counts down: looks that are not too dense until the time is over; there is at least one."""
    end = time.monotonic() + seconds
    while True:
        yield end - time.monotonic()
        if time.monotonic() > end:
            return
        time.sleep(POLL)


def settle(cluster: Cluster, timeout: float, lag: float, only: Sequence[str] | None = None) -> list[str]:
    """Wait until all members, or those of the hosts `only`, are well; what is still wrong after that."""
    found = ["nobody was asked"]
    for _left in until(timeout):
        try:
            primary = cluster.primary()
            config = cluster.config(primary)
            if only is not None:
                config = {**config, "members": [m for m in config["members"] if m["host"] in only]}
            found = mr.complaints(cluster.status(primary), config, cluster.members, lag)
        except (PyMongoError, mr.NoPrimary) as error:
            found = [brief(error)]
        if not found:
            return []
    return found
