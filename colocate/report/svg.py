"""A few shapes for inline SVG. Colours come from the page's style sheet, by class."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from colocate.report.markup import Markup, element, raw

__all__ = [
    "Scale",
    "circle",
    "drawing",
    "group",
    "line",
    "path",
    "polyline",
    "rect",
    "short",
    "text",
    "ticks",
    "turned",
]


Scale = Callable[[float, float], tuple[float, float]]
"""From data to the coordinates of a drawing."""


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def drawing(
    width: float, height: float, title: str, *children: Markup, class_: str | None = None
) -> Markup:
    """Return an `svg` element that scales to its column and has a title for screen readers."""
    return element(
        "svg",
        element("title", title),
        *children,
        viewBox=f"0 0 {_n(width)} {_n(height)}",
        role="img",
        class_=class_,
        xmlns="http://www.w3.org/2000/svg",
    )


def group(title: str | None, *children: Markup, class_: str | None = None) -> Markup:
    """Return shapes that belong together, with a title that shows on hovering."""
    named = raw("") if title is None else element("title", title)
    return element("g", named, *children, class_=class_)


def rect(x: float, y: float, width: float, height: float, class_: str) -> Markup:
    """Return a filled rectangle."""
    return element(
        "rect", x=_n(x), y=_n(y), width=_n(max(0.0, width)), height=_n(height), class_=class_
    )


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """Return a straight line."""
    return element("line", x1=_n(x1), y1=_n(y1), x2=_n(x2), y2=_n(y2), class_=class_)


def circle(x: float, y: float, radius: float, class_: str) -> Markup:
    """Return a filled circle."""
    return element("circle", cx=_n(x), cy=_n(y), r=_n(radius), class_=class_)


def polyline(points: Sequence[tuple[float, float]], class_: str) -> Markup:
    """Return connected straight lines."""
    return element(
        "polyline", points=" ".join(f"{_n(x)},{_n(y)}" for x, y in points), class_=class_
    )


def path(points: Sequence[tuple[float, float]], class_: str) -> Markup:
    """Return a closed area."""
    steps = " L ".join(f"{_n(x)} {_n(y)}" for x, y in points)
    return element("path", d=f"M {steps} Z", class_=class_)


def text(x: float, y: float, content: str, class_: str, anchor: str = "start") -> Markup:
    """Return a line of text; `anchor` is start, middle or end."""
    return element("text", content, x=_n(x), y=_n(y), class_=class_, text_anchor=anchor)


def turned(x: float, y: float, content: str, class_: str = "small") -> Markup:
    """Return a line of text that runs upwards."""
    where = f"rotate(-90 {_n(x)} {_n(y)})"
    return element("text", content, x=_n(x), y=_n(y), class_=class_, transform=where)


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return round numbers between two ends, at most `most` of them."""
    span = high - low
    if span < 1e-300:  # nothing, or too small to be divided
        return [low]
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(power * f for f in (1, 2, 2.5, 5, 10, 20) if span / (power * f) <= most - 1)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def short(value: float) -> str:
    """Return a number for a tick: 1500 as 1.5k."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.4g}{letter}"
    return f"{value:.3g}"
