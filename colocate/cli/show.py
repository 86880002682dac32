"""`colocate show`: an instance or a plan as tables and bars."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from colocate.cli import options
from colocate.cli.reading import at_most_one_stdin, load_either

if TYPE_CHECKING:
    from colocate.instance import Instance
    from colocate.plan import Plan

app = options.verb()


@app.command()
def show(
    file: str = typer.Argument(
        ..., help="Instance or plan file; - reads standard input.", metavar="FILE"
    ),
    coverage: bool = options.flag(
        False, "--coverage", help="Tell what rests on measurement, on regression, on a constant."
    ),
    instance: str | None = options.flag(
        None,
        "--instance",
        "-i",
        help="The instance of a plan: adds SLOs and whole tasks.",
        metavar="FILE",
    ),
    prices: bool = options.flag(
        False,
        "--prices",
        help="Tell what one more GPU, replica, task or quota is worth; needs --instance.",
    ),
    every_row: bool = options.ALL,
    as_json: bool = options.JSON,
    max_input: int = options.MAX_INPUT,
    debug: bool = options.DEBUG,
) -> None:
    """Show an instance or a plan as tables and bars."""
    del debug
    at_most_one_stdin(file, instance or "")
    from colocate.cli.console import console, print_json
    from colocate.cli.instance_view import (
        instance_summary,
        print_instance,
        print_instance_coverage,
    )
    from colocate.instance import Instance

    shown = load_either(file, max_input)
    if isinstance(shown, Instance):
        if as_json:
            print_json({"kind": "instance", **instance_summary(shown)})
        elif coverage:
            print_instance_coverage(console(), shown)
        else:
            print_instance(console(), shown, every_row=every_row)
        return
    from colocate.cli.plan_view import print_coverage, print_headline, print_plan

    question = None if instance is None else _instance_of(shown, instance, max_input)
    if prices:
        _show_prices(shown, question, every_row=every_row, as_json=as_json)
        return
    if as_json:
        print_json(_plan_summary(shown, question))
        return
    out = console()
    stated = None if shown.certificate is None else shown.certificate.bound
    remark = "" if stated is None else "(As the plan states; verify recomputes it.)"
    print_headline(out, shown, bound=stated, remark=remark)
    if coverage:
        out.print()
        print_coverage(out, shown, every_row=every_row)
    else:
        print_plan(out, shown, question, every_row=every_row)


def _show_prices(plan: Plan, question: Instance | None, *, every_row: bool, as_json: bool) -> None:
    if question is None:
        raise typer.BadParameter("--prices needs the plan's --instance")
    from colocate.cli.console import console, print_json
    from colocate.cli.plan_view import print_headline
    from colocate.cli.prices_view import prices_summary, print_prices
    from colocate.explain.marginal import marginal_values

    found = marginal_values(question, plan)
    if as_json:
        print_json({"kind": "prices", **prices_summary(found)})
        return
    out = console()
    print_headline(out, plan, bound=found.bound)
    print_prices(out, plan, found, every_row=every_row)


def _instance_of(plan: Plan, source: str, max_input: int) -> Instance:
    from colocate.errors import PlanError
    from colocate.io import load_instance

    question = load_instance(source, max_bytes=max_input)
    if question.sha256 != plan.instance_sha256:
        raise PlanError(
            f"the plan is for the instance with hash {plan.instance_sha256[:12]}..., "
            f"{source!r} has {question.sha256[:12]}...",
            path="$.instance_sha256",
            advice="give the instance that the plan was made for.",
        )
    return question


def _plan_summary(plan: Plan, instance: Instance | None) -> dict[str, Any]:
    from colocate.report import facts

    rows = facts.gpu_rows(plan)
    return {
        "kind": "plan",
        "instance_name": plan.instance_name,
        "instance_sha256": plan.instance_sha256,
        "solver": plan.solver,
        "objective": plan.objective.model_dump(mode="json"),
        "stated_bound": None if plan.certificate is None else plan.certificate.bound,
        "totals": plan.totals.model_dump(mode="json"),
        "gpus": [{**asdict(r), "free_pct": r.free_pct, "evidence": r.grade} for r in rows],
        "services": [asdict(r) for r in facts.service_rows(plan, instance)],
        "tasks": [asdict(r) for r in facts.task_rows(plan, instance)],
        "coverage": asdict(facts.coverage(rows)),
    }
