"""`colocate models predict`: rates for the rows of a table, in its order."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import typer

from colocate.cli import options
from colocate.cli.models.arguments import (
    CONFIDENCE,
    MODELS,
    MODELS_BYTES,
    TABLE_BYTES,
    check_confidence,
)
from colocate.cli.progress import shown_steps
from colocate.cli.reading import at_most_one_stdin
from colocate.cli.writing import check_free, check_targets, write_text
from colocate.errors import InputError

if TYPE_CHECKING:
    from colocate.models.queries import Predictions
    from colocate.profile.fitted import FittedModels
    from colocate.tables import ProfileTable
    from colocate.tables.read import TableFile

DIGITS = 6
"""Significant digits of predictions, which are good for two or three."""
MOST_REASONS = 20


def predict(
    models: str = MODELS,
    queries: str = typer.Argument(
        ...,
        help="Profile table without measurements, CSV or JSON; - reads standard input.",
        metavar="QUERIES",
    ),
    output: str | None = options.OUTPUT,
    confidence: float = CONFIDENCE,
    notes: bool = options.flag(
        False, "--notes", help="Add a column that says why a rate is not known."
    ),
    force: bool = options.FORCE,
    as_json: bool = options.JSON,
    max_input: int | None = options.flag(
        None,
        "--max-input",
        help="Refuse larger input files (otherwise 256 MiB of models, 512 MiB of queries).",
        metavar="BYTES",
        min=1,
    ),
    quiet: bool = options.QUIET,
    debug: bool = options.DEBUG,
) -> None:
    """Predict the rate of every row of a table.

    The output is CSV: the columns of the queries, then rate_pred, rate_lo, rate_hi and evidence.
    Rows keep their order; where nothing is known these cells are empty. A query that makes no
    sense is an error.
    """
    del debug
    check_confidence(confidence)
    at_most_one_stdin(models, queries)
    if output == "-" and as_json:
        raise typer.BadParameter("--json and --output - both want standard output")
    if output is not None and output.lower().endswith(".json"):
        raise typer.BadParameter("predictions are written as CSV: give --output another name")
    targets = [] if output is None else [output]
    check_targets([models, queries], targets)
    check_free(targets, force=force)
    from colocate.io import load_models
    from colocate.models.queries import predict as rates_of

    fitted = load_models(models, max_bytes=max_input or MODELS_BYTES)
    with shown_steps("predicting", quiet=quiet):
        file = _queries(queries, max_input or TABLE_BYTES)
        found = rates_of(fitted, file.table, confidence=confidence)
        facts = {} if quiet and not as_json else _facts(fitted, file.table, found, confidence)
        text = None if as_json and output is None else _csv(file, found, notes=notes)
    if text is not None:
        write_text(output or "-", text, force=force)
    if as_json:
        _print_json(facts, found, whole=output is None)
    elif not quiet:
        _summarise(facts, output)


def _queries(source: str, max_bytes: int) -> TableFile:
    from colocate.cli.models.reading import every_row_counts
    from colocate.tables.read import read_table

    file = read_table(source, queries=True, max_bytes=max_bytes)
    label = "<stdin>" if source == "-" else source
    every_row_counts(file, label)
    if not len(file.table):
        raise InputError("there are no queries", source=label, advice="add rows.")
    return file


def _csv(file: TableFile, found: Predictions, *, notes: bool) -> str:
    import numpy as np

    from colocate.tables.write import write_rows

    columns: dict[str, Any] = {name: file.table[name] for name in file.names}
    for name, column in (
        ("rate_pred", found.rate),
        ("rate_lo", found.low),
        ("rate_hi", found.high),
    ):
        columns[name] = np.array([float(f"{x:.{DIGITS}g}") for x in column.tolist()])
    columns["evidence"] = found.evidence
    if notes:
        columns["note"] = found.note
    return write_rows(columns)


def _facts(
    models: FittedModels, asked: ProfileTable, found: Predictions, confidence: float
) -> dict[str, Any]:
    """Return what the predictions rest on, and how they compare with rates that are known."""
    import numpy as np

    from colocate.cli.models.reach import lacking, reach

    reached = reach(models, asked, found, confidence)
    known = np.isfinite(found.rate)
    facts: dict[str, Any] = {
        "rows": len(asked),
        "predicted": int(known.sum()),
        "confidence": confidence,
        "without_low": int((known & (found.low <= 0)).sum()),
        "without_high": int((known & ~np.isfinite(found.high)).sum()),
        "without_bounds": int(lacking(found).sum()),
        "reached": None if reached is None else reached._asdict(),
        "evidence": dict(Counter(found.evidence[known].tolist())),
        "unknown": dict(Counter(found.note[~known].tolist()).most_common(MOST_REASONS)),
        "compared": None,
    }
    measured = asked.rates
    both = known & (measured > 0)
    if both.any():
        error = np.abs(found.rate[both] - measured[both]) / measured[both]
        facts["compared"] = {
            "rows": int(both.sum()),
            "mean_error": float(error.mean()),
            "median_error": float(np.median(error)),
            "below_low": float((measured[both] < found.low[both]).mean()),
            "above_high": float((measured[both] > found.high[both]).mean()),
        }
    return facts


def _print_json(facts: dict[str, Any], found: Predictions, *, whole: bool) -> None:
    import math

    from colocate.cli.console import print_json

    document = dict(facts)
    if whole:
        # JSON has neither nan nor infinity
        numbers = {"rate_pred": found.rate, "rate_lo": found.low, "rate_hi": found.high}
        document["predictions"] = {
            **{
                name: [x if math.isfinite(x) else None for x in column.tolist()]
                for name, column in numbers.items()
            },
            "evidence": found.evidence.tolist(),
            "note": found.note.tolist(),
        }
    print_json(document)


def _advice(reached: dict[str, Any] | None, rows: int) -> str:
    """Say up to which confidence the models have bounds for the rows that lack one."""
    from colocate.report.words import of, plural

    if reached is None:
        return f"the models have bounds for {plural(rows, 'such row')} at no confidence"
    level = f"{reached['confidence']!r}"
    return (
        f"the models reach {level} here: maybe use --confidence {level}, with both "
        f"bounds for {of(reached['rows'], rows, 'such row')}"
    )


def _summarise(facts: dict[str, Any], output: str | None) -> None:
    from colocate.cli.console import cell, console
    from colocate.report.words import of, percent, plural

    out = console(sys.stderr if output in (None, "-") else sys.stdout)
    grades = ", ".join(f"{n:,} {grade}" for grade, n in facts["evidence"].items())
    rests = f" ({grades})" if grades else ""
    out.print(f"Predicted  {of(facts['predicted'], facts['rows'], 'row')}{rests}")
    lacking = [
        f"{plural(facts[key], 'row')} without {side}"
        for key, side in (("without_low", "a lower one"), ("without_high", "an upper one"))
        if facts[key]
    ]
    if lacking:
        out.print(f"Bounds     at confidence {facts['confidence']:g}: {', '.join(lacking)}")
        out.print(f"           {_advice(facts['reached'], facts['without_bounds'])}")
    compared = facts["compared"]
    if compared is not None:
        out.print(
            f"Compared   {plural(compared['rows'], 'row')} with a rate of their own: "
            f"mean error {100 * compared['mean_error']:.3g} %, "
            f"median {100 * compared['median_error']:.3g} %"
        )
        out.print(
            f"           {percent(compared['below_low'])} of them below rate_lo, "
            f"{percent(compared['above_high'])} above rate_hi"
        )
    for note, n in facts["unknown"].items():
        out.print(cell(f"Unknown    {plural(n, 'row')}: {note}", limit=400))
    if output not in (None, "-"):
        out.print(cell(f"Output     {output}", limit=1000))
