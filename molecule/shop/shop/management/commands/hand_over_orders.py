# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Puts orders on the queue that are not shipped and were forgotten: the queue was away when they were placed."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.db import DatabaseError, InterfaceError, connections

from shop import queue


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--older", type=float, default=20, help="seconds that an order has been pending")
        parser.add_argument("--every", type=float, help="go on, with so many seconds between two looks")

    def handle(self, *args: Any, **options: Any) -> None:
        while True:
            try:
                self.look(options["older"])
            except (DatabaseError, InterfaceError) as error:
                if not options["every"]:
                    raise
                self.stderr.write(f"the database is away: {error}")
                connections.close_all()
            if not options["every"]:
                return
            time.sleep(options["every"])

    def look(self, older: float) -> None:
        for number in queue.forgotten(older):
            try:
                queue.publish(number)
            except Exception as error:
                self.stderr.write(f"order {number} is not on the queue yet: {type(error).__name__}: {error}")
                return
            self.stdout.write(f"order {number} is on the queue")
