"""Slowdowns of pairs as heat maps: who slows whom down, and how that depends on their knobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from colocate.report import svg
from colocate.report.markup import Markup, element
from colocate.report.model_facts import PairFacts, spread
from colocate.report.words import plural, shorten

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from colocate.profile import Interference, SlowdownTable

__all__ = ["slowdowns_section"]

MOST_NAMES = 36
"""Workloads on one side of a map."""
MOST_TABLES = 24
"""Pairs whose dependence on the knobs is drawn."""
MOST_BATCHES = 3
MOST_SHARES = 8
STEPS = 9
"""Shades of a map."""
_CELL = 26.0
_NUMBERED = 16
"""Up to so many columns, the numbers are written into the cells."""


def slowdowns_section(
    interference: Interference | None,
    company: str,
    pairs: Sequence[PairFacts],
    layers: Sequence[str] = (),
) -> Markup | None:
    """Return the maps of all GPU types, then the pairs that depend most on their knobs."""
    if interference is None:
        return None
    default = interference.default_slowdown
    said = (
        "Pairs without an entry are not put together."
        if default is None
        else f"Pairs without an entry count with the constant {default:g}."
    )
    gpu_types = sorted({f.pair.gpu_type for f in pairs})
    return element(
        "section",
        element("h2", "Slowdown in company"),
        element(
            "p",
            "Time beside the neighbour over time alone: 1 is undisturbed. Rows are slowed down, "
            f"columns cause it. {said}",
            class_="note",
        ),
        element("p", company, class_="note") if company else None,
        [element("p", f"Layers: {text}.", class_="note") for text in layers],
        [_map(gpu, [f for f in pairs if f.pair.gpu_type == gpu]) for gpu in gpu_types],
        _tables(pairs),
        id="slowdowns",
    )


def shade(value: float, top: float) -> str:
    """Return the class of a slowdown: `heat-0` is none at all."""
    part = 0.0 if top <= 1 else (value - 1) / (top - 1)
    return f"heat-{max(0, min(STEPS - 1, round(part * (STEPS - 1))))}"


def _map(gpu_type: str, pairs: Sequence[PairFacts]) -> Markup:
    victims, more_victims = _worst(pairs, "victim")
    neighbours, more_neighbours = _worst(pairs, "neighbour")
    top = max((f.typical for f in pairs), default=1.0)
    left = 12.0 + 6.4 * max((min(28, len(v)) for v in victims), default=0)
    head = 12.0 + 6.4 * max((min(28, len(n)) for n in neighbours), default=0)
    size = min(_CELL, max(16.0, (960.0 - left) / max(1, len(neighbours))))
    row = {v: i for i, v in enumerate(victims)}
    column = {n: i for i, n in enumerate(neighbours)}
    shapes: list[Markup] = []
    for name, i in row.items():
        y = head + i * size + size / 2 + 4
        shapes.append(svg.text(left - 6, y, shorten(name, 28), "small", "end"))
    for name, i in column.items():
        shapes.append(svg.turned(left + i * size + size / 2 + 4, head - 6, shorten(name, 28)))
    for f in pairs:
        if f.pair.victim not in row or f.pair.neighbour not in column:
            continue
        x, y = left + column[f.pair.neighbour] * size, head + row[f.pair.victim] * size
        cell = [svg.rect(x, y, size - 1, size - 1, shade(f.typical, top))]
        if len(neighbours) <= _NUMBERED:
            strong = "over-heat" if shade(f.typical, top) >= "heat-5" else "on-heat"
            cell.append(
                svg.text(x + size / 2, y + size / 2 + 4, f"{f.typical:.2f}", strong, "middle")
            )
        shapes.append(svg.group(_said(f), *cell))
    width, height = left + size * len(neighbours) + 4, head + size * len(victims) + 4
    rest = [
        f"{plural(n, 'workload')} less affected" if side == "row" else f"{plural(n, 'neighbour')}"
        for side, n in (("row", more_victims), ("column", more_neighbours))
        if n
    ]
    return element(
        "figure",
        element("h3", f"On {gpu_type}"),
        # a small map must not be blown up to the width of the page
        element(
            "div",
            svg.drawing(max(width, 960.0), height, f"Slowdowns of pairs on {gpu_type}", *shapes),
            class_="scroll",
        ),
        element("figcaption", f"Not drawn: {' and '.join(rest)}.", class_="note") if rest else None,
        class_="map",
    )


def _worst(pairs: Sequence[PairFacts], side: str) -> tuple[list[str], int]:
    """Return the names on one side, in order, and how many are left out."""
    worst: dict[str, float] = {}
    for f in pairs:
        name = getattr(f.pair, side)
        worst[name] = max(worst.get(name, 0.0), f.typical)
    kept = sorted(worst, key=lambda n: (-worst[n], n))[:MOST_NAMES]
    return sorted(kept), len(worst) - len(kept)


def _said(f: PairFacts) -> str:
    span = f", {f.least:.3g} to {f.most:.3g} by batch and share" if f.depends else ""
    return f"{f.pair.victim} beside {f.pair.neighbour}: {f.typical:.3g}{span}; {f.rests_on}"


def _tables(pairs: Sequence[PairFacts]) -> Markup | None:
    """Draw the tables of the pairs that depend most on batches and shares."""
    varying = sorted(
        (f for f in pairs if f.depends), key=lambda f: (f.least - f.most, f.pair.victim)
    )
    if not varying:
        return None
    shown = varying[:MOST_TABLES]
    top = max(f.most for f in shown)
    rest = len(varying) - len(shown)
    return element(
        "div",
        element("h3", "How it depends on batches and shares"),
        element(
            "p",
            "In each map the share of the workload that is slowed down grows upwards and that of "
            f"its neighbour to the right; 1 is faint, {top:.3g} is strong. Blocks are batches.",
            class_="note",
        ),
        element("div", [_table(f, top) for f in shown], class_="panels"),
        element("p", f"{plural(rest, 'pair')} that vary less left out.", class_="note")
        if rest
        else None,
    )


def _table(f: PairFacts, top: float) -> Markup:
    table = f.pair.table
    assert table is not None
    flat = len(table.victim_share_pct) == len(table.neighbour_share_pct) == 1
    most = 6 if flat else MOST_BATCHES
    rows = spread(range(len(table.victim_batch)), most)
    columns = spread(range(len(table.neighbour_batch)), most)
    block_w, block_h = 216.0 / len(columns), (40.0 if flat else 120.0) / (1 if flat else len(rows))
    height = 8.0 + len(rows) * (block_h + 18)
    shapes: list[Markup] = []
    for i, vb in enumerate(rows):
        for j, nb in enumerate(columns):
            x, y = 12 + j * block_w, 16 + i * (block_h + 18)
            head = f"b{table.victim_batch[vb]} / b{table.neighbour_batch[nb]}"
            shapes.append(svg.text(x, y - 4, head, "small"))
            shapes += _block(table, vb, nb, x, y, block_w - 6, block_h, top)
    names = f"{f.pair.victim} beside {f.pair.neighbour}"
    note = f"{f.least:.3g} to {f.most:.3g} on {f.pair.gpu_type}; {f.rests_on}"
    return element(
        "figure",
        element("h3", names, title=names),
        svg.drawing(236, height, f"Slowdown of {names} by batch and share", *shapes),
        element("figcaption", note, class_="note"),
    )


def _block(
    table: SlowdownTable,
    vb: int,
    nb: int,
    x: float,
    y: float,
    width: float,
    height: float,
    top: float,
) -> Iterator[Markup]:
    """Draw the map over the two shares at one pair of batches."""
    own = spread(range(len(table.victim_share_pct)), MOST_SHARES)
    other = spread(range(len(table.neighbour_share_pct)), MOST_SHARES)
    w, h = width / len(other), height / len(own)
    for i, vs in enumerate(own):
        for j, ns in enumerate(other):
            value = _value(table, vb, nb, vs, ns)
            title = (
                f"batch {table.victim_batch[vb]} at {table.victim_share_pct[vs]:.4g} % beside "
                f"batch {table.neighbour_batch[nb]} at {table.neighbour_share_pct[ns]:.4g} %: "
                f"{value:.3g}"
            )
            bottom = y + height - (i + 1) * h
            yield svg.group(title, svg.rect(x + j * w, bottom, w, h, shade(value, top)))


def _value(table: SlowdownTable, vb: int, nb: int, vs: int, ns: int) -> float:
    _, n_batch, v_share, n_share = table.shape
    return table.slowdown[((vb * n_batch + nb) * v_share + vs) * n_share + ns]
