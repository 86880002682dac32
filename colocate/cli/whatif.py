"""`colocate whatif`: what a change of the instance would bring."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from colocate.cli import options
from colocate.cli.exit_codes import ExitCode
from colocate.cli.failure import say
from colocate.cli.reading import at_most_one_stdin, load_plugins
from colocate.cli.writing import check_targets, write_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from colocate.explain import Change, WhatIf

app = options.verb()


def _change(name: str, text: str, what: str) -> Any:  # noqa: ANN401 - typer's
    return options.flag(None, name, help=f"{text} May be repeated.", metavar=what)


@app.command()
def whatif(
    instance: str = typer.Argument(
        ..., help="Instance file; - reads standard input.", metavar="INSTANCE"
    ),
    plan: str | None = typer.Argument(
        None, help="The present plan; without it, the instance is solved as it is.", metavar="PLAN"
    ),
    add_gpus: list[str] | None = _change("--add-gpus", "More GPUs in a pool.", "POOL=N"),
    remove_gpus: list[str] | None = _change("--remove-gpus", "Fewer GPUs in a pool.", "POOL=N"),
    quarantine: list[str] | None = _change(
        "--quarantine", "GPUs that hold nothing, such as a100/0-3,7.", "POOL/GPUS"
    ),
    memory: list[str] | None = _change("--memory", "Memory of a pool's GPUs.", "POOL=GIB"),
    slo: list[str] | None = _change("--slo", "SLO of a service.", "SERVICE=MS"),
    rate: list[str] | None = _change("--rate", "Load at each replica.", "SERVICE=RPS"),
    replicas: list[str] | None = _change("--replicas", "Replicas of a service.", "SERVICE=N"),
    optional: list[str] | None = _change(
        "--optional", "Service that may be left out, at no charge.", "SERVICE"
    ),
    weight: list[str] | None = _change("--weight", "Weight of a task.", "TASK=WEIGHT"),
    floor: list[str] | None = _change("--floor", "Least tasks of a tenant.", "TENANT=TASKS"),
    quota: list[str] | None = _change("--quota", "Most tasks of a tenant.", "TENANT=TASKS"),
    output: str | None = options.flag(
        None, "--output", "-o", help="File for the plan after the change.", metavar="FILE"
    ),
    solver: str = options.flag("auto", "--solver", "-s", help="Solver by its registered name."),
    time_limit: float | None = options.flag(
        None, "--time-limit", "-t", help="Stop a solve after so many seconds.", metavar="S", min=0
    ),
    plugin: list[str] | None = options.PLUGIN,
    every_row: bool = options.ALL,
    as_json: bool = options.JSON,
    max_input: int = options.MAX_INPUT,
    debug: bool = options.DEBUG,
) -> None:
    """Tell what a change of GPUs, SLOs or loads would bring.

    The plan before, the plan after and the difference are shown. Several changes are made together.
    Nothing is changed in the file.
    """
    del debug
    at_most_one_stdin(instance, plan or "")
    check_targets([instance, plan or ""], [] if output is None else [output])
    load_plugins(plugin)
    from colocate.explain.changes import (
        AddGpus,
        MakeOptional,
        Quarantine,
        SetMemory,
        SetQuota,
        SetRate,
        SetReplicas,
        SetSlo,
        SetWeight,
    )

    wanted: list[Change] = [
        *(AddGpus(n, _whole(v)) for n, v in _pairs(add_gpus, "--add-gpus")),
        *(AddGpus(n, -_whole(v)) for n, v in _pairs(remove_gpus, "--remove-gpus")),
        *(Quarantine(n, v) for n, v in _pairs(quarantine, "--quarantine", "/")),
        *(SetMemory(n, _number(v)) for n, v in _pairs(memory, "--memory")),
        *(SetSlo(n, _number(v)) for n, v in _pairs(slo, "--slo")),
        *(SetRate(n, _number(v)) for n, v in _pairs(rate, "--rate")),
        *(SetReplicas(n, _whole(v)) for n, v in _pairs(replicas, "--replicas")),
        *(MakeOptional(n) for n in optional or ()),
        *(SetWeight(n, _number(v)) for n, v in _pairs(weight, "--weight")),
        *(SetQuota(n, "tasks", "minimum", _number(v)) for n, v in _pairs(floor, "--floor")),
        *(SetQuota(n, "tasks", "maximum", _number(v)) for n, v in _pairs(quota, "--quota")),
    ]
    if not wanted:
        raise typer.BadParameter("say what changes, such as --add-gpus POOL=1")
    from colocate.cli.interrupt import stoppable
    from colocate.explain.what_if import whatif as find
    from colocate.io import dumps_plan, load_instance, load_plan
    from colocate.result import Limit, Limits

    question = load_instance(instance, max_bytes=max_input)
    present = None if plan is None else load_plan(plan, max_bytes=max_input)
    limits = Limits(time_s=time_limit)
    with stoppable() as stop:
        found = find(question, wanted, plan=present, solver=solver, limits=limits, stop=stop)
    if output is not None and found.after.plan is not None:
        write_text(output, dumps_plan(found.after.plan))
    if as_json:
        from colocate.cli.console import print_json

        print_json(_document(found))
    else:
        from colocate.cli.console import console

        _print(console(), found, every_row=every_row)
    if found.after.termination.limit is Limit.INTERRUPTED:
        raise typer.Exit(ExitCode.INTERRUPTED)
    raise typer.Exit(_exit_code(found))


def _pairs(values: list[str] | None, option: str, between: str = "=") -> list[tuple[str, str]]:
    found = []
    for text in values or ():
        name, sign, value = text.rpartition(between)
        if not sign or not name or not value:
            raise typer.BadParameter(f"{option} takes NAME{between}VALUE, not {text!r}")
        found.append((name, value))
    return found


def _read(text: str, read: Callable[[str], Any], what: str) -> Any:  # noqa: ANN401
    try:
        return read(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not {what}") from None


def _whole(text: str) -> int:
    number: int = _read(text, int, "a whole number")
    if number < 1:
        raise typer.BadParameter(f"{number} is not a number of at least 1")
    return number


def _number(text: str) -> float:
    number: float = _read(text, float, "a number")
    return number


def _exit_code(found: WhatIf) -> ExitCode:
    from colocate.result import Reason

    if found.after.plan is not None:
        return ExitCode.OK
    reasons = {
        Reason.INFEASIBLE: ExitCode.INFEASIBLE,
        Reason.NO_SOLUTION_FOUND: ExitCode.NO_PLAN,
    }
    say("colocate: there is no plan with the change; colocate explain says why")
    return reasons.get(found.after.termination.reason, ExitCode.BACKEND)


def _document(found: WhatIf) -> dict[str, Any]:
    after = found.after
    return {
        "changes": list(found.words),
        "before": None
        if found.before is None
        else {"value": found.before.objective.value, "bound": found.bound_before},
        "after": {
            "reason": after.termination.reason.value,
            "limit": after.termination.limit.value,
            "value": after.objective,
            "bound": after.bound,
        },
        "gain": found.gain,
        "shift": None if found.shift is None else asdict(found.shift),
        "moves": None
        if found.difference is None
        else [m.model_dump(mode="json") for m in found.difference.moves],
    }


def _print(out: Console, found: WhatIf, *, every_row: bool) -> None:
    from colocate.cli.console import cell
    from colocate.report.words import number, termination_words

    for i, words in enumerate(found.words):
        out.print(cell(f"{'What if' if i == 0 else '    and'}    {words}", "bold", limit=500))
    before, after = found.before, found.after
    if before is None:
        out.print("Before     there is no plan as it is")
    else:
        out.print(f"Before     {_worth(before.objective.value, found.bound_before)}")
    if after.plan is None or after.objective is None:
        out.print(cell(f"After      {termination_words(after.termination)}", "red", limit=500))
        return
    out.print(f"After      {_worth(after.objective, after.bound)}")
    if found.gain is not None:
        if abs(found.gain) <= 1e-9 * max(1.0, abs(after.objective)):
            out.print("Value      no better and no worse")
        else:
            better, style = ("better", "green") if found.gain > 0 else ("worse", "red")
            out.print(cell(f"Value      {number(abs(found.gain))} {better}", style))
    _print_shift(out, found, every_row=every_row)


def _worth(value: float, bound: float | None) -> str:
    from colocate.report.words import number

    return f"value {number(value)}, bound {'unknown' if bound is None else number(bound)}"


def _print_shift(out: Console, found: WhatIf, *, every_row: bool) -> None:
    from collections import Counter

    from colocate.cli.console import cell

    moved, difference = found.shift, found.difference
    if moved is None or difference is None:
        return
    for title, tasks, replicas, style in (
        ("Gained", moved.tasks_gained, moved.replicas_gained, "green"),
        ("Lost", moved.tasks_lost, moved.replicas_lost, "red"),
    ):
        listed = [f"{n:,} of task {name}" for name, n in tasks.items()]
        listed += [f"{n:,} of service {name}" for name, n in replicas.items()]
        if listed:
            shown = listed if every_row else listed[:8]
            more = f" and {len(listed) - len(shown)} more" if len(shown) < len(listed) else ""
            out.print(cell(f"{title:<10} {', '.join(shown)}{more}", style, limit=2000))
    counts: Counter[str] = Counter(m.change for m in difference.moves)
    if difference.empty:
        out.print("Moves      nothing moves and no knob changes")
    else:
        kinds = ("added", "removed", "moved", "changed")
        listed = [f"{counts[k]:,} {k}" for k in kinds if counts[k]]
        out.print(f"Moves      {', '.join(listed)}")
