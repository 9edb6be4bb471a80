# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Customers of the shop, as a probe of playbooks/drill.yml. Settings: url, token.

An order is attempted once, with a key of its own; acknowledged is one that has a number.
"""

from __future__ import annotations

import http.client
from typing import Any

import orders
from stream import Stream

NEEDS: dict[str, str] = {}
FAILURES = (OSError, http.client.HTTPException, orders.ProbeError)
CUSTOMERS = 3  # each at the whole rate: one waits for its own answer only


class Refused(http.client.HTTPException):
    """The shop answered that it could not."""


class Client:
    failures = (OSError, http.client.HTTPException)

    def __init__(self, settings: dict[str, Any], run: str, name: str) -> None:
        self.shop = orders.Shop(settings["url"], settings["token"], 5)
        self.run, self.name, self.by = run, name, settings["url"]

    def write(self, number: int) -> str:
        key = prefix(self.run, self.name) + str(number)
        sku = orders.SKUS[number % len(orders.SKUS)]
        status, answer = self.shop.ask("POST", "/api/orders", {"key": key, "sku": sku})
        if status in orders.HOPELESS:
            raise orders.ProbeError(f"the shop refuses with {status}: {answer.get('error', 'no reason given')}")
        if status not in (200, 201) or not answer.get("number"):
            if status == 400:
                self.shop.session = ""
            raise Refused(str(status))
        return str(self.by)


def prefix(run: str, name: str) -> str:
    return f"drill-{run}-{name}-"


def streams(settings: dict[str, Any], run: str) -> dict[str, Stream]:
    names = [f"customer{number}" for number in range(1, CUSTOMERS + 1)]
    return {name: Stream("orders placed", lambda name=name: Client(settings, run, name)) for name in names}


def prepare(_settings: dict[str, Any], _run: str) -> None:
    """Nothing."""


def read(settings: dict[str, Any], run: str, name: str) -> list[int]:
    start = prefix(run, name)
    found, _duplicated = orders.stored(settings["url"], settings["token"], start)
    return [int(order.key.removeprefix(start)) for order in found]


def versions(_settings: dict[str, Any]) -> dict[str, str]:
    return {}


def clean(_settings: dict[str, Any], _run: str) -> None:
    """Orders stay."""
