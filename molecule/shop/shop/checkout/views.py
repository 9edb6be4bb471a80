# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Address, preview, done. An order is placed in one transaction, and once, however often the button is pressed."""

from __future__ import annotations

from typing import Any

from django.core.signing import BadSignature, Signer
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse_lazy
from oscar.apps.checkout import views
from oscar.core.loading import get_model

Basket = get_model("basket", "Basket")
Order = get_model("order", "Order")

signer = Signer(salt="shop.checkout")


class PaymentMethodView(views.PaymentMethodView):
    success_url = reverse_lazy("checkout:preview")


class PaymentDetailsView(views.PaymentDetailsView):
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Before the preconditions: who repeats a lost answer's request has an empty basket by now, and an order."""
        order = self.placed(request)
        return self.thank(order) if order else super().dispatch(request, *args, **kwargs)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        basket = self.request.basket
        return {**super().get_context_data(**kwargs), "basket_key": signer.sign(basket.pk) if basket.pk else ""}

    def submit(self, user: Any, basket: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        with transaction.atomic():
            # A second submission waits here for the end of the first.
            Basket._default_manager.select_for_update().get(pk=basket.pk)
            order = Order._default_manager.filter(basket=basket).first()
            return self.thank(order) if order else super().submit(user, basket, *args, **kwargs)

    def placed(self, request: HttpRequest) -> Any:
        """The order that the basket of this form has become, if it is the visitor's own."""
        try:
            basket = signer.unsign(request.POST.get("basket_key", ""))
        except BadSignature:
            return None
        return Order._default_manager.filter(basket_id=basket, user_id=request.user.pk).first()

    def thank(self, order: Any) -> HttpResponse:
        self.request.session["checkout_order_id"] = order.id
        return redirect(self.get_success_url())
