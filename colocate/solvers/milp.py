"""The master problem as a mixed integer program, solved by HiGHS on sparse arrays (SciPy).

    max  sum_c v_c x_c + sum_l V_l z_l                    x, z whole, y 0 or 1
    (C1) gpu       sum_{c on g} x_c                 <= n_g            per GPU class g
    (C2) service   sum_c a_sc x_c                   =  R_s, or <= R_s per service class s
    (C3) task      sum_c a_tc x_c                   <= n_t            per task class t, k = 1
         gang      sum_c a_lc x_c - k z_l           =  0              per gang level l
         gangs     sum_{l of t} z_l                 <= n_t            per task class t, k > 1
         distinct  z_l - a y_la >= 0,  x_c - most_c y_la <= 0         where a = a_lc >= 2
    (C4) quota     lower <= tasks, or shares, of a tenant <= upper

    x_c <= most_c:  what the GPUs of the class, the replicas, the tasks and the workers leave.

The arrays go to HiGHS as they are: there is no object for a variable or a row. See `_course` for
what is done before, and `backends.model` for the arrays.
"""

from __future__ import annotations

from typing import ClassVar

from colocate.problem import Problem
from colocate.solvers._course import SUPPORTED, Course
from colocate.solvers.base import Availability, Capability, Context, RawSolution

__all__ = ["MilpSolver"]


class MilpSolver:
    """Branch and cut by HiGHS."""

    name: ClassVar[str] = "milp"
    capabilities: ClassVar[frozenset[Capability]] = SUPPORTED

    def __init__(self, *, plain: bool = False) -> None:
        self.plain = plain
        """Whether HiGHS does all by itself, without a plan from greedy and fixed columns."""

    @classmethod
    def availability(cls) -> Availability:
        """Return yes: SciPy is a core dependency."""
        return Availability(True)

    def solve(self, problem: Problem, context: Context) -> RawSolution:
        """Solve to the end, to the gap, or to a limit."""
        return Course("highs", plain=self.plain).run(problem, context)
