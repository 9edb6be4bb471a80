# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The shop's own application: order keys, seeding, templates."""

from django.apps import AppConfig


class ShopConfig(AppConfig):
    name = "shop"
    label = "shop"
    verbose_name = "Shop"

    def ready(self) -> None:
        # The list of recently viewed products is a cookie that every product page would set, and no page with a
        # cookie may be shared between visitors.
        from oscar.apps.customer.receivers import receive_product_view
        from oscar.core.loading import get_class

        get_class("catalogue.signals", "product_viewed").disconnect(receive_product_view)
