"""Who shares with whom: one bar for all GPUs that hold the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from colocate.report import svg
from colocate.report.markup import Markup, element
from colocate.report.words import plural, shorten

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colocate.report.facts import Cotenant, GpuRow

__all__ = ["gpus_section", "legend"]

MOST_ROWS = 80
_WIDTH = 760.0
_HEIGHT = 32.0
_PER_CHARACTER = 6.4
"""Rough width of one character in these bars; a longer text is cut."""


def legend(items: Sequence[tuple[str, str]]) -> Markup:
    """Return a list of colour keys: (class, words)."""
    return element(
        "ul",
        [element("li", element("span", class_=f"key k-{name}"), text) for name, text in items],
        class_="legend",
    )


def _fitting(text: str, width: float) -> str:
    room = int(width / _PER_CHARACTER)
    return "" if room < 3 else shorten(text, room)


def _segment(c: Cotenant, x: float, width: float, turn: int) -> Markup:
    kind = c.kind if turn % 2 == 0 else f"{c.kind}-2"
    what = "service" if c.kind == "service" else "training task"
    title = (
        f"{what} {c.name}: batch {c.batch}, share {c.share_pct} % ({c.sms} multiprocessors)"
        + ("" if c.rate is None else f", {c.rate:.4g} samples/s expected")
        + f", evidence: {c.grade}"
    )
    name = _fitting(c.name, width - 12)
    knobs = _fitting(f"batch {c.batch}, {c.share_pct} %", width - 12)
    return svg.group(
        title,
        svg.rect(x, 0, max(1.0, width - 1), _HEIGHT, kind),
        svg.text(x + 6, 13.5, name, f"strong on-{kind}"),
        svg.text(x + 6, 26.5, knobs, f"on-{kind}"),
    )


def _bar(row: GpuRow) -> Markup:
    shapes = [svg.rect(0, 0, _WIDTH, _HEIGHT, "free")]
    turns = {"service": 0, "task": 0}
    x = 0.0
    for c in row.cotenants:
        width = _WIDTH * c.share_pct / 100
        shapes.append(_segment(c, x, width, turns[c.kind]))
        turns[c.kind] += 1
        x += width
    if row.free_pct >= 6:
        shapes.append(svg.text(x + 6, 20, _fitting(f"{row.free_pct} %", _WIDTH - x), "small"))
    held = ", ".join(f"{c.name} {c.share_pct} %" for c in row.cotenants)
    return svg.drawing(_WIDTH, _HEIGHT, f"{row.pool}/{shorten(row.gpus, 80)}: {held}", *shapes)


def gpus_section(rows: Sequence[GpuRow], gpu_count: int) -> Markup:
    """Return the section, with a statement of what it leaves out."""
    used = sum(r.count for r in rows)
    chosen = rows if len(rows) <= MOST_ROWS else sorted(rows, key=lambda r: -r.count)[:MOST_ROWS]
    shown = sum(r.count for r in chosen)
    idle = gpu_count - used
    notes = []
    if shown < used:
        notes.append(
            f"The {len(chosen)} most frequent combinations are drawn, on {shown:,} of "
            f"{plural(used, 'GPU')}; {len(rows) - len(chosen):,} rarer ones on "
            f"{plural(used - shown, 'GPU')} are left out."
        )
    if idle > 0:
        notes.append(f"{plural(idle, 'GPU')} hold nothing.")
    elif idle == 0:
        notes.append("No GPU is empty.")
    head = element(
        "tr",
        element("th", "GPU"),
        element("th", "count", class_="n"),
        element("th", "share of its multiprocessors"),
    )
    body = [
        element(
            "tr",
            element(
                "td",
                f"{row.pool}/{shorten(row.gpus, 30)}",
                class_="id",
                title=shorten(f"{row.pool}/{row.gpus}", 2000),
            ),
            element("td", f"{row.count:,}", class_="n"),
            element("td", _bar(row), class_="bar"),
        )
        for row in chosen
    ]
    return element(
        "section",
        element("h2", "Who shares with whom"),
        legend([("service", "inference service"), ("task", "training worker"), ("free", "free")]),
        element(
            "div", element("table", element("thead", head), element("tbody", body)), class_="scroll"
        )
        if rows
        else element("p", "The plan places nothing."),
        element("p", " ".join(notes), class_="note"),
        id="gpus",
    )
