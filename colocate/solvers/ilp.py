"""The master problem as a PuLP model: readable, and solved by any engine that PuLP knows.

    max  sum_c v_c x_c + sum_l V_l z_l                    x, z whole, y 0 or 1
    (C1) gpu       sum_{c on g} x_c                 <= n_g            per GPU class g
    (C2) service   sum_c a_sc x_c                   =  R_s, or <= R_s per service class s
    (C3) task      sum_c a_tc x_c                   <= n_t            per task class t, k = 1
         gang      sum_c a_lc x_c - k z_l           =  0              per gang level l
         gangs     sum_{l of t} z_l                 <= n_t            per task class t, k > 1
         distinct  z_l - a y_la >= 0,  x_c - most_c y_la <= 0         where a = a_lc >= 2
    (C4) quota     lower <= tasks, or shares, of a tenant <= upper

`ilp` runs CBC, which comes with PuLP. `ilp:NAME` runs another engine by PuLP's name for it, such as
`ilp:GUROBI_CMD`, `ilp:CPLEX_CMD`, `ilp:SCIP_CMD`, `ilp:HiGHS_CMD` or `ilp:COIN_CMD` (a CBC of your
own). `colocate export-model` writes the same model as an LP or MPS file.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import ClassVar

from colocate.errors import UnsupportedError, clean_text
from colocate.problem import Problem
from colocate.solvers._course import SUPPORTED, Course
from colocate.solvers.base import Availability, Capability, Context, RawSolution

__all__ = ["IlpSolver"]


class IlpSolver:
    """Branch and cut by CBC, or by an engine of the user's."""

    name: ClassVar[str] = "ilp"
    capabilities: ClassVar[frozenset[Capability]] = SUPPORTED

    def __init__(self, engine: str = "", *, plain: bool = False) -> None:
        self.engine = engine
        self.plain = plain
        """Whether the engine does all by itself, without a plan from greedy and fixed columns."""

    @classmethod
    def with_engine(cls, engine: str) -> IlpSolver:
        """Return the solver on an engine by PuLP's name; whether it is there shows when it runs."""
        if not engine.isidentifier():
            raise UnsupportedError(
                f"{clean_text(engine)!r} is not the name of an engine",
                advice="write it like ilp:GUROBI_CMD; pulp.listSolvers() lists the names.",
            )
        return cls(engine)

    @classmethod
    def availability(cls) -> Availability:
        """Look for PuLP without importing it."""
        there = find_spec("pulp") is not None
        return Availability(there, "" if there else "PuLP is not installed")

    def solve(self, problem: Problem, context: Context) -> RawSolution:
        """Solve to the end, to the gap, or to a limit."""
        return Course("pulp", self.engine, plain=self.plain).run(problem, context)
