"""`colocate export-model`: the integer program of an instance, for other solvers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from colocate.cli import options
from colocate.cli.reading import load_plugins
from colocate.cli.writing import check_free, check_targets, write_text

if TYPE_CHECKING:
    from colocate.export.model_file import ModelFormat

app = options.verb()
FORMATS: dict[str, ModelFormat] = {"lp": "lp", "mps": "mps"}


@app.command()
def export_model(
    instance: str = typer.Argument(
        ..., help="Instance file; - reads standard input.", metavar="INSTANCE"
    ),
    output: str = options.flag(
        "-", "--output", "-o", help="File to write; - is standard output.", metavar="FILE"
    ),
    form: str | None = options.flag(
        None,
        "--format",
        help="lp or mps; follows from the name of the file when left out.",
        metavar="FORMAT",
    ),
    plugin: list[str] | None = options.PLUGIN,
    force: bool = options.FORCE,
    max_input: int = options.MAX_INPUT,
    debug: bool = options.DEBUG,
) -> None:
    """Write an instance's integer program as an LP or MPS file.

    Every variable and every row has a comment in words of the instance.
    """
    del debug
    chosen = FORMATS.get((form or Path(output).suffix.removeprefix(".") or "lp").lower())
    if chosen is None:
        raise typer.BadParameter(
            "the format is lp or mps: name the file *.lp or *.mps, or say --format"
        )
    check_targets([instance], [output])
    check_free([output], force=force)
    load_plugins(plugin)
    from colocate.export.model_file import model_text
    from colocate.io import load_instance
    from colocate.problem import compile_problem

    problem = compile_problem(load_instance(instance, max_bytes=max_input))
    write_text(output, model_text(problem, chosen), force=force)
