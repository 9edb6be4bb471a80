# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The client of the Redis protocol against a server that says what it is told to."""

from __future__ import annotations

import socket
import threading

import pytest
from ansible_collections.cloudexit.ha_stack.plugins.module_utils.resp import Client, Disconnected, RespError, encode


def client(answers: bytes) -> Client:
    """A client of a server for one connection."""
    listener = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        connection, _peer = listener.accept()
        with connection, listener:
            connection.sendall(answers)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass

    threading.Thread(target=run, daemon=True).start()
    return Client("127.0.0.1", int(listener.getsockname()[1]))


def test_commands_are_arrays_of_bulk_strings() -> None:
    assert encode("SET", "schlüssel", 1, b"\0") == (
        b"*4\r\n$3\r\nSET\r\n$10\r\nschl\xc3\xbcssel\r\n$1\r\n1\r\n$1\r\n\0\r\n"
    )


def test_every_kind_of_answer() -> None:
    nested = b"*3\r\n:1\r\n$-1\r\n*1\r\n$1\r\nx\r\n"
    with client(b"+OK\r\n:42\r\n$5\r\na\r\nbc\r\n$-1\r\n*-1\r\n$0\r\n\r\n" + nested) as ask:
        assert [ask("X") for _time in range(7)] == ["OK", 42, "a\r\nbc", None, None, "", [1, None, ["x"]]]


def test_errors_are_raised_but_for_those_in_an_array() -> None:
    with client(b"-WRONGPASS no\r\n*1\r\n-ERR in it\r\n") as ask:
        with pytest.raises(RespError) as raised:
            ask("AUTH", "x")
        assert raised.value.code == "WRONGPASS"
        (answer,) = ask("EXEC")
        assert isinstance(answer, RespError)


@pytest.mark.parametrize("text", [b"", b"+O", b"$5\r\nab", b"HTTP/1.1 400 Bad Request\r\n"])
def test_half_an_answer_is_a_broken_connection(text: bytes) -> None:
    with client(text) as ask, pytest.raises(Disconnected):
        ask("PING")
