"""At most one task on a GPU: an assignment or transportation problem, and its proven optimum.

    max  sum_c v_c x_c
    (C1) gpu      per GPU class g:     sum of x_c over the columns on g   <= n_g
    (C2) service  per service class s: sum of x_c over those with s       =  R_s, or <= R_s
    (C3) task     per task class t:    sum of x_c over those with t       <= n_t

without gangs, quotas, rows of plug-ins or several tasks on a GPU. Where services are pinned with a
replica for each of their GPUs, or all GPUs are of one class, this is a flow through a network (see
`transport.problem` for exactly when), its linear relaxation has a whole-number optimum, and the
dual prices prove it: recomputed, the gap is 0 up to float64.

typed     few classes with multiplicities: min-cost flow on the classes, in a time that does not
          depend on the number of GPUs (`transport.flow`: worths scaled to 2^40 whole steps of the
          largest, refined until the gap recomputed in float64 is at most 1e-12 of the value)
distinct  hosts and tasks that are mostly one of a kind: linear assignment on the dense matrix
          (`transport.assignment`), with prices from longest paths in float64

Limits are asked before each method and while a large assignment runs. A flow, once begun, runs to
its end: 0.02 s for 50 x 200 classes, seconds for a million arcs.

What is no flow problem is refused; `fits` says why without solving.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from colocate.errors import UnsupportedError
from colocate.prices import value_bound
from colocate.problem import Problem
from colocate.result import Limit, Reason
from colocate.solvers.base import Availability, Capability, Clock, Context, RawSolution
from colocate.solvers.transport.assignment import assign
from colocate.solvers.transport.flow import best_flow
from colocate.solvers.transport.problem import NotTransport, Transport, transport

__all__ = ["MatchingSolver", "fits"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

PROVED = 1e-9
"""Relative gap up to which an answer is called optimal."""


class MatchingSolver:
    """Min-cost flow on classes, or linear assignment of distinct ones."""

    name: ClassVar[str] = "matching"
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {
            Capability.EXACT,
            Capability.BOUND,
            Capability.TIME_LIMIT,
            Capability.FREE_SERVICES,
            Capability.PINNED_SERVICES,
            Capability.OPTIONAL_SERVICES,
            Capability.SEVERAL_SERVICES,
            Capability.GPU_TYPES,
        }
    )

    @classmethod
    def availability(cls) -> Availability:
        """Return yes: OR-Tools and SciPy are core dependencies."""
        return Availability(True)

    def solve(self, problem: Problem, context: Context) -> RawSolution:
        """Solve the flow problem; refuse what is none."""
        clock = Clock(context)
        found = transport(problem)
        if isinstance(found, NotTransport):
            raise UnsupportedError(
                f"solver 'matching' would not be exact here: {found.why}",
                path=found.path,
                advice=found.advice,
            )
        limit = clock.hit()
        if limit is not Limit.NONE:
            return RawSolution(Reason.NO_SOLUTION_FOUND, limit=limit)
        if found is None:
            return _infeasible(clock)
        return _solved(problem, found, clock)


def fits(problem: Problem) -> str | None:
    """Return why `matching` would refuse this problem, or None where it would solve it.

    Takes a pass or two over the columns, and solves nothing.
    """
    found = transport(problem)
    return found.why if isinstance(found, NotTransport) else None


def _solved(problem: Problem, found: Transport, clock: Clock) -> RawSolution:
    assigned = assign(found, clock)
    if isinstance(assigned, Limit):
        return RawSolution(Reason.NO_SOLUTION_FOUND, limit=assigned)
    if assigned is not None:
        none = np.zeros(problem.service_count.size)
        prices = found.prices(assigned.of_task, assigned.of_host, none)
        return _answer(problem, assigned.counts, prices, clock, "assignment")
    flow = best_flow(found.network())
    if flow is None:
        return _infeasible(clock)
    counts = np.zeros(problem.columns.size, dtype=np.int64)
    counts[found.column] = flow.amount[: found.column.size]
    return _answer(problem, counts, found.prices_of(flow.potential), clock, "flow")


def _answer(
    problem: Problem, counts: Ints, prices: Floats, clock: Clock, method: str
) -> RawSolution:
    """Return the answer, called optimal if its prices prove that."""
    gangs = np.zeros(problem.levels.size, dtype=np.int64)
    value, bound = problem.value_of(counts, gangs), value_bound(problem, prices)
    # Beside a plan that is worth nothing, the unit of the worths says what is next to nothing.
    proved = bound - value <= PROVED * max(abs(value), problem.scale)
    clock.report(problem.objective_of(value), problem.objective_of(bound), method)
    return RawSolution(
        Reason.OPTIMAL if proved else Reason.FEASIBLE,
        counts=counts,
        gangs=gangs,
        detail="" if proved else f"the prices leave {bound - value:g} open: worths differ too much",
        prices=prices,
        value_claimed=max(bound, value),
        history=tuple(clock.history),
    )


def _infeasible(clock: Clock) -> RawSolution:
    return RawSolution(
        Reason.INFEASIBLE,
        detail="the required services do not fit on the GPUs together",
        history=tuple(clock.history),
    )
