# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import io
import json
from datetime import timedelta
from typing import Any
from unittest import mock

from celery.exceptions import Reject
from django.core.cache import cache
from django.core.management import call_command
from django.db import OperationalError
from django.template.loader import render_to_string
from django.test import TestCase, TransactionTestCase, override_settings
from django.utils import timezone
from oscar.core.loading import get_model
from shop import health, queue

from tests.test_orders import MUG, TOKEN, seed

Order = get_model("order", "Order")
BROKERS = override_settings(RABBITMQ_SERVERS=[("192.0.2.1", 5672), ("192.0.2.2", 5672)], RABBITMQ_PASSWORD="a/b")


class Orders(TransactionTestCase):
    def setUp(self) -> None:
        cache.clear()
        seed()

    def order(self, key: str = "one") -> Any:
        body = json.dumps({"key": key, "sku": MUG})
        answer = self.client.post("/api/orders", body, content_type="application/json", headers=TOKEN)
        self.assertEqual(answer.status_code, 201)
        return Order.objects.get(number=answer.json()["number"])

    def test_without_brokers_an_order_is_shipped_at_once(self) -> None:
        order = self.order()
        self.assertEqual((order.status, order.lines.get().status), ("Shipped", "Shipped"))
        listed = self.client.get("/api/orders", {"prefix": "one"}, headers=TOKEN).json()["orders"]
        self.assertEqual(listed, [{"key": "one", "number": order.number, "status": "Shipped"}])

    @BROKERS
    def test_it_is_told_after_the_commit(self) -> None:
        seen: list[bool] = []
        with mock.patch.object(queue, "publish", lambda number: seen.append(True)):
            self.assertEqual(self.order().status, "Pending")
        self.assertEqual(seen, [True])
        self.assertFalse(queue.away())

    @BROKERS
    def test_an_order_is_taken_while_the_queue_is_away_and_told_later(self) -> None:
        with mock.patch.object(queue, "publish", side_effect=ConnectionError("refused")) as publish:
            first, second = self.order("one"), self.order("two")
            self.assertEqual(publish.call_count, 1)  # the second customer does not wait
            self.assertIn("cannot be told", render_to_string("oscar/checkout/thank_you.html", self.page(first)))
            errors = io.StringIO()
            call_command("hand_over_orders", older=-1, stdout=io.StringIO(), stderr=errors)
            self.assertIn(f"order {first.number} is not on the queue yet: ConnectionError: refused", errors.getvalue())
        with mock.patch.object(queue, "publish") as publish:
            call_command("hand_over_orders", older=60, stdout=io.StringIO())
            publish.assert_not_called()
            Order.objects.update(date_placed=timezone.now() - timedelta(seconds=61))
            call_command("hand_over_orders", older=60, stdout=io.StringIO())
            self.assertEqual([call.args[0] for call in publish.call_args_list], [first.number, second.number])

    @BROKERS
    def test_a_broker_that_hangs_costs_a_customer_no_more_than_his_patience(self) -> None:
        with mock.patch.object(queue, "_publishers") as publishers:
            publishers.submit.return_value.result.side_effect = TimeoutError
            self.assertEqual(self.order().status, "Pending")
        publishers.submit.return_value.result.assert_called_once_with(timeout=queue.PATIENCE)

    def test_a_task_that_comes_twice_does_nothing_the_second_time(self) -> None:
        order = self.order()
        Order.objects.filter(pk=order.pk).update(status="Pending")
        self.assertEqual([queue.mark_shipped(order.number) for _time in range(2)], [True, False])
        self.assertFalse(queue.mark_shipped("none"))
        Order.objects.filter(pk=order.pk).update(status="Cancelled")
        self.assertFalse(queue.mark_shipped(order.number))

    @staticmethod
    def page(order: Any) -> dict[str, Any]:
        return {"order": order, "homepage_url": "/"}


class Worker(TestCase):
    @BROKERS
    def test_a_password_may_have_any_character(self) -> None:
        self.assertEqual(queue.urls()[1], "amqp://shop:a%2Fb@192.0.2.2:5672/shop")

    def test_it_waits_for_the_database_then_gives_the_task_back(self) -> None:
        with (
            mock.patch.object(queue, "mark_shipped", side_effect=OperationalError(2006, "gone")) as tried,
            mock.patch.object(queue.time, "sleep") as slept,
            mock.patch.object(queue, "connections"),
            self.assertRaises(Reject) as rejected,
        ):
            queue.ship.run("100")
        self.assertTrue(rejected.exception.requeue)
        self.assertEqual(tried.call_count, 1 + len(queue.SHIP_PAUSES))
        self.assertEqual([call.args[0] for call in slept.call_args_list], list(queue.SHIP_PAUSES))

    @override_settings(RABBITMQ_SERVERS=[("127.0.0.1", 1)], RABBITMQ_PASSWORD="x")
    def test_health_names_the_broker(self) -> None:
        found = health.run(health.order_queue)
        self.assertFalse(found["ok"])
        self.assertIn("1 of 1 brokers away: 127.0.0.1:1 (", found["error"])
