"""A plan on the terminal: the headline, who shares with whom, services, tasks, coverage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from colocate.cli.bars import ASCII, BLOCKS, Glyphs, legend, share_bar, use_bar
from colocate.cli.console import cell, plain_table, speaks_unicode
from colocate.report import facts, words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.text import Text

    from colocate.instance import Instance
    from colocate.plan import Plan

__all__ = ["MOST_ROWS", "print_coverage", "print_headline", "print_plan"]

MOST_ROWS = 24
"""Rows of a table before it is summarised."""


def print_headline(console: Console, plan: Plan, *, bound: float | None, remark: str = "") -> None:
    """Print what the plan is worth and what it places, in a few lines."""
    better = "higher is better" if plan.objective.sense == "max" else "lower is better"
    line = cell(plan.instance_name, "bold")
    line.append(f": {plan.objective.name} ", style="not bold")
    line.append(words.number(plan.objective.value), style="bold")
    line.append(f" ({better}), by solver {plan.solver}", style="not bold")
    console.print(line)
    quality = words.quality(plan.objective.value, bound, plan.objective.sense)
    console.print(cell(f"{quality} {remark}".rstrip(), limit=500))
    console.print()
    for label, sentence in words.totals_words(plan):
        console.print(f"{label:<10} {sentence}")


def print_plan(
    console: Console, plan: Plan, instance: Instance | None = None, *, every_row: bool = False
) -> None:
    """Print the plan's tables. With the instance, services are shown against their SLOs."""
    glyphs = BLOCKS if speaks_unicode(console.file) else ASCII
    most = None if every_row else MOST_ROWS
    rows = facts.gpu_rows(plan)
    if rows:
        console.print()
        _print_gpus(console, rows, glyphs, most)
    services = facts.service_rows(plan, instance)
    if services:
        console.print()
        _print_services(console, services, glyphs, most)
    tasks = facts.task_rows(plan, instance)
    if tasks:
        console.print()
        _print_tasks(console, tasks, most)
    _print_reasons(console, [*services, *tasks], most)


def _chosen(rows: Sequence[facts.GpuRow], most: int | None) -> Sequence[facts.GpuRow]:
    if most is None or len(rows) <= most:
        return rows
    return sorted(rows, key=lambda r: -r.count)[:most]


def _holds(row: facts.GpuRow) -> Text:
    parts = [f"{c.name} b{c.batch} {c.share_pct}%" for c in row.cotenants]
    if row.free_pct >= 5:
        parts.append(f"free {row.free_pct}%")
    return cell(", ".join(parts), limit=2000)


def _print_gpus(
    console: Console, rows: Sequence[facts.GpuRow], glyphs: Glyphs, most: int | None
) -> None:
    console.print("Who shares with whom", style="bold")
    console.print(legend(glyphs))
    chosen = _chosen(rows, most)
    width = 30 if console.width >= 90 else 16
    many = any(r.count > 1 for r in chosen)
    columns = ["GPU", *(["count"] if many else []), "", "holds (b: batch)"]
    table = plain_table("", columns, right=["count"])
    for row in chosen:
        name = words.shorten(f"{row.pool}/{row.gpus}", 26)
        count = [cell(f"{row.count:,}")] if many else []
        table.add_row(cell(name), *count, share_bar(row.cotenants, width, glyphs), _holds(row))
    console.print(table)
    if len(chosen) < len(rows):
        rest = sum(r.count for r in rows) - sum(r.count for r in chosen)
        console.print(
            f"... and {len(rows) - len(chosen):,} more combinations on {words.plural(rest, 'GPU')} "
            "(largest shown first; --all shows every one)",
            style="dim",
        )


def _cut(console: Console, total: int, most: int | None, noun: str) -> None:
    if most is not None and total > most:
        console.print(
            f"... and {words.plural(total - most, noun)} more (--all shows every one)", style="dim"
        )


def _left_out(row: facts.ServiceRow | facts.TaskRow) -> Text:
    return cell(", ".join(f"{m.count:,} {m.word}" for m in row.left_out), "red")


def _print_reasons(
    console: Console, rows: Sequence[facts.ServiceRow | facts.TaskRow], most: int | None
) -> None:
    found = facts.reasons(rows)
    if not found:
        return
    console.print()
    table = plain_table("Left out, and why", ["reason", "who, how many", "in detail"])
    for word, who, sentence in found[:most]:
        names = words.shorten(who, 80) if most is not None else who
        table.add_row(cell(word, "red"), cell(names, limit=100_000), cell(sentence, limit=2000))
    console.print(table)
    _cut(console, len(found), most, "reason")


def _print_services(
    console: Console, rows: Sequence[facts.ServiceRow], glyphs: Glyphs, most: int | None
) -> None:
    with_slo = any(r.slo_ms is not None for r in rows)
    right = ["replicas", "batch", "share %", "mean ms", "bound ms", "SLO ms"]
    columns = ["service", *right[: 6 if with_slo else 5]]
    if with_slo:
        columns.append("SLO used")
    width = 12 if console.width >= 100 else 0
    missing = any(r.left_out for r in rows)
    if missing:
        columns.append("missing")
    table = plain_table("Inference services (the slowest replica counts)", columns, right=right)
    # those in trouble first, so that a cut table keeps them
    ordered = sorted(rows, key=lambda r: (-r.missing, -(r.used or 0), r.name))
    for row in ordered[:most]:
        cells = [
            cell(row.name),
            cell(f"{row.placed:,}/{row.placed + row.missing:,}"),
            cell("-" if row.batch is None else row.batch.text(6)),
            cell("-" if row.share_pct is None else row.share_pct.text(3)),
            cell("-" if row.latency_ms is None else words.number(row.latency_ms)),
            cell("-" if row.latency_hi_ms is None else words.number(row.latency_hi_ms)),
        ]
        if with_slo:
            cells.append(cell("-" if row.slo_ms is None else words.number(row.slo_ms)))
            cells.append(use_bar(row.used, width, glyphs))
        if missing:
            cells.append(_left_out(row))
        table.add_row(*cells)
    console.print(table)
    _cut(console, len(rows), most, "service")


def _print_tasks(console: Console, rows: Sequence[facts.TaskRow], most: int | None) -> None:
    left_out = any(r.left_out for r in rows)
    right = ["placed", "batch", "share %", "speed %"]
    table = plain_table(
        "Training tasks (speed: against the task alone on a whole GPU of its fastest type)",
        ["task", *right, *(["left out"] if left_out else [])],
        right=right,
    )
    ordered = sorted(rows, key=lambda r: (-r.unplaced, r.name))
    for row in ordered[:most]:
        if row.placed is None:
            placed = words.plural(row.workers, "worker")
        else:
            placed = f"{row.placed:,}/{row.placed + row.unplaced:,}"
            if row.gang_size is not None and row.gang_size > 1:
                placed += f" x{row.gang_size} GPUs"
        speed = row.normalised
        table.add_row(
            cell(row.name),
            cell(placed),
            cell("-" if row.batch is None else row.batch.text(6)),
            cell("-" if row.share_pct is None else row.share_pct.text(3)),
            cell("-" if speed is None else facts.Range(100 * speed.low, 100 * speed.high).text(3)),
            *([_left_out(row)] if left_out else []),
        )
    console.print(table)
    _cut(console, len(rows), most, "task")


_MEANING = {
    "measured": "every prediction on the GPU rests on measurements",
    "regressed": "at least one rests on a regression, none on a constant",
    "constant": "at least one rests on a constant guess",
    "unknown": "at least one placement has no prediction",
}


def print_coverage(console: Console, plan: Plan, *, every_row: bool = False) -> None:
    """Print what the plan's predictions rest on, in GPUs, replicas and workers."""
    rows = facts.gpu_rows(plan)
    counts = facts.coverage(rows)
    right = ["GPUs", "of used", "replicas", "workers"]
    table = plain_table("What the predictions rest on", ["evidence", *right, ""], right=right)
    for grade in facts.GRADES:
        if grade == "unknown" and not counts.gpus[grade]:
            continue
        used = counts.gpus_used
        table.add_row(
            cell(grade),
            cell(f"{counts.gpus[grade]:,}"),
            cell(words.percent(counts.gpus[grade] / used) if used else "-"),
            cell(f"{counts.replicas[grade]:,}"),
            cell(f"{counts.workers[grade]:,}"),
            cell(_MEANING[grade], "dim"),
        )
    console.print(table)
    weak = [r for r in rows if r.grade != "measured"]
    if not weak:
        return
    console.print()
    listed = plain_table(
        "Placements that do not rest on measurement alone",
        ["GPU", "count", "evidence", "holds"],
        right=["count"],
    )
    ordered = sorted(weak, key=lambda r: (-facts.GRADES.index(r.grade), -r.count))
    most = None if every_row else MOST_ROWS
    for row in ordered[:most]:
        held = ", ".join(
            c.name if c.grade == "measured" else f"{c.name} ({c.grade})" for c in row.cotenants
        )
        name = words.shorten(f"{row.pool}/{row.gpus}", 26)
        listed.add_row(cell(name), cell(f"{row.count:,}"), cell(row.grade), cell(held, limit=2000))
    console.print(listed)
    _cut(console, len(weak), most, "combination")
