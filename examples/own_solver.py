"""A solver of one's own in forty lines, and the conformance suite run on it.

It takes the most valuable column first, as often as it fits. Needs the extra `testing`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import settings

import colocate as co
from colocate import datasets, registry
from colocate.result import Limit, Reason
from colocate.solvers.base import Availability, Capability, Clock, RawSolution
from colocate.testing import SolverConformance

if TYPE_CHECKING:
    from colocate.problem import Problem
    from colocate.solvers.base import Context


class FirstFit:
    """Goes through the columns once; those that hold required services come first."""

    kind = "solver"
    name = "first_fit"
    # Only what it honours. No GANGS: it sets no level of a gang. No FLOORS: it may end below one.
    capabilities = frozenset(
        {
            Capability.TIME_LIMIT,
            Capability.INTERRUPT,
            Capability.SEVERAL_TASKS,
            Capability.SEVERAL_SERVICES,
            Capability.FREE_SERVICES,
            Capability.PINNED_SERVICES,
            Capability.OPTIONAL_SERVICES,
            Capability.QUOTAS,
            Capability.GPU_TYPES,
        }
    )

    @classmethod
    def availability(cls) -> Availability:
        """Return yes: it needs nothing but NumPy."""
        return Availability(True)

    def solve(self, problem: Problem, context: Context) -> RawSolution:
        """Fill GPUs with columns; the rows of the problem say how often each one fits."""
        import numpy as np

        clock, columns, rows = Clock(context), problem.columns, problem.rows
        services = np.flatnonzero(~columns.is_task)
        required = np.bincount(
            columns.owner[services], problem.service_required[columns.cls[services]], columns.size
        )
        counts, used, limit = np.zeros(columns.size, np.int64), np.zeros(rows.size), Limit.NONE
        for column in np.lexsort((-columns.value, -required)):
            limit = clock.hit()
            if limit is not Limit.NONE:
                break
            at = rows.variable == column
            takes = np.bincount(rows.row[at], rows.coefficient[at], rows.size)
            room = (rows.upper - used)[takes > 0] / takes[takes > 0]
            if columns.value[column] > 0 or required[column]:
                counts[column] = max(0, int(np.floor(room.min() + 1e-9)))
                used += counts[column] * takes
        if (used < rows.lower - 1e-9).any():
            return RawSolution(Reason.NO_SOLUTION_FOUND, limit=limit, detail="a service is left")
        gangs = np.zeros(problem.levels.size, np.int64)
        return RawSolution(Reason.FEASIBLE, counts=counts, gangs=gangs, limit=limit)


class TestFirstFit(SolverConformance):
    """What every solver must keep to, for this one: also `pytest examples/own_solver.py`."""

    solver = FirstFit
    examples = 5


if __name__ == "__main__":
    registry.register("solver", FirstFit.name, FirstFit)
    for name in ("greedy-trap", "pinned-services", "two-tasks-per-gpu", "quickstart"):
        found, facts = co.solve(datasets.get(name), FirstFit.name), datasets.describe(name).facts
        if found.objective is not None and facts is not None and facts.objective is not None:
            print(f"{name:18} {found.objective:.3f} of {facts.objective:.3f}")
    settings.register_profile("the same each time", derandomize=True, database=None, deadline=None)
    settings.load_profile("the same each time")
    for test in sorted(t for t in dir(TestFirstFit) if t.startswith("test_")):
        getattr(TestFirstFit(), test)()
        print(f"kept: {test.removeprefix('test_').replace('_', ' ')}")
