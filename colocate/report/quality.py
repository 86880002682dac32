"""How good the plan is: the headline, the gap as a picture, the history, the prices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from colocate import registry
from colocate.objectives._worst import is_worst
from colocate.report import svg
from colocate.report.markup import Markup, element, join
from colocate.report.words import (
    CLOSED,
    OBJECTIVES,
    number,
    percent,
    plural,
    quality,
    relative_gap,
    shorten,
    termination_words,
)
from colocate.report.workloads import table

if TYPE_CHECKING:
    from colocate.plan import Plan
    from colocate.result import Progress, Result

__all__ = ["bound_of", "figures", "gap_picture", "history_section", "prices_section", "verdict"]

MOST_PRICES = 12
MOST_HISTORY = 400


def bound_of(plan: Plan, result: Result | None) -> float | None:
    """Return the bound that the page speaks of."""
    if result is not None:
        return result.bound
    return None if plan.certificate is None else plan.certificate.bound


def verdict(plan: Plan, result: Result | None) -> Markup:
    """Say in a sentence or two how good the plan is and who says so."""
    text = [quality(plan.objective.value, bound_of(plan, result), plan.objective.sense)]
    if result is None:
        if plan.certificate is not None:
            text.append("The bound is the plan's own statement; colocate verify recomputes it.")
    else:
        if result.bound is not None:
            text.append("The bound was recomputed from the certificate, without the solver.")
        claimed = result.bound_claimed
        if claimed is not None and claimed != result.bound:
            text.append(f"The solver itself claims {number(claimed)}.")
        text.append(f"How the solve ended: {termination_words(result.termination, result.gap)}.")
    return join(
        (
            element("p", text[0], class_="quality"),
            element("p", " ".join(text[1:]), class_="note") if len(text) > 1 else None,
        )
    )


def figures(plan: Plan, result: Result | None, gpu_count: int) -> Markup:
    """Return the few numbers to look at first."""
    t = plan.totals
    bound = bound_of(plan, result)
    sense = "higher is better" if plan.objective.sense == "max" else "lower is better"
    items: list[tuple[str, str, str]] = [
        (
            plan.objective.name.replace("_", " "),
            number(plan.objective.value),
            f"{OBJECTIVES.get(plan.objective.name, 'as the objective defines it')}; {sense}",
        )
    ]
    if bound is None:
        items.append(("gap", "unknown", "no bound"))
    else:
        gap = relative_gap(plan.objective.value, bound)
        items.append(("gap", percent(gap), f"to the bound, {number(bound)}"))
    items.append(
        ("GPUs in use", f"{t.gpus_used:,}", f"of {gpu_count:,}; {t.gpus_shared:,} of them shared")
    )
    if t.replicas_placed + t.replicas_missing:
        missing = f"{t.replicas_missing:,} missing" if t.replicas_missing else "none missing"
        items.append(("replicas placed", f"{t.replicas_placed:,}", missing))
    if t.tasks_placed + t.tasks_unplaced:
        out = f"{t.tasks_unplaced:,} left out" if t.tasks_unplaced else "none left out"
        items.append(("training tasks placed", f"{t.tasks_placed:,}", out))
    return element(
        "dl",
        [
            element("div", element("dt", label), element("dd", value, element("small", more)))
            for label, value, more in items
        ],
        class_="figures",
    )


def gap_picture(plan: Plan, result: Result | None) -> Markup | None:
    """Draw objective and bound from zero, so that the gap is seen at its true size."""
    bound, value = bound_of(plan, result), plan.objective.value
    if bound is None or min(bound, value) < 0 or max(bound, value) <= 0:
        return None
    maximising = plan.objective.sense == "max"
    closed = relative_gap(value, bound) <= CLOSED
    if not closed and (bound < value) == maximising:
        return None
    low, high = sorted((bound, value))
    width = 960.0
    scale = width / high
    words = f"reached {number(value)}" if maximising else f"unavoidable {number(low)}"
    rest = high - low
    open_words = (
        f"at most {number(rest)} more is possible"
        if maximising
        else f"at most {number(rest)} could be saved"
    )
    shapes = [svg.rect(0, 0, low * scale, 18, "reached")]
    if rest > 0:
        shapes.append(svg.rect(low * scale, 0, rest * scale, 18, "open"))
    return join(
        (
            svg.drawing(width, 18, f"Objective {number(value)}, bound {number(bound)}", *shapes),
            element(
                "div",
                element("span", words),
                None if closed else element("span", open_words),
                class_="ends",
            ),
        )
    )


def history_section(result: Result | None) -> Markup | None:
    """Draw how incumbent and bound met."""
    if result is None:
        return None
    known = [p for p in result.history if p.incumbent is not None or p.bound is not None]
    if len(known) < 3:
        return None
    step = -(-len(known) // MOST_HISTORY)
    known = [*known[:-1:step], known[-1]]
    return element(
        "section",
        element("h2", "How the solve went"),
        element(
            "p",
            f"Best plan so far (full line) and the solver's bound (dashed) over "
            f"{known[-1].elapsed_s:.3g} seconds.",
            class_="note",
        ),
        _history(known),
        id="history",
    )


def _history(known: list[Progress]) -> Markup:
    width, height, left, bottom = 960.0, 220.0, 60.0, 196.0
    values = [v for p in known for v in (p.incumbent, p.bound) if v is not None]
    low, high = min(values), max(values)
    pad = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
    low, high = low - pad, high + pad
    last = max(known[-1].elapsed_s, 1e-9)

    def at(seconds: float, value: float) -> tuple[float, float]:
        return (
            left + (width - left - 10) * seconds / last,
            bottom - (bottom - 8) * (value - low) / (high - low),
        )

    shapes: list[Markup] = []
    for v in svg.ticks(low, high):
        _, y = at(0, v)
        shapes.append(svg.line(left, y, width, y, "grid"))
        shapes.append(svg.text(left - 6, y + 4, number(v), "small", "end"))
    for s in svg.ticks(0, last, 8):
        x, _ = at(s, low)
        shapes.append(svg.text(x, bottom + 16, f"{s:.3g} s", "small", "middle"))
    shapes.append(svg.line(left, bottom, width, bottom, "axis"))
    for class_, series in (
        ("incumbent", [(p.elapsed_s, p.incumbent) for p in known if p.incumbent is not None]),
        ("bound", [(p.elapsed_s, p.bound) for p in known if p.bound is not None]),
    ):
        steps: list[tuple[float, float]] = []
        for seconds, value in series:
            if steps:
                steps.append(at(seconds, 0)[:1] + steps[-1][1:])
            steps.append(at(seconds, value))
        if steps:
            steps.append(at(last, 0)[:1] + steps[-1][1:])
            shapes.append(svg.polyline(steps, class_))
    return svg.drawing(width, height, "Incumbent and bound over time", *shapes)


def prices_section(plan: Plan) -> Markup | None:
    """Return the largest prices of the certificate."""
    c = plan.certificate
    # Prices of a worst case say how many tasks can keep to a level, and nothing of the objective.
    known = plan.objective.name in registry.names("objective")
    if c is None or (known and is_worst(registry.get("objective", plan.objective.name))):
        return None
    prices = [("replica of", p.id, p.price) for p in c.services]
    prices += [("task of", p.id, p.price) for p in c.tasks]
    prices += [
        (
            "quota of",
            f"{q.tenant}, {q.side} {'tasks' if q.unit == 'tasks' else 'GPU share'}",
            q.price,
        )
        for q in c.quotas
    ]
    shown = sorted((p for p in prices if p[2] != 0), key=lambda p: (-abs(p[2]), p[1]))
    if not shown:
        return None
    largest = abs(shown[0][2])
    rows = [
        element(
            "tr",
            element("td", what),
            element("td", shorten(name, 60), class_="name"),
            element("td", number(price), class_="n"),
            element("td", _price_bar(name, price, largest), class_="slack"),
        )
        for what, name, price in shown[:MOST_PRICES]
    ]
    rest = len(shown) - len(rows)
    return element(
        "section",
        element("h2", "What the bound rests on"),
        element(
            "p",
            "The certificate's largest prices: what the bound would gain, or lose, by one more of "
            "each, in the objective's unit turned so that more is better. Any prices give a valid "
            "bound; good prices give a tight one.",
            class_="note",
        ),
        table([("", "one more"), ("", ""), ("n", "price"), ("", "")], rows),
        element("p", f"{plural(rest, 'smaller price')} not shown.", class_="note")
        if rest
        else None,
        id="prices",
    )


def _price_bar(name: str, price: float, largest: float) -> Markup:
    length = 118 * abs(price) / largest
    x = 120.0 if price >= 0 else 120 - length
    return svg.drawing(
        240,
        14,
        f"{name}: {number(price)}",
        svg.rect(x, 3, length, 8, "service" if price >= 0 else "task"),
        svg.line(120, 0, 120, 14, "axis"),
    )
