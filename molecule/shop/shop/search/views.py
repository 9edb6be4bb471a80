# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""All products, those of a category, those that were searched for: one list."""

from __future__ import annotations

from functools import reduce
from operator import and_
from typing import Any
from urllib.parse import quote

from django import forms
from django.conf import settings
from django.db.models import Min, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponsePermanentRedirect
from django.shortcuts import get_object_or_404
from django.views.generic import ListView
from oscar.core.loading import get_model

Category = get_model("catalogue", "Category")
Product = get_model("catalogue", "Product")

# name in the address: what the visitor reads, how it is sorted
SORTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "title": ("Name", ("title", "pk")),
    "newest": ("Newest", ("-date_created", "pk")),
    "price-asc": ("Price low to high", ("lowest_price", "title")),
    "price-desc": ("Price high to low", ("-lowest_price", "title")),
}


class SortForm(forms.Form):
    sort_by = forms.ChoiceField(
        label="Sort by", choices=[(key, text) for key, (text, _order) in SORTS.items()], required=False
    )


class CatalogueView(ListView):
    template_name = "oscar/catalogue/browse.html"
    context_object_name = "products"
    paginate_by = settings.OSCAR_PRODUCTS_PER_PAGE
    summary = "All products"

    def get_queryset(self) -> QuerySet:
        sort = self.request.GET.get("sort_by", "")
        products = Product.objects.browsable().base_queryset().annotate(lowest_price=Min("stockrecords__price"))
        return products.order_by(*SORTS.get(sort, SORTS["title"])[1])

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        form = SortForm(initial={"sort_by": self.request.GET.get("sort_by", "title")})
        return super().get_context_data(summary=self.summary, form=form, **kwargs)


class ProductCategoryView(CatalogueView):
    template_name = "oscar/catalogue/category.html"

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        self.category = get_object_or_404(Category.objects.browsable(), pk=kwargs["pk"])
        place = self.category.get_absolute_url()
        if place != quote(request.path):
            return HttpResponsePermanentRedirect(place)
        return super().get(request, *args, **kwargs)

    def get_queryset(self) -> QuerySet:
        return super().get_queryset().filter(categories__in=self.category.get_descendants_and_self()).distinct()

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(category=self.category, **kwargs)


class FacetedSearchView(CatalogueView):
    """Every word must occur in the title, the description or the article number."""

    @property
    def words(self) -> list[str]:
        return self.request.GET.get("q", "").split()[:10]

    @property
    def summary(self) -> str:  # type: ignore[override]
        return f"Products matching: {' '.join(self.words)}" if self.words else "All products"

    def get_queryset(self) -> QuerySet:
        found = [Q(title__icontains=w) | Q(description__icontains=w) | Q(upc__icontains=w) for w in self.words]
        return super().get_queryset().filter(reduce(and_, found, Q()))
