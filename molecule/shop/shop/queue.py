# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From an order to the warehouse: one task per order on a quorum queue, confirmed by the broker.

    celery -A shop.queue worker --concurrency 1 --without-gossip --without-mingle --without-heartbeat
    django-admin hand_over_orders --every 30

An order that is in the database is shipped, whatever happens to the queue. Its row is the record of what is to be done:
hand_over() tells the broker after the commit, and what it could not tell is still pending, and told again by
hand_over_orders. A task may therefore come twice; ship() does nothing the second time.
"""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from celery import Celery
from celery.exceptions import Reject
from django.conf import settings
from django.core.cache import cache
from django.db import DatabaseError, InterfaceError, OperationalError, connections, transaction
from django.utils import timezone
from kombu import Exchange, Queue

log = logging.getLogger("shop.queue")

QUEUE = "orders"
CONFIRM_SECONDS = 1.0  # a broker that hangs is given up after this, and the next one is tried
PATIENCE = 1.5  # seconds that a customer waits for the confirmation
AWAY = "shop:queue:away"  # in the cache of all web nodes
AWAY_SECONDS = 5  # for so long nobody tries again, so that only one customer waits
SHIP_PAUSES = (0.5, 1, 2, 4, 8, 16)  # between a worker's attempts to reach the database

PENDING, PROCESSED, SHIPPED = "Pending", "Being processed", "Shipped"


def urls() -> list[str]:
    """One address for each broker."""
    known = (settings.RABBITMQ_USERNAME, settings.RABBITMQ_PASSWORD, settings.RABBITMQ_VHOST)
    user, password, vhost = (quote(text, safe="") for text in known)
    return [f"amqp://{user}:{password}@{host}:{port}/{vhost}" for host, port in settings.RABBITMQ_SERVERS]


app = Celery("shop")
app.conf.update(
    broker_url=urls() or "memory://",
    broker_failover_strategy="shuffle",
    broker_connection_timeout=CONFIRM_SECONDS,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_transport_options={"confirm_publish": True},
    # Silence of a broker without power is noticed by its heartbeat.
    broker_heartbeat=10,
    # Whoever runs the brokers makes the queue; the shop may neither make nor change any.
    task_queues=[Queue(QUEUE, Exchange(""), QUEUE, no_declare=True, queue_arguments={"x-queue-type": "quorum"})],
    task_default_queue=QUEUE,
    # A task whose worker dies is somebody else's.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    worker_enable_remote_control=False,
    worker_consumer="shop.worker:Worker",
    # Without a broker, in a test: at once.
    task_always_eager=not settings.RABBITMQ_SERVERS,
)


_publishers = ThreadPoolExecutor(2, thread_name_prefix="publisher")


def publish(number: str) -> None:
    """Returns when the broker has confirmed that it has the task; raises when it has not."""
    ship.apply_async(
        (number,),
        retry=True,
        retry_policy={"max_retries": 2 * len(settings.RABBITMQ_SERVERS), "interval_start": 0, "interval_step": 0.1},
        timeout=CONFIRM_SECONDS,
        confirm_timeout=CONFIRM_SECONDS,
    )


def hand_over(number: str) -> bool:
    """Whether the queue has the order, as far as is known after PATIENCE. If not, hand_over_orders will see to it."""
    if not settings.RABBITMQ_SERVERS:
        publish(number)
        return True
    if away():
        return False
    try:
        _publishers.submit(publish, number).result(timeout=PATIENCE)
    except Exception as error:
        log.warning("order %s is not on the queue yet: %s: %s", number, type(error).__name__, error)
        cache.set(AWAY, True, AWAY_SECONDS)
        return False
    return True


def away() -> bool:
    """Whether some web node could not reach the queue a moment ago."""
    return bool(cache.get(AWAY))


def forgotten(older: float) -> list[str]:
    """Numbers of orders that have been pending for `older` seconds, the oldest first."""
    from oscar.core.loading import get_model

    since = timezone.now() - timedelta(seconds=older)
    pending = get_model("order", "Order").objects.filter(status=PENDING, date_placed__lt=since)
    return list(pending.order_by("pk").values_list("number", flat=True)[:1000])


def mark_shipped(number: str) -> bool:
    """Whether the order was pending, and is shipped now. False for one that is shipped, cancelled or not there."""
    from oscar.core.loading import get_model

    with transaction.atomic():
        order = get_model("order", "Order").objects.select_for_update().filter(number=number).first()
        if order is None or order.status != PENDING:
            return False
        order.set_status(PROCESSED)
        order.set_status(SHIPPED)
        return True


@app.task(bind=True, name="shop.ship")
def ship(self: Any, number: str) -> None:
    """What the warehouse does with an order. While the database is away the task waits, then goes back to the queue."""
    for pause in (*SHIP_PAUSES, None):
        try:
            mark_shipped(number)
            return
        except (OperationalError, InterfaceError) as error:
            if self.request.is_eager:
                raise
            try:
                connections["default"].close()
            except DatabaseError:
                log.debug("a lost connection could not be closed")
            if pause is None:
                raise Reject(str(error), requeue=True) from error
            log.warning("order %s is not shipped yet: %s", number, error)
            time.sleep(pause)
