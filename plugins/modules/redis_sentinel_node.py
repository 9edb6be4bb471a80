#!/usr/bin/python
# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One Redis data server or one Sentinel, from nothing to its wanted settings."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_sentinel_node
short_description: One Redis data server or one Sentinel, set up once and then changed through its runtime API
version_added: 0.1.0
author: The cloudexit maintainers (@cloudexit)
description:
  - A server that was never set up gets its configuration file and is started. The file belongs to the server from then
    on, which writes roles, replicas and other Sentinels into it.
  - A server that was set up gets the settings and users that differ through C(CONFIG SET), C(ACL SETUSER) and
    C(SENTINEL SET), and is told to write its file. If O(admin_password) is new to it, the one in
    that file is used.
  - Nobody is made master by this but O(first_master) at the birth of a set. Afterwards the Sentinels are asked, and a
    data server that comes back empty joins as replica of the master they name.
extends_documentation_fragment:
  - cloudexit.ha_stack.redis_sentinel
attributes:
  check_mode:
    support: full
    description: Compares and reports; a new server is shown as the file it would get.
  diff_mode:
    support: full
    description: Shows the settings and users that differ, secrets masked.
  idempotent:
    support: full
    description: A second run changes nothing.
options:
  kind:
    description: What to set up.
    type: str
    choices: [data, sentinel]
    required: true
  member:
    description: Name of this host in O(data) and O(sentinels).
    type: str
    required: true
  first_master:
    description: Name of the member that becomes master if the set does not exist; empty if it does.
    type: str
    default: ''
  users:
    description:
      - All users besides O(admin_user). Others are removed. C(default) is off if it is not here.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name.
        type: str
        required: true
      passwords:
        description: Passwords, any of which lets him in; two during a change.
        type: list
        elements: str
        required: true
      commands:
        description: What he may do, as rules of Redis ACLs.
        type: str
        required: true
      keys:
        description: Patterns of the keys he may use.
        type: list
        elements: str
        default: []
      channels:
        description: Patterns of the channels he may use.
        type: list
        elements: str
        default: []
  settings:
    description: Settings of C(redis.conf) for kind V(data), of the monitored master for kind V(sentinel).
    type: dict
    default: {}
  start_options:
    description: Settings that the server takes at its start only. They are given by O(unit), here they are compared.
    type: dict
    default: {}
  unit:
    description: Text of the drop-in for the systemd unit.
    type: str
    required: true
  timeout:
    description: Seconds a server may take to answer after its start, and a new replica to be in step.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Set up a data server
  cloudexit.ha_stack.redis_sentinel_node:
    kind: data
    member: redis1
    master_name: main
    data: [{name: redis1, address: 192.0.2.21, port: 6379}]
    sentinels: [{name: redis1, address: 192.0.2.21, port: 26379}]
    admin_user: admin
    admin_password: "{{ redis_sentinel_password }}"
    settings: {appendonly: true}
    unit: ""
"""

RETURN = r"""
role:
  description: Role of the data server after this, V(master) or V(slave).
  returned: when it runs
  type: str
master:
  description: Name of the master.
  returned: when it is known
  type: str
restart_pending:
  description: Why the server has to be restarted to take what is wanted, empty if it has not.
  returned: always
  type: list
  elements: str
"""

import grp
import os
import pwd
import time
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import redis_sentinel as rs
from ansible_collections.cloudexit.ha_stack.plugins.module_utils.redis_sentinel_host import (
    DATA,
    SENTINEL,
    has_data,
    known_passwords,
    read,
)
from ansible_collections.cloudexit.ha_stack.plugins.module_utils.resp import Client, RespError

CAP_SYS_PTRACE = 1 << 19


class Node:
    """The server of one kind on this host."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        given = module.params
        self.kind: str = given["kind"]
        self.place = DATA if self.kind == "data" else SENTINEL
        self.data = rs.servers(given["data"])
        self.sentinels = rs.servers(given["sentinels"])
        members = self.data if self.kind == "data" else self.sentinels
        found = [s for s in members if s.name == given["member"]]
        if not found:
            self.fail(f"{given['member']} is not among the members of kind {self.kind}")
        self.here = found[0]
        self.passwords = [given["admin_password"], *known_passwords()]
        self.cluster = rs.Cluster(given["master_name"], self.data, self.sentinels, given["admin_user"], self.passwords)
        self.changed = False
        self.before: list[str] = []
        self.after: list[str] = []
        self.result: dict[str, Any] = {}
        self.restart_pending: list[str] = []

    # -- saying ---------------------------------------------------------------

    def fail(self, text: str) -> NoReturn:
        self.module.fail_json(msg=f"redis_sentinel: {text}")
        raise SystemExit(1)

    def note(self, before: str, after: str) -> None:
        self.changed = True
        if before:
            self.before.append(before)
        if after:
            self.after.append(after)

    def finish(self) -> NoReturn:
        self.module.exit_json(
            changed=self.changed,
            restart_pending=self.restart_pending,
            diff={
                "before": "".join(f"{line}\n" for line in self.before),
                "after": "".join(f"{line}\n" for line in self.after),
                "before_header": str(self.here),
                "after_header": str(self.here),
            },
            **self.result,
        )
        raise SystemExit(0)

    # -- systemd --------------------------------------------------------------

    def systemctl(self, *args: str) -> str:
        return self.module.run_command(["systemctl", *args], check_rc=True)[1]

    def unit_text(self) -> str:
        """The drop-in. Without CAP_SYS_PTRACE (containers) systemd cannot do both PrivateUsers= and ProtectProc=."""
        text: str = self.module.params["unit"]
        bound = [line.split()[1] for line in read("/proc/1/status").splitlines() if line.startswith("CapBnd:")]
        if bound and not int(bound[0], 16) & CAP_SYS_PTRACE:
            text += "\n# this container has no CAP_SYS_PTRACE\n[Service]\nPrivateUsers=no\n"
        return text

    def write(self, path: str, text: str, mode: int, owner: str) -> None:
        """Replace a file at once, with owner and mode."""
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        temporary = f"{path}.new"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.chown(temporary, pwd.getpwnam(owner).pw_uid, grp.getgrnam(owner).gr_gid)
        os.chmod(temporary, mode)
        os.replace(temporary, path)

    def ensure_unit(self) -> None:
        text, now = self.unit_text(), read(self.place.dropin)
        if text != now:
            self.note(f"{self.place.dropin}:\n{now}" if now else "", f"{self.place.dropin}:\n{text}")
            if not self.module.check_mode:
                self.write(self.place.dropin, text, 0o644, "root")
                self.systemctl("daemon-reload")

    def ensure_runs(self) -> bool:
        """Enabled, and running; a running one is left alone. Whether it runs, which a dry run cannot bring about."""
        enabled = self.module.run_command(["systemctl", "is-enabled", "--quiet", self.place.unit])[0] == 0
        active = self.module.run_command(["systemctl", "is-active", "--quiet", self.place.unit])[0] == 0
        if enabled and active:
            return True
        self.note(
            f"{self.place.unit}: {'enabled' if enabled else 'disabled'}, {'running' if active else 'stopped'}",
            f"{self.place.unit}: enabled, running",
        )
        if not self.module.check_mode:
            self.systemctl("reset-failed", self.place.unit)
            self.systemctl("enable", "--now", self.place.unit)
        return active or not self.module.check_mode

    def connection(self, patience: float) -> Client:
        """A connection as administrator; waits for the server to come up and to have loaded its data."""
        end = time.monotonic() + patience
        while True:
            try:
                client = rs.connect(self.here, self.module.params["admin_user"], self.passwords)
                client("PING")
                return client
            except RespError as err:
                if err.code in ("WRONGPASS", "NOAUTH", "NOPERM", "ERR"):
                    self.fail(
                        f"{self.here} lets nobody in with redis_sentinel_password, nor with the password in "
                        f"{self.place.conf} ({err}). Give the server the password again: with its old one, redis-cli "
                        f"-h {self.here.address} -p {self.here.port} --user {self.cluster.user} --askpass ACL SETUSER …"
                    )
                reason: Exception = err
            except OSError as err:
                reason = err
            if time.monotonic() > end:
                log = "\n".join(read(self.place.log).splitlines()[-5:])
                self.fail(
                    f"{self.here} does not answer after {patience:.0f} s ({reason}). Its last words: {log or 'none'}. "
                    f"Next: systemctl status {self.place.unit}; journalctl -u {self.place.unit}"
                )
            time.sleep(0.2)

    # -- birth ----------------------------------------------------------------

    def is_ours(self) -> bool:
        return rs.MARK in read(self.place.conf)

    def find_master(self) -> tuple[str, int]:
        """Who is master: the Sentinels know, else at birth the first member, else the roles of the data servers."""
        but = self.here.at if self.kind == "sentinel" else None
        end = time.monotonic() + self.module.params["timeout"]
        while True:
            try:
                found = rs.elect(self.cluster.sentinel_answers(but))
            except rs.NoMaster as err:
                found, problem = None, str(err)
            else:
                problem = ""
                if found and found not in [server.at for server in self.data]:
                    self.fail(
                        f"the Sentinels name {found[0]}:{found[1]} as master of {self.cluster.master_name}, which is "
                        "none of redis_sentinel_data_members. Add it, or fail over to a member first"
                    )
                if found == self.here.at and self.kind == "data" and not self.module.params["first_master"]:
                    found = None
                    problem = (
                        f"the Sentinels still name {self.here.name} as master, which was never set up or lost its "
                        "files; started empty it would wipe its replicas"
                    )
            if found or not problem:
                break
            if time.monotonic() > end:
                self.fail(
                    f"{problem}. Nothing was changed on {self.here.name}. Next, on a Sentinel: redis-cli -p "
                    f"{self.sentinels[0].port} --user {self.module.params['admin_user']} --askpass SENTINEL FAILOVER "
                    f"{self.module.params['master_name']}"
                )
            time.sleep(1)
        if found:
            return found
        for server in self.data:
            if server.name == self.module.params["first_master"]:
                return server.at
        if self.kind == "sentinel":
            found = rs.master_by_roles(self.cluster.roles())
            if found:
                return found
        self.fail(
            f"no Sentinel says who is master of {self.cluster.master_name}, and this is not the birth of the set (some "
            f"member was set up before, or is not reached in this run). {self.here.name} was left as it is. Start the "
            "Sentinels first (systemctl start redis-sentinel), and run without --limit."
        )

    def users(self) -> list[dict[str, Any]]:
        """Every user of the server."""
        given = self.module.params
        admin = {
            "name": given["admin_user"],
            "passwords": [given["admin_password"]],
            "keys": ["*"] if self.kind == "data" else [],
            "channels": ["*"],
            "commands": "+@all",
        }
        if self.kind == "sentinel":
            admin["keys"] = ["*"]
        names = {user["name"] for user in given["users"]}
        off = [] if "default" in names else [{"name": "default", "enabled": False}]
        return [*off, admin, *given["users"]]

    def server_settings(self) -> dict[str, str]:
        """What redis.conf holds and CONFIG SET may change."""
        given = self.module.params
        return {
            "bind": f"{self.here.address} 127.0.0.1",
            "masteruser": given["admin_user"],
            "masterauth": given["admin_password"],
            "replica-announce-ip": self.here.address,
            "replica-announce-port": str(self.here.port),
            **{name: rs.value(thing) for name, thing in given["settings"].items()},
        }

    def first_file(self, master: tuple[str, int]) -> str:
        """The configuration file of a server that has none."""
        given, place = self.module.params, self.place
        settings = {
            "port": str(self.here.port),
            "protected-mode": "yes",
            "pidfile": place.pid,
            "logfile": place.log,
            "dir": place.directory,
        }
        if self.kind == "data":
            settings |= self.server_settings()
            if master != self.here.at:
                settings["replicaof"] = f"{master[0]} {master[1]}"
            return rs.conf_text(settings, self.users())
        settings["bind"] = f"{self.here.address} 127.0.0.1"
        name, wanted = given["master_name"], {k: rs.value(v) for k, v in given["settings"].items()}
        more = [["sentinel", "monitor", name, master[0], str(master[1]), wanted.pop("quorum")]]
        more += [["sentinel", option, name, text] for option, text in wanted.items()]
        more += [
            ["sentinel", "auth-user", name, given["admin_user"]],
            ["sentinel", "auth-pass", name, given["admin_password"]],
        ]
        more += [["sentinel", option, text] for option, text in self.sentinel_settings().items()]
        return rs.conf_text(settings, self.users(), more)

    def birth(self) -> None:
        """Write the first file and start the server."""
        master = self.find_master()
        if self.kind == "data" and has_data(self.place.directory):
            self.fail(
                f"{self.place.directory} on {self.here.name} holds data of a Redis that this role did not set up; "
                "nothing was touched. If they are worth nothing: systemctl stop redis-server; "
                f"mv {self.place.directory} {self.place.directory}.old. If they are to live on, load them into the set "
                "when it runs."
            )
        text = self.first_file(master)
        self.result["master"] = self.cluster.name_of(master)
        self.note("", rs.masked(text))
        self.ensure_unit()
        if self.module.check_mode:
            return
        if not os.path.exists(self.place.binary):
            self.fail(f"{self.place.binary} is missing: run the role's install tasks first")
        user = pwd.getpwnam("redis")
        os.makedirs(self.place.directory, mode=0o750, exist_ok=True)
        os.chown(self.place.directory, user.pw_uid, user.pw_gid)
        os.chown(os.path.dirname(self.place.conf), user.pw_uid, user.pw_gid)
        self.write(self.place.conf, text, 0o640, "redis")
        self.module.run_command(["systemctl", "reset-failed", self.place.unit])
        self.systemctl("enable", self.place.unit)
        self.systemctl("restart", self.place.unit)
        with self.connection(self.module.params["timeout"]) as ask:
            if self.kind == "data":
                self.wait_in_step(ask)

    def wait_in_step(self, ask: Client) -> None:
        """A new replica is there when it has the master's data."""
        end = time.monotonic() + self.module.params["timeout"]
        while True:
            shown = rs.info(ask("INFO", "replication"))
            self.result["role"] = shown["role"]
            if shown["role"] == "master" or shown.get("master_link_status") == "up":
                return
            if time.monotonic() > end:
                self.fail(
                    f"{self.here} is not in step with its master {shown.get('master_host')}:{shown.get('master_port')} "
                    f"after {self.module.params['timeout']} s (sync in progress: "
                    f"{shown.get('master_sync_in_progress')}). Next: tail {self.place.log} on both"
                )
            time.sleep(0.2)

    # -- life -----------------------------------------------------------------

    def compare_users(self, ask: Client) -> tuple[list[str], list[str]]:
        """(users to set, users to delete); wrong rules are refused here, before anything is changed."""
        try:
            differ, surplus = rs.changed_users(ask, self.users(), atomic=self.kind == "data")
        except RespError as err:
            self.fail(f"{self.here} does not take a user's rules: {err}. Look at the commands of redis_sentinel_users")
        for name in differ:
            self.note(f"user {name}: differs", f"user {name}: as wanted")
        for name in surplus:
            self.note(f"user {name}", "")
        return differ, surplus

    def apply_users(self, ask: Client, differ: list[str], surplus: list[str]) -> None:
        users = {user["name"]: user for user in self.users()}
        for name in differ:
            ask("ACL", "SETUSER", name, *rs.user_rules(users[name]))
        if surplus:
            ask("ACL", "DELUSER", *surplus)
        if self.cluster.user in differ:
            # Sentinels and replicas whose AUTH failed keep a connection on which nothing is ever answered well, and
            # never try again. Such connections are those of the user `default`; without them they come anew.
            ask("CLIENT", "KILL", "USER", "default")

    def show_changes(self, changes: dict[str, tuple[str, str]]) -> None:
        for name, (now, text) in changes.items():
            if name in rs.SECRET_SETTINGS:
                now, text = "******** (old)", "******** (new)"
            self.note(f"{name} {now}", f"{name} {text}")

    def live_data(self, ask: Client) -> None:
        """Settings and users of a data server that runs."""
        wanted = self.server_settings()
        live = rs.pairs(ask("CONFIG", "GET", *wanted))
        changes = rs.changed_settings(live, wanted)
        self.show_changes(changes)
        differ, surplus = self.compare_users(ask)
        if changes and not self.module.check_mode:
            flat = [word for name, (_now, text) in changes.items() for word in (name, text)]
            try:
                ask("CONFIG", "SET", *flat)
            except RespError as err:
                self.fail(
                    f"{self.here} does not take the settings {', '.join(changes)}: {err}. A setting that is read at "
                    "the start only belongs into redis_sentinel_start_options"
                )
            asked = {name: text for name, (_now, text) in changes.items()}
            for name, (now, text) in rs.changed_settings(rs.pairs(ask("CONFIG", "GET", *changes)), asked).items():
                self.fail(
                    f"{self.here} turned {name} '{text}' into '{now}': write it like that in redis_sentinel_settings"
                )
        if (changes or differ or surplus) and not self.module.check_mode:
            self.apply_users(ask, differ, surplus)
            ask("CONFIG", "REWRITE")
        options = {name: rs.value(thing) for name, thing in self.module.params["start_options"].items()}
        if options:
            for name, (now, text) in rs.changed_settings(rs.pairs(ask("CONFIG", "GET", *options)), options).items():
                self.restart_pending.append(f"{name} is {now or 'unknown'} and should be {text}")

    def check_role(self) -> None:
        """A master that the Sentinels do not name is made a replica by them; wait for that, never do it here.

        They cut its connections when they do, hence a new one for each look.
        """
        end = time.monotonic() + self.module.params["timeout"]
        while True:
            with self.connection(self.module.params["timeout"]) as ask:
                shown = rs.info(ask("INFO", "replication"))
            self.result["role"] = shown["role"]
            try:
                named = rs.elect(self.cluster.sentinel_answers())
            except rs.NoMaster:
                named = None
            self.result["master"] = self.cluster.name_of(named) if named else ""
            if shown["role"] != "master" or named in (None, self.here.at) or self.module.check_mode:
                return
            if time.monotonic() > end:
                self.fail(
                    f"{self.here} believes to be master, the Sentinels name {self.cluster.name_of(named)} and have not "
                    f"made it a replica. Do not write to it. Next: redis-cli -h {self.sentinels[0].address} -p "
                    f"{self.sentinels[0].port} --askpass SENTINEL CKQUORUM {self.cluster.master_name}"
                )
            time.sleep(1)

    def sentinel_settings(self) -> dict[str, str]:
        given = self.module.params
        return {
            "announce-ip": self.here.address,
            "announce-port": str(self.here.port),
            "sentinel-user": given["admin_user"],
            "sentinel-pass": given["admin_password"],
        }

    def live_sentinel(self, ask: Client) -> None:
        """Settings and users of a Sentinel that runs."""
        name = self.module.params["master_name"]
        try:
            shown = rs.pairs(ask("SENTINEL", "MASTER", name))
        except RespError:
            masters = [str(rs.pairs(item)["name"]) for item in ask("SENTINEL", "MASTERS")]
            self.fail(
                f"the Sentinel {self.here} monitors {', '.join(masters) or 'nothing'}, not {name}. A living set is not "
                "renamed: put redis_sentinel_master_name back, or stop the Sentinel and remove "
                f"{self.place.conf} to set it up anew"
            )
        wanted = {option: rs.value(thing) for option, thing in self.module.params["settings"].items()}
        live = {option: str(shown.get(option, "")) for option in wanted}
        text = read(self.place.conf)
        own = {"auth-user": self.module.params["admin_user"], "auth-pass": self.module.params["admin_password"]}
        wanted |= own
        live |= {option: rs.conf_value(text, "sentinel", option, name) for option in own}
        changes = rs.changed_settings(live, wanted)
        common = rs.changed_settings(rs.pairs(ask("SENTINEL", "CONFIG", "GET", "*")), self.sentinel_settings())
        self.show_changes(changes | common)
        differ, surplus = self.compare_users(ask)
        if self.module.check_mode:
            return
        self.apply_users(ask, differ, surplus)
        for option, (_now, thing) in changes.items():
            ask("SENTINEL", "SET", name, option, thing)
        for option, (_now, thing) in common.items():
            ask("SENTINEL", "CONFIG", "SET", option, thing)
        if changes or common or differ or surplus:
            ask("SENTINEL", "FLUSHCONFIG")
        self.result["master"] = self.cluster.name_of((str(shown["ip"]), int(shown["port"])))

    def life(self) -> None:
        """Whatever differs on a server that was set up before."""
        self.ensure_unit()
        if not self.ensure_runs():
            return
        with self.connection(self.module.params["timeout"]) as ask:
            if self.kind == "data":
                self.live_data(ask)
            else:
                self.live_sentinel(ask)
        if self.kind == "data":
            self.check_role()


def main() -> None:
    """Ansible's entry point."""
    user = {
        "name": {"type": "str", "required": True},
        "passwords": {"type": "list", "elements": "str", "required": True, "no_log": True},
        "commands": {"type": "str", "required": True},
        "keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
        "channels": {"type": "list", "elements": "str", "default": []},
    }
    module = AnsibleModule(
        argument_spec={
            **rs.ARGUMENTS,
            "kind": {"type": "str", "choices": ["data", "sentinel"], "required": True},
            "member": {"type": "str", "required": True},
            "first_master": {"type": "str", "default": ""},
            "users": {"type": "list", "elements": "dict", "default": [], "options": user},
            "settings": {"type": "dict", "default": {}},
            "start_options": {"type": "dict", "default": {}},
            "unit": {"type": "str", "required": True},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    node = Node(module)
    try:
        if node.is_ours():
            node.life()
        else:
            node.birth()
    except (OSError, RespError) as err:
        node.fail(f"{node.here} broke off ({err}). Its role may just have changed: run again")
    node.finish()


if __name__ == "__main__":
    main()
