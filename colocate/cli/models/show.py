"""`colocate models show`: fitted models as tables and lines, or as a page."""

from __future__ import annotations

import typer

from colocate.cli import options
from colocate.cli.models.arguments import CONFIDENCE, MAX_MODELS, MODELS, check_confidence
from colocate.cli.writing import check_free, check_targets, write_text


def show(
    models: str = MODELS,
    workload: str | None = options.flag(
        None, "--workload", "-w", help="Show this workload only, in detail.", metavar="NAME"
    ),
    gpu: str | None = options.flag(
        None, "--gpu", "-g", help="Show this GPU type only, in detail.", metavar="TYPE"
    ),
    output: str | None = options.flag(
        None,
        "--output",
        "-o",
        help="Write an HTML page instead, with pictures; - writes to standard output.",
        metavar="OUT.html",
    ),
    confidence: float = CONFIDENCE,
    force: bool = options.FORCE,
    every_row: bool = options.ALL,
    as_json: bool = options.JSON,
    max_input: int = MAX_MODELS,
    debug: bool = options.DEBUG,
) -> None:
    """Show curves with their points, residuals and bounds, and slowdowns."""
    del debug
    check_confidence(confidence)
    if output is not None and as_json:
        raise typer.BadParameter("--json and --output are two different answers: choose one")
    if output is not None:
        check_targets([models], [output])
        check_free([output], force=force)
    from colocate.io import load_models
    from colocate.report import model_facts

    fitted = load_models(models, max_bytes=max_input)
    if output is not None:
        from colocate.cli.console import cell, console
        from colocate.report import models_html

        page = models_html(fitted, workload=workload, gpu=gpu, confidence=confidence)
        write_text(output, page, force=force)
        if output != "-":
            console().print(cell(f"Page       {output}", limit=1000))
        return
    curves = model_facts.curve_facts(fitted, workload, gpu)
    pairs = model_facts.pair_facts(fitted, workload, gpu)
    if as_json:
        from colocate.cli.console import print_json

        print_json({"kind": "models", **model_facts.summary(fitted, curves, pairs)})
        return
    from colocate.cli.console import console
    from colocate.cli.models.view import print_chosen, print_overview

    if workload is None and gpu is None:
        print_overview(console(), fitted, every_row=every_row)
    else:
        print_chosen(console(), curves, pairs, every_row=every_row)
