# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What `celery -A shop.queue worker` runs."""

from __future__ import annotations

from typing import Any, ClassVar

from celery.worker.consumer import Consumer


class Worker(Consumer):
    """A consumer without Celery's delayed tasks, for which it would make 28 queues."""

    class Blueprint(Consumer.Blueprint):
        default_steps: ClassVar[list[Any]] = [
            step for step in Consumer.Blueprint.default_steps if "DelayedDelivery" not in str(step)
        ]
