"""`colocate apply`: make a plan true on this node, with a net."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import typer

from colocate.cli import node_options, options
from colocate.cli.failure import say

if TYPE_CHECKING:
    from colocate.executor.apply.engine import Outcome
    from colocate.executor.apply.operator import Request
    from colocate.executor.apply.preview import Preview

app = options.verb()

_PREVIEW = re.compile(rb'"schema"\s*:\s*"colocate/preview/v')


@app.command()
def apply(
    file: str = typer.Argument(
        ..., help="Plan file, or a preview that was kept; - reads standard input.", metavar="FILE"
    ),
    instance: str | None = node_options.INSTANCE,
    launch: str | None = node_options.LAUNCH,
    dry_run: bool = options.flag(False, "--dry-run", help="Only show what would be done."),
    root: str | None = node_options.ROOT,
    adopt: bool = node_options.ADOPT,
    allow_root: bool = node_options.ALLOW_ROOT,
    lock_timeout: float = node_options.LOCK_TIMEOUT,
    member_timeout: float = node_options.MEMBER_TIMEOUT,
    force_unlock: int | None = node_options.FORCE_UNLOCK,
    binary: str | None = node_options.BINARY,
    dialect: str = node_options.DIALECT,
    as_json: bool = options.JSON,
    quiet: bool = options.QUIET,
    max_input: int = options.MAX_INPUT,
    debug: bool = options.DEBUG,
) -> None:
    """Make a plan true on this node; what fails is put back.

    A preview that was kept is done as it is. What is cut off goes on with the next apply, or back
    with rollback.
    Exit codes: 6 it failed and everything was put back, 7 it failed and needs attention, 8 another
    apply holds the lock, 1 something that is not ours is in the way or a preview is out of date.
    """
    del debug
    from colocate.cli.console import console, print_json
    from colocate.cli.node_view import print_preview, step_data
    from colocate.executor.apply.lock import force_unlock as take_lock_away
    from colocate.executor.apply.operator import Operator

    kept, request = _read(file, instance, launch, max_input)
    settings = node_options.node_settings(
        root,
        binary=binary,
        adopt=adopt,
        allow_root=allow_root,
        dialect=dialect,
        lock_timeout=lock_timeout,
        member_timeout=member_timeout,
        changes=not dry_run,
    )
    launches = request.launch if request is not None else kept.launch if kept is not None else None
    if dry_run:
        shown = kept
        if request is not None:
            shown = Operator(settings, launches).preview(request)
        assert shown is not None
        if as_json:
            print_json({"kind": "apply", "dry_run": True, "steps": step_data(shown.steps)})
        else:
            print_preview(console(), shown)
        return
    if force_unlock is not None:
        take_lock_away(settings.root, force_unlock)
    with node_options.putting_back(quiet=quiet) as signals:
        notice = None if quiet or as_json else say
        operator = Operator(settings, launches, stop=signals.asked, notice=notice)
        signals.engine = operator.engine
        if kept is not None:
            outcome = operator.apply_preview(kept)
        else:
            assert request is not None
            outcome = operator.apply(request)
    if as_json:
        print_json(outcome_data("apply", outcome))
    elif not quiet:
        sys.stdout.write(told(outcome) + "\n")


def told(outcome: Outcome) -> str:
    """Say what came of a change."""
    number = "" if outcome.applied is None else f" (change {outcome.applied.change})"
    if outcome.verb == "apply":
        if outcome.took_over:
            how = f"{len(outcome.steps)} steps, after a change that had been cut off"
            return f"Applied: {how}{number}."
        if not outcome.steps:
            return "Nothing had to be done: everything is as the plan wants it."
        return f"Applied: {len(outcome.steps)} steps{number}."
    if outcome.took_over:
        return "Rolled back: the change that had been cut off is undone."
    if not outcome.steps:
        return "Nothing to go back to."
    return f"Rolled back: {len(outcome.steps)} steps{number}."


def outcome_data(kind: str, outcome: Outcome) -> dict[str, object]:
    """Return what came of a change, as plain data."""
    from colocate.cli.node_view import step_data

    return {
        "kind": kind,
        "changed": bool(outcome.steps),
        "took_over": outcome.took_over,
        "change": None if outcome.applied is None else outcome.applied.change,
        "steps": step_data(outcome.steps),
    }


def _read(
    file: str, instance: str | None, launch: str | None, max_input: int
) -> tuple[Preview | None, Request | None]:
    """Read a kept preview, or a plan with what belongs to it."""
    from io import BytesIO

    from colocate.errors import InputError
    from colocate.executor.apply.operator import Request
    from colocate.executor.apply.preview import read_preview
    from colocate.io import load_instance, load_launch, load_plan
    from colocate.io.files import read_source

    data, label, _ = read_source(file, max_input, InputError)
    again = BytesIO(data)
    again.name = label  # for the messages
    if _PREVIEW.search(data) is not None:
        if instance is not None or launch is not None:
            raise typer.BadParameter("a preview holds all it needs: no --instance, no --launch")
        return read_preview(again, max_bytes=max_input), None
    if instance is None or launch is None:
        raise typer.BadParameter("a plan needs its --instance and a --launch file")
    from colocate.cli.reading import at_most_one_stdin

    at_most_one_stdin(file, instance, launch)
    return None, Request.of(
        load_instance(instance, max_bytes=max_input),
        load_plan(again, max_bytes=max_input),
        load_launch(launch, max_bytes=max_input),
    )
