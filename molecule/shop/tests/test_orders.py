# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import json
from typing import Any
from unittest import mock

from django.core.management import call_command
from django.db import connection
from django.test import TestCase, TransactionTestCase, override_settings
from oscar.core.loading import get_model
from shop import orders
from shop.models import OrderKey

Basket = get_model("basket", "Basket")
Order = get_model("order", "Order")
Product = get_model("catalogue", "Product")
StockRecord = get_model("partner", "StockRecord")

MUG = "MUG-OCEAN"
TOKEN = {"authorization": "Bearer token"}


def seed() -> None:
    call_command("seed_shop", stdout=mock.Mock())


class Api(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        seed()

    def post(self, body: Any, headers: dict[str, str] | None = None) -> Any:
        given = TOKEN if headers is None else headers
        return self.client.post("/api/orders", json.dumps(body), content_type="application/json", headers=given)

    def test_an_order_is_placed_once_per_key(self) -> None:
        first = self.post({"key": "run-1", "sku": MUG, "quantity": 2})
        again = self.post({"key": "run-1", "sku": MUG, "quantity": 2})
        self.assertEqual((first.status_code, again.status_code), (201, 200))
        self.assertEqual(first.json()["number"], again.json()["number"])
        order = Order.objects.get()
        self.assertEqual(order.number, first.json()["number"])
        self.assertEqual(order.basket.status, "Submitted")
        self.assertEqual(order.sources.get().source_type.name, "Pay on delivery")
        self.assertEqual(order.sources.get().amount_allocated, order.total_incl_tax)
        self.assertEqual(StockRecord.objects.get(partner_sku=MUG).num_allocated, 2)

    def test_a_visitor_has_a_session(self) -> None:
        self.assertEqual(self.post({"key": "run-1", "sku": MUG}).json()["session_orders"], 1)
        self.assertEqual(self.post({"key": "run-2", "sku": MUG}).json()["session_orders"], 2)

    def test_the_one_who_comes_second_gets_the_first_ones_order(self) -> None:
        number = self.post({"key": "run-1", "sku": MUG}).json()["number"]
        with mock.patch.object(orders, "find", side_effect=[None, number]):  # both looked before one had committed
            again = self.post({"key": "run-1", "sku": MUG})
        self.assertEqual((again.status_code, again.json()["number"]), (200, number))
        self.assertEqual((Order.objects.count(), OrderKey.objects.count()), (1, 1))
        self.assertEqual(StockRecord.objects.get(partner_sku=MUG).num_allocated, 1)

    def test_refusals(self) -> None:
        for body, status, text in (
            ([], 400, "the body must be"),
            ({"key": "a"}, 400, "the body must be"),
            ({"key": "a b", "sku": MUG}, 400, "key must be 1 to 64 letters"),
            ({"key": "a", "sku": MUG, "quantity": 0}, 400, "quantity a whole number"),
            ({"key": "a", "sku": MUG, "quantity": True}, 400, "quantity a whole number"),
            ({"key": "a", "sku": "NONE"}, 409, "no product has the SKU 'NONE'"),
            ({"key": "a", "sku": MUG, "quantity": 2_000_000}, 409, "MUG-OCEAN: "),
        ):
            with self.subTest(body=body):
                response = self.post(body)
                self.assertEqual(response.status_code, status)
                self.assertIn(text, response.json()["error"])
        self.assertEqual(Order.objects.count(), 0)

    def test_only_with_the_token(self) -> None:
        self.assertEqual(self.post({"key": "a", "sku": MUG}, {"authorization": "Bearer no"}).status_code, 401)
        self.assertIn("ORDER_API_TOKEN", self.post({}, {}).json()["error"])
        with override_settings(ORDER_API_TOKEN=""):
            self.assertEqual(self.post({"key": "a", "sku": MUG}).status_code, 404)

    def test_reading_back_in_pages(self) -> None:
        for number in range(5):
            self.post({"key": f"run-{number}", "sku": MUG})
        self.post({"key": "other-1", "sku": MUG})
        keys: list[str] = []
        since: int | None = 0
        with mock.patch("shop.api.PAGE", 2):
            while since is not None:
                page = self.client.get(f"/api/orders?prefix=run-&since={since}", headers=TOKEN).json()
                keys += [order["key"] for order in page["orders"]]
                since = page["next"]
        self.assertEqual(keys, [f"run-{number}" for number in range(5)])
        self.assertEqual(self.client.get("/api/orders?since=x", headers=TOKEN).status_code, 400)

    def test_a_duplicate_would_be_seen(self) -> None:
        for key in ("run-1", "run-2"):
            self.post({"key": key, "sku": MUG})
        Order.objects.filter(number__gt="0").update(guest_email="run-1@drill.example")
        self.assertEqual(self.client.get("/api/orders?prefix=run-", headers=TOKEN).json()["duplicated"], 1)


class Walk(TransactionTestCase):
    """A guest's way through the checkout."""

    def setUp(self) -> None:
        seed()
        self.mug = Product.objects.get(upc=MUG)
        self.client.post(f"/basket/add/{self.mug.pk}/", {"quantity": 1})

    def to_preview(self) -> str:
        self.client.post("/checkout/", {"username": "guest@example.com", "options": "anonymous"})
        address = {
            "first_name": "Ada", "last_name": "Lovelace", "line1": "1 Engine Street", "line4": "London",
            "postcode": "N1 9GU", "country": "GB",
        }  # fmt: skip
        response = self.client.post("/checkout/shipping-address/", address, follow=True)
        self.assertEqual(response.request["PATH_INFO"], "/checkout/preview/")
        self.assertContains(response, "You pay on delivery")
        return str(response.context["basket_key"])

    def place(self, key: str) -> Any:
        return self.client.post("/checkout/preview/", {"action": "place_order", "basket_key": key}, follow=True)

    def test_front_page_to_order(self) -> None:
        response = self.place(self.to_preview())
        order = Order.objects.get()
        self.assertEqual(response.request["PATH_INFO"], "/checkout/thank-you/")
        self.assertContains(response, f"<strong>{order.number}</strong>")
        self.assertContains(response, self.mug.title)
        self.assertContains(response, order.verification_hash())
        self.assertNotContains(response, "email")  # the shop sends none
        self.assertEqual(order.guest_email, "guest@example.com")

    def test_pressing_the_button_again_shows_the_same_order(self) -> None:
        key = self.to_preview()
        first, again = self.place(key), self.place(key)
        self.assertEqual(Order.objects.count(), 1)
        self.assertEqual(first.context["order"], again.context["order"])

    def test_a_forged_key_shows_nobody_elses_order(self) -> None:
        self.place(self.to_preview())
        response = self.client.post("/checkout/preview/", {"action": "place_order", "basket_key": "1:forged"})
        self.assertRedirects(response, "/basket/", fetch_redirect_response=False)

    def test_a_failure_in_the_middle_leaves_an_open_basket(self) -> None:
        key = self.to_preview()
        with mock.patch.object(StockRecord, "allocate", side_effect=RuntimeError("no")):
            response = self.place(key)
        self.assertContains(response, "A problem occurred while placing this order")
        self.assertEqual(Order.objects.count(), 0)
        self.assertEqual(Basket.objects.get().status, "Open")
        self.assertEqual(self.place(key).context["order"], Order.objects.get())
        self.assertFalse(connection.in_atomic_block)
