"""Marginal values on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colocate.cli.console import cell, plain_table
from colocate.cli.plan_view import MOST_ROWS
from colocate.report.words import OBJECTIVES, number

if TYPE_CHECKING:
    from rich.console import Console

    from colocate.explain.marginal import Marginals
    from colocate.plan import Plan

__all__ = ["prices_summary", "print_prices"]

_ABOUT = {
    "gpu": "pool",
    "service": "service",
    "task": "task",
    "quota": "quota of",
    "floor": "floor of",
}


def print_prices(console: Console, plan: Plan, found: Marginals, *, every_row: bool) -> None:
    """Print what one more, or one less, of each thing is worth."""
    unit = OBJECTIVES.get(plan.objective.name, f"the objective, {plan.objective.name}")
    verb = "adds" if found.sense == "max" else "saves"
    console.print()
    console.print(cell(f"What things are worth at the margin, in {unit}", "bold", limit=500))
    table = plain_table("", ["about", "change", f"{verb} at most"], right=[f"{verb} at most"])
    rows = [r for r in found.rows if r.worth > 0 or r.kind == "gpu"]
    for row in rows if every_row else rows[: 2 * MOST_ROWS]:
        table.add_row(
            cell(f"{_ABOUT[row.kind]} {row.name}"), cell(row.change), cell(number(row.worth))
        )
    console.print(table)
    if not every_row and len(rows) > 2 * MOST_ROWS:
        console.print(
            f"... and {len(rows) - 2 * MOST_ROWS} more (--all shows every one)", style="dim"
        )
    console.print()
    start = "the plan, which meets the bound" if found.is_tight else "the bound, not from the plan"
    console.print(
        cell(
            "These are prices of the linear relaxation: slopes for small changes, counted from "
            f"{start}. colocate whatif says what a change really brings.",
            "dim",
            limit=500,
        )
    )


def prices_summary(found: Marginals) -> dict[str, Any]:
    """Return the same for machines."""
    return {
        "value": found.value,
        "bound": found.bound,
        "sense": found.sense,
        "marginal": [
            {"kind": r.kind, "name": r.name, "change": r.change, "worth": r.worth}
            for r in found.rows
        ],
    }
