# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The decisions about a host's memcached processes, and the clients' server list."""

from __future__ import annotations

import random
import socket
import threading

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.cloudexit.ha_stack.plugins.filter.memcached_servers import memcached_servers
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import memcached
from ansible_collections.cloudexit.ha_stack.plugins.module_utils.line_client import Disconnected
from ansible_collections.cloudexit.ha_stack.plugins.module_utils.memcached import Instance, plan

# cat /proc/net/tcp on a node with two processes (uid 100), sshd and a client's connection
TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 244596 1 0 100 0 0 10 0
   1: 0B04CB0A:2BCC 00000000:0000 0A 00000000:00000000 00:00000000 00000000   100        0 505723 1 0 100 0 0 10 0
   2: 0B04CB0A:2BCB 00000000:0000 0A 00000000:00000000 00:00000000 00000000   100        0 505720 1 0 100 0 0 10 0
   3: 0B04CB0A:2BCB 0104CB0A:D6F8 01 00000000:00000000 00:00000000 00000000   100        0 505790 1 0 20 4 30 10 -1
"""
TCP6 = """\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when uid
   0: 00000000000000000000000001000000:2BCB 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 0 100
"""


def test_only_the_users_listening_sockets_are_listed() -> None:
    assert memcached.listeners(TCP, 100) == [("10.203.4.11", 11212), ("10.203.4.11", 11211)]
    assert memcached.listeners(TCP6, 100) == [("::1", 11211)]
    assert memcached.listeners(TCP, 101) == []


def test_a_running_process_is_never_restarted_by_a_plan() -> None:
    found = [Instance(11211, True, True, "old"), Instance(11212, True, True, "new")]
    decided = plan([11211, 11212], found, "new")
    assert (decided.start, decided.stop, decided.enable, decided.pending) == ([], [], [], [11211])
    assert not decided.changes
    assert plan([11211], [Instance(11211, True, True, "new", replaced=True)], "new").pending == [11211]


def test_missing_processes_are_started_and_surplus_ones_stopped() -> None:
    found = [Instance(11211, False, True), Instance(11213, True, True, "new"), Instance(11214, False, False)]
    decided = plan([11212, 11211], found, "new")
    assert decided.start == [11211, 11212]
    assert decided.enable == [11212]
    assert decided.stop == [11213]
    assert decided.pending == []
    assert decided.changes


def test_all_as_wanted_is_no_change() -> None:
    assert not plan([11211], [Instance(11211, True, True, "x")], "x").changes


def test_the_seal_is_the_same_in_the_file_and_in_the_process() -> None:
    unit = "[Unit]\n[Service]\nExecStart=/usr/bin/memcached\n"
    text = memcached.sealed(unit)
    assert memcached.seal_of(text.encode(), b"\n") == memcached.fingerprint(unit)
    line = next(line for line in text.splitlines() if line.startswith("Environment="))
    environ = b"LANG=C\0" + line.removeprefix("Environment=").encode() + b"\0"
    assert memcached.seal_of(environ, b"\0") == memcached.fingerprint(unit)
    assert memcached.seal_of(b"LANG=C\0", b"\0") == ""
    assert memcached.fingerprint(unit + "\n") != memcached.fingerprint(unit)


def test_the_server_list_does_not_depend_on_the_order_of_the_inventory() -> None:
    endpoints = [{"address": f"192.0.2.{host}", "port": port} for host in (9, 10, 100) for port in (11211, 11212)]
    expected = [
        "192.0.2.9:11211",
        "192.0.2.9:11212",
        "192.0.2.10:11211",
        "192.0.2.10:11212",
        "192.0.2.100:11211",
        "192.0.2.100:11212",
    ]
    for seed in range(20):
        random.Random(seed).shuffle(endpoints)
        assert memcached_servers(endpoints) == expected


def test_ipv6_servers_are_in_brackets() -> None:
    assert memcached_servers([{"address": "2001:db8::1", "port": "11211"}]) == ["[2001:db8::1]:11211"]


@pytest.mark.parametrize(
    ("endpoints", "text"),
    [
        ([{"address": "cache1", "port": 11211}], "needs an IP address and a port"),
        ([{"address": "192.0.2.1"}], "needs an IP address and a port"),
        ([{"address": "192.0.2.1", "port": 1}, {"address": "192.0.2.1", "port": 1}], "named twice: 192.0.2.1:1"),
    ],
)
def test_wrong_endpoints_are_refused(endpoints: list[dict[str, object]], text: str) -> None:
    with pytest.raises(AnsibleFilterError, match=text):
        memcached_servers(endpoints)


def serve(answers: bytes) -> int:
    """A server for one connection that says the same whatever it is asked; its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        connection, _peer = listener.accept()
        with connection, listener:
            connection.sendall(answers)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass

    threading.Thread(target=run, daemon=True).start()
    return int(listener.getsockname()[1])


def test_the_client_reads_what_memcached_says() -> None:
    text = (
        b"STORED\r\nVALUE k 0 5\r\na\r\nb \r\nEND\r\nEND\r\nDELETED\r\nSTAT udpport 0\r\nSTAT inter 10.0.0.1\r\nEND\r\n"
    )
    with memcached.Client("127.0.0.1", serve(text)) as client:
        assert client.set("k", b"a\r\nb ", 1) == "STORED"
        assert client.get("k") == b"a\r\nb "
        assert client.get("k") is None
        assert client.delete("k") == "DELETED"
        assert client.stats("settings") == {"udpport": "0", "inter": "10.0.0.1"}


def test_a_broken_connection_is_an_error() -> None:
    with (
        memcached.Client("127.0.0.1", serve(b"VERSION 1.6")) as client,
        pytest.raises(Disconnected, match="closed in the middle"),
    ):
        client.version()
