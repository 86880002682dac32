"""`colocate assert`: tells whether what was applied, or a plan, is true here."""  # noqa: N999

from __future__ import annotations

import typer

from colocate.cli import node_options, options
from colocate.cli.exit_codes import ExitCode

app = options.verb()


@app.command()
def assert_(
    plan: str | None = typer.Argument(
        None, help="Plan file; what was applied last when left out.", metavar="[PLAN]"
    ),
    instance: str | None = node_options.INSTANCE,
    launch: str | None = node_options.LAUNCH,
    root: str | None = node_options.ROOT,
    adopt: bool = node_options.ADOPT,
    binary: str | None = node_options.BINARY,
    as_json: bool = options.JSON,
    quiet: bool = options.QUIET,
    max_input: int = options.MAX_INPUT,
    debug: bool = options.DEBUG,
) -> None:
    """Check that this node is as it was applied.

    With a plan: that it is as the plan wants it. Exit code 0 when it is, 1 when it is not.
    """
    del debug
    from colocate.cli.console import console, print_json
    from colocate.cli.node_view import difference_data, print_differences
    from colocate.executor.apply.operator import Operator

    request = None
    if plan is not None:
        request = node_options.request_of(plan, instance, launch, max_input)
    elif instance is not None or launch is not None:
        raise typer.BadParameter("--instance and --launch belong to a PLAN")
    settings = node_options.node_settings(root, binary=binary, adopt=adopt)
    operator = Operator(settings, None if request is None else request.launch)
    situation = operator.look()
    found = operator.check(request, situation)
    change = situation.unfinished
    holds = not found and change is None
    if as_json:
        print_json(
            {
                "kind": "assert",
                "holds": holds,
                "unfinished": None if change is None else change.words(),
                "differences": difference_data(found),
            }
        )
    elif not quiet:
        out = console()
        if change is not None:
            out.print(f"A change is not finished: {change.words()}.", style="bold yellow")
        if found:
            out.print(f"{len(found)} things are not as wanted:", style="bold red")
            print_differences(out, found)
        elif holds:
            out.print("All is as wanted.", style="green")
    raise typer.Exit(ExitCode.OK if holds else ExitCode.CHECK_FAILED)
