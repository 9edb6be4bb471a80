# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A RabbitMQ cluster. Settings: servers ([{address, port}]), user, password, vhost, tls, ca (PEM text).

Numbered persistent messages to a quorum queue, one confirm after the other, through the member that leads the queue:
the worst case. A member that does not do what it should is left for the next of the list.
"""

from __future__ import annotations

import contextlib
import ssl
from typing import Any

import pika
import pika.exceptions
from stream import Late, Stream, deadline

NEEDS = {"pika": "pika"}
FAILURES = (pika.exceptions.AMQPError, Late, OSError)
SHARE = 1000  # messages that one consumer reads
PATIENCE = 1.0  # seconds for a confirm, or for a connection; pika's own clocks are made for tens of seconds


def connect(settings: dict[str, Any], server: dict[str, Any], patience: float = PATIENCE) -> pika.BlockingConnection:
    options = None
    if settings["tls"]:
        options = pika.SSLOptions(ssl.create_default_context(cadata=settings["ca"]), server["address"])
    return pika.BlockingConnection(
        pika.ConnectionParameters(
            host=server["address"],
            port=int(server["port"]),
            virtual_host=settings["vhost"],
            credentials=pika.PlainCredentials(settings["user"], settings["password"]),
            socket_timeout=patience,
            stack_timeout=patience,
            connection_attempts=1,
            ssl_options=options,
        )
    )


def queue(run: str) -> str:
    return f"drill.{run}"


class Client:
    failures = FAILURES

    def __init__(self, settings: dict[str, Any], run: str) -> None:
        self.settings, self.run = settings, run
        self.servers = list(settings["servers"])
        self.connection: pika.BlockingConnection | None = None
        self.channel: Any = None

    def write(self, number: int) -> str:
        try:
            with deadline(PATIENCE):
                if self.channel is None:
                    self.connection = connect(self.settings, self.servers[0])
                    self.channel = self.connection.channel()
                    self.channel.confirm_delivery()
                persistent = pika.BasicProperties(delivery_mode=2)
                self.channel.basic_publish("", queue(self.run), str(number), persistent, mandatory=True)
        except FAILURES:
            self.drop()
            raise
        return str(self.servers[0]["address"])

    def drop(self) -> None:
        """Give this connection up and take the next member."""
        with contextlib.suppress(Exception), deadline(0.05):
            if self.connection:
                self.connection.close()
        self.connection = self.channel = None
        self.servers = self.servers[1:] + self.servers[:1]


def streams(settings: dict[str, Any], run: str) -> dict[str, Stream]:
    return {"confirmed": Stream("messages confirmed by a quorum queue", lambda: Client(settings, run))}


def anywhere(settings: dict[str, Any]) -> pika.BlockingConnection:
    """The first member that takes a connection."""
    for server in settings["servers"][:-1]:
        with contextlib.suppress(*FAILURES):
            return connect(settings, server, 5)
    return connect(settings, settings["servers"][-1], 5)


def prepare(settings: dict[str, Any], run: str) -> None:
    """A queue that is led by the member to which the client goes first."""
    connection = connect(settings, settings["servers"][0], 5)
    arguments = {"x-queue-type": "quorum", "x-queue-leader-locator": "client-local"}
    connection.channel().queue_declare(queue(run), durable=True, arguments=arguments)
    connection.close()


def read(settings: dict[str, Any], run: str, _name: str) -> list[int]:
    """Nothing is acknowledged before all are read: who is interrupted reads them all again.

    A quorum queue lets a consumer that names no limit have 2000 messages unacknowledged (pika, discussion 1349): what
    is behind them would count as lost. So each consumer takes a share and leaves the rest to the next one.
    """
    connection = anywhere(settings)
    found: list[int] = []
    whole = True
    while whole:
        channel = connection.channel()
        channel.basic_qos(prefetch_count=SHARE)
        share = []
        for method, _properties, body in channel.consume(queue(run), inactivity_timeout=5):
            if method is None:
                break
            share.append(int(body))
            if len(share) == SHARE:
                break
        found += share
        whole = len(share) == SHARE
    connection.close()
    return found


def versions(settings: dict[str, Any]) -> dict[str, str]:
    connection = anywhere(settings)
    found = connection._impl.server_properties
    connection.close()
    version = found.get("version", b"not told")
    return {"rabbitmq": version.decode() if isinstance(version, bytes) else str(version)}


def clean(settings: dict[str, Any], run: str) -> None:
    connection = anywhere(settings)
    connection.channel().queue_delete(queue(run))
    connection.close()
