# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import logging
from typing import Any
from unittest import mock

from django.core.cache import cache
from django.db import IntegrityError, InterfaceError, OperationalError, connections
from django.http import HttpResponse
from django.test import Client, SimpleTestCase, TestCase, TransactionTestCase, override_settings
from django.urls import path
from oscar.core.loading import get_model
from shop import resilience, urls
from shop.sessions import SessionsUnavailable

from tests.test_orders import seed

Basket = get_model("basket", "Basket")
GONE = OperationalError(2013, "Lost connection to MySQL server during query")

errors: list[BaseException] = []
calls: list[str] = []


def view(request: Any, what: str) -> HttpResponse:
    """Fails with what the test has prepared, once each."""
    calls.append(request.POST.get("name", request.method))
    if what == "commit":
        connections["default"].commits = getattr(connections["default"], "commits", 0) + 1
    if errors:
        raise errors.pop(0)
    return HttpResponse("served")


handler500 = urls.handler500
urlpatterns = [path("try/<str:what>", view), path("api/<str:what>", view)]


class Classification(SimpleTestCase):
    def test_which_backend_is_away(self) -> None:
        self.assertEqual(resilience.lost(GONE), "database")
        self.assertEqual(resilience.lost(OperationalError(1213, "Deadlock found")), "database")
        self.assertEqual(resilience.lost(InterfaceError(0, "")), "database")
        self.assertEqual(resilience.lost(SessionsUnavailable("no master")), "sessions")
        self.assertIsNone(resilience.lost(IntegrityError(1062, "Duplicate entry")))
        self.assertIsNone(resilience.lost(OperationalError(1054, "Unknown column")))
        self.assertIsNone(resilience.lost(None))

    def test_the_cause_counts(self) -> None:
        try:
            try:
                raise GONE
            except OperationalError:
                raise RuntimeError("cannot thaw the basket") from None
        except RuntimeError as error:
            self.assertEqual(resilience.lost(error), "database")

    def test_an_outage_is_one_line_in_the_log(self) -> None:
        found = (OperationalError, GONE, None)
        record = logging.LogRecord("x", logging.ERROR, "", 0, "Internal Server Error: %s", ("/a",), found)
        resilience.OutageFilter().filter(record)
        self.assertIn("Internal Server Error: /a: database unavailable: (2013,", record.getMessage())
        self.assertIsNone(record.exc_info)


@override_settings(ROOT_URLCONF="tests.test_resilience")
@mock.patch.object(resilience, "PAUSE", 0.01)
class Retry(TransactionTestCase):
    def setUp(self) -> None:
        errors.clear()
        calls.clear()
        self.client = Client(raise_request_exception=False)

    def test_a_lost_request_is_repeated(self) -> None:
        errors.extend([GONE, GONE])
        self.assertEqual(self.client.get("/try/it").content, b"served")
        self.assertEqual(len(calls), 3)

    def test_so_is_a_post_that_has_done_nothing(self) -> None:
        errors.append(GONE)
        self.assertEqual(self.client.post("/try/it", "name=x", "application/x-www-form-urlencoded").content, b"served")
        self.assertEqual(calls, ["x", "x"])

    def test_not_after_a_commit_may_have_happened(self) -> None:
        errors.append(GONE)
        response = self.client.post("/try/commit")
        self.assertEqual((response.status_code, len(calls)), (503, 1))

    def test_not_an_upload(self) -> None:
        errors.append(GONE)
        self.assertEqual(self.client.post("/try/it", {"a": "b"}).status_code, 503)

    def test_not_an_error_of_the_shop(self) -> None:
        errors.append(ValueError("bug"))
        self.assertEqual((self.client.get("/try/it").status_code, len(calls)), (500, 1))

    @override_settings(RETRY_SECONDS=0.05)
    def test_the_end_of_patience(self) -> None:
        errors.extend([SessionsUnavailable("no master")] * 100)
        response = self.client.get("/try/it")
        self.assertEqual(response.status_code, 503)
        self.assertEqual((response["Retry-After"], response["X-Unavailable"]), ("2", "sessions"))
        self.assertContains(response, "nothing is ordered twice", status_code=503)
        self.assertEqual(self.client.get("/api/it").json(), {"error": "unavailable", "backend": "sessions"})

    def test_a_write_outside_of_a_transaction_counts(self) -> None:
        commits = resilience.Commits()
        with commits.watched():
            Basket.objects.exists()
            self.assertFalse(commits.possible())
            Basket.objects.filter(pk=0).update(status="Open")
        self.assertTrue(commits.possible())


class Pages(TestCase):
    """The page cache."""

    @classmethod
    def setUpTestData(cls) -> None:
        seed()

    def setUp(self) -> None:
        cache.clear()

    def get(self, client: Client, place: str = "/catalogue/") -> Any:
        return client.get(place)

    def test_strangers_share_a_page_but_not_its_token(self) -> None:
        one, two = Client(), Client()
        first, second = self.get(one), self.get(two)
        self.assertEqual((first["X-Cache"], second["X-Cache"]), ("miss", "hit"))
        self.assertNotEqual(one.cookies["csrftoken"].value, two.cookies["csrftoken"].value)
        self.assertNotIn(b'name="csrfmiddlewaretoken" value=""', second.content)
        self.assertIn(b"MUG", self.get(two, "/search/?q=mug-ocean").content.upper())

    def test_the_token_of_a_shared_page_is_good(self) -> None:
        self.get(Client())
        visitor = Client(enforce_csrf_checks=True)
        page = self.get(visitor)
        self.assertEqual(page["X-Cache"], "hit")
        token = page.content.split(b'name="csrfmiddlewaretoken" value="')[1].split(b'"')[0].decode()
        product = get_model("catalogue", "Product").objects.first().pk
        bought = visitor.post(f"/basket/add/{product}/", {"quantity": 1, "csrfmiddlewaretoken": token})
        self.assertEqual(bought.status_code, 302)
        self.assertEqual(visitor.post(f"/basket/add/{product}/", {"quantity": 1}).status_code, 403)

    def test_a_visitor_with_a_basket_gets_his_own_page(self) -> None:
        visitor = Client()
        product = get_model("catalogue", "Product").objects.first().pk
        visitor.post(f"/basket/add/{product}/", {"quantity": 1})
        own = self.get(visitor)
        self.assertFalse(own.has_header("X-Cache"))
        self.assertEqual(self.get(Client())["X-Cache"], "miss")

    def test_every_address_is_a_page_of_its_own(self) -> None:
        self.get(Client())
        self.assertEqual(self.get(Client(), "/catalogue/?page=2")["X-Cache"], "miss")

    def test_an_old_page_when_the_database_is_away(self) -> None:
        with override_settings(PAGE_CACHE_SECONDS=-1):
            self.get(Client())
            broken = mock.patch("shop.search.views.CatalogueView.get_queryset", side_effect=GONE)
            with broken, self.settings(RETRY_SECONDS=0):
                page = Client(raise_request_exception=False).get("/catalogue/")
                other = Client(raise_request_exception=False).get("/catalogue/?page=2")
        self.assertEqual((page.status_code, page["X-Cache"]), (200, "stale"))
        self.assertEqual(other.status_code, 503)
