"""How far predictions are from measurements that had no part in them, as table and picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from colocate.models.bounds import relative_error
from colocate.report import svg
from colocate.report.gpus import legend
from colocate.report.markup import Markup, element
from colocate.report.words import percent
from colocate.report.workloads import table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colocate.profile.fitted import Calibration

__all__ = ["KINDS", "calibration_section", "levels_of"]

KINDS = {"alone": "rate alone", "company": "rate in company"}
_WIDTH, _HALF = 240.0, 118.0


def levels_of(calibration: Sequence[Calibration]) -> list[float]:
    """Return the confidence levels that any of them states, ascending."""
    return sorted({b.confidence for c in calibration for b in (*c.low, *c.high)})


def calibration_section(calibration: Sequence[Calibration]) -> Markup | None:
    """Return the errors of each kind of prediction, and the bounds at each level."""
    if not calibration:
        return None
    levels = levels_of(calibration)
    known = [b.relative for c in calibration for b in (*c.low, *c.high)]
    reach = max(known, default=0.0)
    rows = [
        element(
            "tr",
            element("td", KINDS[c.what], class_="name"),
            element("td", c.evidence.value),
            element("td", f"{c.residuals:,}", class_="n"),
            element("td", f"{c.units:,}", class_="n"),
            element("td", f"{c.mean_error_pct:.3g} %" if c.residuals else "–", class_="n"),
            [element("td", bound_text(c, level), class_="n") for level in levels],
            element("td", _picture(c, levels, reach), class_="slack"),
        )
        for c in calibration
    ]
    columns = [
        ("", "prediction"),
        ("", "rests on"),
        ("n", "held out"),
        ("n", "workloads"),
        ("n", "mean error"),
        *(("n", f"at {level:g}") for level in levels),
        ("", ""),
    ]
    return element(
        "section",
        element("h2", "How far to trust a prediction"),
        element(
            "p",
            "Each workload was predicted by models that had not seen it. With the stated "
            "confidence (at 0.9, ...) a rate is lower / higher than predicted by no more than "
            "this; a dash means that there are too few measurements to say.",
            class_="note",
        ),
        legend([("task", "lower than predicted"), ("service", "higher than predicted")]),
        table(columns, rows),
        id="calibration",
    )


def bound_text(c: Calibration, level: float) -> str:
    """Return both bounds at a level."""
    sides = (relative_error(bounds, level) for bounds in (c.low, c.high))
    return " / ".join("–" if side == float("inf") else percent(side) for side in sides)


def _picture(c: Calibration, levels: Sequence[float], reach: float) -> Markup | None:
    """Draw the bounds as bars around the prediction, the wider the more confident."""
    if not reach or not (c.low or c.high):
        return None
    middle = _WIDTH / 2
    shapes: list[Markup] = []
    for level in reversed(levels):
        strong = "" if level == levels[0] else "-2"
        for bounds, class_, sign in ((c.low, "task", -1), (c.high, "service", 1)):
            error = relative_error(bounds, level)
            if error == float("inf"):
                continue
            length = _HALF * error / reach
            x = middle if sign > 0 else middle - length
            shapes.append(svg.rect(x, 3, length, 8, f"{class_}{strong}"))
    shapes.append(svg.line(middle, 0, middle, 14, "mark"))
    said = "; ".join(f"{level:g}: {bound_text(c, level)}" for level in levels)
    title = f"{KINDS[c.what]}, {c.evidence.value}: lower / higher at {said}"
    return svg.drawing(_WIDTH, 14, title, *shapes)
