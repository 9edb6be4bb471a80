# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Placing one order without a browser, by the code that the checkout uses, once per key."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.db import IntegrityError, transaction
from django.http import HttpRequest
from oscar.apps.shipping.methods import Free
from oscar.core.loading import get_class, get_model

from shop.models import OrderKey

Basket = get_model("basket", "Basket")
Country = get_model("address", "Country")
ShippingAddress = get_model("order", "ShippingAddress")
StockRecord = get_model("partner", "StockRecord")
OrderPlacementMixin = get_class("checkout.mixins", "OrderPlacementMixin")
OrderTotalCalculator = get_class("checkout.calculators", "OrderTotalCalculator")

# Orders carry their key in the guest's address, too. That is not unique: a duplicate would be seen.
GUEST_DOMAIN = "drill.example"


class NotOrdered(Exception):
    """The shop refuses this order, and would again."""


def place(request: HttpRequest, key: str, sku: str, quantity: int) -> tuple[str, bool]:
    """The order's number, and whether it is new."""
    known = find(key)
    if known:
        return known, False
    try:
        with transaction.atomic():
            return create(request, key, sku, quantity), True
    except IntegrityError:
        # Somebody repeated the request while we were at it, and was first.
        known = find(key)
        if known is None:
            raise
        return known, False


def find(key: str) -> str | None:
    return OrderKey.objects.filter(key=key).values_list("order__number", flat=True).first()


def create(request: HttpRequest, key: str, sku: str, quantity: int) -> str:
    # Locked from the beginning, because the basket's line would lock it to read: see OrderPlacementMixin.
    record = StockRecord.objects.select_for_update().filter(partner_sku=sku).first()
    if record is None:
        raise NotOrdered(f"no product has the SKU {sku!r}")
    strategy = request.strategy  # type: ignore[attr-defined]
    permitted, why = strategy.fetch_for_product(record.product).availability.is_purchase_permitted(quantity)
    if not permitted:
        raise NotOrdered(f"{sku}: {why}")

    basket = Basket.objects.create()
    basket.strategy = strategy
    basket.add_product(record.product, quantity)
    method = Free()
    charge = method.calculate(basket)
    total = OrderTotalCalculator(request).calculate(basket, charge)
    placement: Any = OrderPlacementMixin()
    number = placement.generate_order_number(basket)
    placement.handle_payment(number, total)
    order = placement.place_order(
        number,
        AnonymousUser(),
        basket,
        shipping_address=ShippingAddress(
            first_name="Drill",
            last_name=key[:50],
            line1="1 Test Street",
            line4="Testing",
            postcode="10115",
            country=Country.objects.filter(is_shipping_country=True).first(),
        ),
        shipping_method=method,
        shipping_charge=charge,
        order_total=total,
        guest_email=f"{key}@{GUEST_DOMAIN}",
        request=request,
    )
    basket.submit()
    OrderKey.objects.create(key=key, order=order)
    return str(order.number)
