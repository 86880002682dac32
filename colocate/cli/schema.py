"""`colocate schema`: the JSON Schema of a file format."""

from __future__ import annotations

import typer

from colocate.cli import options
from colocate.cli.writing import check_targets, write_text

app = options.verb()

KINDS = ("instance", "plan", "profiles", "models", "launch")


@app.command()
def schema(
    kind: str = typer.Argument(
        ..., help="instance, plan, profiles, models or launch.", metavar="KIND"
    ),
    output: str | None = options.OUTPUT,
    debug: bool = options.DEBUG,
) -> None:
    """Print the JSON Schema of a file format."""
    del debug
    if kind not in KINDS:
        raise typer.BadParameter(f"{kind!r} is not one of {', '.join(KINDS)}")
    check_targets([], [] if output is None else [output])
    import json

    from colocate.io import json_schema

    text = json.dumps(json_schema(kind), indent=2) + "\n"  # type: ignore[arg-type]
    write_text(output or "-", text)
