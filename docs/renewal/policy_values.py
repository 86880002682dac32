"""What the benchmark of the policies measured, and its picture."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

from colocate.report import svg
from colocate.report.markup import Markup, element, raw

__all__ = ["LABELS", "PolicyValue", "policy_picture", "policy_values"]

_ROOT = Path(__file__).resolve().parents[2]
LABELS = {
    ("tight_slo", "drawn"): "tight SLOs",
    ("tight_slo", "equal"): "tight SLOs, equal weights",
    ("loose_slo", "drawn"): "loose SLOs",
    ("loose_slo", "equal"): "loose SLOs, equal weights",
}
"""Family and weights, and what they are called."""
_SHOWN = (("tight_slo", "drawn", "tight"), ("loose_slo", "equal", "loose"))
"""The two extremes, and the style of each."""

WIDTH, LEFT, RIGHT = 640.0, 128.0, 600.0
TOP, STEP, BAR = 54.0, 30.0, 9.0
_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.small { font-size: 12px; fill: #59636e; }
.grid { stroke: #d9dee3; } .tight { fill: #2563a8; } .loose { fill: #d08a3c; }
.range { stroke: #1f2328; stroke-width: 1.4; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; } .small { fill: #9198a1; } .grid { stroke: #3d444d; }
  .range { stroke: #e6edf3; }
}
"""


class PolicyValue(NamedTuple):
    """Value over certified bound of one solver in one family."""

    family: str
    weights: str
    solver: str
    mean: float
    least: float
    most: float


def policy_values(root: Path = _ROOT) -> list[PolicyValue]:
    """Return what `benchmarks/policies.py` measured."""
    with (root / "benchmarks" / "results" / "policies.csv").open(encoding="utf-8") as lines:
        return [
            PolicyValue(
                row["family"],
                row["weights"],
                row["solver"],
                *(float(row[name]) for name in ("mean", "least", "most")),
            )
            for row in csv.DictReader(lines)
        ]


def policy_picture(root: Path) -> str:
    """Return bars of the mean, with lines from the least to the most, for the two extremes."""
    rows = policy_values(root)
    names = list(dict.fromkeys(row.solver for row in rows))
    bottom = TOP + STEP * len(names)

    def across(part: float) -> float:
        return LEFT + (RIGHT - LEFT) * part

    shapes: list[Markup] = []
    for mark in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        x = across(mark)
        shapes.append(svg.line(x, TOP - 8, x, bottom, "grid"))
        shapes.append(svg.text(x, bottom + 18, svg.short(mark), "small", "middle"))
    for (family, weights, style), x in zip(_SHOWN, (LEFT, LEFT + 210), strict=True):
        shapes.append(svg.rect(x, 17, 12, 12, style))
        shapes.append(svg.text(x + 18, 28, LABELS[family, weights], "small"))
    for n, name in enumerate(names):
        y = TOP + STEP * n
        shapes.append(svg.text(LEFT - 10, y + BAR + 4, name, "", "end"))
        for k, (family, weights, style) in enumerate(_SHOWN):
            (row,) = [r for r in rows if r[:3] == (family, weights, name)]
            top = y + k * (BAR + 1)
            shapes.append(svg.rect(LEFT, top, across(row.mean) - LEFT, BAR, style))
            middle = top + BAR / 2
            shapes.append(svg.line(across(row.least), middle, across(row.most), middle, "range"))
    shapes.append(svg.text(RIGHT, bottom + 38, "value / certified bound", "small", "end"))
    title = "Value of each policy in parts of the certified bound, with tight and with loose SLOs"
    drawn = svg.drawing(WIDTH, bottom + 50, title, element("style", raw(_STYLE)), *shapes)
    return f"{drawn}\n"
