"""`colocate models next`: which measurements would most improve the plan."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING

import typer

from colocate.cli import options
from colocate.cli.models.arguments import TABLE, TABLE_BYTES
from colocate.cli.progress import shown_steps
from colocate.cli.reading import at_most_one_stdin, load_plugins
from colocate.cli.writing import check_free, check_targets, write_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colocate.advice.next_measurements import Advice
    from colocate.advice.runs import Run


def next_(
    table: str = TABLE,
    instance: str = typer.Argument(
        ...,
        help="Instance with profiles fitted to the table; - reads standard input.",
        metavar="INSTANCE",
    ),
    budget: int = options.flag(5, "--budget", "-n", help="How many runs.", metavar="N", min=0),
    solver: str = options.flag("auto", "--solver", "-s", help="Solver by its registered name."),
    plugin: list[str] | None = options.PLUGIN,
    output: str | None = options.flag(
        None,
        "--output",
        "-o",
        help="Also write the runs as a profile table to fill in; - writes to standard output.",
        metavar="FILE",
    ),
    force: bool = options.FORCE,
    as_json: bool = options.JSON,
    max_input: int | None = options.flag(
        None,
        "--max-input",
        help="Refuse larger input files (otherwise 512 MiB of table, 16 MiB of instance).",
        metavar="BYTES",
        min=1,
    ),
    quiet: bool = options.QUIET,
    debug: bool = options.DEBUG,
) -> None:
    """Say what to measure next: the runs from which the plan is expected to gain most.

    The gain is by how much the plan is expected to be worth more, on average over how the runs may
    turn out, when models are fitted again with them and the plan is made again. At a confidence
    above 0.5 it is that of all splits of a pair, or shares of a curve, that are listed together.
    """
    del debug
    at_most_one_stdin(table, instance)
    if output == "-" and as_json:
        raise typer.BadParameter("--json and --output - both want standard output")
    targets = [] if output is None else [output]
    check_targets([table, instance], targets)
    check_free(targets, force=force)
    load_plugins(plugin)
    from colocate.advice.next_measurements import next_measurements
    from colocate.io import MAX_BYTES, load_instance
    from colocate.tables.read import read_table

    with shown_steps("making plans", quiet=quiet):
        file = read_table(table, max_bytes=max_input or TABLE_BYTES)
        question = load_instance(instance, max_bytes=max_input or MAX_BYTES)
        found = next_measurements(file.table, question, budget, solver=solver)
    if output is not None:
        write_text(output, _to_fill_in(found, output), force=force)
    if as_json:
        _print_json(found)
    elif not quiet or output is None:
        _show(found, output, budget, file.n_dropped)


def _to_fill_in(found: Sequence[Advice], output: str) -> str:
    from colocate.tables import ProfileTable
    from colocate.tables.write import dumps_csv, dumps_json

    rows = ProfileTable.join([a.query for a in found])
    return dumps_json(rows) if output.lower().endswith(".json") else dumps_csv(rows)


def _at(run: Run, first: Run) -> str:
    """Return what is different from the first run: the shares, and the batch of another curve."""
    shares = "/".join(f"{t.share_pct}" for t in run.tenants) + "%"
    batches = [t.batch for t in run.tenants]
    if batches == [t.batch for t in first.tenants]:
        return shares
    return "b" + "/".join(map(str, batches)) + f" {shares}"


def _print_json(found: Sequence[Advice]) -> None:
    from colocate.cli.console import print_json

    print_json(
        {
            "runs": [
                {
                    "gpu_type": a.run.gpu_type,
                    "tenants": [t._asdict() for t in a.run.tenants],
                    "also": [[t._asdict() for t in run.tenants] for run in a.more],
                    "gain": a.gain if math.isfinite(a.gain) else None,
                    "needed": not math.isfinite(a.gain),
                    "cost": a.cost,
                    "reason": a.reason,
                }
                for a in found
            ]
        }
    )


def _show(found: Sequence[Advice], output: str | None, budget: int, dropped: int) -> None:
    from colocate.cli.console import cell, console, plain_table
    from colocate.report.words import number, plural

    out = console(sys.stderr if output == "-" else sys.stdout)
    if dropped:
        out.print(f"Left out   {plural(dropped, 'row')} of the table that made no sense")
    if not found:
        out.print(f"No runs within the budget of {budget} are expected to change the plan.")
    else:
        several = len({a.run.gpu_type for a in found}) > 1
        columns = ["", "measure (b: batch)", *(["on"] if several else []), "gain", "why"]
        table = plain_table("", columns, right=["", "gain"])
        for i, a in enumerate(found):
            who = " beside ".join(f"{t.workload} b{t.batch} {t.share_pct}%" for t in a.run.tenants)
            also = ", ".join(_at(run, a.run) for run in a.more)
            table.add_row(
                cell(i + 1),
                cell(f"{who}; also at {also}" if also else who, "bold", 400),
                *([cell(a.run.gpu_type)] if several else []),
                cell(number(a.gain) if math.isfinite(a.gain) else "needed"),
                cell(a.reason),
            )
        where = "" if several else f" on {found[0].run.gpu_type}"
        title = f"What to measure next{where} (gain: in the objective's unit, expected)"
        out.print(cell(title, "bold", 400))
        out.print(table)
        if sum(a.cost for a in found) < budget:
            out.print(f"No further runs within the budget of {budget} are expected to change it.")
    if output not in (None, "-"):
        out.print(cell(f"Table      {output}", limit=1000))
