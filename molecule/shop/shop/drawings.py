# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Draws the products' pictures: `python -m shop.drawings` writes static/shop/products. A test holds the files to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from shop import catalogue

FOLDER = Path(__file__).resolve().parent / "static" / "shop" / "products"


def shade(colour: str, factor: float) -> str:
    """The colour, darker below 1, lighter above."""
    parts = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    mixed = [round(p * factor) if factor <= 1 else round(p + (255 - p) * (factor - 1)) for p in parts]
    return "#" + "".join(f"{part:02x}" for part in mixed)


def rect(x: float, y: float, w: float, h: float, fill: str, r: float = 0, more: str = "") -> str:
    return f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="{r:g}" fill="{fill}"{more}/>'


def oval(x: float, y: float, rx: float, ry: float, fill: str, more: str = "") -> str:
    return f'<ellipse cx="{x:g}" cy="{y:g}" rx="{rx:g}" ry="{ry:g}" fill="{fill}"{more}/>'


def path(d: str, fill: str = "none", stroke: str = "none", width: float = 0) -> str:
    line = f' stroke="{stroke}" stroke-width="{width:g}" stroke-linecap="round" stroke-linejoin="round"'
    return f'<path d="{d}" fill="{fill}"{line if width else ""}/>'


def chair(c: str, dark: str, light: str) -> list[str]:
    legs = path("M140 235 L125 345 M260 235 L275 345 M165 235 L160 330 M235 235 L240 330", stroke=dark, width=12)
    back = path("M140 225 L132 75 M260 225 L268 75", stroke=dark, width=12)
    rungs = [rect(137, y, 126, 22, c, 9) for y in (80, 118, 156)]
    return [legs, back, *rungs, rect(118, 215, 164, 30, light, 12), rect(118, 230, 164, 15, c, 7)]


def desk(c: str, dark: str, light: str) -> list[str]:
    drawers = [rect(238, 186 + 44 * i, 84, 38, light, 4) + oval(280, 205 + 44 * i, 6, 6, dark) for i in range(3)]
    return [
        rect(60, 160, 280, 22, c, 5),
        rect(75, 182, 14, 155, dark),
        rect(230, 180, 100, 145, c, 4),
        *drawers,
        rect(240, 325, 12, 14, dark),
        rect(308, 325, 12, 14, dark),
    ]


def shelf(c: str, dark: str, light: str) -> list[str]:
    boards = [rect(95, y, 210, 12, dark) for y in (70, 155, 240, 325)]
    tops = (82, 167, 252)
    books = [
        rect(
            118 + 19 * i,
            tops[row] + 14 + (i * 7 + row * 5) % 17,
            15,
            59 - (i * 7 + row * 5) % 17,
            (light, dark, "#d9cdb4", "#b5523b", "#2f6f9f")[(i + 2 * row) % 5],
            2,
        )
        for row in range(3)
        for i in range(5 + row)
    ]
    return [
        rect(95, 62, 210, 280, shade(c, 1.55), 4),
        *boards,
        *books,
        rect(88, 60, 14, 285, c, 3),
        rect(298, 60, 14, 285, c, 3),
    ]


def lamp(c: str, dark: str, light: str) -> list[str]:
    glow = path("M150 165 L250 165 L310 335 L90 335 Z", fill="#fff4cf")
    return [
        glow,
        rect(194, 150, 12, 180, dark, 6),
        oval(200, 335, 70, 14, dark),
        path("M160 75 L240 75 L285 170 L115 170 Z", fill=c),
        path("M160 75 L185 75 L160 170 L115 170 Z", fill=light),
    ]


def candle(c: str, dark: str, light: str) -> list[str]:
    flame = path("M200 60 C232 105 226 132 200 138 C174 132 168 105 200 60 Z", fill="#f3b33d")
    return [
        oval(200, 105, 70, 70, "#fff4cf"),
        flame,
        path("M200 92 C214 114 212 130 200 134 C188 130 186 114 200 92 Z", fill="#fde9a9"),
        path("M200 135 L200 160", stroke="#333333", width=5),
        rect(155, 158, 90, 172, c, 10),
        rect(155, 158, 26, 172, light, 10),
        oval(200, 335, 95, 16, dark),
    ]


def clock(c: str, dark: str, light: str) -> list[str]:
    marks = [
        f'<g transform="rotate({30 * i} 200 200)">{rect(196, 92, 8, 22 if i % 3 == 0 else 12, dark, 3)}</g>'
        for i in range(12)
    ]
    return [
        oval(200, 200, 135, 135, c),
        oval(200, 200, 115, 115, "#fffdf7"),
        *marks,
        path("M200 200 L200 125", stroke=dark, width=8),
        path("M200 200 L255 232", stroke=dark, width=8),
        path("M200 200 L165 262", stroke="#b5523b", width=3),
        oval(200, 200, 9, 9, dark),
    ]


def notebook(c: str, dark: str, light: str) -> list[str]:
    rings = [rect(104, 92 + 30 * i, 30, 8, "#8d939b", 4) for i in range(8)]
    return [
        rect(128, 72, 170, 262, "#fffdf7", 6),
        rect(118, 66, 170, 262, c, 8),
        rect(118, 66, 26, 262, dark, 8),
        *rings,
        rect(166, 112, 98, 46, light, 4),
        rect(178, 126, 74, 5, dark),
        rect(178, 138, 50, 5, dark),
        rect(252, 66, 12, 285, shade(dark, 0.8)),
    ]


def keyboard(c: str, dark: str, light: str) -> list[str]:
    keys = [rect(66 + 27.4 * i, 150 + 29 * row, 23, 24, light, 4) for row in range(4) for i in range(10)]
    keys[39] = rect(66 + 27.4 * 9, 150 + 29 * 3, 23, 24, "#b5523b", 4)
    return [
        path("M200 138 C200 100 240 110 240 70", stroke=dark, width=6),
        rect(50, 136, 300, 160, dark, 14),
        rect(50, 132, 300, 156, c, 14),
        *keys[:32],
        rect(66 + 54.8, 237, 159, 24, light, 4),
        keys[38],
        keys[39],
        keys[30],
        keys[31],
    ]


def mug(c: str, dark: str, light: str) -> list[str]:
    steam = [path(f"M{x} 108 C{x - 16} 88 {x + 16} 76 {x} 52", stroke="#c9c4ba", width=6) for x in (165, 200, 235)]
    handle = path("M268 165 C338 160 338 270 262 268", stroke=c, width=20)
    return [
        *steam,
        handle,
        path("M120 130 L280 130 L268 315 Q266 330 250 330 L150 330 Q134 330 132 315 Z", fill=c),
        path("M120 130 L155 130 L162 330 L150 330 Q134 330 132 315 Z", fill=light),
        oval(200, 130, 80, 16, dark),
        oval(200, 133, 68, 11, "#4b2f22"),
    ]


def teapot(c: str, dark: str, light: str) -> list[str]:
    spout = path("M275 235 C320 225 315 170 345 160 L352 176 C335 190 345 262 270 285 Z", fill=c)
    handle = path("M130 190 C60 180 60 290 140 285", stroke=dark, width=16)
    return [
        spout,
        handle,
        oval(200, 245, 100, 85, c),
        path("M125 190 C108 235 118 285 150 312 C128 270 130 225 150 180 Z", fill=light),
        oval(200, 168, 58, 14, dark),
        oval(200, 163, 50, 16, c),
        oval(200, 140, 15, 13, dark),
    ]


def plant(c: str, dark: str, light: str) -> list[str]:
    greens = ("#3d7a57", "#569a70", "#2f6146")
    leaves = [
        f'<g transform="rotate({angle} 200 240)">{oval(200, 155 - abs(angle) % 11, 21, 85, greens[i % 3])}'
        f"{path('M200 230 L200 90', stroke=greens[(i + 2) % 3], width=3)}</g>"
        for i, angle in enumerate((-62, 60, -34, 36, 0))
    ]
    return [
        *leaves,
        path("M130 240 L270 240 L252 335 L148 335 Z", fill=c),
        path("M130 240 L158 240 L168 335 L148 335 Z", fill=light),
        rect(122, 228, 156, 24, dark, 6),
    ]


def rug(c: str, dark: str, light: str) -> list[str]:
    fringe = [
        path(f"M{70 + 13 * i} {y} L{70 + 13 * i} {y + d}", stroke="#d9cdb4", width=4)
        for i in range(21)
        for y, d in ((95, -16), (305, 16))
    ]
    ports = [
        rect(98 + 34 * i, 133 + 49 * row, 24, 36, (light, dark, "#d9cdb4")[(i + row) % 3], 3)
        for row in range(3)
        for i in range(6)
    ]
    return [
        *fringe,
        rect(60, 95, 280, 210, c, 4),
        rect(76, 111, 248, 178, "none", 2, f' stroke="{light}" stroke-width="4"'),
        *ports,
    ]


SHAPES: dict[str, Callable[[str, str, str], list[str]]] = {
    "candle": candle, "chair": chair, "clock": clock, "desk": desk, "keyboard": keyboard, "lamp": lamp, "mug": mug,
    "notebook": notebook, "plant": plant, "rug": rug, "shelf": shelf, "teapot": teapot,
}  # fmt: skip


def svg(product: catalogue.Product) -> str:
    colour = product.colour
    parts = SHAPES[product.shape](colour, shade(colour, 0.6), shade(colour, 1.35))
    shadow = oval(200, 346, 120, 12, "#000000", ' opacity="0.08"')
    background = rect(0, 0, 400, 400, "#f6f3ec")
    return "\n".join(
        ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 400" width="400" height="400">',
         background, shadow, *parts, "</svg>", ""]
    )  # fmt: skip


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for item in catalogue.products():
        (FOLDER / Path(item.picture).name).write_text(svg(item), encoding="utf-8")
