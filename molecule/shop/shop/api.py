# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""/api/orders: how a drill places orders and reads them back. It does not exist without ORDER_API_TOKEN."""

from __future__ import annotations

import hmac
import json
import re
from typing import Any

from django.conf import settings
from django.db.models import Count
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from oscar.core.loading import get_model

from shop import orders

Order = get_model("order", "Order")

KEY = re.compile(r"[A-Za-z0-9._-]{1,64}")
PAGE = 2000


def refuse(status: int, error: str) -> JsonResponse:
    return JsonResponse({"error": error}, status=status)


@method_decorator(csrf_exempt, name="dispatch")
class OrdersView(View):
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not settings.ORDER_API_TOKEN:
            raise Http404
        given = request.headers.get("Authorization", "").encode()
        if not hmac.compare_digest(given, f"Bearer {settings.ORDER_API_TOKEN}".encode()):
            return refuse(401, "the header Authorization must be: Bearer, a space, the value of ORDER_API_TOKEN")
        return super().dispatch(request, *args, **kwargs)

    def post(self, request: HttpRequest) -> HttpResponse:
        """{"key": …, "sku": …, "quantity": 1}: 201 with the number of a new order, 200 if the key has one already."""
        try:
            wanted = json.loads(request.body)
            key, sku, quantity = wanted["key"], wanted["sku"], wanted.get("quantity", 1)
        except (ValueError, TypeError, KeyError, AttributeError):
            return refuse(400, 'the body must be {"key": text, "sku": text, "quantity": number or absent}')
        if not isinstance(key, str) or not KEY.fullmatch(key):
            return refuse(400, "key must be 1 to 64 letters, digits, dots, dashes or underscores")
        if not isinstance(sku, str) or not isinstance(quantity, int) or isinstance(quantity, bool) or quantity < 1:
            return refuse(400, "sku must be text, quantity a whole number from 1")
        # A visitor has a session; one whose session cannot be read does not get as far as ordering.
        placed = request.session.get("orders", 0)
        try:
            number, created = orders.place(request, key, sku, quantity)
        except orders.NotOrdered as error:
            return refuse(409, str(error))
        if created:
            placed += 1
            request.session["orders"] = placed
        return JsonResponse({"key": key, "number": number, "session_orders": placed}, status=201 if created else 200)

    def get(self, request: HttpRequest) -> HttpResponse:
        """?prefix=…&since=…: what is in the database, from the order after `since` on, in pages."""
        prefix = request.GET.get("prefix", "")
        since = request.GET.get("since", "0")
        if not since.isdigit():
            return refuse(400, "since must be the number that the page before gave as next")
        mine = Order.objects.filter(guest_email__startswith=prefix, guest_email__endswith=f"@{orders.GUEST_DOMAIN}")
        page = list(
            mine.filter(pk__gt=int(since)).order_by("pk").values("pk", "number", "guest_email", "status")[:PAGE]
        )
        repeated = mine.order_by().values("guest_email").annotate(times=Count("pk")).filter(times__gt=1).count()
        return JsonResponse(
            {
                "orders": [
                    {"key": row["guest_email"].split("@")[0], "number": row["number"], "status": row["status"]}
                    for row in page
                ],
                "next": page[-1]["pk"] if len(page) == PAGE else None,
                "duplicated": repeated,
            }
        )
