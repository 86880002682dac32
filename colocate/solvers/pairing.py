"""Training beside training, without services: which tasks share a GPU, two by two.

    max  sum_c v_c x_c
    (C1) gpu    per GPU class g:  sum of x_c over the columns on g                 <= n_g
    (C3) task   per task class t: sum of x_c * (how often t is in c, 0, 1 or 2)    <= n_t

Columns are a task or two tasks on a GPU class. Two ways, and where the line is
(measured on dense graphs of distinct tasks, on a shared core, in seconds):

    vertices                        30     60     100    150    200
    networkx, maximum weight        0.1    0.6    2.8    10     -
    HiGHS, whole numbers            0.05   0.2    0.3    1.6    2.6

graph    one GPU class, every task and pair one of a kind, at most `GRAPH` vertices: maximum-weight
         matching on a general graph (networkx), combinatorial, no tolerances. That n GPUs are
         enough is put into the graph: where n GPUs hold N tasks, a GPU is a pair of vertices. Two
         tasks i, j are worth max(v_ij, v_i, v_j) as a pair, since one of them may be left out; for
         N < 2n there are 2n - N empty vertices (a task beside one is alone, v_i), for N > 2n there
         are N - 2n more vertices, whose partners are left out. Every perfect matching is a plan.
program  all else: the master problem above as an integer program over the columns (SciPy's HiGHS).
         Typed tasks are a b-matching on pairs of types, whose size does not depend on how many
         there are. The relaxation is off by odd sets only (three tasks that pair well with each
         other, 3/2 pairs), so the search is short; but the recomputed bound keeps that gap.

Services are refused: they are for `milp`. For three or four tasks on a GPU see `muri`.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from colocate.errors import UnsupportedError
from colocate.prices import linear_prices
from colocate.problem import Problem
from colocate.result import Limit, Reason
from colocate.solvers._pairs import Program, by_graph, by_program
from colocate.solvers.base import Availability, Capability, Clock, Context, RawSolution

__all__ = ["GRAPH", "PairingSolver", "fits", "mixed"]

Ints = NDArray[np.int64]

GRAPH = 40
"""Vertices up to which the graph is used."""


class PairingSolver:
    """Matching on a general graph, or the integer program on pairs of types."""

    name: ClassVar[str] = "pairing"
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {
            Capability.EXACT,
            Capability.BOUND,
            Capability.TIME_LIMIT,
            Capability.SEVERAL_TASKS,
            Capability.GPU_TYPES,
        }
    )

    @classmethod
    def availability(cls) -> Availability:
        """Return yes: networkx and SciPy are core dependencies."""
        return Availability(True)

    def solve(self, problem: Problem, context: Context) -> RawSolution:
        """Pair tasks; refuse services and groups of more than two."""
        clock = Clock(context)
        why = fits(problem)
        if why is not None:
            raise UnsupportedError(
                f"solver 'pairing' cannot answer this: {why}",
                path="$.rules",
                advice="use 'milp', or 'muri' for groups of three and four without a proof.",
            )
        limit = clock.hit()
        if limit is not Limit.NONE:
            return RawSolution(Reason.NO_SOLUTION_FOUND, limit=limit)
        counts: Ints | None
        if _is_graph(problem):
            counts, bound, complete, method = by_graph(problem), None, True, "graph"
        else:
            left = context.limits.time_s
            answer = by_program(_master(problem), None if left is None else left - clock.elapsed_s)
            counts, bound, complete = answer.x, answer.bound, answer.complete
            method = "program"
        if counts is None:
            return RawSolution(Reason.NO_SOLUTION_FOUND, limit=Limit.TIME)
        gangs = np.zeros(0, dtype=np.int64)
        value = problem.value_of(counts, gangs)
        bound = value if complete else bound
        clock.report(
            problem.objective_of(value),
            None if bound is None else problem.objective_of(max(bound, value)),
            method,
        )
        return RawSolution(
            Reason.OPTIMAL if complete else Reason.FEASIBLE,
            counts=counts,
            gangs=gangs,
            limit=Limit.NONE if complete else Limit.TIME,
            prices=linear_prices(problem),
            value_claimed=None if bound is None else max(bound, value),
            history=tuple(clock.history),
        )


def fits(problem: Problem) -> str | None:
    """Return why `pairing` would refuse this problem, or None where it would solve it."""
    why = mixed(problem)
    if why is not None:
        return why
    columns = problem.columns
    most = np.bincount(columns.owner[columns.is_task], minlength=1).max(initial=0)
    return f"up to {most} tasks share a GPU" if most > 2 else None


def mixed(problem: Problem) -> str | None:
    """Return what stands in the way of looking at groups of tasks alone, or None."""
    if problem.levels.size or (problem.gang_size > 1).any():
        return "gangs of workers couple GPUs"
    if any(label.kind == "quota" for label in problem.rows.labels):
        return "rows of quotas or plug-ins couple GPUs"
    if problem.service_count.size:
        return "there are services"
    return None


def _is_graph(problem: Problem) -> bool:
    """Return whether this is matching on a small general graph."""
    if problem.gpu_count.size != 1 or not problem.columns.size:
        return False
    n, gpus = problem.task_count.size, int(problem.gpu_count[0])
    vertices = n + (min(2 * gpus - n, n) if 2 * gpus > n else n - 2 * gpus)
    return bool((problem.task_count == 1).all()) and vertices <= GRAPH


def _master(problem: Problem) -> Program:
    rows = problem.rows
    return Program(
        problem.columns.value, rows.row, rows.variable, rows.coefficient, rows.lower, rows.upper
    )
