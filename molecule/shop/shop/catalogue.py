# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the shop sells. Pictures of the same names lie in static/shop/products; shop.drawings made them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

STOCK = 1_000_000
# name, countries' ISO codes and names as Oscar wants them
COUNTRIES = [
    ("DE", "DEU", "276", "Germany"),
    ("FR", "FRA", "250", "France"),
    ("GB", "GBR", "826", "United Kingdom"),
    ("NL", "NLD", "528", "Netherlands"),
    ("PL", "POL", "616", "Poland"),
]


@dataclass(frozen=True)
class Product:
    sku: str
    title: str
    category: str
    price: Decimal
    description: str
    shape: str
    colour: str

    @property
    def picture(self) -> str:
        return f"shop/products/{self.sku.lower()}.svg"


@dataclass(frozen=True)
class Line:
    """One thing in several colours."""

    shape: str
    title: str
    category: str
    price: str
    description: str
    colours: tuple[str, str, str]


COLOURS = {
    "Amber": "#e8a13a",
    "Brick": "#b5523b",
    "Forest": "#3d7a57",
    "Graphite": "#4a4e57",
    "Ivory": "#d9cdb4",
    "Lilac": "#8f7bb5",
    "Ocean": "#2f6f9f",
    "Rose": "#d1788a",
    "Walnut": "#7a5238",
}

LINES = [
    Line(
        "chair",
        "Pager Duty Chair",
        "Furniture",
        "189.00",
        "Holds you upright until the post-mortem is written. "
        "Solid beech, a woven seat, and legs that agree on how long they are.",
        ("Walnut", "Ocean", "Brick"),
    ),
    Line(
        "desk",
        "Standing Order Desk",
        "Furniture",
        "349.00",
        "Seven drawers, none of which is a junk drawer yet. Oiled oak top on a steel frame.",
        ("Walnut", "Ivory", "Graphite"),
    ),
    Line(
        "shelf",
        "RAID Shelf",
        "Furniture",
        "129.00",
        "Two of its boards may fail before your books touch the floor, provided they are not neighbours.",
        ("Ivory", "Walnut", "Forest"),
    ),
    Line(
        "lamp",
        "Failover Lamp",
        "Light",
        "79.00",
        "Two bulbs, one lit. When it goes, the other takes over before you have looked up.",
        ("Amber", "Graphite", "Rose"),
    ),
    Line(
        "candle",
        "Candle for Power Cuts",
        "Light",
        "12.50",
        "Burns for forty hours, needs no network and has never been end-of-lifed.",
        ("Ivory", "Brick", "Lilac"),
    ),
    Line(
        "clock",
        "Clock without NTP",
        "Office",
        "59.00",
        "Wrong by seconds, but consistently. A quiet movement and a dial you can read from across the room.",
        ("Graphite", "Brick", "Ocean"),
    ),
    Line(
        "notebook",
        "Runbook",
        "Office",
        "14.90",
        "One hundred and sixty ruled pages for what to do at three in the morning. Lies flat, takes coffee well.",
        ("Forest", "Ocean", "Brick"),
    ),
    Line(
        "keyboard",
        "Sixty-Key Keyboard",
        "Office",
        "139.00",
        "All the keys you use, none that you do not. The key that drops tables is under a cover.",
        ("Graphite", "Ivory", "Lilac"),
    ),
    Line(
        "mug",
        "Coffee Mug, 0.4 Litres",
        "Kitchen",
        "16.00",
        "Durable storage for hot data. Stoneware, glazed by hand, safe in the dishwasher.",
        ("Ocean", "Amber", "Rose"),
    ),
    Line(
        "teapot",
        "Teapot 418",
        "Kitchen",
        "45.00",
        "Refuses to brew coffee, politely and with the right status code. Serves four.",
        ("Rose", "Forest", "Ivory"),
    ),
    Line(
        "plant",
        "Rack Plant",
        "Living",
        "24.00",
        "Grows in the light of status diodes. Water it when you renew certificates.",
        ("Brick", "Ocean", "Graphite"),
    ),
    Line(
        "rug",
        "Cable Rug",
        "Living",
        "210.00",
        "Woven from wool, in the pattern of a patch panel that was done right. Hides what was not.",
        ("Ocean", "Brick", "Amber"),
    ),
]

CATEGORIES = list(dict.fromkeys(line.category for line in LINES))


def products() -> Iterator[Product]:
    for line in LINES:
        for colour in line.colours:
            yield Product(
                sku=f"{line.shape}-{colour}".upper(),
                title=f"{line.title}, {colour.lower()}",
                category=line.category,
                price=Decimal(line.price),
                description=line.description,
                shape=line.shape,
                colour=COLOURS[colour],
            )
