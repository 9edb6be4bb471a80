# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Addresses: the shop at the root, the drills' orders under /api."""

from django.apps import apps
from django.urls import include, path

from shop import reviews
from shop.api import OrdersView

handler500 = "shop.resilience.server_error"

urlpatterns = [
    path("api/orders", OrdersView.as_view(), name="api-orders"),
    path("reviews/<int:product>/", reviews.add, name="review-add"),
    path("i18n/", include("django.conf.urls.i18n")),
    path("", include(apps.get_app_config("oscar").urls[0])),
]
