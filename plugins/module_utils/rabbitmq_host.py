# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The RabbitMQ server of this host: its files, its unit, and what it answers."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import rabbitmq as mq

HOME = Path("/var/lib/rabbitmq")
DATA = HOME / "mnesia"
COOKIE = HOME / ".erlang.cookie"
UNIT = "rabbitmq-server.service"
EPMD = "epmd.socket"
# Read at the start only
FILES = (
    "/etc/rabbitmq/rabbitmq.conf",
    "/etc/rabbitmq/rabbitmq-env.conf",
    "/etc/rabbitmq/advanced.config",
    "/etc/rabbitmq/enabled_plugins",
    "/etc/systemd/system/rabbitmq-server.service.d/cloudexit.conf",
    "/etc/systemd/system/epmd.socket.d/cloudexit.conf",
)
# The CLI starts an Erlang VM for each command, 1.7 s and more; erl_call (erlang-base) asks in 0.1 s.
STATE = """
  #{node => node(), running => rabbit:is_running(), connected => [node() | nodes()],
    version => list_to_binary(rabbit_misc:version()),
    members => case erlang:function_exported(rabbit_nodes, list_members, 0) of
                 true -> rabbit_nodes:list_members(); false -> rabbit_mnesia:cluster_nodes(all) end}
"""
RUNNING = """
  begin
    Running = rabbit_nodes:all_running(),
    #{running_nodes => Running,
      partitions => [#{node => N, without => P} || N <- Running,
                     P <- [rpc:call(N, rabbit_node_monitor, partitions, [], 5000)], is_list(P)],
      alarms => [iolist_to_binary(io_lib:format("~0p", [A])) || A <- rabbit_alarm:get_alarms()],
      drained => [N || N <- Running, rabbit_maintenance:is_being_drained_local_read(N)]}
  end
"""
DEFINITIONS = "rabbit_definitions:all_definitions()"
# The leader as the Raft group itself tells; a group without one does not answer in time.
QUEUES = """
  begin
    Names = maps:from_list([{N, R} || N <- rabbit_nodes:all_running(), R <- [rpc:call(N, erlang, registered, [], 5000)],
                                      is_list(R)]),
    [begin
       {Name, _} = amqqueue:get_pid(Q), {resource, V, queue, B} = amqqueue:get_name(Q),
       Nodes = case maps:get(nodes, amqqueue:get_type_state(Q)) of M when is_map(M) -> maps:keys(M); L -> L end,
       Online = [N || N <- Nodes, lists:member(Name, maps:get(N, Names, []))],
       Leader = case Online of
         [] -> <<>>;
         [N1 | _] -> case ra:members({Name, N1}, 2000) of {ok, _, {_, Who}} -> Who; _ -> <<>> end
       end,
       #{vhost => V, name => B, raft => Name, members => Nodes, online => Online,
         leader => case lists:member(Leader, Online) of true -> Leader; false -> <<>> end}
     end || Q <- rabbit_amqqueue:list(), amqqueue:get_type(Q) =:= rabbit_quorum_queue]
  end
"""


class Silent(Exception):
    """The server does not answer; the text says what was said instead."""


class Server:
    """The server of this host."""

    def __init__(self, module: AnsibleModule, node: str = "") -> None:
        self.module = module
        self.node = node or running_node()

    def fail(self, text: str) -> NoReturn:
        self.module.fail_json(msg=f"rabbitmq_mirror: {text}")
        raise SystemExit(1)

    def run(self, *command: str, data: str = "") -> tuple[int, str, str]:
        """A command as the server's user, past Debian's wrapper, which hands arguments to a shell."""
        words = ["runuser", "-u", "rabbitmq", "--", "env", f"HOME={HOME}", *command]
        # not AnsibleModule.run_command: erl_call may end before it has read its input
        try:
            done = subprocess.run(words, input=data, capture_output=True, text=True, cwd=HOME, check=False)
        except FileNotFoundError as err:  # where nothing is installed yet
            return 127, "", str(err)
        return done.returncode, done.stdout, done.stderr

    def ask(self, expression: str, timeout: int = 30) -> Any:
        """The value of an Erlang expression in the server, through JSON."""
        name, _at, host = self.node.partition("@")
        where = ["-name", self.node] if "." in host else ["-sname", name]
        script = (
            "io:put_chars(base64:encode(try iolist_to_binary(rabbit_json:encode(#{value => " + expression + "})) catch"
            ' C:R -> rabbit_json:encode(#{error => iolist_to_binary(io_lib:format("~0p ~0p", [C, R]))}) end)).\n'
        )
        # By default every erl_call has the same name, and a second one at the same time is thrown out. Not more than a
        # few names, because the server keeps each for ever.
        where += ["-h", f"ask{os.getpid() % 997}"]
        command = ["erl_call", *where, "-timeout", str(timeout), "-fetch_stdout", "-no_result_term", "-e"]
        code, out, err = self.run(*command, data=script)
        try:
            answer = json.loads(base64.b64decode(out.strip(), validate=True))
        except ValueError:
            answer = {"error": (err or out).strip() or f"status {code}"}
        if "error" in answer:
            raise Silent(f"{self.node}: {answer['error']}")
        return answer["value"]

    def ctl(self, *arguments: str, tool: str = "rabbitmqctl") -> str:
        """The CLI, for what changes something."""
        command = [f"/usr/lib/rabbitmq/bin/{tool}", "-n", self.node, *long_names(self.node), *arguments]
        code, out, err = self.run(*command)
        if code:
            self.fail(f"{tool} {' '.join(arguments)}: {(err or out).strip() or f'status {code}'}")
        return out

    def load(self, definitions: Mapping[str, Any]) -> None:
        """Import definitions, through a file: on OTP 27 the CLI never sees the end of its input."""
        with tempfile.NamedTemporaryFile("w", dir=HOME, suffix=".json", encoding="utf-8") as file:
            shutil.chown(file.name, "rabbitmq")
            json.dump(definitions, file)
            file.flush()
            self.ctl("import_definitions", file.name)

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = self.ask(STATE)
        if found["running"]:
            found |= self.ask(RUNNING)
            if len(found["members"]) == 1:
                found["definitions"] = self.ask(DEFINITIONS)
        return found

    def wait(self, what: Callable[[], str], seconds: float) -> str:
        """Until `what` finds nothing to complain about; its last complaint otherwise."""
        end = time.monotonic() + seconds
        while True:
            try:
                complaint = what()
            except Silent as err:
                complaint = str(err)
            if not complaint or time.monotonic() > end:
                return complaint
            time.sleep(0.5)

    # -- systemd --------------------------------------------------------------

    def systemctl(self, *arguments: str) -> str:
        code, out, err = self.module.run_command(["systemctl", *arguments])
        if code:
            journal = self.module.run_command(["journalctl", "-u", UNIT, "-n", "20", "--no-pager", "-o", "cat"])[
                1
            ].strip()
            self.fail(
                f"systemctl {' '.join(arguments)}: {(err or out).strip()}. Next: rabbitmq-diagnostics log_tail; "
                f"journalctl -u rabbitmq-server. The last lines of it: {journal[-1000:]}"
            )
        return out

    def start(self, seconds: int) -> None:
        """Start the server, and epmd before it on the addresses that its drop-in names now."""
        self.systemctl("daemon-reload")
        if ctime(FILES[-1]) > started(self.module, EPMD):
            self.systemctl("stop", "epmd.service", EPMD)
        self.systemctl("enable", "--quiet", UNIT)
        self.systemctl("start", EPMD)
        self.systemctl("start", "--no-block", UNIT)
        self.node = self.node or running_node()
        if complaint := self.wait(
            lambda: "" if self.ask("rabbit:is_running()") else "its application does not run", seconds
        ):
            waits = (
                ""
                if "application" not in complaint
                else ". It may wait for the member that stopped last: start that one, too"
            )
            self.fail(
                f"{self.node} is not up after {seconds} s ({complaint}){waits}. Next, on it: "
                "systemctl status rabbitmq-server; rabbitmq-diagnostics log_tail"
            )

    def stop(self) -> None:
        self.systemctl("stop", UNIT)


def long_names(node: str) -> list[str]:
    return ["-l"] if "." in node.partition("@")[2] else []


def read(path: str | Path) -> str:
    """A file's text, empty if it is not there."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return ""


def ctime(path: str) -> float:
    try:
        return os.stat(path).st_ctime
    except FileNotFoundError:
        return 0.0


def started(module: AnsibleModule, unit: str) -> float:
    """When a unit's process was started, or its socket opened, in seconds since the epoch; 0 if it is not active."""
    names = ("ActiveState", "ExecMainStartTimestampMonotonic", "ActiveEnterTimestampMonotonic")
    shown = module.run_command(["systemctl", "show", unit, "-p", ",".join(names)])[1]
    values = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    if values.get("ActiveState") not in ("active", "activating"):
        return 0.0
    since_boot = (int(values.get(names[1]) or 0) or int(values.get(names[2]) or 0)) / 1e6
    return time.time() - time.clock_gettime(time.CLOCK_MONOTONIC) + since_boot


def running_node() -> str:
    """Name of the RabbitMQ node that runs on this host, by the file in which each keeps its process's number."""
    for path in sorted(DATA.glob("*@*.pid")):
        number = read(path).strip()
        if number.isdigit() and b"beam" in _command(number):
            return path.name.removesuffix(".pid")
    return ""


def _command(number: str) -> bytes:
    try:
        return Path("/proc", number, "cmdline").read_bytes().split(b"\0", 1)[0]
    except OSError:
        return b""


def stored() -> dict[str, Sequence[str]]:
    """Nodes that have data on this host, with the members that their files name."""
    found: dict[str, Sequence[str]] = {}
    for folder in DATA.iterdir() if DATA.is_dir() else ():
        if folder.is_dir() and "@" in folder.name and not folder.name.endswith("-plugins-expand"):
            nodes = mq.cluster_nodes(read(folder / "cluster_nodes.config"))
            found[folder.name] = nodes or [folder.name]
    return found


def pending(module: AnsibleModule) -> list[str]:
    """Files that are newer than the server's start."""
    since = started(module, UNIT)
    return [path for path in FILES if since and ctime(path) > since]


def look(module: AnsibleModule, node: str, members: Sequence[str]) -> tuple[str, list[str], dict[str, Any] | None]:
    """mq.classify of this host, and what the server answered."""
    name = running_node()
    live: dict[str, Any] | None = None
    if name:
        try:
            live = Server(module, name).state()
        except Silent:
            live = None
    state, nodes = mq.classify(mq.Seen(node, name, live, stored(), members))
    return state, nodes, live


ARGUMENTS: dict[str, Any] = {
    "node": {"type": "str", "required": True},
    "members": {"type": "list", "elements": "str", "required": True},
}
