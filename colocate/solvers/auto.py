"""Chooses a solver by structure and size, never by the clock, and says which and why.

one to one   at most one task beside a service, nothing that couples GPUs      -> matching
small        few columns and GPUs, and few steps to go through all ways        -> brute_force
middle       up to 200,000 columns and levels, within a budget of nodes         -> milp
else         everything that greedy supports                                   -> greedy

An answer that is not proved is held against greedy's, and the better one is kept. What refuses, is
too large or fails hands over to the next. Pairs of tasks go to `milp` and not to `pairing`: it
proves the same, and can be stopped at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import ClassVar

from colocate.capability import Capability
from colocate.errors import ColocateError
from colocate.problem import Problem
from colocate.result import Limit, Reason
from colocate.solvers import matching
from colocate.solvers._course import Course
from colocate.solvers.base import Availability, Clock, Context, RawSolution
from colocate.solvers.brute_force import BruteForceSolver
from colocate.solvers.greedy import GreedySolver
from colocate.solvers.matching import MatchingSolver
from colocate.solvers.milp import MilpSolver

__all__ = ["AutoSolver"]

FEW_COLUMNS, FEW_GPUS = 5_000, 100
"""Up to which trying all ways is begun."""
STEPS = 20_000
"""Steps after which trying all ways is given up."""
MIDDLE = 200_000
"""Columns and levels up to which the integer program is solved."""
QUICK = 20_000
"""Columns and levels up to which greedy is a matter of milliseconds."""
NODES = 500
"""Nodes of the integer program's search after which its best is taken."""

Choice = tuple[str, str, Callable[[Problem, Context], RawSolution]]
"""Name, why, and how to solve."""


class AutoSolver:
    """Picks a solver for the problem at hand."""

    name: ClassVar[str] = "auto"
    capabilities: ClassVar[frozenset[Capability]] = (
        BruteForceSolver.capabilities | GreedySolver.capabilities | MilpSolver.capabilities
    ) - {Capability.EXACT}

    @classmethod
    def availability(cls) -> Availability:
        """All of its solvers need nothing but the core dependencies."""
        return Availability(True)

    def solve(self, problem: Problem, context: Context) -> RawSolution:
        """Solve with the solver that fits; the answer's `note` says which and why."""
        clock = Clock(context)
        turned_down: list[str] = []
        for name, why, solve in _choices(problem):
            left = _left(context, clock)
            try:
                raw = solve(problem, left)
            except ColocateError as error:
                turned_down.append(f"{name}: {error}")
                continue
            if raw.reason is Reason.ERROR:
                turned_down.append(f"{name}: {raw.detail}")
                continue
            raw = _or_greedy(problem, raw, _left(context, clock))
            return replace(raw, note="; ".join([f"{name}, because {why}", *turned_down]))
        return RawSolution(Reason.ERROR, detail="; ".join(turned_down))


def _choices(problem: Problem) -> Iterator[Choice]:
    """Yield the solvers to try, one after the other."""
    needs = problem.needed
    if needs <= MatchingSolver.capabilities and matching.fits(problem) is None:
        yield "matching", "a GPU joins at most one service and one task", MatchingSolver().solve
    size = problem.n_variables
    gpus = int(problem.gpu_count.sum())
    if needs <= BruteForceSolver.capabilities and size <= FEW_COLUMNS and gpus <= FEW_GPUS:
        why = f"all ways to fill {gpus} GPUs take at most {STEPS} steps"
        yield "brute_force", why, BruteForceSolver(STEPS).solve
    if needs <= MilpSolver.capabilities and size <= MIDDLE:
        yield "milp", f"there are at most {MIDDLE} columns", Course("highs", nodes=NODES).run
    if needs <= GreedySolver.capabilities:
        why = f"there are more than {MIDDLE} columns" if size > MIDDLE else "nothing else answered"
        yield "greedy", why, GreedySolver().solve
    else:
        yield "milp", "greedy does not support all that is asked", Course("highs").run


def _left(context: Context, clock: Clock) -> Context:
    """Return the context with the time that is left."""
    limit = context.limits.time_s
    if limit is None:
        return context
    return replace(
        context, limits=replace(context.limits, time_s=max(0.0, limit - clock.elapsed_s))
    )


def _or_greedy(problem: Problem, raw: RawSolution, context: Context) -> RawSolution:
    """Return greedy's solution with all that is known of the problem where it is worth more."""
    if raw.reason in (Reason.OPTIMAL, Reason.INFEASIBLE) or raw.limit is Limit.NONE:
        return raw
    if not problem.needed <= GreedySolver.capabilities:
        return raw
    if problem.n_variables <= QUICK:
        # Greedy takes milliseconds here, and an answer late by these beats none.
        context = replace(context, limits=replace(context.limits, time_s=None), stop=None)
    other = GreedySolver(prices=False).solve(problem, context)
    if other.counts is None or other.gangs is None:
        return raw
    worth = problem.value_of(other.counts, other.gangs)
    if (
        raw.counts is not None
        and raw.gangs is not None
        and worth <= problem.value_of(raw.counts, raw.gangs)
    ):
        return raw
    claimed = raw.value_claimed
    return replace(
        raw,
        reason=Reason.FEASIBLE,
        counts=other.counts,
        gangs=other.gangs,
        value_claimed=None if claimed is None else max(claimed, worth),
    )
