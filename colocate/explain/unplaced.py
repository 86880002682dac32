"""Why a task is not in a plan: nothing allows it, or something else is worth more.

The instance with the demand "one more task of this entry is placed" either has no plan, and then
there is a conflict as in any infeasible instance, or it has one: then the best such plan says what
the task would displace, and the difference of the two values what that costs.

    cost = value(best plan) - value(best plan with the task)         >= 0, turned if minimised

Entries that are alike in all that matters are one: the demand is one more task of any of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from colocate.errors import PlanError, UnsupportedError
from colocate.expand import expand
from colocate.explain.changes import SetWeight, apply_changes
from colocate.explain.counts import Shift, placed_tasks, shift
from colocate.explain.feasible import (
    Answer,
    Checker,
    Wanted,
    class_of,
    exactly,
    refuse_unknown,
    with_demand,
)
from colocate.explain.infeasible import Conflict, Suggestion, conflicts_and_fixes
from colocate.explain.parts import parts_of
from colocate.instance import Instance
from colocate.objectives.base import objective
from colocate.plan import Plan
from colocate.problem import Problem, compile_problem
from colocate.result import Limits, Reason
from colocate.solve import solve
from colocate.solvers.base import Context
from colocate.verify import verify

__all__ = ["TaskExplanation", "explain_task"]

NODES = 20_000
SAME = 1e-7
"""Relative difference of two values below which they are the same."""
Status = Literal["placed", "impossible", "outbid", "free", "unknown"]


@dataclass(frozen=True, slots=True)
class TaskExplanation:
    """Why tasks of an entry are not in a plan."""

    task: str
    status: Status
    """`placed`: none is missing. `impossible`: see `conflicts`. `outbid`: see `cost` and `shift`.
    `free`: a plan that is no worse holds one more. `unknown`: not decided within the limits."""
    placed: int
    count: int
    """How many there are."""
    conflicts: tuple[Conflict, ...] = ()
    suggestions: tuple[Suggestion, ...] = ()
    cost: float | None = None
    """How much worse the best plan with one more is, where that is known; negative where it is
    better than the plan."""
    is_exact: bool = False
    """Whether `value_with` was shown to be the best; else the cost is at most `cost`."""
    value_now: float | None = None
    value_with: float | None = None
    shift: Shift | None = None
    """What one more would displace."""
    plan: Plan | None = field(default=None, compare=False)
    """A plan with one more."""


def explain_task(
    instance: Instance,
    task: str,
    *,
    plan: Plan | None = None,
    solver: str = "auto",
    limits: Limits | None = None,
) -> TaskExplanation:
    """Say why tasks of an entry are left out of a plan.

    Parameters
    ----------
    instance, task
        The question, and the id of a task entry.
    plan
        The plan; when left out, the instance is solved.
    solver, limits
        How it is solved; `time_s` also ends the search for reasons.

    Raises
    ------
    UnsupportedError
        When there is no such task, or no plan to ask about.
    PlanError
        When the plan breaks rules of the instance.
    """
    limits = limits or Limits()
    refuse_unknown(instance)
    try:
        entry = instance.task(task)
    except KeyError:
        raise UnsupportedError(
            f"there is no task {task!r}", path="$.tasks", advice="name a task of the instance."
        ) from None
    if plan is None:
        plan = solve(instance, solver, limits=limits).plan
        if plan is None:
            raise UnsupportedError(
                "there is no plan to ask about",
                advice="explain the instance itself: colocate explain INSTANCE.",
            )
    else:
        verdict = verify(instance, plan)
        if not verdict.ok:
            raise PlanError(
                f"the plan does not answer this instance: {verdict.violations[0]}",
                advice="give the plan of this instance, or none.",
            )
    counts = placed_tasks(instance, plan)
    placed = counts.get(task, 0)
    known = TaskExplanation(task, "unknown", placed, entry.count)
    if placed >= entry.count:
        return replace(known, status="placed")
    problem = compile_problem(instance)
    alike = _alike(problem, task)
    wanted = Wanted(alike, sum(counts.get(name, 0) for name in alike) + 1)
    checker = Checker(instance, wanted, limits)
    answer = checker.without(())
    if answer is Answer.NO:
        conflicts, suggestions = conflicts_and_fixes(checker, parts_of(instance, alike))
        return replace(known, status="impossible", conflicts=conflicts, suggestions=suggestions)
    best = None if answer is Answer.UNKNOWN else _best_with(problem, wanted, limits)
    if best is None:
        return known
    return _outbid(instance, plan, wanted, best, known, limits)


def _alike(problem: Problem, task: str) -> tuple[str, ...]:
    """Return the entries that are in one class with a task, itself first."""
    instance, entry_class = problem.source.instance, problem.source.classes.tasks.entry_class
    same = np.flatnonzero(entry_class == class_of(problem, task))
    return (task, *(n for n in map(instance.task_name, same.tolist()) if n != task))


@dataclass(frozen=True, slots=True)
class _Best:
    plan: Plan
    is_exact: bool


def _best_with(problem: Problem, wanted: Wanted, limits: Limits) -> _Best | None:
    """Return the best plan that holds so many tasks, or a good one within the limits."""
    extended = with_demand(problem, wanted)
    if extended is None:
        return None
    context = Context(limits, isolation="none")
    found = exactly(extended, context, NODES)
    if found is None or found.counts is None or found.gangs is None:
        return None
    plan = expand(problem, found.counts, found.gangs, solver="explain", proof=None)
    if not verify(problem.source.instance, plan).ok:
        return None
    return _Best(plan, found.reason is Reason.OPTIMAL)


def _outbid(
    instance: Instance,
    plan: Plan,
    wanted: Wanted,
    best: _Best,
    known: TaskExplanation,
    limits: Limits,
) -> TaskExplanation:
    now, then = plan.objective.value, best.plan.objective.value
    cost = now - then if plan.objective.sense == "max" else then - now
    is_free = cost <= SAME * max(1.0, abs(now))
    suggestions: tuple[Suggestion, ...] = ()
    if not is_free:
        found = _heavier(instance, plan, wanted, best.plan, limits)
        suggestions = () if found is None else (found,)
    return replace(
        known,
        status="free" if is_free else "outbid",
        cost=cost,
        is_exact=best.is_exact,
        value_now=now,
        value_with=then,
        shift=shift(instance, plan, instance, best.plan),
        suggestions=suggestions,
        plan=best.plan,
    )


def _heavier(
    instance: Instance, plan: Plan, wanted: Wanted, other: Plan, limits: Limits
) -> Suggestion | None:
    """Return the weight from which on the other plan is better, if solving again confirms it.

    The advantage of one plan over another is a straight line in the weight, so that two of its
    points tell where it changes sign.
    """
    task = wanted.tasks[0]
    weight = instance.task(task).weight
    worth = objective(instance.objective)
    sign = 1.0 if worth.sense == "max" else -1.0

    def advantage(factor: float) -> float:
        changed = apply_changes(instance, [SetWeight(n, weight * factor) for n in wanted.tasks])
        scores = [worth.score(changed.instance, p) for p in (other, plan)]
        return sign * (scores[0] - scores[1])

    at_one, at_two = advantage(1.0), advantage(2.0)
    slope = at_two - at_one
    if not slope > SAME * abs(at_one):
        return None
    needed = weight * (1.0 - at_one / slope)
    changes = tuple(SetWeight(n, float(f"{needed * 1.005:.3g}")) for n in wanted.tasks)
    if changes[0].weight <= needed:
        changes = tuple(SetWeight(n, float(f"{needed * 1.01:.4g}")) for n in wanted.tasks)
    changed = apply_changes(instance, changes).instance
    found = solve(changed, "milp", limits=limits, isolation="none").plan
    if found is None:
        return None
    counts = placed_tasks(changed, found)
    if sum(counts.get(n, 0) for n in wanted.tasks) < wanted.count:
        return None
    return Suggestion(" and ".join(c.words(instance) for c in changes), changes)
