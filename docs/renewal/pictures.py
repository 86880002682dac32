"""The pictures of the page on measuring, from the made-up measurements and what is fitted to them.

Numbers come out of a fit, so their last digits may differ between machines; `same_drawing` forgives
that and nothing else.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from colocate.models.bounds import relative_error
from colocate.models.company import Company
from colocate.models.curves import rates_alone
from colocate.models.fitting.fit import fit_models
from colocate.models.fitting.rates import fit_rates
from colocate.models.queueing.table import QueueTable
from colocate.models.regression.features import Queries
from colocate.profile.fitted import FittedModels
from colocate.report import svg
from colocate.report.markup import Markup, element, raw
from colocate.tables.clean import clean
from renewal.measurements import NOT_RUN, WRONG, measured
from renewal.policy_values import policy_picture

__all__ = ["DRAWINGS", "same_drawing"]

CONFIDENCE = 0.9
WIDTH, HEIGHT = 640.0, 340.0
LEFT, RIGHT, TOP, BOTTOM = 62.0, 620.0, 34.0, 288.0

_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.small { font-size: 12px; fill: #59636e; }
.grid { stroke: #d9dee3; } .axis { stroke: #59636e; }
.first { stroke: #2563a8; } .second { stroke: #a15c07; } .third { stroke: #4d7c2f; }
polyline { fill: none; stroke-width: 2; }
.band { fill: #2563a8; fill-opacity: 0.18; } .off { fill: #59636e; fill-opacity: 0.10; }
.dot { fill: #a15c07; } .out { fill: none; stroke: #c0322b; stroke-width: 1.6; }
.limit { stroke: #c0322b; stroke-width: 1.6; stroke-dasharray: 6 4; }
.cell { fill: #c0322b; } .dark { fill: #ffffff; } .guess { fill: none; stroke: #1f2328; \
stroke-dasharray: 4 3; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; } .small { fill: #9198a1; } .grid { stroke: #3d444d; }
  .guess { stroke: #e6edf3; }
}
"""


@functools.cache
def _fitted(root: Path) -> FittedModels:
    return fit_models(measured(root))


def _drawing(title: str, *children: Markup, height: float = HEIGHT) -> str:
    drawn = svg.drawing(WIDTH, height, title, element("style", raw(_STYLE)), *children)
    return f"{drawn}\n"


def _frame(
    across: tuple[float, float, Sequence[float], str],
    up: tuple[float, float, Sequence[float], str],
) -> tuple[svg.Scale, list[Markup]]:
    """Return the scale and the axes; each axis is its ends, its marks and its name."""

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + (RIGHT - LEFT) * (x - across[0]) / (across[1] - across[0]),
            BOTTOM - (BOTTOM - TOP) * (y - up[0]) / (up[1] - up[0]),
        )

    shapes = []
    for mark in up[2]:
        y = at(across[0], mark)[1]
        shapes.append(svg.line(LEFT, y, RIGHT, y, "grid"))
        shapes.append(svg.text(LEFT - 7, y + 4, svg.short(mark), "small", "end"))
    for mark in across[2]:
        x = at(mark, up[0])[0]
        shapes.append(svg.line(x, BOTTOM, x, BOTTOM + 5, "axis"))
        shapes.append(svg.text(x, BOTTOM + 19, svg.short(mark), "small", "middle"))
    shapes.append(svg.line(LEFT, BOTTOM, RIGHT, BOTTOM, "axis"))
    shapes.append(svg.text(LEFT, TOP - 14, up[3], "small"))
    shapes.append(svg.text(RIGHT, BOTTOM + 40, across[3], "small", "end"))
    return at, shapes


def rate_curve(root: Path) -> str:
    """Return the curve of one workload at two batches, with points, bounds and what is unknown."""
    models = _fitted(root)
    name, batch_off, share_off = WRONG
    profile = next(p for p in models.profiles if p.workload == name)
    report = next(c for c in models.report.curves if c.workload == name)
    low = relative_error(profile.rate_error, CONFIDENCE)
    calibration = next(c for c in models.calibration if c.what == "alone")
    high = relative_error(calibration.high, CONFIDENCE)
    shares = np.arange(10.0, 101.0)
    at, shapes = _frame(
        (0, 100, range(0, 101, 20), "share of the multiprocessors, %"),
        (0, 700, range(0, 701, 100), "samples per second"),
    )
    shapes.append(svg.rect(*at(0, 700), at(10, 0)[0] - LEFT, BOTTOM - TOP, "off"))
    for batch, colour in ((16, "first"), (4, "third")):
        rates = rates_alone(profile, batch, shares)
        upper = [at(p, r * (1 + high)) for p, r in zip(shares, rates, strict=True)]
        lower = [at(p, r * (1 - low)) for p, r in zip(shares, rates, strict=True)]
        shapes.append(svg.path([*upper, *reversed(lower)], "band"))
        line = [at(p, r) for p, r in zip(shares, rates, strict=True)]
        shapes.append(svg.polyline(line, colour))
        shapes.append(svg.text(line[-1][0] - 4, line[-1][1] - 12, f"batch {batch}", "", "end"))
    shapes += [svg.circle(*at(p.share_pct, p.rate), 3.5, "dot") for p in report.points]
    table = measured(root)
    there = (table["workload"] == name) & (table["batch"] == batch_off) & table.alone
    x, y = at(share_off, float(table["rate"][there & (table["share_pct"] == share_off)].min()))
    shapes.append(svg.circle(x, y, 5, "out"))
    shapes.append(svg.text(x + 4, y + 26, "a run that went wrong, left out", "small"))
    x, y = at(80, rates_alone(profile, 4, np.array([80.0]))[0])
    shapes.append(svg.text(x, y - 12, "nearly flat", "small", "middle"))
    shapes.append(svg.text(*at(12, 12), "below 10 %: not measured, not offered", "small"))
    return _drawing(
        "Samples per second over the share: measured points, fitted curves, bounds", *shapes
    )


def load_and_latency(root: Path) -> str:
    """Return the 99th percentile of the latency over the offered load, at three shares."""
    models = _fitted(root)
    profile = next(p for p in models.profiles if p.workload == "bert")
    table = QueueTable(1.0, 99.0)
    slo, batch = 120.0, 16
    at, shapes = _frame(
        (0, 900, range(0, 901, 150), "offered load, samples per second"),
        (0, 300, range(0, 301, 60), "99th percentile of the latency, ms (batch 16)"),
    )
    for share, colour in ((25.0, "third"), (50.0, "second"), (100.0, "first")):
        capacity = float(rates_alone(profile, batch, np.array([share]))[0])
        load = np.linspace(0.04, 0.945, 120) * capacity
        tau = np.full(load.size, batch / capacity)
        latency = table.latency_ms(np.full(load.size, float(batch)), tau, load, 0.0)
        inside = latency <= 300
        points = [at(*p) for p in zip(load[inside], latency[inside], strict=True)]
        shapes.append(svg.polyline(points, colour))
        x, _ = at(capacity, 0)
        shapes.append(svg.line(x, TOP, x, BOTTOM, "grid"))
        shapes.append(svg.text(x - 5, TOP + 12, f"{share:g} %", "", "end"))
    shapes.append(svg.line(*at(0, slo), *at(900, slo), "limit"))
    x, y = at(8, slo)
    shapes.append(svg.text(x, y - 7, "SLO 120 ms", "small"))
    return _drawing(
        "Latency over offered load at shares of 25, 50 and 100 per cent; it grows without limit "
        "towards the rate in a closed loop",
        *shapes,
    )


def slowdown_map(root: Path) -> str:
    """Return the slowdown of every workload beside every other, at half of the GPU each."""
    models = _fitted(root)
    company = Company(models.company[0], roles={p.workload: p.role for p in models.profiles})
    names = sorted((p.workload for p in models.profiles), key=lambda n: (_trains(models, n), n))
    batch = {p.workload: float(p.curve.batches[0].batch) for p in models.profiles}
    height, width, left, top = 34.0, 84.0, 110.0, 58.0
    pairs = {frozenset(pair) for pair in NOT_RUN}
    shapes = [
        svg.text(left, 20, "beside", "small"),
        svg.text(left - 12, top - 12, "slowed down", "small", "end"),
    ]
    for j, neighbour in enumerate(names):
        shapes.append(svg.text(left + (j + 0.5) * width, 44, neighbour, "", "middle"))
    for i, victim in enumerate(names):
        y = top + i * height
        shapes.append(svg.text(left - 12, y + 22, victim, "", "end"))
        for j, neighbour in enumerate(names):
            who = (np.array([company.place[n]]) for n in (victim, neighbour))
            batches = (np.array([batch[n]]) for n in (victim, neighbour))
            half = np.array([50.0])
            s = float(company.predict(Queries(*who, *batches, half, half)).slowdown[0])
            mixed = _trains(models, victim) != _trains(models, neighbour)
            told = mixed and frozenset((victim, neighbour)) not in pairs
            shapes.append(_cell(left + j * width, y, width, height, s, told=told))
    y = top + len(names) * height + 26
    shapes.append(svg.rect(left + 1, y - 12, 22, 15, "guess"))
    shapes.append(svg.text(left + 32, y, "not measured: a prediction", "small"))
    return _drawing(
        "How much longer each workload takes beside each other one, at 50 per cent each",
        *shapes,
        height=y + 16,
    )


def _trains(models: FittedModels, name: str) -> bool:
    return any(p.workload == name and p.role == "training" for p in models.profiles)


def _cell(
    x: float, y: float, width: float, height: float, slowdown: float, *, told: bool
) -> Markup:
    strength = min(1.0, max(0.0, (slowdown - 1) / 0.3))
    shapes = [
        element(
            "rect",
            x=f"{x + 1:g}",
            y=f"{y + 1:g}",
            width=f"{width - 2:g}",
            height=f"{height - 2:g}",
            class_="cell",
            fill_opacity=f"{0.08 + 0.8 * strength:.2f}",
        )
    ]
    if not told:
        shapes.append(svg.rect(x + 3, y + 3, width - 6, height - 6, "guess"))
    style = "dark" if strength > 0.55 else ""
    shapes.append(svg.text(x + width / 2, y + height / 2 + 5, f"{slowdown:.2f}", style, "middle"))
    return svg.group(None, *shapes)


def held_out(root: Path) -> str:
    """Return how far measurements were from predictions that did not know them, and the bounds."""
    models = _fitted(root)
    fits = fit_rates(clean(measured(root)).table)
    names = sorted({h.key.workload for h in fits.held_out})
    off = {
        n: [100 * np.expm1(-h.log_error) for h in fits.held_out if h.key.workload == n]
        for n in names
    }
    most = 2 * math.ceil(max(abs(e) for errors in off.values() for e in errors) / 2)
    at, shapes = _frame(
        (-most, most, range(-most, most + 1, 2), "measured rate against the predicted one, %"),
        (-0.7, len(names) - 0.3, (), ""),
    )
    calibration = next(c for c in models.calibration if c.what == "alone")
    low = 100 * relative_error(calibration.low, CONFIDENCE)
    for row, name in enumerate(names):
        y = at(0, row)[1]
        shapes.append(svg.line(LEFT, y, RIGHT, y, "grid"))
        shapes.append(svg.text(LEFT - 7, y + 4, name, "small", "end"))
        for error in off[name]:
            style = "out" if error < -low else "dot"
            shapes.append(svg.circle(*at(error, row), 4, style))
    x = at(-low, 0)[0]
    shapes.append(svg.line(x, TOP - 6, x, BOTTOM, "limit"))
    shapes.append(svg.text(x - 6, TOP - 4, "worse than the bound promises", "small", "end"))
    shapes.append(svg.text(x + 6, TOP - 4, f"bound at confidence {CONFIDENCE:g}", "small"))
    middle = at(0, 0)[0]
    shapes.append(svg.line(middle, TOP + 6, middle, BOTTOM, "axis"))
    return _drawing(
        "Held-out points of every curve: most lie right of the bound, a few do not", *shapes
    )


DRAWINGS: dict[str, Callable[[Path], str]] = {
    "docs/_static/rate-curve.svg": rate_curve,
    "docs/_static/load-and-latency.svg": load_and_latency,
    "docs/_static/slowdown-map.svg": slowdown_map,
    "docs/_static/held-out.svg": held_out,
    "docs/_static/policies.svg": policy_picture,
}
"""What is drawn, by the file that it is kept in."""

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
NEARLY = 0.35
"""Of a unit of the drawing: a rounded coordinate may go either way."""


def same_drawing(one: str, other: str) -> bool:
    """Return whether two drawings differ in nothing but the last digits of numbers."""
    if _NUMBER.sub("#", one) != _NUMBER.sub("#", other):
        return False
    pairs = zip(_NUMBER.findall(one), _NUMBER.findall(other), strict=True)
    return all(abs(float(a) - float(b)) <= NEARLY for a, b in pairs)
