# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one table of the shop's own: which request placed which order."""

from django.db import models


class OrderKey(models.Model):
    """A client's name for an order it wants once. The unique key is what makes repeating a request safe."""

    key = models.CharField(max_length=64, unique=True)
    order = models.OneToOneField("order.Order", on_delete=models.CASCADE, related_name="key")

    def __str__(self) -> str:
        return self.key
