"""`colocate diff`: what changes between two plans."""

from __future__ import annotations

from collections import Counter

import typer

from colocate.cli import options
from colocate.cli.reading import at_most_one_stdin

app = options.verb()

_STYLES = {"added": "green", "removed": "red", "moved": "yellow", "changed": "cyan"}


@app.command()
def diff(
    before: str = typer.Argument(..., help="Plan file; - reads standard input.", metavar="BEFORE"),
    after: str = typer.Argument(..., help="Plan file; - reads standard input.", metavar="AFTER"),
    every_row: bool = options.ALL,
    as_json: bool = options.JSON,
    max_input: int = options.MAX_INPUT,
    debug: bool = options.DEBUG,
) -> None:
    """Tell what it takes to get from one plan to another.

    A workload that keeps its GPU but not its batch or share is changed; one that goes to another
    GPU is moved.
    """
    del debug
    at_most_one_stdin(before, after)
    from colocate.cli.console import cell, console, plain_table, print_json
    from colocate.cli.plan_view import MOST_ROWS
    from colocate.io import load_plan
    from colocate.plan import diff as compare
    from colocate.report.words import number, plural

    old, new = (load_plan(source, max_bytes=max_input) for source in (before, after))
    difference = compare(old, new)
    counts: Counter[str] = Counter(m.change for m in difference.moves)
    if as_json:
        print_json({**difference.model_dump(mode="json"), "counts": dict(counts)})
        return
    out = console()
    if not difference.same_instance:
        out.print(
            "The plans are for different instances (their hashes differ).", style="bold yellow"
        )
    change = difference.value_after - difference.value_before
    out.print(
        f"Objective  {number(difference.value_before)} -> {number(difference.value_after)} "
        f"({change:+.4g})"
    )
    if difference.empty:
        out.print("Nothing moves and no knob changes.")
        return
    listed = ", ".join(f"{counts[c]:,} {c}" for c in _STYLES if counts[c])
    out.print(f"Workloads  {listed}")
    out.print()
    table = plain_table("", ["change", "workload", "before", "after"])
    most = None if every_row else 2 * MOST_ROWS
    order = {name: i for i, name in enumerate(_STYLES)}
    moves = sorted(difference.moves, key=lambda m: order[m.change])
    for m in moves[:most]:
        what = f"{m.kind} {m.id} #{m.ordinal}"
        table.add_row(
            cell(m.change, _STYLES[m.change]),
            cell(what),
            cell(m.before or "-"),
            cell(m.after or "-"),
        )
    out.print(table)
    if most is not None and len(moves) > most:
        left = plural(len(moves) - most, "workload")
        out.print(f"... and {left} more (--all shows every one)", style="dim")
