# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How orders are paid, for the checkout and for the drills' orders alike."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from oscar.apps.checkout import mixins
from oscar.core.loading import get_model

from shop import queue

Source = get_model("payment", "Source")
StockRecord = get_model("partner", "StockRecord")
SourceType = get_model("payment", "SourceType")

PAY_ON_DELIVERY = {"code": "pay-on-delivery", "name": "Pay on delivery"}


class OrderPlacementMixin(mixins.OrderPlacementMixin):
    def handle_payment(self, order_number: str, total: Any, **kwargs: Any) -> None:
        """Nothing is taken now; what is owed is recorded with the order."""
        kind, _new = SourceType.objects.get_or_create(
            code=PAY_ON_DELIVERY["code"], defaults={"name": PAY_ON_DELIVERY["name"]}
        )
        self.add_payment_source(Source(source_type=kind, currency=total.currency, amount_allocated=total.incl_tax))

    def place_order(self, order_number: str, user: Any, basket: Any, *args: Any, **kwargs: Any) -> Any:
        """Stock first, in one order for everybody: the lines' foreign keys would lock it to read and the allocation
        then to write, in which any two orders of one product meet in a deadlock."""
        records = sorted(line.stockrecord_id for line in basket.all_lines())
        list(StockRecord.objects.select_for_update().filter(pk__in=records).order_by("pk"))
        order = super().place_order(order_number, user, basket, *args, **kwargs)
        # After the commit: a worker must find the order. A process that dies in between has it handed over later.
        transaction.on_commit(lambda: queue.hand_over(order.number), robust=True)
        return order

    def send_order_placed_email(self, order: Any) -> None:
        """After the commit: no confirmation of an order that was rolled back, and no order lost to a mail server."""
        transaction.on_commit(lambda: mixins.OrderPlacementMixin.send_order_placed_email(self, order), robust=True)
