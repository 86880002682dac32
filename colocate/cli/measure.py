"""`colocate measure`: a campaign of runs on a GPU, and the profile table that comes of it."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from colocate.cli import node_options, options
from colocate.cli.exit_codes import ExitCode
from colocate.cli.writing import check_free, check_targets, write_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from colocate.executor.measure.campaign import Campaign
    from colocate.executor.measure.course import Summary
    from colocate.executor.measure.runs import Run
    from colocate.executor.ports import Dialect

app = options.verb()

PATIENCE_S = 15.0
"""How long a run may take to end when it is asked to."""


@app.command()
def measure(
    campaign: str | None = typer.Argument(
        None,
        help="Campaign to measure; without one, the built-in workloads. - reads standard input.",
        metavar="[CAMPAIGN]",
    ),
    rows: str | None = options.flag(
        None,
        "--rows",
        help="Measure the rows of this table, such as those of 'models next', in place of the "
        "campaign's own settings; the campaign says how their workloads are started.",
        metavar="TABLE",
    ),
    results: str = options.flag(
        "measured.jsonl", "--results", "-r", help="File that grows run by run.", metavar="FILE"
    ),
    output: str | None = options.flag(
        None,
        "--output",
        "-o",
        help="Also write the profile table; - writes to standard output.",
        metavar="FILE",
    ),
    dry_run: bool = options.flag(
        False, "--dry-run", help="Say which runs there are and how long they take; measure nothing."
    ),
    resume: bool = options.flag(
        False, "--resume", help="Go on with the results file: what is in it is not measured again."
    ),
    budget: float | None = options.flag(
        None, "--budget", help="Start no run that will not end in time.", metavar="MINUTES", min=0.0
    ),
    gpu: str | None = options.flag(
        None, "--gpu", help="GPU to measure on, where there are several.", metavar="UUID"
    ),
    without_mps: bool = options.flag(
        False, "--without-mps", help="Measure only what needs no MPS: one workload, at 100 %."
    ),
    root: str | None = node_options.ROOT,
    allow_root: bool = node_options.ALLOW_ROOT,
    mps_control: str | None = node_options.BINARY,
    dialect: str = node_options.DIALECT,
    force: bool = options.FORCE,
    as_json: bool = options.JSON,
    every_row: bool = options.ALL,
    quiet: bool = options.QUIET,
    debug: bool = options.DEBUG,
) -> None:
    """Measure workloads on a GPU, and write a profile table.

    Every run is written down when it ends. After a crash, or Ctrl-C, --resume goes on.
    """
    del debug
    if output == "-" and as_json:
        raise typer.BadParameter("--json and --output - both want standard output")
    if dialect not in ("v2", "v3"):
        raise typer.BadParameter(f"--dialect is v2 or v3, not {dialect[:20]!r}")
    targets = [] if output is None else [output]
    check_targets([s for s in (campaign, rows) if s is not None], targets)
    check_free(targets, force=force)
    plan = _campaign(campaign)
    runs, gpu_types = _runs(plan, rows)
    if without_mps:
        runs = [r for r in runs if r.point.processes[1:] == () and r.point.processes[0][1] == 100]
    if dry_run:
        _show_runs(plan, runs, results, resume=resume, as_json=as_json, every_row=every_row)
        return
    summary = _measure(
        plan,
        runs,
        gpu_types,
        Path(results),
        resume=resume,
        budget_s=None if budget is None else 60 * budget,
        gpu=gpu,
        without_mps=without_mps,
        root=None if root is None else Path(root),
        allow_root=allow_root,
        mps_control=mps_control,
        dialect="v3" if dialect == "v3" else "v2",
        quiet=quiet,
    )
    table_rows = _write_table(Path(results), output, force=force)
    _show_summary(summary, results, output, table_rows, as_json=as_json, quiet=quiet)
    if summary.ended == "stopped":
        raise typer.Exit(ExitCode.INTERRUPTED)
    if summary.failed or summary.ended == "failures":
        raise typer.Exit(ExitCode.CHECK_FAILED)


def _campaign(source: str | None) -> Campaign:
    if source is None:
        from colocate.executor.measure.builtin import builtin_campaign

        return builtin_campaign()
    from colocate.executor.measure.campaign import load_campaign

    return load_campaign(source)


def _runs(plan: Campaign, rows: str | None) -> tuple[list[Run], frozenset[str]]:
    """Return the runs, and the GPU types that rows ask for."""
    from colocate.executor.measure.runs import points_of, points_of_rows, runs_of

    gpu_types: frozenset[str] = frozenset()
    if rows is None:
        points = points_of(plan)
    else:
        from colocate.cli.models.reading import every_row_counts
        from colocate.tables.read import read_table

        file = read_table(rows, queries=True)
        every_row_counts(file, rows)
        gpu_types = frozenset(map(str, file.table["gpu"]))
        points = points_of_rows(file.table, [w.name for w in plan.workloads])
    return runs_of(points, plan.programs(), plan.effort.starts), gpu_types


def _measure(
    plan: Campaign,
    runs: Sequence[Run],
    gpu_types: frozenset[str],
    results: Path,
    *,
    resume: bool,
    budget_s: float | None,
    gpu: str | None,
    without_mps: bool,
    root: Path | None,
    allow_root: bool,
    mps_control: str | None,
    dialect: Dialect,
    quiet: bool,
) -> Summary:
    from colocate.cli.progress import shown_steps
    from colocate.errors import InputError
    from colocate.executor.measure.course import Progress, run_campaign
    from colocate.executor.measure.here import bench_here
    from colocate.executor.measure.results import Results
    from colocate.report.words import plural

    with bench_here(
        plan,
        gpu=gpu,
        without_mps=without_mps,
        root=root,
        allow_root=allow_root,
        mps_control=mps_control,
        dialect=dialect,
    ) as bench:
        about = bench.about()
        others = sorted(gpu_types - {about.gpu_type})
        if others:
            raise InputError(
                f"the rows are for {others[0]!r}, and this GPU is called {about.gpu_type!r}",
                advice="keep the rows of this type only, or name it in the campaign (gpu_type).",
            )
        head = {"campaign": plan.name, "gpu": about.gpu_type, "driver": about.driver}
        with (
            Results(results, head, resume=resume) as file,
            shown_steps("starting", quiet=quiet) as show,
            _stoppable() as stop,
        ):

            def tell(progress: Progress) -> None:
                if show is not None:
                    left = duration(progress.left_s)
                    of = f"{progress.done + 1} of {plural(progress.total, 'run')}"
                    show(f"{of}, {left} left: {progress.text}")

            return run_campaign(
                runs,
                bench,
                plan.programs(),
                plan.effort.plain(),
                file,
                budget_s=budget_s,
                progress=tell,
                stop=stop,
            )


@contextmanager
def _stoppable() -> Iterator[Callable[[], bool]]:
    """Yield a function that says whether to stop: after Ctrl-C, or SIGTERM.

    What is being measured then ends at its next window. A second one, or some seconds without that,
    ends it where it is; what was started is ended either way.
    """
    asked = threading.Event()

    def on_signal(_signal: int, _frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)

    def on_alarm(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set  # signals belong to the main thread
        return
    handlers = {signal.SIGINT: on_signal, signal.SIGTERM: on_signal, signal.SIGALRM: on_alarm}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield asked.is_set
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def _write_table(results: Path, output: str | None, *, force: bool) -> int:
    """Write what all runs so far give, and return how many rows that is."""
    from colocate.executor.measure.results import read_results
    from colocate.executor.measure.rows import table_of
    from colocate.tables.write import dumps_csv, dumps_json

    _, records = read_results(results)
    table = table_of(records)
    if output is not None:
        is_json = output.lower().endswith(".json")
        write_text(output, dumps_json(table) if is_json else dumps_csv(table), force=force)
    return len(table)


def _show_runs(
    plan: Campaign,
    runs: Sequence[Run],
    results: str,
    *,
    resume: bool,
    as_json: bool,
    every_row: bool,
) -> None:
    """Print the runs and the time that they need."""
    from colocate.cli.console import cell, console, plain_table, print_json
    from colocate.executor.measure.results import read_results
    from colocate.executor.measure.runs import estimate_s
    from colocate.report.words import plural

    effort = plan.effort.plain()
    done: frozenset[str] = frozenset()
    if resume:
        _, records = read_results(Path(results))
        done = frozenset(r.key for r in records if r.state != "failed")
    todo = [run for run in runs if run.key not in done]
    need = estimate_s(todo, effort)
    if as_json:
        listed = [{"key": r.key, "point": r.point.text, "start": r.start} for r in todo]
        print_json(
            {
                "campaign": plan.name,
                "runs": listed,
                "done": len(runs) - len(todo),
                "needs_s": round(need, 1),
            }
        )
        return
    table = plain_table(
        f"Runs of {plan.name}, in their order",
        ["", "measure (b: batch)", "after"],
        right=["", "after"],
    )
    most = len(todo) if every_row else 20
    for i, run in enumerate(todo[:most]):
        table.add_row(
            cell(i + 1),
            cell(run.point.text, limit=400),
            cell(_clock(estimate_s(todo[:i], effort))),
        )
    out = console(sys.stdout)
    out.print(table)
    if len(todo) > most:
        out.print(f"... and {plural(len(todo) - most, 'more run', 'more runs')} (--all)")
    alone = sum(len(r.point.tenants) == 1 and r.point.tenants[0].closed for r in todo)
    loaded = sum(len(r.point.tenants) == 1 and not r.point.tenants[0].closed for r in todo)
    together = len(todo) - alone - loaded
    out.print()
    out.print(
        f"Runs       {len(todo)}: {alone} alone, {loaded} with arrivals, {together} in company"
    )
    if done:
        out.print(f"Done       {len(runs) - len(todo)} before")
    out.print(f"Time       {duration(need)} at least, if every rate is steady at once")
    out.print("Nothing was measured.")


def _show_summary(
    summary: Summary,
    results: str,
    output: str | None,
    rows: int,
    *,
    as_json: bool,
    quiet: bool,
) -> None:
    from dataclasses import asdict

    from colocate.cli.console import cell, console, print_json

    if as_json:
        print_json({**asdict(summary), "results": results, "rows": rows})
        return
    if quiet:
        return
    out = console(sys.stderr if output == "-" else sys.stdout)
    why = {
        "complete": "everything is measured",
        "budget": "the budget has ended",
        "stopped": "it was stopped",
        "failures": "too many runs failed one after the other",
    }[summary.ended]
    out.print(
        f"Measured   {summary.measured} runs in {duration(summary.seconds)}, "
        f"{summary.kept} were there before; {why}"
    )
    if summary.impossible or summary.failed:
        out.print(
            f"Not        {summary.impossible} that cannot run so, {summary.failed} that failed; "
            "the results say why"
        )
    if summary.left:
        out.print(f"Left       {summary.left} runs (--resume goes on)")
    out.print(cell(f"Results    {results}", limit=1000))
    if output not in (None, "-"):
        out.print(cell(f"Table      {output}, {rows} rows", limit=1000))


def _clock(seconds: float) -> str:
    """Return a time as clocks show it."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def duration(seconds: float) -> str:
    """Return a time as people say it."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
