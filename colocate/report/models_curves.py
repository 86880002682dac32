"""Fitted rate curves: measured points, the curve, its bounds, and the residuals below it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from colocate.models.bounds import relative_error
from colocate.report import svg
from colocate.report.markup import Markup, element
from colocate.report.model_facts import (
    CurveFacts,
    family_words,
    high_error,
    line_over_share,
    residual,
    spread,
)
from colocate.report.words import number, plural, shorten

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colocate.profile.fitted import FittedModels, SharePoint

__all__ = ["fitted_curves_section"]

MOST_PANELS = 60
MOST_CURVES = 6
"""Batches that are drawn in one panel."""
MOST_POINTS = 300
"""Measured points that are drawn in one panel."""
MOST_NOTES = 6
_WIDTH, _HEIGHT = 320.0, 226.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 284.0, 10.0, 146.0
_RESIDUAL_TOP, _RESIDUAL_BOTTOM = 162.0, 206.0
_LEAST_RESIDUAL = 0.05
"""Smaller residuals do not fill the strip: noise should look like noise."""
_LABEL_GAP = 10.0


def fitted_curves_section(
    models: FittedModels, curves: Sequence[CurveFacts], confidence: float
) -> Markup | None:
    """Return small multiples of the curves; the worst fitted ones when there are too many."""
    if not curves:
        return None
    shown = list(curves)
    if len(shown) > MOST_PANELS:
        worst = sorted(shown, key=lambda c: -(c.error_pct or 0.0))[:MOST_PANELS]
        shown = [c for c in shown if c in worst]
    say_type = len({c.profile.gpu_type for c in curves}) > 1
    panels = [_panel(models, c, confidence, say_type=say_type) for c in shown]
    band = (
        f" The shade is where the rate lies with confidence {confidence:g} on each side."
        if confidence > 0.5
        and any(relative_error(c.profile.rate_error, confidence) < 10 for c in shown)
        else ""
    )
    rest = len(curves) - len(shown)
    return element(
        "section",
        element("h2", "Rate curves"),
        element(
            "p",
            "Samples per second alone on the GPU, over the share in percent, one line for each "
            "batch (b8: batch 8). Dots are what was measured. The strip below has the residuals: "
            "how far the curve lies above (+) or below a measurement, in percent of it." + band,
            class_="note",
        ),
        element("div", panels, class_="panels panels-wide"),
        element(
            "p",
            f"{plural(rest, 'curve')} with smaller errors left out: show them by workload.",
            class_="note",
        )
        if rest
        else None,
        id="curves",
    )


def _panel(models: FittedModels, facts: CurveFacts, confidence: float, *, say_type: bool) -> Markup:
    profile = facts.profile
    batches = _drawn_batches(facts)
    lines = {b: line_over_share(profile, b) for b in batches}
    points = [p for p in facts.points if p.batch in lines]
    shown = _thinned(points)
    rates = [r for line in lines.values() for _, r in line] + [p.rate for p in shown]
    top = 1.06 * max(rates, default=1.0) or 1.0
    low = relative_error(profile.rate_error, confidence)
    high = high_error(models, profile, confidence)

    def at(share: float, rate: float) -> tuple[float, float]:
        x = _LEFT + (_RIGHT - _LEFT) * share / 100
        return x, max(_TOP, _BOTTOM - (_BOTTOM - _TOP) * rate / top)

    shapes: list[Markup] = []
    for value in svg.ticks(0, top / 1.06, 4):
        _, y = at(0, value)
        shapes.append(svg.line(_LEFT, y, _RIGHT, y, "grid"))
        shapes.append(svg.text(_LEFT - 5, y + 3.5, svg.short(value), "small", "end"))
    shapes.append(svg.line(_LEFT, _BOTTOM, _RIGHT, _BOTTOM, "axis"))
    if confidence > 0.5:
        shapes += [_band(lines[b], low, high, at) for b in batches if lines[b]]
    shapes += [
        svg.polyline([at(p, r) for p, r in lines[b]], f"curve-{profile.role}")
        for b in batches
        if lines[b]
    ]
    shapes += _labels(lines, at)
    shapes += [svg.group(_said(p), svg.circle(*at(p.share_pct, p.rate), 2.6, "dot")) for p in shown]
    shapes += _residuals(shown)
    for mark in (0, 25, 50, 75, 100):
        x, _ = at(mark, 0)
        shapes.append(svg.text(x, _HEIGHT - 6, f"{mark}", "small", "middle"))
    listed = ", ".join(map(str, batches))
    note = _note(facts, batches, low, confidence, left_out=len(points) - len(shown))
    if say_type:
        note = f"{profile.gpu_type}; {note}"
    return element(
        "figure",
        element("h3", profile.workload, title=facts.name),
        svg.drawing(
            _WIDTH, _HEIGHT, f"Rate of {facts.name} over its share, batch {listed}", *shapes
        ),
        element("figcaption", note, class_="note"),
        _families(facts),
        _disagreements(facts),
    )


def _drawn_batches(facts: CurveFacts) -> tuple[int, ...]:
    """Return the batches to draw: those that were measured, else those that are known."""
    measured = sorted({p.batch for p in facts.points} & set(facts.batches))
    return spread(measured or facts.batches, MOST_CURVES)


def _thinned(points: Sequence[SharePoint]) -> list[SharePoint]:
    """Return the points to draw: of too many, those with the largest residuals are sure to stay."""
    if len(points) <= MOST_POINTS:
        return list(points)
    by_size = sorted(points, key=lambda p: -abs(residual(p) or 0.0))
    step = -(-len(points) // (MOST_POINTS // 2))
    kept = [*by_size[: MOST_POINTS // 2], *by_size[MOST_POINTS // 2 :: step]]
    return sorted(kept, key=lambda p: (p.batch, p.share_pct))


def _band(line: Sequence[tuple[float, float]], low: float, high: float, at: svg.Scale) -> Markup:
    """Shade between the bounds; where one of them is not known, nothing is said on that side."""
    above = 0.0 if math.isinf(high) else high
    below = 0.0 if math.isinf(low) else min(low, 1.0)
    edge = [at(p, r * (1 + above)) for p, r in line]
    return svg.path([*edge, *(at(p, r * (1 - below)) for p, r in reversed(line))], "band")


def _labels(lines: dict[int, list[tuple[float, float]]], at: svg.Scale) -> list[Markup]:
    """Name the lines at their right ends, those apart that would fall on each other."""
    ends = sorted((at(*line[-1])[1], batch) for batch, line in lines.items() if line)
    if not ends:
        return []
    places = [ends[0][0]]
    for y, _ in ends[1:]:
        places.append(max(y, places[-1] + _LABEL_GAP))
    limit = _BOTTOM
    for i in reversed(range(len(places))):
        places[i] = min(places[i], limit)
        limit = places[i] - _LABEL_GAP
    return [
        svg.text(_RIGHT + 4, y + 3.5, f"b{batch}", "small")
        for y, (_, batch) in zip(places, ends, strict=True)
    ]


def _residuals(points: Sequence[SharePoint]) -> list[Markup]:
    """Draw the residuals in a strip of their own, on the same shares."""
    found = [(p, r) for p in points if (r := residual(p)) is not None]
    if not found:
        return []
    reach = max(_LEAST_RESIDUAL, *(min(1.0, abs(r)) for _, r in found))
    middle = (_RESIDUAL_TOP + _RESIDUAL_BOTTOM) / 2
    half = (_RESIDUAL_BOTTOM - _RESIDUAL_TOP) / 2
    shapes = [
        svg.rect(_LEFT, _RESIDUAL_TOP, _RIGHT - _LEFT, 2 * half, "free"),
        svg.line(_LEFT, middle, _RIGHT, middle, "axis"),
        svg.text(_LEFT - 5, _RESIDUAL_TOP + 6, f"+{100 * reach:.2g} %", "small", "end"),
        svg.text(_LEFT - 5, _RESIDUAL_BOTTOM, f"-{100 * reach:.2g} %", "small", "end"),
    ]
    for p, r in found:
        x = _LEFT + (_RIGHT - _LEFT) * p.share_pct / 100
        y = middle - half * max(-1.0, min(1.0, r / reach))
        shapes.append(
            svg.group(_said(p), svg.line(x, middle, x, y, "drop"), svg.circle(x, y, 2.0, "dot"))
        )
    return shapes


def _said(point: SharePoint) -> str:
    r = residual(point)
    said = (
        f"batch {point.batch}, {point.share_pct:.4g} %: measured {number(point.rate)}, "
        f"fitted {number(point.fitted)}"
    )
    return said if r is None else f"{said} ({100 * r:+.2g} %)"


def _note(
    facts: CurveFacts, batches: Sequence[int], low: float, confidence: float, *, left_out: int
) -> str:
    parts = [shorten(facts.method, 160)]
    if facts.error_pct is not None:
        parts.append(f"{facts.error_pct:.3g} % mean error at points left out")
    if facts.points:
        parts.append(plural(len(facts.points), "measured point"))
    if left_out:
        parts.append(f"{left_out:,} of them not drawn")
    parts.append(facts.profile.evidence.value)
    if len(batches) < len(facts.batches):
        parts.append(f"{len(batches)} of {plural(len(facts.batches), 'batch', 'batches')} drawn")
    if confidence > 0.5:
        unknown = math.isinf(low)
        bound = "no lower bound is known" if unknown else f"at most {100 * low:.3g} % lower"
        parts.append(f"{bound} at confidence {confidence:g}")
    return "; ".join(parts)


def _families(facts: CurveFacts) -> Markup | None:
    """Say how well each family did by itself, if several were tried."""
    tried = [f for f in facts.families if f.error_pct is not None]
    if len(tried) < 2:
        return None
    listed = ", ".join(
        f"{family_words(f.family)} {f.error_pct:.3g} % (counts {100 * f.weight:.0f} %)"
        for f in tried
    )
    return element("p", f"By family, at the same points left out: {listed}.", class_="note")


def _disagreements(facts: CurveFacts) -> Markup | None:
    if not facts.notes:
        return None
    rest = len(facts.notes) - MOST_NOTES
    listed = [element("li", shorten(note, 300)) for note in facts.notes[:MOST_NOTES]]
    if rest > 0:
        listed.append(element("li", f"and {plural(rest, 'more remark')}"))
    return element("ul", listed, class_="remarks")
