# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""HTTP through an address that moves. Settings: urls, timeout, headers, verify (whether certificates are checked).

A record is a request with its number in the query, so that no cache in between answers for the server; it is
acknowledged by a status below 400. The connection is kept as browsers do, and opened again when it breaks.
"""

from __future__ import annotations

import http.client
import itertools
import ssl
from typing import Any
from urllib.parse import urlsplit

from stream import Stream

NEEDS = {}
FAILURES = (OSError, http.client.HTTPException)


class BadStatus(http.client.HTTPException):
    """The server answered that it could not."""

    def __init__(self, status: int) -> None:
        super().__init__(str(status))
        self.kind = f"status {status}"


def connection(url: str, settings: dict[str, Any]) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    assert parts.hostname
    if parts.scheme != "https":
        return http.client.HTTPConnection(parts.hostname, parts.port, timeout=settings["timeout"])
    context = ssl.create_default_context()
    if not settings["verify"]:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=settings["timeout"], context=context)


class Client:
    failures = FAILURES

    def __init__(self, url: str, settings: dict[str, Any], run: str) -> None:
        self.url, self.settings, self.run = url, settings, run
        self.address = urlsplit(url).hostname or ""
        self.kept: http.client.HTTPConnection | None = None

    def write(self, number: int) -> str:
        parts = urlsplit(self.url)
        path = f"{parts.path or '/'}?drill={self.run}-{number}"
        if self.kept is None:
            self.kept = connection(self.url, self.settings)
        try:
            self.kept.request("GET", path, headers=self.settings["headers"])
            answer = self.kept.getresponse()
            answer.read()
        except FAILURES:
            self.kept.close()
            self.kept = None
            raise
        if answer.status >= 400:
            raise BadStatus(answer.status)
        return self.address


def streams(settings: dict[str, Any], run: str) -> dict[str, Stream]:
    return {
        urlsplit(url).netloc: Stream(
            f"GET {url}",
            lambda url=url: Client(url, settings, run),
            ["gap"],
            "nothing is written, so nothing can be lost",
            readable=False,
        )
        for url in settings["urls"]
    }


def prepare(_settings: dict[str, Any], _run: str) -> None:
    """Nothing."""


def read(_settings: dict[str, Any], _run: str, _name: str) -> list[int]:
    return []


def versions(settings: dict[str, Any]) -> dict[str, str]:
    found = {}
    for url in itertools.islice(settings["urls"], 1):
        client = connection(url, settings)
        client.request("GET", urlsplit(url).path or "/", headers=settings["headers"])
        answer = client.getresponse()
        answer.read()
        client.close()
        found = {"server": answer.headers.get("Server", "not told")}
    return found


def clean(_settings: dict[str, Any], _run: str) -> None:
    """Nothing."""
