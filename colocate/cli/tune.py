"""`colocate tune`: follow the load of the services on this node."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import typer

from colocate.cli import node_options, options, watching
from colocate.cli.exit_codes import ExitCode
from colocate.cli.failure import say

if TYPE_CHECKING:
    from colocate.executor.tuner.loop import Tuner

app = options.verb()

LOOKS = 5
LOCK_TIMEOUT_S = 60.0
"""Several GPUs may want a change at a time; they wait for each other."""


@app.command()
def tune(
    instance: str = typer.Argument(
        ..., help="Instance that was applied; - reads standard input.", metavar="INSTANCE"
    ),
    config: str = options.flag(
        ...,
        "--config",
        "-c",
        help="Settings of the tuner, with its sources (JSON).",
        metavar="FILE",
    ),
    gpu: list[str] | None = options.flag(
        None, "--gpu", help="Only this GPU. May be repeated.", metavar="UUID"
    ),
    once: bool = options.flag(
        False, "--once", help="Look until every rate is known, act, show the drift, and end."
    ),
    dry_run: bool = options.flag(False, "--dry-run", help="Decide and tell, and do nothing."),
    observed: str | None = options.flag(
        None, "--observed", help="Add what is seen to this profile table (CSV).", metavar="FILE"
    ),
    root: str | None = node_options.ROOT,
    adopt: bool = node_options.ADOPT,
    allow_root: bool = node_options.ALLOW_ROOT,
    binary: str | None = node_options.BINARY,
    as_json: bool = options.JSON,
    quiet: bool = options.QUIET,
    max_input: int = options.MAX_INPUT,
    debug: bool = options.DEBUG,
) -> None:
    """Follow the load of the services on this node.

    Batches change at once, shares by a second process that takes over; training is paused while
    nothing else helps. Every decision is recorded with its grounds in tuner.jsonl in the state
    folder.
    """
    del debug
    from pathlib import Path

    from colocate.executor.tuner.settings import TunerSettings, sources_of
    from colocate.io import load_instance

    settings = watching.load_settings(TunerSettings, config, max_input)
    found = sources_of(settings)
    question = load_instance(instance, max_bytes=max_input)
    node = node_options.node_settings(
        root,
        binary=binary,
        adopt=adopt,
        allow_root=allow_root,
        lock_timeout=LOCK_TIMEOUT_S,
        changes=not dry_run,
    )
    from colocate.executor.apply.launches import kept_launches
    from colocate.executor.apply.operator import Operator
    from colocate.executor.guard.build import gpus_in_use
    from colocate.executor.guard.records import JsonLines, MemoryLines
    from colocate.executor.guard.run import run_until
    from colocate.executor.tuner.build import tuners_of
    from colocate.executor.tuner.engine_change import EngineChange
    from colocate.executor.tuner.observe import append_rows

    operator = Operator(node)
    tell = watching.printed(as_json=as_json, quiet=quiet)
    recorder = MemoryLines(tell) if dry_run else JsonLines(node.root / "tuner.jsonl", tell=tell)
    tuners = tuners_of(
        operator.ports,
        node.root,
        gpus_in_use(operator.ports, gpu or ()),
        question,
        settings,
        found,
        change=EngineChange(operator.engine),
        launches=kept_launches(node.root),
        recorder=recorder,
        clock=time.monotonic,
        dry_run=dry_run,
    )
    if not tuners:
        say("colocate: no GPU of this node holds anything of ours\n  Maybe apply a plan.")
        raise typer.Exit(ExitCode.CHECK_FAILED)

    def follow(tuner: Tuner, now: float) -> None:
        tuner.tick(now)
        rows = tuner.observer.take()
        if observed is not None and not dry_run:
            append_rows(Path(observed), rows)

    if once:
        _once(tuners, settings.interval_s)
        _show_drift(tuners, as_json=as_json)
        return
    with watching.stopped_by_signal() as stop:
        run_until(
            [partial(follow, tuner) for tuner in tuners],
            stop,
            interval_s=settings.interval_s,
            failed=watching.unexpected,
        )
    if not dry_run:
        for tuner in tuners:
            tuner.release(time.monotonic())


def _once(tuners: list[Tuner], interval_s: float) -> None:
    """Look until every service has told its rate: counters tell nothing the first time."""
    for look in range(LOOKS):
        if look:
            time.sleep(interval_s)
        unknown = False
        for tuner in tuners:
            seen = tuner.tick(time.monotonic()).signals
            unknown |= any(s.rate_rps is None for s in seen.values())
        if not unknown and look:
            return


def _show_drift(tuners: list[Tuner], *, as_json: bool) -> None:
    from colocate.cli.console import cell, console, plain_table, print_json

    rows = [(tuner.gpu, row) for tuner in tuners for row in tuner.drift()]
    if as_json:
        print_json(
            {"kind": "drift", "services": [{"gpu": gpu, **row.record()} for gpu, row in rows]}
        )
        return
    columns = ("service", "planned/s", "seen/s", "predicted ms", "bound ms", "seen ms", "SLO ms")
    table = plain_table("Plan and reality", (*columns, "verdict"), right=columns[1:])
    for _, row in rows:
        numbers = (
            row.planned_rps,
            row.seen_rps,
            row.planned_ms,
            row.bound_ms,
            row.seen_ms,
            row.slo_ms,
        )
        shown = ["?" if n is None else f"{n:.4g}" for n in numbers]
        table.add_row(cell(row.entry), *map(cell, shown), cell(row.verdict))
    console().print(table)
