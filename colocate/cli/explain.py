"""`colocate explain`: why there is no plan, or why a task is not in it, and what would help."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from colocate.cli import options
from colocate.cli.exit_codes import ExitCode
from colocate.cli.reading import at_most_one_stdin, load_plugins

if TYPE_CHECKING:
    from rich.console import Console

    from colocate.explain import Conflict, Explanation, Suggestion, TaskExplanation
    from colocate.instance import Instance
    from colocate.plan import Plan
    from colocate.result import Limits

app = options.verb()
MOST_TASKS = 5


@app.command()
def explain(
    instance: str = typer.Argument(
        ..., help="Instance file; - reads standard input.", metavar="INSTANCE"
    ),
    plan: str | None = typer.Argument(
        None, help="Its plan; without it, tasks are asked about in a plan made now.", metavar="PLAN"
    ),
    task: list[str] | None = options.flag(
        None, "--task", help="Task that is left out. May be repeated.", metavar="ID"
    ),
    solver: str = options.flag(
        "auto", "--solver", "-s", help="Solver that makes the plan, by its registered name."
    ),
    time_limit: float | None = options.flag(
        None, "--time-limit", "-t", help="Stop after so many seconds.", metavar="S", min=0
    ),
    plugin: list[str] | None = options.PLUGIN,
    every_row: bool = options.ALL,
    as_json: bool = options.JSON,
    max_input: int = options.MAX_INPUT,
    debug: bool = options.DEBUG,
) -> None:
    """Say why there is no plan, or why a task is left out.

    Of an instance without a plan, a smallest set of statements is shown that no plan can meet
    together, and changes that would help, each checked by solving again. With a plan, or --task,
    the same is said of tasks that are left out, or what they would displace.
    """
    del debug
    at_most_one_stdin(instance, plan or "")
    load_plugins(plugin)
    from colocate.io import load_instance, load_plan
    from colocate.result import Limits

    question = load_instance(instance, max_bytes=max_input)
    answer = None if plan is None else load_plan(plan, max_bytes=max_input)
    limits = Limits(time_s=time_limit)
    if answer is None and not task:
        _explain_instance(question, limits, as_json=as_json)
    names = list(dict.fromkeys(task or [u.task for u in answer.unplaced] if answer else task or []))
    shown = names if every_row or task else names[:MOST_TASKS]
    _explain_tasks(question, answer, shown, len(names), solver, limits, as_json=as_json)


def _explain_instance(question: Instance, limits: Limits, *, as_json: bool) -> None:
    from colocate.cli.console import cell, console, print_json
    from colocate.explain import explain as find

    found = find(question, limits=limits)
    if as_json:
        print_json(_document(found))
    else:
        out = console()
        if found.status == "feasible":
            out.print(cell(f"There is a plan for {question.name}.", "bold green"))
            out.print("Why a task is left out of it: colocate explain INSTANCE --task ID")
        elif found.status == "unknown":
            out.print(
                "Whether there is a plan could not be decided within the limits.", style="bold"
            )
        else:
            out.print(cell(f"There is no plan for {question.name}.", "bold red"))
            _print_conflicts(out, found.conflicts)
            _print_suggestions(out, found.suggestions, "There is a plan with any one of these")
    codes = {"feasible": ExitCode.OK, "unknown": ExitCode.NO_PLAN}
    raise typer.Exit(codes.get(found.status, ExitCode.INFEASIBLE))


def _explain_tasks(
    question: Instance,
    answer: Plan | None,
    names: list[str],
    total: int,
    solver: str,
    limits: Limits,
    *,
    as_json: bool,
) -> None:
    from colocate.cli.console import console, print_json
    from colocate.explain import explain_task
    from colocate.solve import solve

    if answer is None:
        answer = solve(question, solver, limits=limits).plan
        if answer is None:
            _explain_instance(question, limits, as_json=as_json)
    found = [explain_task(question, n, plan=answer, limits=limits) for n in names]
    if as_json:
        print_json({"tasks": [_task_document(e) for e in found], "left_out": total - len(found)})
        return
    out = console()
    if not found:
        out.print("The plan leaves no task out.", style="bold green")
    for i, explained in enumerate(found):
        if i:
            out.print()
        _print_task(out, explained)
    if total > len(found):
        out.print(
            f"... and {total - len(found)} more tasks (--all explains every one)", style="dim"
        )


def _print_task(out: Console, found: TaskExplanation) -> None:
    from colocate.cli.console import cell
    from colocate.report.words import number, plural

    missing = plural(found.count - found.placed, "task")
    head = f"{found.task}: {missing} of {found.count:,} left out"
    if found.status == "placed":
        out.print(cell(f"{found.task}: all {found.count:,} placed", "bold green"))
    elif found.status == "unknown":
        out.print(cell(f"{head}; why could not be decided within the limits", "bold"))
    elif found.status == "impossible":
        out.print(cell(f"{head}: there is no room for one more", "bold red"))
        _print_conflicts(out, found.conflicts)
        _print_suggestions(out, found.suggestions, "One more can be placed with any one of these")
    else:
        assert found.value_now is not None
        assert found.value_with is not None
        assert found.cost is not None
        if found.status == "free":
            out.print(cell(f"{head}, but one more would cost nothing", "bold yellow"))
        else:
            out.print(cell(f"{head}: something else is worth more", "bold yellow"))
        best = "the best plan" if found.is_exact else "a plan"
        out.print(
            cell(
                f"Value      {number(found.value_now)} now; {number(found.value_with)} in {best} "
                f"with one more",
                limit=500,
            )
        )
        _print_shift(out, found)
        _print_suggestions(out, found.suggestions, "It is worth its place with")


def _print_shift(out: Console, found: TaskExplanation) -> None:
    from colocate.cli.console import cell

    moved = found.shift
    if moved is None:
        return
    lost = [f"{n:,} of task {name}" for name, n in moved.tasks_lost.items()]
    lost += [f"{n:,} of service {name}" for name, n in moved.replicas_lost.items()]
    if lost:
        out.print(cell(f"Displaces  {', '.join(lost)}", limit=1000))
    elif found.status == "outbid":
        out.print("Displaces  nothing, but others would run more slowly")


def _print_conflicts(out: Console, conflicts: tuple[Conflict, ...]) -> None:
    from colocate.cli.console import cell

    for i, conflict in enumerate(conflicts):
        out.print()
        one = len(conflict.statements) == 1
        says = "this cannot be met" if one else "these cannot be met together"
        if len(conflicts) > 1:
            heading = f"Conflict {i + 1} of {len(conflicts)}: {says}"
        else:
            heading = says.capitalize()
        out.print(cell(heading, "bold"))
        for statement in conflict.statements:
            _print_item(out, statement.text)
        for note in conflict.notes:
            _print_item(out, f"({note})", "dim")
        if not conflict.irreducible:
            out.print(
                "  (Some of them may not be needed: that was not decided within the limits.)",
                style="dim",
            )


def _print_suggestions(out: Console, found: tuple[Suggestion, ...], title: str) -> None:
    from colocate.cli.console import cell

    if not found:
        return
    out.print()
    if len(found) == 1:
        title = title.replace("any one of these", "this")
    out.print(cell(f"{title} (checked by solving again)", "bold"))
    for suggestion in found:
        _print_item(out, suggestion.text, "green")


def _print_item(out: Console, text: str, style: str = "") -> None:
    from rich.table import Table

    from colocate.cli.console import cell

    row = Table.grid(padding=(0, 1, 0, 0))
    row.add_row(" ", "-", cell(text, style, limit=2000))
    out.print(row)


# -- as JSON ---------------------------------------------------------------------------------------


def _document(found: Explanation | TaskExplanation) -> dict[str, Any]:
    return {
        "status": found.status,
        "conflicts": [
            {
                "irreducible": c.irreducible,
                "notes": list(c.notes),
                "statements": [
                    {"text": s.text, "parts": [asdict(p) for p in s.parts]} for s in c.statements
                ],
            }
            for c in found.conflicts
        ],
        "suggestions": [
            {
                "text": s.text,
                "changes": [{"change": type(c).__name__, **_fields(c)} for c in s.changes],
            }
            for s in found.suggestions
        ],
    }


def _fields(change: Any) -> dict[str, Any]:  # noqa: ANN401 - any of the changes
    return asdict(change)


def _task_document(found: TaskExplanation) -> dict[str, Any]:
    return {
        "task": found.task,
        "placed": found.placed,
        "count": found.count,
        **_document(found),
        "cost": found.cost,
        "is_exact": found.is_exact,
        "value_now": found.value_now,
        "value_with": found.value_with,
        "shift": None if found.shift is None else asdict(found.shift),
    }
