"""`colocate preview`: what an apply would do on this node."""

from __future__ import annotations

import typer

from colocate.cli import node_options, options

app = options.verb()


@app.command()
def preview(
    plan: str = typer.Argument(..., help="Plan file; - reads standard input.", metavar="PLAN"),
    instance: str | None = node_options.INSTANCE,
    launch: str | None = node_options.LAUNCH,
    output: str | None = options.flag(
        None,
        "--output",
        "-o",
        help="Keep the preview in a file, for 'colocate apply' to do just that.",
        metavar="FILE",
    ),
    root: str | None = node_options.ROOT,
    adopt: bool = node_options.ADOPT,
    binary: str | None = node_options.BINARY,
    dialect: str = node_options.DIALECT,
    as_json: bool = options.JSON,
    max_input: int = options.MAX_INPUT,
    debug: bool = options.DEBUG,
) -> None:
    """Show what an apply would do on this node.

    Each step is shown with what takes it back; nothing is changed. A preview that was kept in a
    file holds the launch file with it, and is refused as soon as anything has changed that it
    rests on.
    """
    del debug
    from colocate.cli.console import console, print_json
    from colocate.cli.node_view import print_preview, step_data
    from colocate.cli.writing import check_targets, write_text
    from colocate.executor.apply.operator import Operator

    if output is not None:
        check_targets([f for f in (plan, instance, launch) if f is not None], [output])
    if output == "-" and as_json:
        raise typer.BadParameter("--json and --output - both want standard output")
    request = node_options.request_of(plan, instance, launch, max_input)
    settings = node_options.node_settings(root, binary=binary, adopt=adopt, dialect=dialect)
    made = Operator(settings, request.launch).preview(request)
    if output is not None:
        write_text(output, made.text())
    if as_json:
        print_json(
            {
                "kind": "preview",
                "changes": len(made.steps),
                "downtimes": len(made.downtimes),
                "left_out": {"units": made.left_out_units, "gpus": made.left_out_gpus},
                "fingerprint": made.fingerprint,
                "plan": made.origin.model_dump(mode="json"),
                "steps": step_data(made.steps),
            }
        )
    elif output != "-":
        print_preview(console(), made)
