"""`colocate models fit`: a table of measurements in, fitted models out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from colocate.cli import options
from colocate.cli.models.arguments import MAX_TABLE, TABLE
from colocate.cli.progress import shown_steps
from colocate.cli.reading import at_most_one_stdin
from colocate.cli.writing import check_free, check_targets, write_text

if TYPE_CHECKING:
    from colocate.profile.fitted import FittedModels


def fit(
    table: str = TABLE,
    output: str | None = options.OUTPUT,
    report: str | None = options.flag(
        None, "--report", help="Also write an HTML page about the models.", metavar="OUT.html"
    ),
    layers: str | None = options.flag(
        None,
        "--layers",
        help="Layer counts of networks, CSV or JSON: slowdowns of workloads without telemetry are "
        "then told from networks that are built alike.",
        metavar="LAYERS",
    ),
    tenants: int = options.flag(
        2,
        "--tenants",
        help="How many workloads may share a GPU in the plans to come. From 3 on the share of a "
        "neighbour is not what the other leaves, so slowdowns are worked out for every share.",
        metavar="N",
        min=1,
        max=8,
    ),
    force: bool = options.FORCE,
    as_json: bool = options.JSON,
    max_input: int = MAX_TABLE,
    quiet: bool = options.QUIET,
    every_row: bool = options.ALL,
    debug: bool = options.DEBUG,
) -> None:
    """Fit rate curves, slowdowns and error bounds to a table of measurements.

    Rows that make no sense are left out and told. Without --output nothing is kept.
    """
    del debug
    if output == "-" and as_json:
        raise typer.BadParameter("--json and --output - both want standard output")
    if report == "-":
        raise typer.BadParameter("--report needs the name of a file")
    targets = [t for t in (output, report) if t is not None]
    sources = [table] if layers is None else [table, layers]
    at_most_one_stdin(*sources)
    check_targets(sources, targets)
    check_free(targets, force=force)
    from colocate.io import dumps_models

    models = _fitted(table, layers, tenants, max_input, quiet=quiet)
    page = None
    if report is not None:
        from colocate.report import models_html

        page = models_html(models)
    if output is not None:
        write_text(output, dumps_models(models), force=force)
    if report is not None and page is not None:
        write_text(report, page, force=force)
    if as_json:
        from colocate.cli.console import print_json
        from colocate.report import model_facts

        curves = model_facts.curve_facts(models)
        print_json(model_facts.summary(models, curves, model_facts.pair_facts(models)))
    elif not quiet or output is None:
        _show(models, output, report, every_row=every_row)


def _fitted(
    table: str, layers: str | None, tenants: int, max_input: int, *, quiet: bool
) -> FittedModels:
    from colocate.cli.models.reading import no_row, with_dropped
    from colocate.errors import InputError
    from colocate.tables.layers import MAX_LAYERS_BYTES, read_layers
    from colocate.tables.read import read_table

    with shown_steps("reading the table", quiet=quiet) as progress:
        structure = None
        if layers is not None:
            structure = read_layers(layers, max_bytes=min(max_input, MAX_LAYERS_BYTES))
        file = read_table(table, max_bytes=max_input)
        if not len(file.table):
            raise no_row(file, "<stdin>" if table == "-" else table)
        from colocate.models.fitting.fit import fit_models  # takes a while: the table comes first

        fitted = fit_models(file.table, layers=structure, tenants=tenants, progress=progress)
        models = with_dropped(fitted, file)
    if not models.profiles:
        raise InputError(
            "no rate curve could be fitted",
            source=table,
            advice="measure each workload alone on the GPU, at two shares or more.",
            more=[
                InputError(f"{r.reason} ({r.rows} rows)", source=table)
                for r in models.report.left_out[:20]
            ],
        )
    return models


def _show(models: FittedModels, output: str | None, report: str | None, *, every_row: bool) -> None:
    from colocate.cli.console import cell, console
    from colocate.cli.models.view import print_overview

    out = console(sys.stderr if output == "-" else sys.stdout)
    print_overview(out, models, every_row=every_row)
    out.print()
    for what, name in (("Models", output), ("Report", report)):
        if name is not None and name != "-":
            out.print(cell(f"{what:<10} {name}", limit=1000))
    if output is None:
        out.print("Nothing was kept: --output FILE keeps the models.")
