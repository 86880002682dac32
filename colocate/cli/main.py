"""The `colocate` command: finds the verb, runs it, and turns every outcome into an exit code.

The list of verbs below is all that `colocate --help` needs, so that help imports no verb.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

import colocate
from colocate.cli import failure, options
from colocate.cli.exit_codes import ExitCode
from colocate.cli.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["VERBS", "app", "main", "run"]

VERBS = {
    "solve": "Find a plan for an instance, and say how good it is.",
    "verify": "Check a plan against its instance, without the solver.",
    "compare": "Solve with several solvers, and put them side by side.",
    "show": "Show an instance or a plan as tables and bars.",
    "models": "Fit models to measurements, look at them, predict with them.",
    "measure": "Measure workloads on a GPU, and write a profile table.",
    "diff": "Tell what it takes to get from one plan to another.",
    "explain": "Say why there is no plan, or why a task is left out.",
    "whatif": "Tell what a change of GPUs, SLOs or loads would bring.",
    "preview": "Show what an apply would do on this node.",
    "apply": "Make a plan true on this node; what fails is put back.",
    "assert": "Check that this node is as it was applied.",
    "status": "Show where this node stands.",
    "rollback": "Bring this node back to what it was before the last change.",
    "export-state": "Write what runs on this node, and its limits, as JSON.",
    "guard": "Watch the GPUs of this node; hold training back in time.",
    "tune": "Follow the load of the services on this node.",
    "export": "Write a plan for other launchers, and tell what is lost.",
    "export-model": "Write an instance's integer program as an LP or MPS file.",
    "schema": "Print the JSON Schema of a file format.",
    "datasets": "List, fetch and generate instances.",
    "doctor": "Check this installation: versions, solvers, GPU driver, MPS.",
    "versions": "Print the versions that matter in a bug report.",
}
"""Every verb with its line in the help; the module of the same name defines it."""


class LazyGroup(TyperGroup):
    """Imports the module of a verb when the verb is used, and not to list it."""

    _listing = False

    def __init__(self, **attributes: Any) -> None:  # noqa: ANN401 - passed on as they are
        super().__init__(**attributes)
        for verb, summary in VERBS.items():
            self.commands[verb] = TyperCommand(verb, help=summary)

    # Which package the types of click come from depends on the version of typer, hence Any.
    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401
        """Return the verb, from its module unless it is only listed."""
        del ctx
        if self._listing or cmd_name not in VERBS:
            return self.commands.get(cmd_name)
        module = importlib.import_module(f"colocate.cli.{cmd_name.replace('-', '_')}")
        verb = typer.main.get_command(module.app)
        verb.name = cmd_name
        return verb

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        """Write the help page from `VERBS` alone."""
        self._listing = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._listing = False


app = typer.Typer(
    cls=LazyGroup,
    name="colocate",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=(
        "Exit codes: 0 ok, 1 check failed, 2 bad input or usage, 3 infeasible, "
        "4 no plan within the limits, 5 backend failure, 6 failed and put back, "
        "7 needs attention, 8 lock held, 130 interrupted."
    ),
)


@app.callback(invoke_without_command=True)
def _root(context: typer.Context, version: bool = options.VERSION) -> None:
    """Decide who shares which GPU with whom, and prove how good the plan is."""
    if version:
        sys.stdout.write(f"colocate {colocate.__version__}\n")
        raise typer.Exit
    if context.invoked_subcommand is None:
        sys.stdout.write(context.get_help() + "\n")
        raise typer.Exit(ExitCode.BAD_INPUT)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code. Raises nothing."""
    settings = Settings()
    _prepare_streams()
    try:
        code = typer.main.get_command(app).main(
            args=list(arguments), prog_name="colocate", standalone_mode=False, obj=settings
        )
        sys.stdout.flush()
    except SystemExit as stop:
        # typer leaves with 1 when the reader of the output has gone
        if isinstance(stop.__context__, BrokenPipeError):
            return ExitCode.BROKEN_PIPE
        return stop.code if isinstance(stop.code, int) else ExitCode.BACKEND
    except BaseException as error:  # noqa: BLE001 - this is where everything ends
        return failure.report(error, settings)
    return code if isinstance(code, int) else ExitCode.OK


def _prepare_streams() -> None:
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the caller
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        elif hasattr(stream, "reconfigure"):
            # a terminal that cannot show a character must not end the program
            stream.reconfigure(errors="replace")


def main() -> NoReturn:
    """Run the command line of this process and exit."""
    # The matrices here are small. On shared machines threads of the linear algebra library wait
    # for each other far longer than they work: fits became ten and more times slower.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError:
        # nobody reads, or the disk is full: keep the interpreter from trying again on its way out
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)
