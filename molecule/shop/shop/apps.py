# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The shop's own application: order keys, seeding, templates."""

from django.apps import AppConfig


class ShopConfig(AppConfig):
    name = "shop"
    label = "shop"
    verbose_name = "Shop"

    def ready(self) -> None:
        # Looking at a product writes nothing: neither a row that all visitors would queue for, nor the cookie of
        # recently viewed products, since no page that sets a cookie may be shared between visitors.
        from oscar.apps.analytics import receivers as analytics
        from oscar.apps.catalogue.signals import product_viewed
        from oscar.apps.customer import receivers as customer

        product_viewed.disconnect(customer.receive_product_view)
        product_viewed.disconnect(analytics.receive_product_view)
