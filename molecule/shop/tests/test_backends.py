# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import io
import os
import socket
import time
from typing import Any
from unittest import mock

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.sessions.backends.base import UpdateError
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.test import Client, SimpleTestCase, TestCase, override_settings
from oscar.core.loading import get_model
from redis.exceptions import ConnectionError, ReadOnlyError, ResponseError
from shop import catalogue, drawings, environment, health, sessions
from shop.memcached import PoolCache
from shop.mysql import base as mysql


class FakeRedis:
    """What sessions use of Redis; fails with the prepared errors first."""

    def __init__(self) -> None:
        self.data: dict[str, bytes] = {}
        self.errors: list[Exception] = []

    def _maybe(self) -> None:
        if self.errors:
            raise self.errors.pop(0)

    def get(self, name: str) -> bytes | None:
        self._maybe()
        return self.data.get(name)

    def exists(self, name: str) -> int:
        self._maybe()
        return int(name in self.data)

    def delete(self, name: str) -> int:
        self._maybe()
        return int(self.data.pop(name, None) is not None)

    def set(self, name: str, value: str, ex: int, nx: bool = False, xx: bool = False) -> bool | None:
        self._maybe()
        if (nx and name in self.data) or (xx and name not in self.data):
            return None
        self.data[name] = value.encode()
        return True


class Sessions(SimpleTestCase):
    def setUp(self) -> None:
        self.redis = FakeRedis()
        for patch in (
            mock.patch.object(sessions, "master", return_value=self.redis),
            mock.patch.object(sessions, "PAUSE", 0.001),
            mock.patch.object(sessions, "PATIENCE", 0.1),
        ):
            patch.start()
            self.addCleanup(patch.stop)

    def test_round_trip(self) -> None:
        store = sessions.SessionStore()
        store["basket"] = 7
        store.save()
        again = sessions.SessionStore(store.session_key)
        self.assertEqual(again["basket"], 7)
        again["basket"] = 8
        again.save()
        self.assertEqual(sessions.SessionStore(store.session_key)["basket"], 8)
        self.assertTrue(again.exists(store.session_key or ""))
        again.flush()
        self.assertEqual(self.redis.data, {})

    def test_an_unknown_key_is_not_adopted(self) -> None:
        store = sessions.SessionStore("chosen-by-the-client")
        self.assertEqual(store.get("x"), None)
        self.assertIsNone(store.session_key)

    def test_an_ended_session_does_not_come_back(self) -> None:
        store = sessions.SessionStore()
        store.save()
        self.redis.data.clear()
        store["x"] = 1
        with self.assertRaises(UpdateError):
            store.save()

    def test_a_failover_is_waited_for(self) -> None:
        self.redis.errors = [ConnectionError("gone"), ReadOnlyError("You can't write against a read only replica.")]
        store = sessions.SessionStore()
        store.save()
        self.assertEqual(len(self.redis.data), 1)

    def test_but_not_for_ever(self) -> None:
        self.redis.errors = [ConnectionError("gone")] * 10_000
        begin = time.monotonic()
        with self.assertRaisesMessage(sessions.SessionsUnavailable, "ConnectionError: gone"):
            sessions.SessionStore().save()
        self.assertLess(time.monotonic() - begin, 1)

    def test_a_wrong_password_is_told_at_once(self) -> None:
        self.redis.errors = [ResponseError("WRONGPASS invalid username-password pair")]
        with self.assertRaisesMessage(sessions.SessionsUnavailable, "WRONGPASS"):
            sessions.SessionStore().save()


class Cache(SimpleTestCase):
    def pool(self, servers: list[str]) -> PoolCache:
        return PoolCache(servers, {"OPTIONS": dict(settings.MEMCACHED_OPTIONS)})

    def test_a_dead_pool_costs_milliseconds(self) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            pool = self.pool([f"127.0.0.1:{unused.getsockname()[1]}"])
            begin = time.monotonic()
            for key in ("a", "b", "c"):
                pool.set(key, 1)
                self.assertIsNone(pool.get(key))
            self.assertLess(time.monotonic() - begin, 0.1)

    def test_only_the_keys_of_a_lost_server_move(self) -> None:
        servers = [f"10.0.0.{host}:{port}" for host in (1, 2) for port in (11211, 11212)]
        keys = [f"key-{number}" for number in range(400)]

        def places(pool: PoolCache) -> dict[str, str]:
            return {key: pool._cache.hasher.get_node(key) for key in keys}

        before, other_order, less = (places(self.pool(s)) for s in (servers, servers[::-1], servers[1:]))
        self.assertEqual(before, other_order)
        self.assertEqual({before[key] for key in keys if before[key] != less[key]}, {servers[0]})
        self.assertGreater(min(list(before.values()).count(server) for server in servers), 50)


class Database(SimpleTestCase):
    def test_commits_are_counted_before_they_are_sent(self) -> None:
        wrapper = mysql.DatabaseWrapper({"OPTIONS": {}})
        with mock.patch.object(mysql.MySQLWrapper, "_commit", side_effect=mysql.pymysql.err.OperationalError(2013)):
            self.assertRaises(mysql.pymysql.err.OperationalError, wrapper._commit)
        self.assertEqual(wrapper.commits, 1)


class Health(TestCase):
    def test_serving(self) -> None:
        response = Client(headers={"host": "10.9.9.9"}).get("/healthz")
        self.assertEqual((response.status_code, response.content), (200, b"ok\n"))

    def deep(self, **failing: Exception) -> Any:
        def check(name: str) -> Any:
            return mock.Mock(side_effect=failing[name]) if name in failing else dict

        checks = [(name, check(name), needed) for name, _check, needed in health.CHECKS]
        with mock.patch.object(health, "CHECKS", checks):
            return Client().get("/healthz/deep")

    def test_all_well(self) -> None:
        response = self.deep()
        self.assertEqual((response.status_code, response.json()["status"]), (200, "ok"))
        self.assertEqual(list(response.json()["backends"]), ["database", "sessions", "cache", "queue", "opinions"])

    def test_a_needed_backend_fails(self) -> None:
        response = self.deep(sessions=sessions.SessionsUnavailable("no master"))
        self.assertEqual((response.status_code, response.json()["status"]), (503, "failed"))
        self.assertEqual(response.json()["backends"]["sessions"]["error"], "SessionsUnavailable: no master")

    def test_without_the_cache_it_serves(self) -> None:
        response = self.deep(cache=health.PoolDegraded("1 of 4 servers away: a:1"))
        self.assertEqual((response.status_code, response.json()["status"]), (200, "degraded"))

    @override_settings(MEMCACHED_SERVERS=["127.0.0.1:1"])
    def test_a_lost_server_is_named(self) -> None:
        self.assertIn("1 of 1 servers away: 127.0.0.1:1", health.run(health.page_cache)["error"])


class Seed(TestCase):
    def seed(self) -> str:
        out = io.StringIO()
        call_command("seed_shop", stdout=out)
        return out.getvalue().strip()

    def test_twice(self) -> None:
        self.seed()
        record = get_model("partner", "StockRecord").objects.first()
        record.num_in_stock = 5
        record.save()
        self.assertEqual(self.seed(), "seed_shop: 0 created, 0 updated")
        record.refresh_from_db()
        self.assertEqual(record.num_in_stock, 5)

    def test_a_price_that_changed_is_brought_up_to_date(self) -> None:
        self.seed()
        get_model("partner", "StockRecord").objects.filter(partner_sku="MUG-OCEAN").update(price=1)
        self.assertEqual(self.seed(), "seed_shop: 0 created, 1 updated")

    @mock.patch.dict(os.environ, SHOP_ADMIN_PASSWORD="first")
    def test_the_admins_password(self) -> None:
        self.seed()
        admin = get_user_model().objects.get(is_superuser=True)
        self.assertTrue(admin.check_password("first"))
        with mock.patch.dict(os.environ, SHOP_ADMIN_PASSWORD="second"):
            self.assertEqual(self.seed(), "seed_shop: 0 created, 1 updated")
        admin.refresh_from_db()
        self.assertTrue(admin.check_password("second"))

    def test_pictures_are_as_drawn(self) -> None:
        products = list(catalogue.products())
        self.assertEqual({p.picture for p in products}, {f"shop/products/{f.name}" for f in drawings.FOLDER.iterdir()})
        for product in products:
            stored = (drawings.FOLDER / product.picture.rsplit("/", 1)[1]).read_text(encoding="utf-8")
            self.assertEqual(stored, drawings.svg(product), f"{product.sku}: run python -m shop.drawings")


class Environment(SimpleTestCase):
    def test_wrong_values_are_refused_by_name(self) -> None:
        with mock.patch.dict(os.environ, A="x", EMPTY=""):
            for read, text in (
                (lambda: environment.required("EMPTY"), "shop: EMPTY is not set in the environment"),
                (lambda: environment.number("A", 1), "shop: A must be a number, it is 'x'"),
                (lambda: environment.boolean("A", True), "shop: A must be true or false, it is 'x'"),
                (lambda: environment.servers("A"), "shop: A must be host:port,host:port …, 'x' is not"),
            ):
                self.assertRaisesMessage(ImproperlyConfigured, text, read)

    def test_servers(self) -> None:
        with mock.patch.dict(os.environ, A="10.0.0.1:26379, [fd00::1]:26379"):
            self.assertEqual(environment.servers("A"), [("10.0.0.1", 26379), ("fd00::1", 26379)])
