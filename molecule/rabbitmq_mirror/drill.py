# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Clients of the cluster, with pika and a list of all members, while something happens to it.

    drill.py [DRILL …]    all of DRILLS, or those named

Each client publishes numbered persistent messages to a quorum queue of its own, one confirm after the other, to the
member that the drill is going to hurt and that leads the queue: the worst case. Afterwards all messages are read back
through another member. Settings come as JSON on standard input: endpoints, user, password, vhost, lab, inventory, and
in seconds rto, rto_silent (for a leader that falls silent) and detected (after which a silent member is given up at the
latest); `mirrored` where there are classic mirrored queues, by a policy for names that begin so. Results:
.lab/reports/rabbitmq.json and rabbitmq.md. Exit status 1 if a confirmed message is lost or a gap is too long, judged by
the load (outcome.slowness).
"""

from __future__ import annotations

import contextlib
import functools
import json
import multiprocessing
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pika

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "molecule"), str(ROOT / "roles/drill/files/probe")]

from lab import outcome, records, remote  # noqa: E402
from lab.definitions import LabError, Node, load  # noqa: E402
from stream import deadline  # noqa: E402

PATIENCE = 1.0  # seconds that a client waits for a confirm, or for a connection, before it tries another member
LONGER = 3.0  # seconds that a member is silent after the others have given it up
PID = "/var/lib/rabbitmq/mnesia/*.pid"
BEFORE, AFTER = 2.0, 4.0  # seconds of writing before the fault, and without an error after it
LIMIT = 90.0  # seconds after which a client that is not served is given up
WHOLE = f"""
cd /var/lib/rabbitmq
echo 'true = length(rabbit_nodes:all_running()) =:= COUNT,
  true = rabbit_quorum_queue:list_with_minimum_quorum() =:= [].' |
  runuser -u rabbitmq -- env HOME=$PWD erl_call -name $(basename {PID} .pid) -timeout 10 -e | grep -q 'ok, true'
"""
IN_STEP = r"""
rabbitmqctl --quiet list_queues -p VHOST name synchronised_slave_pids |
  awk -F '\t' '$1 == "QUEUE" && gsub("<", "", $2) == COUNT' | grep -q .
"""
COLUMNS = ("attempted", "acknowledged", "lost", "unexpected", "duplicated", "gap", "allowed")


class Client:
    """A publisher which goes to the next member of its list when one does not do what it should."""

    def __init__(self, given: dict[str, Any], queue: str, first: str, kind: str = "quorum") -> None:
        at = [item["address"] for item in given["endpoints"]].index(first)
        self.given, self.queue, self.kind = given, queue, kind
        self.hosts = given["endpoints"][at:] + given["endpoints"][:at]
        self.connection: pika.BlockingConnection | None = None
        self.channel: Any = None

    def connect(self, endpoint: dict[str, Any]) -> pika.BlockingConnection:
        return pika.BlockingConnection(
            pika.ConnectionParameters(
                host=endpoint["address"],
                port=endpoint["port"],
                virtual_host=self.given["vhost"],
                credentials=pika.PlainCredentials(self.given["user"], self.given["password"]),
                socket_timeout=PATIENCE,
                stack_timeout=PATIENCE,
                connection_attempts=1,
            )
        )

    def open(self) -> Any:
        self.connection = self.connect(self.hosts[0])
        channel = self.connection.channel()
        channel.confirm_delivery()
        return channel

    def send(self, number: int) -> None:
        try:
            with deadline(PATIENCE):
                if self.channel is None:
                    self.channel = self.open()
                persistent = pika.BasicProperties(delivery_mode=2)
                self.channel.basic_publish("", self.queue, str(number), persistent, mandatory=True)
        except BaseException:
            self.drop()
            raise

    def drop(self) -> None:
        """Give this connection up and take the next member."""
        with contextlib.suppress(Exception), deadline(0.05):
            if self.connection:
                self.connection.close()
        self.connection = self.channel = None
        self.hosts = self.hosts[1:] + self.hosts[:1]

    def declare(self) -> None:
        """A queue that is led where this client is."""
        connection = self.connect(self.hosts[0])
        locator = "x-queue-leader-locator" if self.kind == "quorum" else "x-queue-master-locator"
        arguments = {"x-queue-type": self.kind, locator: "client-local"}
        connection.channel().queue_declare(self.queue, durable=True, arguments=arguments)
        connection.close()

    def read(self) -> list[int]:
        """All messages, and the queue is gone."""
        connection = self.connect(self.hosts[0])
        channel = connection.channel()
        found = []
        for method, _properties, body in channel.consume(self.queue, inactivity_timeout=3):
            if method is None:
                break
            found.append(int(body))
            channel.basic_ack(method.delivery_tag)
        channel.cancel()
        channel.queue_delete(self.queue)
        connection.close()
        return found


class Process:
    """A client in a process of its own: pika waits without end for a confirm, and alarms ring in main threads only."""

    def __init__(self, client: Client) -> None:
        context = multiprocessing.get_context("fork")
        self.here, there = context.Pipe()
        self.last = context.Value("d", 0.0)  # when a record was acknowledged, by the monotonic clock
        self.trouble = context.Value("d", 0.0)  # when one was not
        self.worker = context.Process(target=self.work, args=(client, there), daemon=True)
        self.worker.start()

    def work(self, client: Client, there: Any) -> None:
        def write(number: int) -> bool:
            try:
                client.send(number)
            except Exception:
                self.trouble.value = time.monotonic()
                raise
            self.last.value = time.monotonic()
            return True

        writer = records.Writer(write, (Exception,))
        threading.Thread(target=lambda: there.recv() and writer._stopped.set(), daemon=True).start()
        writer.run()
        there.send((writer.attempted, writer.acknowledged, dict(writer.errors), writer.begin, writer.end))

    def served(self, since: float) -> bool:
        """Whether it writes now, and has for a while without an error."""
        now = time.monotonic()
        return now - self.last.value < 1 and now - max(since, self.trouble.value) > AFTER

    def end(self) -> Any:
        self.here.send(True)
        return self.here.recv()


def write(clients: dict[str, Client], fault: Callable[[], Any]) -> dict[str, Any]:
    """What each client did, from a while before the fault until all are served again or LIMIT is over."""
    processes = {who: Process(client) for who, client in clients.items()}
    begin = time.monotonic()
    while not all(process.last.value for process in processes.values()):
        if time.monotonic() - begin > LIMIT:
            raise LabError(f"no message was confirmed in {LIMIT:g} s")
        time.sleep(0.1)
    time.sleep(BEFORE)
    fault()
    over = time.monotonic()
    while not all(process.served(over) for process in processes.values()) and time.monotonic() - over < LIMIT:
        time.sleep(0.1)
    return {who: process.end() for who, process in processes.items()}


class Drills:
    """What can happen; mq1, mq2, mq3 are the members in the order of the lab."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.given = given
        self.lab = load(given["lab"])
        self.nodes: list[Node] = [node for node in self.lab.nodes if "rabbitmq" in node.groups]
        self.rows: dict[str, dict[str, Any]] = {}

    def command(self, *words: str) -> None:
        done = subprocess.run(
            [sys.executable, str(ROOT / "molecule" / "lab"), *words], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise LabError(f"{' '.join(words)}: {done.stderr.strip()}")

    def whole(self) -> None:
        """Until every member is up and every queue has all replicas, as each of them sees it."""
        script = WHOLE.replace("COUNT", str(len(self.nodes)))
        for node in self.nodes:
            _until(functools.partial(remote.run, node, script))

    def play(
        self,
        name: str,
        fault: Callable[[], Any],
        victims: dict[str, Node],
        allowed: float | None = None,
        queue: tuple[str, str] = ("drill", "quorum"),
    ) -> None:
        """Clients at these members, the fault, the cluster whole by itself, all messages read through another member.

        `queue`: how the queues' names begin, and their type.
        """
        start, kind = queue
        run = uuid.uuid4().hex[:8]
        clients = {who: Client(self.given, f"{start}.{run}.{who}", node.address, kind) for who, node in victims.items()}
        for client in clients.values():
            client.declare()
        done = write(clients, fault)
        self.whole()
        if kind == "classic":
            self.in_step([client.queue for client in clients.values()])
        for who, client in clients.items():
            client.drop()
            attempted, acknowledged, errors, _begin, end = done[who]
            times = [at for _number, at in acknowledged]
            row = {
                "attempted": attempted,
                **records.judged([number for number, _at in acknowledged], client.read()),
                # the connection before the first message is no gap
                "gap": round(records.gap(times, times[0], end), 2),
                "errors": errors,
            }
            # as long as the machine is loaded: clients and nodes share it
            row["allowed"] = round((self.given["rto"] if allowed is None else allowed) * outcome.slowness(), 1)
            self.rows[f"{name}, {who}" if len(clients) > 1 else name] = row
            print(f"{name} {who}: {row}", file=sys.stderr, flush=True)

    def kill(self) -> None:
        node = self.nodes[0]
        self.play("process killed", lambda: remote.run(node, f"kill -9 $(cat {PID})"), {"client": node})

    def hang(self, seconds: float = 0) -> None:
        """For so long, or for so long that the others give the member up."""
        node, given_up = self.nodes[1], not seconds
        seconds = seconds or self.given["detected"] + LONGER

        def stop() -> None:
            remote.run(node, f"kill -STOP $(cat {PID})")
            time.sleep(seconds)
            remote.run(node, f"kill -CONT $(cat {PID})")

        # Both sides then hold each other for lost, until its host restarts the node (rabbitmq-reunite.service).
        name = f"process hung for {seconds:.0f} s" + (", longer than net_ticktime" if given_up else "")
        self.play(name, stop, {"client": node}, self.given["rto_silent"])

    def short(self) -> None:
        self.hang(3)

    def power(self, name: str = "power cut", queue: tuple[str, str] = ("drill", "quorum")) -> None:
        """The cable goes dead first: a container that is killed still says goodbye."""
        node = self.nodes[2]

        def cut() -> None:
            self.command("link", "cut", self.lab.name, node.name)
            self.command("power", "off", self.lab.name, node.name)
            time.sleep(8)
            self.command("power", "on", self.lab.name, node.name)

        self.play(name, cut, {"client": node}, self.given["rto_silent"], queue=queue)

    def mirrored(self) -> None:
        """The same for a classic queue that a policy mirrors."""
        self.power("power cut, classic mirrored queue", ("mirrored", "classic"))

    def in_step(self, queues: list[str]) -> None:
        """Until every other member has a mirror of these queues that is in step."""
        for queue in queues:
            script = IN_STEP.replace("VHOST", self.given["vhost"]).replace("QUEUE", queue)
            _until(functools.partial(remote.run, self.nodes[0], script.replace("COUNT", str(len(self.nodes) - 1))))

    def partition(self) -> None:
        """One member sees nobody, a client at it and one at the others."""
        node, other = self.nodes[0], self.nodes[1]
        seconds = self.given["detected"] + LONGER

        def cut() -> None:
            self.command("link", "cut", self.lab.name, node.name, "--to", *(n.name for n in self.nodes if n != node))
            time.sleep(seconds)
            self.command("link", "restore", self.lab.name, node.name)

        clients = {"minority": node, "majority": other}
        self.play(f"partition for {seconds:.0f} s", cut, clients, self.given["rto_silent"])

    def rolling(self) -> None:
        def restart() -> None:
            self.playbook("rolling_restart.yml", "--tags", "rabbitmq_mirror", "-e", "rabbitmq_mirror_restart_all=true")

        self.play("rolling restart", restart, {"client": self.nodes[0]})

    def playbook(self, name: str, *arguments: str) -> None:
        command = ["ansible-playbook", str(ROOT / "playbooks" / name), *self.given["inventory"], *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LabError(f"{name}:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")


DRILLS = ("kill", "short", "hang", "power", "partition", "rolling")


def _until(what: Callable[[], Any], seconds: float = 120) -> None:
    end = time.monotonic() + seconds * outcome.slowness()
    while True:
        try:
            what()
            return
        except LabError:
            if time.monotonic() > end:
                raise
            time.sleep(1)


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Results by drill, in Markdown."""
    lines = [["", *COLUMNS], ["---"] * (len(COLUMNS) + 1)]
    lines += [[name, *(str(row[column]) for column in COLUMNS)] for name, row in rows.items()]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main() -> int:
    given = json.load(sys.stdin)
    drills = Drills(given)
    for name in sys.argv[1:] or (*DRILLS, *(["mirrored"] if given["mirrored"] else [])):
        drills.whole()
        getattr(drills, name)()
    shown = table(drills.rows)
    outcome.save("rabbitmq", drills.rows, shown)
    print(shown)
    bad = [name for name, row in drills.rows.items() if row["lost"] or row["gap"] > row["allowed"]]
    if bad:
        print(f"lost messages, or a gap that is too long: {', '.join(bad)}", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    outcome.end(main)
