"""`colocate verify`: is this plan right, and how good is it."""

from __future__ import annotations

import typer

from colocate.cli import options
from colocate.cli.exit_codes import ExitCode
from colocate.cli.reading import at_most_one_stdin, load_plugins

app = options.verb()


@app.command()
def verify(
    instance: str = typer.Argument(
        ..., help="Instance file; - reads standard input.", metavar="INSTANCE"
    ),
    plan: str = typer.Argument(..., help="Plan file; - reads standard input.", metavar="PLAN"),
    plugin: list[str] | None = options.PLUGIN,
    as_json: bool = options.JSON,
    quiet: bool = options.QUIET,
    max_input: int = options.MAX_INPUT,
    debug: bool = options.DEBUG,
) -> None:
    """Check a plan against its instance, without the solver.

    Every placement, rule, sum and the objective are worked out anew from the instance, and the
    bound from the certificate's prices. The exit code is 1 when anything is wrong.
    """
    del debug
    at_most_one_stdin(instance, plan)
    load_plugins(plugin)
    from colocate.cli.console import cell, console, plain_table, print_json
    from colocate.io import load_instance, load_plan
    from colocate.report.words import number, quality, relative_gap
    from colocate.verify import verify as judge

    question = load_instance(instance, max_bytes=max_input)
    answer = load_plan(plan, max_bytes=max_input)
    verdict = judge(question, answer)
    gap = None
    if verdict.objective is not None and verdict.bound is not None:
        gap = relative_gap(verdict.objective, verdict.bound)
    if as_json:
        print_json(
            {
                "ok": verdict.ok,
                "violations": [v.model_dump(mode="json") for v in verdict.violations],
                "objective": verdict.objective,
                "bound": verdict.bound,
                "bound_note": verdict.bound_note,
                "gap": gap,
                "instance_sha256": question.sha256,
            }
        )
    elif not quiet:
        out = console()
        if verdict.ok:
            out.print(cell(f"{answer.instance_name}: the plan is valid", "bold green"))
        else:
            n = len(verdict.violations)
            found = f"the plan is not valid ({n} finding{'' if n == 1 else 's'})"
            out.print(cell(f"{answer.instance_name}: {found}", "bold red"))
        if verdict.objective is not None:
            out.print(f"Objective  {number(verdict.objective)} ({answer.objective.name})")
        if verdict.bound is None:
            out.print(
                cell(f"Bound      unknown: {verdict.bound_note or 'no certificate'}", limit=500)
            )
        else:
            out.print(f"Bound      {number(verdict.bound)}, recomputed from the certificate")
            if verdict.bound_note:
                out.print(cell(f"           {verdict.bound_note}", limit=500))
        if verdict.ok and verdict.objective is not None and verdict.bound is not None:
            out.print(quality(verdict.objective, verdict.bound, answer.objective.sense))
        if verdict.violations:
            table = plain_table("", ["what", "where", "finding"])
            for v in verdict.violations:
                table.add_row(cell(v.kind, "red"), cell(v.where), cell(v.message, limit=2000))
            out.print(table)
    raise typer.Exit(ExitCode.OK if verdict.ok else ExitCode.CHECK_FAILED)
