"""Solvers side by side as a drawing of its own: how near each comes to the best bound."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from colocate.report import svg
from colocate.report.markup import Markup, element, raw
from colocate.report.words import shorten

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colocate.compare import Row

__all__ = ["comparison_svg"]

_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #222 }
.head { font-weight: 600 } .small { font-size: 10px; fill: #666 } .end { text-anchor: end }
.track { fill: #eee } .value { fill: #2f6db5 } .none { fill: #b5452f } .grid { stroke: #ccc }
"""
_ROW, _LEFT, _BAR, _RIGHT = 20.0, 130.0, 420.0, 190.0


def comparison_svg(rows: Sequence[Row]) -> str:
    """Return a drawing with a bar for each row: the fraction of the best bound that it reached."""
    shapes: list[Markup] = []
    y = 10.0
    for instance, group in groupby(rows, key=lambda row: row.instance):
        shapes.append(svg.text(8, y + 14, shorten(instance, 60), "head"))
        y += _ROW + 4
        for row in group:
            shapes += _bar(row, y)
            y += _ROW
        y += 14
    for part in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = _LEFT + part * _BAR
        shapes.append(svg.text(x, y, f"{100 * part:.0f} %", "small", "middle"))
    shapes.append(svg.text(_LEFT + _BAR + 8, y, "of the best bound proved", "small"))
    width = _LEFT + _BAR + _RIGHT
    title = "How near each solver comes to the best bound"
    drawn = svg.drawing(width, y + 12, title, element("style", raw(_STYLE)), *shapes)
    return f"{drawn}\n"


def _bar(row: Row, y: float) -> list[Markup]:
    fraction = row.fraction
    said = row.outcome if row.objective is None else "no bound"
    if fraction is not None:
        said = f"{100 * fraction:.2f} %"
    if row.solve_s is not None:
        said += f", {row.solve_s:.3g} s"
    return [
        svg.text(_LEFT - 8, y + 13, shorten(row.solver, 18), "name", "end"),
        svg.rect(_LEFT, y + 3, _BAR, _ROW - 7, "track"),
        svg.rect(_LEFT, y + 3, _BAR * (fraction or 0.0), _ROW - 7, "value"),
        svg.text(_LEFT + _BAR + 8, y + 13, said, "small"),
    ]
