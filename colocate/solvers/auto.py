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

SMALL = 20_000
"""Ways to fill the GPUs up to which enumeration is tried first."""
NODES = 50_000


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
            try:
                note = f"brute_force, because there are at most {ways} ways to fill the GPUs"
                return replace(BruteForceSolver(NODES).solve(problem, context), note=note)
            except TooLargeError:
                note = f"greedy, because enumeration needs more than {NODES} nodes"
        else:
            note = f"greedy, because there are more than {SMALL} ways to fill the GPUs"
        return replace(GreedySolver().solve(problem, context), note=note)


def _ways(problem: Problem) -> int:
    """Return an upper bound on the ways to fill the GPUs, or a number above `SMALL`."""
    ways = 1
    for g, n in enumerate(problem.gpu_count.tolist()):
        options = int((problem.columns.gpu == g).sum())
        ways *= comb(options + min(n, SMALL), min(n, SMALL)) if options else 1
        if ways > SMALL:
            return SMALL + 1
    return ways
