#!/usr/bin/python
# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Restart the servers of a Redis Sentinel set, one after another."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_sentinel_restart
short_description: Restart servers of a Redis Sentinel set one after another, the master last, or move the master only
version_added: 0.1.0
author: The cloudexit maintainers (@cloudexit)
description:
  - Runs on one host and reaches all servers through the Redis protocol. A server is told to shut down; systemd starts
    it again (C(Restart=always)).
  - Replicas come first. Each must be back, in step with the master and seen by the Sentinels before the next one goes.
  - If the master is to be restarted, it refuses writes until a replica has all of them, the Sentinels fail over, and
    then it is restarted as the replica that it has become. No acknowledged write is lost by that; clients see refused
    writes for the second or two of the switch.
  - The first server that does not come back ends it; the others are not touched then.
extends_documentation_fragment:
  - cloudexit.ha_stack.redis_sentinel
attributes:
  check_mode:
    support: full
    description: Reports the order.
  diff_mode:
    support: none
    description: There is nothing to compare.
  idempotent:
    support: none
    description: It restarts what it is told to.
options:
  restart:
    description: Names of the data servers to restart.
    type: list
    elements: str
    default: []
  restart_sentinels:
    description: Names of the Sentinels to restart.
    type: list
    elements: str
    default: []
  away_from:
    description: Names of data servers that shall not be master; a master among them is failed over, nothing restarted.
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds that a server may take to be back and in step, and a failover to be over.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Restart both data servers
  cloudexit.ha_stack.redis_sentinel_restart:
    restart: [redis1, redis2]
    master_name: main
    data: [{name: redis1, address: 192.0.2.21, port: 6379}, {name: redis2, address: 192.0.2.22, port: 6379}]
    sentinels: [{name: redis1, address: 192.0.2.21, port: 26379}]
    admin_user: admin
    admin_password: "{{ redis_sentinel_password }}"
  run_once: true
"""

RETURN = r"""
restarted:
  description: What was restarted, in this order.
  returned: always
  type: list
  elements: str
moved:
  description: Whether another server is master because of O(away_from), or would be.
  returned: always
  type: bool
master:
  description: Name of the master afterwards.
  returned: always
  type: str
"""

import contextlib
import functools
import time
from collections.abc import Callable
from typing import NoReturn

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import redis_sentinel as rs
from ansible_collections.cloudexit.ha_stack.plugins.module_utils.resp import Client, RespError

NO_WRITES = 1000000  # replicas that nobody has: a master that wants them refuses every write


class Restart:
    """The whole procedure."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        given = module.params
        self.name: str = given["master_name"]
        self.data, self.sentinels = rs.servers(given["data"]), rs.servers(given["sentinels"])
        self.cluster = rs.Cluster(self.name, self.data, self.sentinels, given["admin_user"], [given["admin_password"]])
        self.restarted: list[str] = []
        self.moved = False

    def fail(self, text: str) -> NoReturn:
        done = ", ".join(self.restarted) or "nothing"
        self.module.fail_json(msg=f"redis_sentinel: {text}. Restarted so far: {done}; nothing else was touched.")
        raise SystemExit(1)

    def connect(self, server: rs.Server) -> Client:
        return rs.connect(server, self.cluster.user, self.cluster.passwords)

    def wait(self, what: Callable[[], str]) -> str:
        """Until `what` finds nothing to complain about; its last complaint otherwise."""
        end = time.monotonic() + self.module.params["timeout"]
        while True:
            try:
                complaint = what()
            except (OSError, RespError, rs.NoMaster) as err:
                complaint = str(err)
            if not complaint or time.monotonic() > end:
                return complaint
            time.sleep(0.25)

    def master(self) -> rs.Server:
        """The master that the Sentinels name, which must be a member and work."""
        try:
            at = rs.elect(self.cluster.sentinel_answers())
        except rs.NoMaster as err:
            self.fail(f"{err}: wait until the failover is over")
        found = next((s for s in self.data if s.at == at), None)
        if not found:
            self.fail(f"no Sentinel names a member as master of {self.name}: systemctl status redis-sentinel on each")
        return found

    def in_step(self, replica: rs.Server, master: rs.Server) -> str:
        """Why a replica could not take over from the master now, or ''."""
        with self.connect(master) as ask:
            offset = int(rs.info(ask("INFO", "replication"))["master_repl_offset"])
        with self.connect(replica) as ask:
            shown = rs.info(ask("INFO", "replication"))
        if shown["role"] != "slave":
            return f"{replica} is a {shown['role']}"
        if shown["master_link_status"] != "up" or (shown["master_host"], int(shown["master_port"])) != master.at:
            return f"{replica} is not linked to {master}"
        behind = offset - int(shown["slave_repl_offset"])
        return f"{replica} is {behind} bytes behind {master}" if behind > 0 else ""

    def seen(self, replica: rs.Server) -> str:
        """Why a Sentinel would not take this replica, or ''."""
        for sentinel in self.sentinels:
            try:
                found = [rs.pairs(item) for item in self.cluster.ask(sentinel, "SENTINEL", "REPLICAS", self.name)]
            except (OSError, RespError):
                continue
            flags = {(i["ip"], int(i["port"])): (i["flags"], i["master-link-status"]) for i in found}
            if flags.get(replica.at) != ("slave", "ok"):
                return f"{sentinel.name} sees {replica} as {' '.join(flags.get(replica.at, ('unknown',)))}"
        return ""

    def run_id(self, server: rs.Server) -> str:
        with self.connect(server) as ask:
            return rs.info(ask("INFO", "server"))["run_id"]

    def writing(self, server: rs.Server) -> str:
        """Why a server would refuse to shut down now, or ''. A replica does until what it was sent is in a file."""
        with self.connect(server) as ask:
            shown = rs.info(ask("INFO", "persistence"))  # empty on a Sentinel
        busy = [name for name in ("aof_rewrite_in_progress", "aof_rewrite_scheduled") if shown.get(name, "0") != "0"]
        return f"{server} is still writing its append-only file ({', '.join(busy)})" if busy else ""

    def bounce(self, server: rs.Server) -> None:
        """Shut one server down and wait until another process answers in its place."""
        if complaint := self.wait(lambda: self.writing(server)):
            self.fail(complaint)
        before = self.run_id(server)
        with self.connect(server) as ask, contextlib.suppress(OSError):
            ask("SHUTDOWN")
        complaint = self.wait(lambda: "the same process answers" if self.run_id(server) == before else "")
        if complaint:
            self.fail(f"{server} did not come back ({complaint}). Next, on it: systemctl status 'redis-*'")
        self.restarted.append(f"{server.name}:{server.port}")

    def replica(self, server: rs.Server, master: rs.Server) -> None:
        self.bounce(server)
        for test in (lambda: self.in_step(server, master), lambda: self.seen(server)):
            if complaint := self.wait(test):
                self.fail(f"after its restart {complaint}")

    def switch(self, master: rs.Server) -> rs.Server:
        """Fail over to a replica that has every acknowledged write; the new master."""
        others = [s for s in self.data if s != master]
        ready = [s for s in others if not self.wait_quietly(s, master)]
        if not ready:
            self.fail(f"no replica could take over from {master}: {self.reasons(others, master)}")
        with self.connect(master) as ask:
            kept = rs.pairs(ask("CONFIG", "GET", "min-replicas-to-write"))["min-replicas-to-write"]
            try:
                ask("CONFIG", "SET", "min-replicas-to-write", NO_WRITES)
                if complaint := self.wait(lambda: self.behind(ready, master)):
                    self.fail(complaint)
                leader = self.command_failover()
                complaint = self.wait(lambda: self.still(leader, master))
                if not complaint:
                    new = next(s for s in self.data if s.at == self.named(leader))
                    self.demote(master, new)
                    complaint = self.wait(lambda: self.in_step(master, new))
            finally:
                self.take_writes_again(master, kept)
        if complaint:
            self.fail(f"the failover from {master} is not over after {self.module.params['timeout']} s: {complaint}")
        return new

    def reasons(self, replicas: list[rs.Server], master: rs.Server) -> str:
        return "; ".join(self.wait_quietly(s, master) for s in replicas) or "there is none"

    def wait_quietly(self, server: rs.Server, master: rs.Server) -> str:
        """Like in_step, an unreachable server being a complaint; a busy master leaves replicas a little behind."""
        try:
            complaint = self.in_step(server, master)
        except (OSError, RespError) as err:
            return f"{server}: {err}"
        return "" if " behind " in complaint else complaint

    def behind(self, replicas: list[rs.Server], master: rs.Server) -> str:
        return next(filter(None, (self.in_step(r, master) for r in replicas)), "")

    def named(self, sentinel: rs.Server) -> tuple[str, int]:
        found = self.cluster.ask(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.name)
        return str(found[0]), int(found[1])

    def still(self, sentinel: rs.Server, master: rs.Server) -> str:
        """Why the failover that this Sentinel conducts is not over, or ''."""
        at = self.named(sentinel)
        if at == master.at:
            return f"{master} is still master"
        return "" if at in [s.at for s in self.data] else f"{sentinel.name} names {at[0]}:{at[1]}, which is no member"

    def demote(self, old: rs.Server, new: rs.Server) -> None:
        """What the Sentinels do to the old master when they notice that it still is one, which takes them 10 s.

        Meanwhile it would refuse the writes of all clients that keep their connections.
        """
        with self.connect(old) as ask, contextlib.suppress(OSError):
            ask("MULTI")
            ask("REPLICAOF", *new.at)
            ask("CONFIG", "REWRITE")
            ask("CLIENT", "KILL", "TYPE", "normal")
            ask("CLIENT", "KILL", "TYPE", "pubsub")
            ask("EXEC")

    def command_failover(self) -> rs.Server:
        """The first Sentinel that takes the order; it conducts the failover."""
        refusals = []
        for sentinel in self.sentinels:
            try:
                self.cluster.ask(sentinel, "SENTINEL", "FAILOVER", self.name)
                return sentinel
            except (OSError, RespError) as err:
                refusals.append(f"{sentinel.name}: {err}")
        self.fail("no Sentinel fails over: " + "; ".join(refusals))

    def take_writes_again(self, server: rs.Server, kept: str) -> None:
        """Undo the refusal of writes, in the file too: the Sentinels had it written when they changed the role."""
        with contextlib.suppress(OSError, RespError), self.connect(server) as ask:
            ask("CONFIG", "SET", "min-replicas-to-write", kept)
            ask("CONFIG", "REWRITE")

    def move(self) -> None:
        """Another master, if the present one shall not be it."""
        away = self.module.params["away_from"]
        while (master := self.master()).name in away:
            stays = [s for s in self.data if s.name not in away]
            if not any(not self.wait_quietly(s, master) for s in stays):
                self.fail(f"{master} is master and no other server could take over: {self.reasons(stays, master)}")
            self.moved = True
            if self.module.check_mode:
                return
            self.switch(master)
            if complaint := self.wait(functools.partial(self.seen, master)):
                self.fail(f"after the failover {complaint}")

    def run(self) -> None:
        self.move()
        wanted = self.module.params["restart"]
        if wanted:
            master = self.master()
            replicas = [s for s in self.data if s.name in wanted and s != master]
            if self.module.check_mode:
                self.restarted = [s.name for s in [*replicas, *([master] if master.name in wanted else [])]]
            else:
                for server in replicas:
                    if complaint := self.wait_quietly(server, master):
                        self.fail(f"before any restart: {complaint}")
                for server in replicas:
                    self.replica(server, master)
                if master.name in wanted:
                    self.replica(master, self.switch(master))
        for server in self.sentinels:
            if server.name in self.module.params["restart_sentinels"]:
                if self.module.check_mode:
                    self.restarted.append(server.name)
                    continue
                self.bounce(server)
                if complaint := self.wait(functools.partial(self.quorate, server)):
                    self.fail(f"after its restart the Sentinel {server} is not of use: {complaint}")

    def quorate(self, server: rs.Server) -> str:
        self.cluster.ask(server, "SENTINEL", "CKQUORUM", self.name)
        return ""


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            **rs.ARGUMENTS,
            "restart": {"type": "list", "elements": "str", "default": []},
            "restart_sentinels": {"type": "list", "elements": "str", "default": []},
            "away_from": {"type": "list", "elements": "str", "default": []},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    restart = Restart(module)
    try:
        restart.run()
    except (OSError, RespError) as err:
        restart.fail(str(err))
    module.exit_json(
        changed=restart.moved or bool(restart.restarted),
        restarted=restart.restarted,
        moved=restart.moved,
        master=restart.master().name,
    )


if __name__ == "__main__":
    main()
