"""`colocate compare`: solvers side by side, on one instance or a folder of them."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from colocate.cli import options
from colocate.cli.exit_codes import ExitCode
from colocate.cli.reading import at_most_one_stdin, load_plugins
from colocate.cli.writing import check_free, check_targets, write_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colocate.compare import Row

app = options.verb()


@app.command()
def compare(
    instances: list[str] = typer.Argument(
        ...,
        help="Instance files, or folders of which all .json files are taken; - reads standard "
        "input.",
        metavar="INSTANCE...",
    ),
    solver: list[str] | None = options.flag(
        None, "--solver", "-s", help="A solver to compare; all that fit when left out. Repeatable."
    ),
    time_limit: float | None = options.flag(
        None,
        "--time-limit",
        "-t",
        help="Stop each solve after so many seconds.",
        metavar="S",
        min=0,
    ),
    gap: float | None = options.flag(
        None, "--gap", help="Stop each solve at this relative gap.", metavar="GAP", min=0
    ),
    seed: int = options.flag(0, "--seed", help="Seed of every random choice.", metavar="N", min=0),
    csv_file: str | None = options.flag(
        None, "--csv", help="Also write the rows as CSV; - is standard output.", metavar="FILE"
    ),
    plot: str | None = options.flag(None, "--plot", help="Also draw them.", metavar="FILE.svg"),
    force: bool = options.FORCE,
    plugin: list[str] | None = options.PLUGIN,
    as_json: bool = options.JSON,
    quiet: bool = options.QUIET,
    max_input: int = options.MAX_INPUT,
    debug: bool = options.DEBUG,
) -> None:
    """Solve with several solvers, and put them side by side.

    Value, bound, gap, time and violations of each. The bound of an instance is the tightest that
    any of them proved. The exit code is 1 when a solver failed or returned a plan that was
    rejected.
    """
    del debug
    if csv_file == "-" and as_json:
        raise typer.BadParameter("--json and --csv - both want standard output")
    if plot == "-":
        raise typer.BadParameter("--plot needs the name of a file")
    sources = _files(instances)
    at_most_one_stdin(*sources)
    targets = [t for t in (csv_file, plot) if t is not None]
    check_free(targets, force=force)
    check_targets(sources, targets)
    load_plugins(plugin)
    from colocate.cli.console import print_json
    from colocate.cli.interrupt import stoppable
    from colocate.compare import compare as side_by_side
    from colocate.io import load_instance
    from colocate.result import Limits

    questions = [load_instance(source, max_bytes=max_input) for source in sources]
    limits = Limits(time_s=time_limit, gap=gap)
    with stoppable() as stop:
        rows = list(side_by_side(questions, solver or None, limits=limits, seed=seed, stop=stop))
        interrupted = stop()
    if csv_file is not None:
        write_text(csv_file, _csv(rows))
    if plot is not None:
        from colocate.report.comparison import comparison_svg

        write_text(plot, comparison_svg(rows))
    if as_json:
        print_json({"schema": "colocate/comparison/v1", "rows": [asdict(row) for row in rows]})
    elif not quiet and csv_file != "-":
        _print(rows)
    if interrupted:
        raise typer.Exit(ExitCode.INTERRUPTED)
    wrong = any(row.violations or row.outcome == "error" for row in rows)
    raise typer.Exit(ExitCode.CHECK_FAILED if wrong else ExitCode.OK)


def _files(sources: Sequence[str]) -> list[str]:
    """Return the files, with those of folders in their place, by name."""
    from colocate.errors import InputError

    found: list[str] = []
    for source in sources:
        folder = Path(source)
        if source == "-" or not folder.is_dir():
            found.append(source)
            continue
        inside = sorted(str(p) for p in folder.glob("*.json") if p.is_file())
        if not inside:
            raise InputError(
                f"{source!r} holds no .json file", advice="name a folder of instance files."
            )
        found += inside
    return found


def _csv(rows: Sequence[Row]) -> str:
    from colocate.compare import Row as RowType

    text = io.StringIO()
    names = [f.name for f in fields(RowType)]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*names, "fraction"])
    for row in rows:
        values = [getattr(row, name) for name in (*names, "fraction")]
        writer.writerow(["" if v is None else v for v in values])
    return text.getvalue()


def _print(rows: Sequence[Row]) -> None:
    from itertools import groupby

    from colocate.cli.bars import ASCII, BLOCKS, use_bar
    from colocate.cli.console import cell, console, plain_table, speaks_unicode
    from colocate.report.words import number

    out = console()
    glyphs = BLOCKS if speaks_unicode() else ASCII
    right = ["value", "bound", "gap %", "seconds", "violations"]
    for name, group in groupby(rows, key=lambda row: row.instance):
        of_one = list(group)
        best = of_one[0].best_bound if of_one else None
        shown = "unknown" if best is None else number(best)
        title = f"{name} (best bound {shown})"
        columns = ["solver", *right, "of best bound", "outcome"]
        table = plain_table(title, columns, right=right)
        for row in of_one:
            outcome = row.outcome
            if row.limit not in ("", "none"):
                outcome += f", {row.limit}"
            if row.outcome == "refused":
                outcome += f": {row.note}"
            seconds = row.total_s
            table.add_row(
                cell(row.solver),
                cell("-" if row.objective is None else number(row.objective)),
                cell("-" if row.bound is None else number(row.bound)),
                cell("-" if row.gap is None else f"{100 * row.gap:.3g}"),
                cell("-" if seconds is None else f"{seconds:.3g}"),
                cell(row.violations, "red" if row.violations else ""),
                use_bar(row.fraction, 10, glyphs),
                cell(outcome),
            )
        out.print(table)
        out.print()
