"""The master problem in OR-Tools CP-SAT, on whole numbers.

    max  sum_c W_c x_c + sum_l W_l z_l         W = round(S v),  x, z whole, y 0 or 1
    (C1) gpu       sum_{c on g} x_c                 <= n_g
    (C2) service   sum_c a_sc x_c                   =  R_s, or <= R_s
    (C3) task      sum_c a_tc x_c                   <= n_t
         gang      sum_c a_lc x_c - k z_l           =  0
         gangs     sum_{l of t} z_l                 <= n_t
         distinct  z_l - a y_la >= 0,  x_c - most_c y_la <= 0         where a = a_lc >= 2
    (C4) quota     lower <= tasks, or hundredths of GPUs, of a tenant <= upper

Rounding moves the worth of a solution with N GPUs and gangs by at most N / (2 S); S is chosen so
that the largest worth has nine digits, the bound that is claimed includes what rounding can hide,
and `detail` states it. Tasks and shares are whole already.

One worker, so that the answer depends on the seed alone. Starts from greedy's plan, tells about
every better one, and stops when told.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import ClassVar

from colocate.problem import Problem
from colocate.solvers._course import SUPPORTED, Course
from colocate.solvers.base import Availability, Capability, Context, RawSolution

__all__ = ["CpSatSolver"]


class CpSatSolver:
    """Clause learning over whole numbers."""

    name: ClassVar[str] = "cp-sat"
    capabilities: ClassVar[frozenset[Capability]] = SUPPORTED

    def __init__(self, *, plain: bool = False) -> None:
        self.plain = plain
        """Whether CP-SAT does all by itself, without a plan from greedy and fixed columns."""

    @classmethod
    def availability(cls) -> Availability:
        """Look for OR-Tools without importing it."""
        there = find_spec("ortools") is not None
        return Availability(there, "" if there else "OR-Tools is not installed")

    def solve(self, problem: Problem, context: Context) -> RawSolution:
        """Solve to the end, to the gap, or to a limit."""
        return Course("ortools", plain=self.plain).run(problem, context)
