# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from typing import Any
from unittest import mock

from django.core.cache import cache
from django.test import TestCase, override_settings
from oscar.core.loading import get_model
from pymongo.errors import AutoReconnect
from shop import health, opinions

from tests.test_orders import MUG, seed

Product = get_model("catalogue", "Product")
SET = override_settings(MONGO_SERVERS=[("192.0.2.1", 27017)], MONGO_PASSWORD="x")


def store(reviews: list[dict[str, Any]], views: int = 0) -> mock.MagicMock:
    there = mock.MagicMock()
    there.reviews.find.return_value.sort.return_value.limit.return_value = reviews
    there.views.find_one.return_value = {"views": views} if views else None
    return there


class Pages(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        seed()

    def setUp(self) -> None:
        cache.clear()
        opinions._away_until = 0.0
        opinions.views.counts.clear()
        self.product = Product.objects.get(stockrecords__partner_sku=MUG)
        self.page = self.product.get_absolute_url()

    def read(self) -> str:
        return self.client.get(self.page).content.decode()

    def test_without_a_set_there_is_no_place_for_them(self) -> None:
        self.assertNotIn("Customer reviews", self.read())
        self.assertEqual(opinions.views.counts, {})

    @SET
    def test_they_are_on_the_page_and_views_are_counted_behind_the_page_cache(self) -> None:
        there = store([{"stars": 4, "name": "Ada", "text": "holds <tea>"}], views=7)
        with mock.patch.object(opinions, "database", lambda: there), mock.patch.object(opinions.views, "thread", True):
            first, second = self.read(), self.read()
            opinions.views.flush()
        self.assertIn('<span id="views">7</span>', first)
        self.assertIn("<strong>4 of 5</strong>, Ada: holds &lt;tea&gt;", first)
        self.assertIn("review-form", second)
        there.reviews.find.assert_called_once_with({"product": self.product.pk})
        self.assertEqual(there.views.bulk_write.call_args.args[0][0]._doc, {"$inc": {"views": 2}})

    @SET
    def test_the_page_says_that_they_are_away_and_does_not_ask_again_at_once(self) -> None:
        there = store([])
        there.views.find_one.side_effect = AutoReconnect("no primary")
        with mock.patch.object(opinions, "database", lambda: there), mock.patch.object(opinions.views, "thread", True):
            self.assertIn("Reviews are away for the moment", self.read())
            cache.clear()
            self.assertIn("Reviews are away for the moment", self.read())
            opinions.views.flush()
        there.views.find_one.assert_called_once()
        self.assertEqual(opinions.views.counts, {self.product.pk: 2})  # kept for later

    @SET
    def test_a_review(self) -> None:
        there = store([])
        fields = {"name": "Ada", "stars": "5", "text": "good"}
        with mock.patch.object(opinions, "database", lambda: there), mock.patch.object(opinions.views, "thread", True):
            answer = self.client.post(f"/reviews/{self.product.pk}/", fields, follow=True)
            self.assertIn("Thank you for your review", answer.content.decode())
            written = there.reviews.insert_one.call_args.args[0]
            self.assertEqual({k: written[k] for k in ("product", "stars")}, {"product": self.product.pk, "stars": 5})
            answer = self.client.post(f"/reviews/{self.product.pk}/", {**fields, "stars": "6"}, follow=True)
            self.assertIn("Your review was not taken. stars: ", answer.content.decode())
            there.reviews.insert_one.side_effect = AutoReconnect("no primary")
            answer = self.client.post(f"/reviews/{self.product.pk}/", fields, follow=True)
            self.assertIn("could not be taken: reviews are away", answer.content.decode())

    @SET
    def test_health_tells_why(self) -> None:
        there = store([])
        there.healthz.replace_one.side_effect = AutoReconnect("no primary")
        with mock.patch.object(opinions, "database", lambda: there):
            found = health.run(health.opinion_store)
        self.assertEqual((found["ok"], found["error"]), (False, "AutoReconnect: no primary"))
