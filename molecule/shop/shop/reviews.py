# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Taking a review of a product."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST
from oscar.core.loading import get_model

from shop import opinions

Product = get_model("catalogue", "Product")


class ReviewForm(forms.Form):
    name = forms.CharField(max_length=60)
    stars = forms.IntegerField(min_value=1, max_value=5)
    text = forms.CharField(max_length=2000)


@require_POST
def add(request: HttpRequest, product: int) -> HttpResponse:
    """Back to the product, with a message that says what became of the review."""
    found = get_object_or_404(Product, pk=product)
    form = ReviewForm(request.POST)
    if not form.is_valid():
        wrong = "; ".join(f"{name}: {' '.join(errors)}" for name, errors in form.errors.items())
        messages.error(request, f"Your review was not taken. {wrong}")
        return redirect(found.get_absolute_url())
    try:
        opinions.review(found.pk, **form.cleaned_data)
    except opinions.OpinionsUnavailable:
        messages.error(request, "Your review could not be taken: reviews are away. Please try again later.")
    else:
        messages.success(request, "Thank you for your review.")
    return redirect(found.get_absolute_url())
