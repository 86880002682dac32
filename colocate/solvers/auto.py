"""Chooses a solver by structure and size, never by the clock, and says which and why.

small    few enough columns and GPUs to enumerate                    -> brute_force
else     everything that greedy supports                             -> greedy
"""

from __future__ import annotations

from dataclasses import replace
from math import comb
from typing import ClassVar

from colocate.capability import Capability
from colocate.errors import TooLargeError
from colocate.problem import Problem
from colocate.solvers.base import Availability, Context, RawSolution
from colocate.solvers.brute_force import BruteForceSolver
from colocate.solvers.greedy import GreedySolver

__all__ = ["AutoSolver"]

SMALL = 5000
"""Ways to fill the GPUs, and columns, up to which all ways are tried."""
NODES = 100_000
"""Work after which trying all ways is given up."""


class AutoSolver:
    """Picks a solver for the problem at hand."""

    name: ClassVar[str] = "auto"
    capabilities: ClassVar[frozenset[Capability]] = (
        BruteForceSolver.capabilities | GreedySolver.capabilities
    ) - {Capability.EXACT}

    @classmethod
    def availability(cls) -> Availability:
        """Both of its solvers are always there."""
        return Availability(True)

    def solve(self, problem: Problem, context: Context) -> RawSolution:
        """Solve with the solver that fits; the answer's `note` says which and why."""
        lacking = sorted(c.value for c in problem.needed - GreedySolver.capabilities)
        if lacking:
            note = f"brute_force, because greedy does not support {'; '.join(lacking)}"
            return replace(BruteForceSolver().solve(problem, context), note=note)
        ways = _ways(problem)
        if ways <= SMALL:
            note = f"brute_force, because there are at most {ways} ways to fill the GPUs"
            try:
                return replace(BruteForceSolver(NODES).solve(problem, context), note=note)
            except TooLargeError:
                note = f"greedy, because trying all ways takes more than {NODES} steps"
        else:
            note = f"greedy, because there are more than {SMALL} ways to fill the GPUs"
        return replace(GreedySolver().solve(problem, context), note=note)


def _ways(problem: Problem) -> int:
    """Return how many ways there are to choose what is on each GPU, or a number above `SMALL`.

    Only what is together on a GPU counts, not its knobs: that does not depend on any name.
    """
    columns = problem.columns
    start, is_task, cls = columns.start.tolist(), columns.is_task.tolist(), columns.cls.tolist()
    held: dict[int, set[tuple[tuple[bool, int], ...]]] = {}
    for c, gpu in enumerate(columns.gpu[:SMALL].tolist()):
        span = range(start[c], start[c + 1])
        held.setdefault(gpu, set()).add(tuple(sorted((is_task[w], cls[w]) for w in span)))
    ways = 1 if columns.size <= SMALL else SMALL + 1
    for gpu, contents in held.items():
        n = min(int(problem.gpu_count[gpu]), SMALL)
        ways *= comb(len(contents) + n, n)
        if ways > SMALL:
            return SMALL + 1
    return ways
