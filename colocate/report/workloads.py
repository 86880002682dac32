"""How each service and each kind of training task fares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from colocate.report import svg
from colocate.report.facts import LeftOut, Range, ServiceRow, TaskRow, reasons
from colocate.report.markup import Markup, element
from colocate.report.words import number, percent, plural, shorten

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["reasons_section", "services_section", "table", "tasks_section"]

MOST_ROWS = 150


def table(columns: Sequence[tuple[str, str]], rows: Sequence[Markup]) -> Markup:
    """Return a table; a column is (class, heading)."""
    head = element("tr", [element("th", h, class_=c or None, scope="col") for c, h in columns])
    return element(
        "div",
        element("table", element("thead", head), element("tbody", rows)),
        class_="scroll",
    )


def cut_note(total: int, noun: str) -> Markup | None:
    """Say how many rows are left out, if any."""
    if total <= MOST_ROWS:
        return None
    return element("p", f"{plural(total - MOST_ROWS, noun)} more are left out here.", class_="note")


def _left_out(items: Sequence[LeftOut]) -> str:
    return ", ".join(f"{m.count:,} {m.word}" for m in items)


def reasons_section(rows: Sequence[ServiceRow | TaskRow]) -> Markup | None:
    """Return every reason for which something is left out, once."""
    found = reasons(rows)
    if not found:
        return None
    body = [
        element(
            "tr",
            element("td", word, class_="name"),
            element("td", shorten(who, 2000)),
            element("td", sentence),
        )
        for word, who, sentence in found[:MOST_ROWS]
    ]
    return element(
        "section",
        element("h2", "Left out, and why"),
        table([("", "reason"), ("", "who, how many"), ("", "in detail")], body),
        cut_note(len(found), "reason"),
        id="left-out",
    )


def _slack(row: ServiceRow) -> Markup | None:
    """Draw mean and bound of the latency against the SLO."""
    if row.used is None or row.slo_ms is None or row.latency_ms is None:
        return None
    width, height = 240.0, 16.0
    scale = 190.0 / max(1.0, row.used)
    grade = "over" if row.used > 1 + 1e-9 else "tight" if row.used > 0.9 else "good"
    at_slo = scale
    return svg.drawing(
        width,
        height,
        f"{row.name}: mean {number(row.latency_ms)} ms, bound {number(row.latency_hi_ms or 0)} ms, "
        f"SLO {number(row.slo_ms)} ms",
        svg.rect(0, 4, at_slo, 8, "free"),
        svg.rect(0, 4, scale * row.used, 8, f"{grade}-soft"),
        svg.rect(0, 4, scale * row.latency_ms / row.slo_ms, 8, grade),
        svg.line(at_slo, 1, at_slo, 15, "mark"),
        svg.text(196, 12, percent(row.used), "small"),
    )


def services_section(rows: Sequence[ServiceRow], confidence: float) -> Markup | None:
    """Return the services, those in trouble first."""
    if not rows:
        return None
    ordered = sorted(rows, key=lambda r: (-r.missing, -(r.used or 0), r.name))
    columns = [
        ("", "service"),
        ("n", "replicas"),
        ("n", "arrivals/s each"),
        ("n", "batch"),
        ("n", "share %"),
        ("n", "mean ms"),
        ("n", "bound ms"),
        ("n", "SLO ms"),
        ("", "SLO used"),
    ]
    body = []
    for r in ordered[:MOST_ROWS]:
        percentile = "" if r.percentile is None else f"at the {r.percentile:g}th percentile"
        body.append(
            element(
                "tr",
                element(
                    "td",
                    r.name,
                    element("div", f"missing {_left_out(r.left_out)}", class_="note")
                    if r.left_out
                    else None,
                    class_="name",
                ),
                element("td", f"{r.placed:,} of {r.placed + r.missing:,}", class_="n"),
                element("td", "–" if r.rate_rps is None else number(r.rate_rps), class_="n"),
                element("td", _range(r.batch, 6), class_="n"),
                element("td", _range(r.share_pct, 3), class_="n"),
                element("td", "–" if r.latency_ms is None else number(r.latency_ms), class_="n"),
                element(
                    "td", "–" if r.latency_hi_ms is None else number(r.latency_hi_ms), class_="n"
                ),
                element(
                    "td",
                    "–" if r.slo_ms is None else number(r.slo_ms),
                    class_="n",
                    title=percentile or None,
                ),
                element("td", _slack(r), class_="slack"),
                class_="bad" if r.left_out else None,
            )
        )
    how = "the mean" if confidence <= 0.5 else f"the bound at confidence {confidence:g}"
    return element(
        "section",
        element("h2", "Inference services"),
        element(
            "p",
            f"The slowest replica of each counts. {how.capitalize()} must stay left of the mark, "
            "the SLO. Dark is the mean, light reaches to the bound.",
            class_="note",
        ),
        table(columns, body),
        cut_note(len(rows), "service"),
        id="services",
    )


def _range(value: Range | None, digits: int) -> str:
    return "–" if value is None else value.text(digits)


def _speed(row: TaskRow) -> Markup | None:
    if row.normalised is None:
        return None
    width = 150.0
    low, high = min(1.0, row.normalised.low), min(1.0, row.normalised.high)
    return svg.drawing(
        240,
        16,
        f"{row.name}: {100 * row.normalised.low:.3g} to {100 * row.normalised.high:.3g} % of its "
        "speed alone",
        svg.rect(0, 4, width, 8, "free"),
        svg.rect(0, 4, width * high, 8, "task-2"),
        svg.rect(0, 4, width * low, 8, "task"),
        svg.text(156, 12, f"{Range(100 * low, 100 * high).text(3)} %", "small"),
    )


def tasks_section(rows: Sequence[TaskRow]) -> Markup | None:
    """Return the training tasks, those left out first."""
    if not rows:
        return None
    ordered = sorted(rows, key=lambda r: (-r.unplaced, r.name))
    gangs = any((r.gang_size or 1) > 1 for r in rows)
    left_out = any(r.left_out for r in rows)
    columns = [
        ("", "task"),
        ("n", "placed"),
        *([("n", "workers each")] if gangs else []),
        ("n", "batch"),
        ("n", "share %"),
        ("", "speed"),
        *([("", "left out")] if left_out else []),
    ]
    body = [
        element(
            "tr",
            element("td", r.name, class_="name"),
            element(
                "td",
                plural(r.workers, "worker")
                if r.placed is None
                else f"{r.placed:,} of {r.placed + r.unplaced:,}",
                class_="n",
            ),
            element("td", "–" if r.gang_size is None else f"{r.gang_size}", class_="n")
            if gangs
            else None,
            element("td", _range(r.batch, 6), class_="n"),
            element("td", _range(r.share_pct, 3), class_="n"),
            element("td", _speed(r), class_="slack"),
            element("td", _left_out(r.left_out)) if left_out else None,
        )
        for r in ordered[:MOST_ROWS]
    ]
    return element(
        "section",
        element("h2", "Training tasks"),
        element(
            "p",
            "Speed is against the task alone on a whole GPU of its fastest type; light reaches "
            "from the slowest to the fastest worker.",
            class_="note",
        ),
        table(columns, body),
        cut_note(len(rows), "task"),
        id="tasks",
    )
