"""`colocate guard`: watch the GPUs of this node, and hold training back in time."""

from __future__ import annotations

import time

import typer

from colocate.cli import node_options, options, watching
from colocate.cli.exit_codes import ExitCode
from colocate.cli.failure import say

app = options.verb()


@app.command()
def guard(
    config: str | None = options.flag(
        None, "--config", "-c", help="Settings of the guard (JSON).", metavar="FILE"
    ),
    sources: str | None = options.flag(
        None,
        "--sources",
        help="Settings of the tuner: where the services tell their latency.",
        metavar="FILE",
    ),
    instance: str | None = node_options.INSTANCE,
    gpu: list[str] | None = options.flag(
        None, "--gpu", help="Only this GPU. May be repeated.", metavar="UUID"
    ),
    once: bool = options.flag(False, "--once", help="Look once, act, and end."),
    dry_run: bool = options.flag(False, "--dry-run", help="Decide and tell, and do nothing."),
    enable: bool = options.flag(
        False, "--enable", help="First let training back on the GPUs that were disabled."
    ),
    keep_holding: bool = options.flag(
        False, "--keep-holding", help="At the end, leave training halted that is halted."
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
    """Watch the GPUs of this node; hold training back in time.

    Every change of a GPU's state is recorded with its evidence in guard.jsonl in the state folder.
    With sources, the latency of the services counts; that takes the instance with their SLOs.
    """
    del debug
    if (sources is None) != (instance is None):
        raise typer.BadParameter("--sources and --instance go together")
    from colocate.executor.guard.thresholds import GuardSettings

    settings = watching.load_settings(GuardSettings, config, max_input)
    found, slo_ms = {}, {}
    if sources is not None and instance is not None:
        from colocate.executor.tuner.settings import TunerSettings, sources_of
        from colocate.io import load_instance

        found = dict(sources_of(watching.load_settings(TunerSettings, sources, max_input)))
        question = load_instance(instance, max_bytes=max_input)
        slo_ms = {service.id: service.slo_ms for service in question.iter_services()}
    node = node_options.node_settings(
        root, binary=binary, adopt=adopt, allow_root=allow_root, changes=not dry_run
    )
    from colocate.executor.apply.launches import kept_launches
    from colocate.executor.apply.operator import Operator
    from colocate.executor.guard.build import gpus_in_use, guards_of
    from colocate.executor.guard.records import JsonLines, MemoryLines
    from colocate.executor.guard.run import run_until

    ports = Operator(node).ports
    tell = watching.printed(as_json=as_json, quiet=quiet)
    recorder = MemoryLines(tell) if dry_run else JsonLines(node.root / "guard.jsonl", tell=tell)
    guards = guards_of(
        ports,
        node.root,
        gpus_in_use(ports, gpu or ()),
        settings,
        recorder=recorder,
        now=time.monotonic(),
        launches=kept_launches(node.root),
        sources=found,
        slo_ms=slo_ms,
        clock=time.monotonic,
        dry_run=dry_run,
    )
    if not guards:
        say("colocate: no GPU of this node holds anything of ours\n  Maybe apply a plan.")
        raise typer.Exit(ExitCode.CHECK_FAILED)
    if enable:
        for kept in guards:
            kept.guard.enable(time.monotonic())
    if once:
        for kept in guards:
            kept.tick(time.monotonic())
        return
    with watching.stopped_by_signal() as stop:
        run_until(
            [kept.tick for kept in guards],
            stop,
            interval_s=settings.interval_s,
            failed=watching.unexpected,
        )
    if not keep_holding and not dry_run:
        for kept in guards:
            kept.guard.release(time.monotonic())
            kept.keep()
