# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the shop's own templates ask for."""

from __future__ import annotations

from typing import Any

from django import template
from django.conf import settings

from shop import opinions, queue

register = template.Library()


@register.simple_tag
def opinions_about(product: Any) -> dict[str, Any]:
    """`shown`: whether there is a place for opinions; `away`, or `views` and `reviews`."""
    if not settings.MONGO_SERVERS:
        return {"shown": False}
    try:
        return {"shown": True, "away": False, **opinions.about(product.pk)}
    except opinions.OpinionsUnavailable:
        return {"shown": True, "away": True}


@register.simple_tag
def warehouse_is_told(order: Any) -> bool:
    """False for an order that waits because the queue is away."""
    return order.status != queue.PENDING or not queue.away()
