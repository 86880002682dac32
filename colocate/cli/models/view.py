"""Fitted models on the terminal: what went in, the curves, the pairs, how far to trust them."""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from typing import TYPE_CHECKING

from colocate.cli.console import cell, plain_table, speaks_unicode
from colocate.cli.models.plots import residual_bar, sparkline
from colocate.cli.plan_view import MOST_ROWS
from colocate.errors import clean_text
from colocate.models.bounds import relative_error
from colocate.models.curves import rate_alone
from colocate.report import model_facts, words
from colocate.report.models_calibration import levels_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from colocate.profile import Profile
    from colocate.profile.fitted import Calibration, FittedModels
    from colocate.report.model_facts import CurveFacts, PairFacts

__all__ = ["print_chosen", "print_overview"]

_CELLS = 20
"""Characters of a curve; each stands for so many percent of share."""
_FEWER_CELLS = 10
_WIDE = 120
"""From here on there is room for more characters."""
_SHORTEST_METHOD = 10
_OVER_SHARE = "0 to 100 %"
_BESIDE_BAR = 52
"""Width of the columns beside the bars of residuals."""
_LEAST_REACH = 0.05


def print_overview(console: Console, models: FittedModels, *, every_row: bool = False) -> None:
    """Print everything, in a row for each curve and pair."""
    most = None if every_row else MOST_ROWS
    o = model_facts.overview(models)
    if models.description:
        console.print(cell(models.description, limit=600))
    left_out = f", {o.rows_left_out:,} of them left out" if o.rows_left_out else ""
    console.print(f"Table      {words.plural(o.rows, 'row')} of measurements{left_out}")
    console.print(
        f"Curves     {o.curves:,} of {words.plural(o.workloads, 'workload')} on "
        f"{words.plural(o.gpu_types, 'GPU type')} ({_evidence(o.evidence)})"
    )
    if o.median_error_pct is not None:
        console.print(
            f"Error      {o.median_error_pct:.2g} %: median over the curves, at points left out"
        )
    said = [f"{o.pairs:,}{_in_brackets(_evidence(o.pair_evidence))}", _rest(models)]
    _labelled(console, "Pairs", "; ".join(filter(None, [*said, models.report.company])))
    for s in model_facts.structure_facts(models):
        _labelled(console, "Layers", s.words)
    console.print(f"Hash       {models.sha256}")
    _left_out(console, models, most)
    _curves(console, model_facts.curve_facts(models), most)
    _pairs(console, model_facts.pair_facts(models), most)
    _calibration(console, models)
    notes = [*models.report.notes]
    notes += [f"{c.workload} on {c.gpu_type}: {n}" for c in models.report.curves for n in c.notes]
    _notes(console, notes, most)


def print_chosen(
    console: Console,
    curves: Sequence[CurveFacts],
    pairs: Sequence[PairFacts],
    *,
    every_row: bool = False,
) -> None:
    """Print some curves in detail, with every point and its residual."""
    for i, facts in enumerate(curves):
        if i:
            console.print()
        _curve(console, facts, None if every_row else 2 * MOST_ROWS)
    _pairs(console, pairs, None if every_row else MOST_ROWS)


def _titled(console: Console, title: str, table: Table) -> None:
    """Print a title and its table; a title inside a narrow table would be broken."""
    console.print()
    console.print(cell(title, "bold", 400))
    console.print(table)


def _keep_width(table: Table, heading: str, width: int) -> None:
    """Let other columns give way: a drawing that is cut says something else."""
    for column in table.columns:
        if column.header == heading:
            column.min_width = width


def _evidence(counts: dict[str, int]) -> str:
    return ", ".join(f"{n:,} {grade}" for grade, n in sorted(counts.items(), key=lambda kv: -kv[1]))


def _in_brackets(text: str) -> str:
    return f" ({text})" if text else ""


def _rest(models: FittedModels) -> str:
    default = None if models.interference is None else models.interference.default_slowdown
    if default is None:
        return "" if models.company else "others are not put together"
    return f"others: constant slowdown {default:g}"


def _labelled(console: Console, label: str, text: str) -> None:
    """Print a label and a text that may need several lines."""
    lines = textwrap.wrap(clean_text(text, 2000), max(40, console.width - 11))
    for i, line in enumerate(lines):
        console.print(cell(f"{'' if i else label:<11}{line}", limit=1000))


def _more(console: Console, total: int, most: int | None) -> None:
    if most is not None and total > most:
        console.print(f"... and {total - most:,} more (--all shows every one)", style="dim")


def _left_out(console: Console, models: FittedModels, most: int | None) -> None:
    rows = sorted(models.report.left_out, key=lambda r: -r.rows)
    if not rows:
        return
    table = plain_table("", ["rows", "reason", "one of them"], right=["rows"])
    for r in rows[:most]:
        table.add_row(
            cell(f"{r.rows:,}"), cell(r.reason, "yellow", 160), cell(r.example, limit=160)
        )
    _titled(console, "Left out, and why", table)
    _more(console, len(rows), most)


def _curves(console: Console, curves: Sequence[CurveFacts], most: int | None) -> None:
    unicode = speaks_unicode(console.file)
    several = len({c.profile.gpu_type for c in curves}) > 1
    length = _CELLS if console.width >= _WIDE else _FEWER_CELLS
    rows: list[list[str]] = []
    lines: list[list[float]] = []
    for c in curves[:most]:
        batch = _best_measured(c)
        lines.append(_over_share(c.profile, batch, length))
        rows.append(
            [
                words.shorten(c.profile.workload, 40),
                *([words.shorten(c.profile.gpu_type, 20)] if several else []),
                _span(c.batches),
                f"{len(c.points):,}" if c.points else "-",
                "-" if c.error_pct is None else f"{c.error_pct:.2g}",
                f"b{batch}",
                words.number(lines[-1][-1]),
            ]
        )
    right = ["batches", "points", "error %", "drawn", "samples/s"]
    heads = ["workload", *(["GPU"] if several else []), *right]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    # what is left of a line: the name of a method would break into many
    room = console.width - sum(widths) - length - 3 * (len(heads) + 1)
    table = plain_table(
        "", [*heads, _OVER_SHARE, *(["how"] if room >= _SHORTEST_METHOD else [])], right=right
    )
    _keep_width(table, _OVER_SHARE, length)
    for c, row, values in zip(curves, rows, lines, strict=False):
        name, *rest = row
        method = c.method.removeprefix("average of ")
        table.add_row(
            cell(name, "bold"),
            *map(cell, rest),
            _line(c, values, max(values), unicode=unicode),
            *([cell(words.shorten(method, room))] if room >= _SHORTEST_METHOD else []),
        )
    title = "Curves (drawn: the batch that was measured most, over the share; samples/s at 100 %)"
    _titled(console, title, table)
    _more(console, len(curves), most)


def _best_measured(facts: CurveFacts) -> int:
    """Return the batch with most points, the largest of several."""
    count = Counter(p.batch for p in facts.points)
    return max(facts.batches, key=lambda b: (count[b], b))


def _span(batches: Sequence[int]) -> str:
    return f"{batches[0]}" if len(batches) == 1 else f"{batches[0]}-{batches[-1]}"


def _over_share(profile: Profile, batch: int, length: int = _CELLS) -> list[float]:
    """Return the rate at the right end of each character."""
    return [rate_alone(profile, batch, 100.0 * (i + 1) / length) or 0.0 for i in range(length)]


def _line(facts: CurveFacts, values: Sequence[float], top: float, *, unicode: bool) -> Text:
    style = "blue" if facts.profile.role == "inference" else "yellow"
    from rich.text import Text

    return Text(sparkline(values, top, unicode=unicode), style=style, no_wrap=True)


def _curve(console: Console, facts: CurveFacts, most: int | None) -> None:
    """Print one curve: a line for each batch, then its points."""
    unicode = speaks_unicode(console.file)
    p = facts.profile
    head = cell(facts.name, "bold")
    head.append_text(cell(f" ({p.role}, {p.evidence.value}): {facts.method}", "not bold", 400))
    console.print(head)
    if facts.error_pct is not None:
        console.print(f"Mean error at points that were left out in turn: {facts.error_pct:.3g} %")
    bounds = ", ".join(f"{100 * b.relative:.3g} % at {b.confidence:g}" for b in p.rate_error)
    console.print(f"Lower than the curve by at most: {bounds or 'not known'}")
    lines = {b: _over_share(p, b) for b in facts.batches}
    top = max(max(v) for v in lines.values())
    table = plain_table(
        "",
        ["batch", _OVER_SHARE, "samples/s at 100 %", "points"],
        right=["batch", "samples/s at 100 %", "points"],
    )
    _keep_width(table, _OVER_SHARE, _CELLS)
    for b, values in lines.items():
        at_batch = sum(q.batch == b for q in facts.points)
        table.add_row(
            cell(b),
            _line(facts, values, top, unicode=unicode),
            cell(words.number(values[-1])),
            cell(at_batch),
        )
    console.print(table)
    _families(console, facts)
    _points(console, facts, most, unicode=unicode)
    _notes(console, facts.notes, most)


def _families(console: Console, facts: CurveFacts) -> None:
    """Print how well each family did where points were left out."""
    if not any(f.error_pct is not None for f in facts.families):
        return
    table = plain_table("", ["family", "error %", "counts %"], right=["error %", "counts %"])
    for f in facts.families:
        table.add_row(
            cell(model_facts.family_words(f.family)),
            cell("-" if f.error_pct is None else f"{f.error_pct:.3g}"),
            cell(f"{100 * f.weight:.0f}"),
        )
    _titled(console, "Families (error at the points left out; weights learnt elsewhere)", table)


def _points(console: Console, facts: CurveFacts, most: int | None, *, unicode: bool) -> None:
    if not facts.points:
        return
    found = [(q, model_facts.residual(q)) for q in facts.points]
    reach = max(_LEAST_REACH, *(min(1.0, abs(r or 0.0)) for _, r in found))
    right = ["batch", "share %", "measured", "fitted", "residual %"]
    scale = f"-{100 * reach:.2g} to +{100 * reach:.2g} %"
    table = plain_table("", [*right, scale], right=right)
    half = max(4, min(12, (console.width - _BESIDE_BAR) // 2))
    for q, r in found[:most]:
        table.add_row(
            cell(q.batch),
            cell(f"{q.share_pct:.4g}"),
            cell(words.number(q.rate)),
            cell(words.number(q.fitted)),
            cell(_percent(r)),
            residual_bar(r, reach, half, unicode=unicode),
        )
    _titled(console, "Measured points (residual: how far the curve is above a measurement)", table)
    _more(console, len(found), most)


def _percent(part: float | None) -> str:
    if part is None:
        return "-"
    return f"{100 * part:+.2f}" if abs(part) < 10 else f"{100 * part:+.3g}"


def _pairs(console: Console, pairs: Sequence[PairFacts], most: int | None) -> None:
    if not pairs:
        return
    ordered = sorted(pairs, key=lambda f: -f.most)
    several = len({f.pair.gpu_type for f in pairs}) > 1
    table = plain_table(
        "",
        ["workload", "beside", *(["GPU"] if several else []), "slowdown", "rests on"],
        right=["slowdown"],
    )
    for f in ordered[:most]:
        span = f"{f.least:.3g} to {f.most:.3g}" if f.depends else f"{f.typical:.3g}"
        table.add_row(
            cell(f.pair.victim, "bold", 40),
            cell(f.pair.neighbour, limit=40),
            *([cell(f.pair.gpu_type)] if several else []),
            cell(span),
            cell(f.rests_on),
        )
    title = "Slowdown in company (time beside the neighbour over time alone; the largest first)"
    _titled(console, title, table)
    _more(console, len(pairs), most)


def _calibration(console: Console, models: FittedModels) -> None:
    if not models.calibration:
        return
    levels = levels_of(models.calibration)
    right = ["error %", "held out", "workloads"]
    heads = [f"at {level:g}" for level in levels]
    table = plain_table("", ["prediction", *right, *heads], right=[*right, *heads])
    for c in models.calibration:
        table.add_row(
            cell(f"{c.what.replace('company', 'in company')}, {c.evidence.value}"),
            cell(f"{c.mean_error_pct:.3g}" if c.residuals else "-"),
            cell(f"{c.residuals:,}"),
            cell(f"{c.units:,}"),
            *(cell(_both_sides(c, level)) for level in levels),
        )
    title = (
        "How far to trust a prediction (lower / higher by at most so many percent, "
        "with this confidence)"
    )
    _titled(console, title, table)


def _both_sides(c: Calibration, level: float) -> str:
    sides = (relative_error(bounds, level) for bounds in (c.low, c.high))
    return " / ".join("-" if math.isinf(side) else f"{100 * side:.1f}" for side in sides)


def _notes(console: Console, notes: Sequence[str], most: int | None) -> None:
    if not notes:
        return
    console.print()
    console.print("Remarks", style="bold")
    for note in notes[:most]:
        console.print(cell(f"  {note}", limit=400))
    _more(console, len(notes), most)
