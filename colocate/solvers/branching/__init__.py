"""Branching for the sake of the proof: boxes whose bounds together close the gap of the prices.

The plan is known, and mostly known to be the best; what is lacking is a proof that a judge can
repeat without a solver. The prices of the relaxation prove its own bound only. A few boxes with
prices of their own often prove the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from colocate.prices import value_bound
from colocate.problem import Problem
from colocate.result import relative_gap
from colocate.solvers.base import RawSolution
from colocate.solvers.branching.program import Relax
from colocate.solvers.branching.tree import Budget, Grown, grown

__all__ = ["Budget", "Grown", "grown", "with_boxes"]

GAP = 1e-4
"""What a gap is to be closed to, where none was asked for."""
SMALLEST_GAP = 1e-9


def with_boxes(
    problem: Problem,
    raw: RawSolution,
    gap: float | None,
    relax: Relax,
    stop: Callable[[], bool],
) -> RawSolution:
    """Return a solution with boxes, where its prices leave a gap and boxes make it smaller.

    The budget is in relaxations and not in seconds, so that the answer does not depend on a clock.
    """
    if raw.counts is None or raw.gangs is None or raw.prices is None:
        return raw
    if problem.source.instance.constraints:
        return raw  # certificates say nothing about rows of plug-ins
    value = problem.value_of(raw.counts, raw.gangs)
    wish = GAP if gap is None else max(gap, SMALLEST_GAP)

    def enough(bound: float) -> bool:
        if bound - value <= SMALLEST_GAP * problem.scale:
            return True  # where the objective is 0, no relative gap is small
        return relative_gap(problem.objective_of(value), problem.objective_of(bound)) <= wish

    root = value_bound(problem, raw.prices)
    if enough(root):
        return raw
    found = grown(problem, raw.prices, value, enough, relax, Budget(), stop)
    if found is None or not found.bound < root:
        return raw
    bound = max(found.bound, value)
    claimed = bound if raw.value_claimed is None else min(raw.value_claimed, bound)
    return replace(raw, tree=found.tree, value_claimed=claimed)
