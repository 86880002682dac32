"""The front door: check, compile, solve, expand, verify.

A plan that the judge rejects is never returned as a plan.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np

from colocate.boxes import tree_certificate
from colocate.capability import refuse
from colocate.errors import UnsupportedError
from colocate.expand import expand
from colocate.instance import Instance
from colocate.locked import free
from colocate.objectives._worst import WorstPart, is_worst
from colocate.objectives.base import objective as objective_of
from colocate.plan import Plan
from colocate.prices import certificate
from colocate.problem import Problem, compile_problem, with_further_columns
from colocate.putting_back import Stays
from colocate.reasons import impossible_services
from colocate.result import (
    Limits,
    Progress,
    Reason,
    Result,
    Termination,
    Timings,
    relative_gap,
)
from colocate.solvers.base import Context, RawSolution, Solver, solver_of
from colocate.verify import Verdict, verify
from colocate.versions import versions
from colocate.worst import search

__all__ = ["solve"]


ROUNDING = 1e-14


def solve(
    instance: Instance,
    solver: str = "auto",
    *,
    limits: Limits | None = None,
    seed: int = 0,
    isolation: Literal["auto", "none"] = "auto",
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] | None = None,
    warm_start: Plan | None = None,
) -> Result:
    """Find a plan and say how good it is.

    Parameters
    ----------
    instance
        The question.
    solver
        A registered name. ``auto`` chooses by structure and size and records what it chose. Some
        solvers take an engine after a colon: ``ilp:GUROBI_CMD``.
    limits
        When to stop early.
    seed
        For solvers that use chance.
    isolation
        ``auto`` runs backends that may hang or crash in a worker process, which is ended when the
        time is up, when `stop` says so, and when this process ends. ``none`` runs them here: time
        limits are then the backend's own affair, and `milp` and `ilp` do not ask `stop`.
    progress
        Called with each line of the history, in the thread that called `solve`.
    stop
        Asked often; a true answer ends the solve with the best plan found.
    warm_start
        A plan to start from, for solvers that support it; none of this version does.

    Returns
    -------
    Result
        With a plan that the judge has accepted, or without a plan and the reason.

    Raises
    ------
    InstanceError
        When a component that the instance names has wrong parameters.
    UnsupportedError
        When the solver does not support what the instance asks for.
    PluginError
        When there is no solver of this name.
    """
    if isolation not in ("auto", "none"):
        raise UnsupportedError(
            f"isolation {isolation!r} is not one of 'auto', 'none'",
            advice="leave it out.",
        )
    if warm_start is not None:
        raise UnsupportedError(
            f"solver {solver!r} does not start from a plan", advice="leave warm_start out."
        )
    chosen = solver_of(solver)
    solver = solver.partition(":")[0]
    refuse(solver, chosen.capabilities, instance)
    context = Context(limits or Limits(), seed, progress, stop, isolation)
    if instance.rules.locked:
        return _solve_beside_locked(instance, chosen, solver, context)
    return _solve(instance, chosen, solver, context)


def _solve(instance: Instance, chosen: Solver, solver: str, context: Context) -> Result:
    """Solve an instance in which nothing is locked."""
    value = objective_of(instance.objective)
    if is_worst(value):
        return _solve_worst(instance, value, chosen, solver, context)
    return _solve_sum(instance, chosen, solver, context)


def _solve_beside_locked(
    instance: Instance, chosen: Solver, solver: str, context: Context
) -> Result:
    """Solve what is left when the locked GPUs are taken out, and put them back."""
    freed = free(instance)
    stays = Stays.of(instance, freed)
    if stays.fault:
        return Result(
            plan=None,
            termination=Termination(Reason.INFEASIBLE, detail=stays.fault),
            objective=None,
            bound=None,
            bound_claimed=None,
            gap=None,
            history=(),
            timings=Timings(),
            solver=solver,
            solver_detail="",
            seed=context.seed,
            instance_sha256=instance.sha256,
            versions=versions(),
        )
    rest = _solve(freed.instance, chosen, solver, context)
    if rest.plan is None:
        return replace(rest, instance_sha256=instance.sha256)
    started = time.perf_counter()
    plan = stays.with_rest(rest.plan, solver)
    verdict = verify(instance, plan)
    fault = "; ".join(str(v) for v in verdict.violations[:3])
    claimed = rest.bound_claimed
    value = plan.objective.value
    return replace(
        rest,
        plan=None if fault else plan,
        termination=_invalid(solver, rest.termination, fault) if fault else rest.termination,
        objective=None if fault else value,
        bound=None if fault else verdict.bound,
        bound_claimed=None if fault or claimed is None else stays.bound(claimed),
        gap=None if fault else _gap(value, verdict.bound),
        timings=replace(
            rest.timings, verify_s=rest.timings.verify_s + time.perf_counter() - started
        ),
        instance_sha256=instance.sha256,
        violations=verdict.violations,
    )


def _solve_worst(
    instance: Instance, worst: WorstPart, chosen: Solver, solver: str, context: Context
) -> Result:
    """Find the smallest level that everybody can keep to, and have the judge check the answer."""

    def ask(question: Instance, limits: Limits) -> Result:
        return _solve_sum(question, chosen, solver, replace(context, limits=limits, progress=None))

    found = search(instance, worst, ask, context, chosen.capabilities)
    if found.plan is None:
        return replace(found.last, instance_sha256=instance.sha256, history=found.history)
    started = time.perf_counter()
    verdict = verify(instance, found.plan)
    timings = replace(
        found.timings, verify_s=found.timings.verify_s + time.perf_counter() - started
    )
    objective = found.plan.objective.value
    fault = "; ".join(str(v) for v in verdict.violations[:3])
    return replace(
        found.last,
        plan=None if fault else found.plan,
        termination=_invalid(solver, found.termination, fault) if fault else found.termination,
        objective=None if fault else objective,
        bound=None if fault else verdict.bound,
        bound_claimed=objective if found.exact and not fault else None,
        gap=None if fault else _gap(objective, verdict.bound),
        history=found.history,
        timings=timings,
        instance_sha256=instance.sha256,
        violations=verdict.violations,
    )


def _solve_sum(instance: Instance, chosen: Solver, solver: str, context: Context) -> Result:
    """Compile, solve, expand and judge."""
    started = time.perf_counter()
    problem = compile_problem(instance)
    compiled = time.perf_counter()
    hopeless = impossible_services(problem)
    if hopeless:
        raw = RawSolution(Reason.INFEASIBLE, detail="; ".join(hopeless[:5]))
    else:
        raw = chosen.solve(problem, context)
    solved = time.perf_counter()
    plan, fault = _plan(problem, raw, solver)
    verdict = verify(instance, plan) if plan is not None else None
    if plan is not None and verdict is not None and _only_the_tree_is_wrong(plan, verdict):
        # The judge saw columns that the problem leaves out because others are always better.
        plan = plan.model_copy(update={"certificate": certificate(problem, raw.prices)})
        verdict = verify(instance, plan)
    done = time.perf_counter()
    return _result(
        problem,
        raw,
        plan,
        fault,
        verdict,
        solver,
        context.seed,
        Timings(compiled - started, solved - compiled, done - solved),
    )


def _plan(problem: Problem, raw: RawSolution, solver: str) -> tuple[Plan | None, str]:
    """Expand a solver's answer; a malformed one is a fault in words."""
    if raw.counts is None or raw.gangs is None:
        return None, ""
    if raw.further is not None:
        problem = with_further_columns(problem, raw.further)
    counts = np.rint(np.asarray(raw.counts)).astype(np.int64)
    gangs = np.rint(np.asarray(raw.gangs)).astype(np.int64)
    if counts.shape != (problem.columns.size,) or gangs.shape != (problem.levels.size,):
        return None, f"{counts.shape} counts and {gangs.shape} gangs"
    if (counts < 0).any() or (gangs < 0).any():
        return None, "negative counts"
    activity = problem.activity(counts, gangs)
    slack = 1e-6 * np.maximum(1.0, np.abs(activity))
    broken = np.flatnonzero(
        (activity > problem.rows.upper + slack) | (activity < problem.rows.lower - slack)
    )
    if broken.size:
        row = problem.rows.labels[int(broken[0])]
        return None, f"{broken.size} broken rows, the first of kind {row.kind!r}"
    proof = tree_certificate(problem, raw.prices, raw.tree) or certificate(problem, raw.prices)
    return expand(problem, counts, gangs, solver=solver, proof=proof), ""


def _only_the_tree_is_wrong(plan: Plan, verdict: Verdict) -> bool:
    has_tree = plan.certificate is not None and plan.certificate.kind == "tree"
    return has_tree and {v.kind for v in verdict.violations} == {"certificate"}


def _result(
    problem: Problem,
    raw: RawSolution,
    plan: Plan | None,
    fault: str,
    verdict: Verdict | None,
    solver: str,
    seed: int,
    timings: Timings,
) -> Result:
    termination = Termination(raw.reason, raw.limit, raw.detail)
    violations = () if verdict is None else verdict.violations
    if fault or violations:
        what = fault or "; ".join(str(v) for v in violations[:3])
        plan, termination = None, _invalid(solver, termination, what)
    objective = plan.objective.value if plan is not None else None
    bound = verdict.bound if plan is not None and verdict is not None else None
    claimed = None if raw.value_claimed is None else problem.objective_of(raw.value_claimed)
    return Result(
        plan=plan,
        termination=termination,
        objective=objective,
        bound=bound,
        bound_claimed=claimed if plan is not None else None,
        gap=_gap(objective, bound, problem.scale),
        history=raw.history,
        timings=timings,
        solver=solver,
        solver_detail=raw.note,
        seed=seed,
        instance_sha256=problem.source.instance.sha256,
        versions=versions(),
        violations=violations,
        notes=tuple(
            note for configurator in problem.source.configurators for note in configurator.notes()
        ),
    )


def _invalid(solver: str, termination: Termination, what: str) -> Termination:
    detail = f"solver {solver!r} returned an invalid plan: {what}"
    return Termination(Reason.ERROR, termination.limit, detail)


def _gap(objective: float | None, bound: float | None, scale: float = 0.0) -> float | None:
    if objective is None or bound is None or not math.isfinite(bound):
        return None
    if abs(bound - objective) <= ROUNDING * scale:
        return 0.0  # where the objective is 0, rounding errors would be a gap of 1
    return relative_gap(objective, bound)
