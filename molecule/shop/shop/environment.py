# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reading settings out of the environment; a wrong value is refused with its name."""

from __future__ import annotations

import os

from django.core.exceptions import ImproperlyConfigured


def text(name: str, default: str = "") -> str:
    return os.environ.get(name, default)


def required(name: str) -> str:
    value = text(name)
    if not value:
        raise ImproperlyConfigured(f"shop: {name} is not set in the environment")
    return value


def words(name: str) -> list[str]:
    """A list separated by commas."""
    return [word.strip() for word in text(name).split(",") if word.strip()]


def number(name: str, default: float) -> float:
    value = text(name)
    try:
        return float(value) if value else default
    except ValueError:
        raise ImproperlyConfigured(f"shop: {name} must be a number, it is {value!r}") from None


def integer(name: str, default: int) -> int:
    return int(number(name, default))


def boolean(name: str, default: bool) -> bool:
    value = text(name).lower()
    if value in ("", "1", "true", "yes", "on", "0", "false", "no", "off"):
        return value in ("1", "true", "yes", "on") if value else default
    raise ImproperlyConfigured(f"shop: {name} must be true or false, it is {value!r}")


def servers(name: str) -> list[tuple[str, int]]:
    """host:port,host:port"""
    result = []
    for word in words(name):
        host, _colon, port = word.rpartition(":")
        if not host or not port.isdigit():
            raise ImproperlyConfigured(f"shop: {name} must be host:port,host:port …, {word!r} is not")
        result.append((host.strip("[]"), int(port)))
    return result
