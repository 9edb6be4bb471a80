# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Fills the shop: countries, partner, categories, products. Safe to repeat: what is there is brought up to date, what
customers change (stock) is left alone."""

from __future__ import annotations

import os
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.sites.models import Site
from django.core.management.base import BaseCommand
from django.db import transaction
from oscar.core.loading import get_model

from shop import catalogue
from shop.checkout.mixins import PAY_ON_DELIVERY

ADMIN = "admin@shop.example"


class Command(BaseCommand):
    help = (
        "Seed countries, categories and products; safe to repeat. With SHOP_ADMIN_PASSWORD in the environment "
        f"the staff user {ADMIN} gets that password. Prints 'seed_shop: N created, M updated'."
    )

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--dry-run", action="store_true", help="say what would be done, do nothing")

    def handle(self, *args: Any, dry_run: bool = False, **options: Any) -> None:
        self.created = self.updated = 0
        with transaction.atomic():
            self.seed()
            if dry_run:
                transaction.set_rollback(True)
        self.stdout.write(f"seed_shop: {self.created} created, {self.updated} updated{' (dry run)' * dry_run}")

    def have(self, manager: Any, lookup: dict[str, Any], values: dict[str, Any] | None = None, **initial: Any) -> Any:
        """The object of this lookup, made if absent, changed if these values differ; initial ones are set only once."""
        values = values or {}
        found, new = manager.get_or_create(**lookup, defaults={**values, **initial})
        different = {name: value for name, value in values.items() if not new and getattr(found, name) != value}
        if different:
            for name, value in different.items():
                setattr(found, name, value)
            found.save()
        self.created += new
        self.updated += bool(different)
        return found

    def seed(self) -> None:
        site = Site.objects.get(pk=settings.SITE_ID)
        self.have(Site.objects, {"pk": site.pk}, {"name": settings.OSCAR_SHOP_NAME})
        self.have(
            get_model("payment", "SourceType").objects,
            {"code": PAY_ON_DELIVERY["code"]},
            {"name": PAY_ON_DELIVERY["name"]},
        )
        country = get_model("address", "Country").objects
        for order, (alpha2, alpha3, number, name) in enumerate(catalogue.COUNTRIES):
            self.have(
                country,
                {"iso_3166_1_a2": alpha2},
                {"printable_name": name, "name": name, "display_order": order, "is_shipping_country": True},
                iso_3166_1_a3=alpha3,
                iso_3166_1_numeric=number,
            )
        partner = self.have(get_model("partner", "Partner").objects, {"code": "warehouse"}, {"name": "Warehouse"})
        kind = self.have(
            get_model("catalogue", "ProductClass").objects,
            {"slug": "thing"},
            {"name": "Thing", "requires_shipping": True, "track_stock": True},
        )
        categories = {name: self.category(name) for name in catalogue.CATEGORIES}
        for product in catalogue.products():
            self.product(product, kind, partner, categories[product.category])
        self.admin()

    def category(self, name: str) -> Any:
        model = get_model("catalogue", "Category")
        found = model.get_root_nodes().filter(name=name).first()
        if found is None:
            found = model.add_root(name=name)
            self.created += 1
        return found

    def product(self, wanted: catalogue.Product, kind: Any, partner: Any, category: Any) -> None:
        product = self.have(
            get_model("catalogue", "Product").objects,
            {"upc": wanted.sku},
            {"title": wanted.title, "description": wanted.description, "product_class_id": kind.pk},
        )
        self.have(
            get_model("partner", "StockRecord").objects,
            {"product": product, "partner": partner},
            {"partner_sku": wanted.sku, "price_currency": settings.OSCAR_DEFAULT_CURRENCY, "price": wanted.price},
            num_in_stock=catalogue.STOCK,
        )
        self.have(get_model("catalogue", "ProductCategory").objects, {"product": product, "category": category})
        self.have(
            get_model("catalogue", "ProductImage").objects,
            {"product": product, "display_order": 0},
            {"original": wanted.picture},
        )
        # Oscar counts sales here and would make the row with the first order, in which two first orders collide.
        self.have(get_model("analytics", "ProductRecord").objects, {"product": product})

    def admin(self) -> None:
        password = os.environ.get("SHOP_ADMIN_PASSWORD")
        if not password:
            return
        users = get_user_model().objects
        user = users.filter(username="admin").first()
        if user is None:
            users.create_superuser("admin", ADMIN, password)
            self.created += 1
        elif not user.check_password(password):
            user.set_password(password)
            user.save()
            self.updated += 1
