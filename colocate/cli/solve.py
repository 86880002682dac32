"""`colocate solve`: an instance in, a verified plan out."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import typer

from colocate.cli import options
from colocate.cli.exit_codes import ExitCode
from colocate.cli.failure import say, say_json
from colocate.cli.reading import load_plugins
from colocate.cli.writing import check_targets, write_text

if TYPE_CHECKING:
    from colocate.instance import Instance
    from colocate.result import Result

app = options.verb()


def _set_log_json(context: typer.Context, value: bool) -> bool:
    settings = context.find_root().obj
    if settings is not None:
        settings.log_json = value
    return value


@app.command()
def solve(
    instance: str = typer.Argument(
        ..., help="Instance file; - reads standard input.", metavar="INSTANCE"
    ),
    output: str | None = options.OUTPUT,
    solver: str = options.flag("auto", "--solver", "-s", help="Solver by its registered name."),
    time_limit: float | None = options.flag(
        None, "--time-limit", "-t", help="Stop after so many seconds.", metavar="S", min=0
    ),
    gap: float | None = options.flag(
        None, "--gap", help="Stop at this relative gap, such as 0.01.", metavar="GAP", min=0
    ),
    seed: int = options.flag(0, "--seed", help="Seed of every random choice.", metavar="N", min=0),
    plugin: list[str] | None = options.PLUGIN,
    report: str | None = options.flag(
        None, "--report", help="Also write an HTML page about the plan.", metavar="OUT.html"
    ),
    as_json: bool = options.JSON,
    log_json: bool = options.flag(
        False,
        "--log-json",
        help="Log progress and errors as JSON lines on standard error.",
        callback=_set_log_json,
        is_eager=True,
    ),
    max_input: int = options.MAX_INPUT,
    quiet: bool = options.QUIET,
    every_row: bool = options.ALL,
    debug: bool = options.DEBUG,
) -> None:
    """Find a plan for an instance, and say how good it is.

    Without --output the plan is shown as tables and bars. Nothing is written when there is no
    plan; the exit code then says why.
    """
    del debug
    if output == "-" and as_json:
        raise typer.BadParameter("--json and --output - both want standard output")
    if report == "-":
        raise typer.BadParameter("--report needs the name of a file")
    check_targets([instance], [t for t in (output, report) if t is not None])
    load_plugins(plugin)
    from colocate.cli.interrupt import stoppable
    from colocate.cli.progress import shown_progress
    from colocate.io import dumps_plan, load_instance
    from colocate.result import Limit, Limits
    from colocate.solve import solve as find

    question = load_instance(instance, max_bytes=max_input)
    limits = Limits(time_s=time_limit, gap=gap)
    with stoppable() as stop, shown_progress(quiet=quiet, log_json=log_json) as progress:
        result = find(question, solver, limits=limits, seed=seed, progress=progress, stop=stop)
    if log_json:
        say_json("done", **_outcome(result))
    if result.plan is not None:
        page = None
        if report is not None:
            from colocate.report import report_html

            page = report_html(question, result.plan, result)
        if output is not None:
            write_text(output, dumps_plan(result.plan))
        if report is not None and page is not None:
            write_text(report, page)
    if as_json:
        sys.stdout.write(_as_json(result) + "\n")
    elif not quiet or output is None:
        _show(result, question, output, report, every_row=every_row)
    code = _exit_code(result)
    if result.plan is None and not log_json:
        say(_why_none(result))
    if result.termination.limit is Limit.INTERRUPTED:
        code = ExitCode.INTERRUPTED
    raise typer.Exit(code)


def _outcome(result: Result) -> dict[str, Any]:
    """Return everything but the plan and the history, for machines."""
    t = result.termination
    return {
        "termination": {"reason": t.reason.value, "limit": t.limit.value, "detail": t.detail},
        "objective": result.objective,
        "bound": result.bound,
        "bound_claimed": result.bound_claimed,
        "gap": result.gap,
        "timings": {
            "compile_s": result.timings.compile_s,
            "solve_s": result.timings.solve_s,
            "verify_s": result.timings.verify_s,
            "total_s": result.timings.total_s,
        },
        "solver": result.solver,
        "solver_detail": result.solver_detail,
        "notes": list(result.notes),
        "seed": result.seed,
        "instance_sha256": result.instance_sha256,
        "versions": dict(result.versions),
        "violations": [v.model_dump(mode="json") for v in result.violations],
    }


def _as_json(result: Result) -> str:
    from colocate.io import dumps_plan

    document = {
        "schema": "colocate/result/v1",
        **_outcome(result),
        "history": [
            {
                "elapsed_s": p.elapsed_s,
                "incumbent": p.incumbent,
                "bound": p.bound,
                "phase": p.phase,
            }
            for p in result.history
        ],
        "plan": None if result.plan is None else json.loads(dumps_plan(result.plan)),
    }
    return json.dumps(document, indent=2, allow_nan=False)


def _show(
    result: Result, question: Instance, output: str | None, report: str | None, *, every_row: bool
) -> None:
    """Print the headline, and the tables unless the plan went elsewhere."""
    if result.plan is None:
        return
    from colocate.cli.console import cell, console
    from colocate.cli.plan_view import print_headline, print_plan
    from colocate.report.words import termination_words

    out = console(sys.stderr if output == "-" else sys.stdout)
    print_headline(out, result.plan, bound=result.bound)
    how = f"{termination_words(result.termination, result.gap)}; in {result.timings.total_s:.2f} s"
    if result.solver_detail:
        how += f"; {result.solver_detail}"
    out.print(cell(f"Solve      {how}", limit=500))
    if output is None:
        print_plan(out, result.plan, question, every_row=every_row)
    for what, name in (("Plan", output), ("Report", report)):
        if name is not None and name != "-":
            out.print(cell(f"{what:<10} {name}", limit=1000))


def _why_none(result: Result) -> str:
    from colocate.report.words import termination_words

    lines = [f"colocate: {termination_words(result.termination)}"]
    lines += [f"  {line}" for line in result.termination.detail.split("\n") if line]
    lines += [f"  {v}" for v in result.violations[:20]]
    return "\n".join(lines)


def _exit_code(result: Result) -> ExitCode:
    from colocate.result import Reason

    if result.plan is not None:
        return ExitCode.OK
    return {
        Reason.INFEASIBLE: ExitCode.INFEASIBLE,
        Reason.NO_SOLUTION_FOUND: ExitCode.NO_PLAN,
    }.get(result.termination.reason, ExitCode.BACKEND)
