"""The two ways to pair tasks, and what columns hold."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from colocate.errors import SolverError

if TYPE_CHECKING:
    from colocate.problem import Problem

__all__ = ["Program", "best_columns", "by_graph", "by_program"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

UNIT = 1e3
"""What the largest worth is for the backend, whose tolerances are absolute (1e-6)."""
INFEASIBLE = 2


@dataclass(frozen=True, slots=True)
class Program:
    """max value x, lower <= A x <= upper, x whole numbers of at least 0; A in coordinates."""

    value: Floats
    row: Ints
    variable: Ints
    coefficient: Floats
    lower: Floats
    upper: Floats


@dataclass(frozen=True, slots=True)
class Answer:
    """What the backend says."""

    x: Ints | None
    """None: it found nothing, or there is nothing."""
    bound: float | None
    complete: bool
    """Nothing is better, or, without `x`, there is nothing."""


def by_program(program: Program, time_s: float | None = None) -> Answer:
    """Solve an integer program with SciPy's HiGHS, to the end or within the time."""
    from scipy.optimize import LinearConstraint, milp
    from scipy.sparse import csr_array

    n = program.value.size
    if n == 0:
        allowed = (program.lower <= 0).all() and (program.upper >= 0).all()
        return Answer(np.zeros(0, dtype=np.int64) if allowed else None, 0.0, complete=True)
    unit = UNIT / (float(np.abs(program.value).max(initial=0.0)) or 1.0)
    shape = (program.lower.size, n)
    matrix = csr_array((program.coefficient, (program.row, program.variable)), shape=shape)
    found = milp(
        -program.value * unit,
        constraints=LinearConstraint(matrix, program.lower, program.upper),
        integrality=np.ones(n, dtype=np.int64),
        options={"mip_rel_gap": 0.0, "time_limit": np.inf if time_s is None else max(0.0, time_s)},
    )
    if found.status == INFEASIBLE and np.isfinite(unit):
        return Answer(None, None, complete=True)
    if found.status not in (0, 1):
        message = f"the integer program failed: {found.message}"
        raise SolverError(message, advice="use another solver, such as 'greedy'.")
    bound = None if found.mip_dual_bound is None else -found.mip_dual_bound / unit
    if bound is not None and not np.isfinite(bound):
        bound = None
    x = None if found.x is None else np.rint(found.x).astype(np.int64)
    return Answer(x, bound, complete=found.status == 0)


def best_columns(problem: Problem) -> dict[tuple[int, tuple[int, ...]], int]:
    """Return the best column of tasks alone, for each GPU class and ascending task classes."""
    columns = problem.columns
    start, cls = columns.start.tolist(), columns.cls.tolist()
    is_task, value = columns.is_task.tolist(), columns.value.tolist()
    found: dict[tuple[int, tuple[int, ...]], int] = {}
    for c, gpu in enumerate(columns.gpu.tolist()):
        span = range(start[c], start[c + 1])
        if all(is_task[w] for w in span):
            key = gpu, tuple(sorted(cls[w] for w in span))
            if key not in found or value[c] > value[found[key]]:
                found[key] = c
    return found


def by_graph(problem: Problem) -> Ints:
    """Pair distinct tasks on GPUs of one class; return counts of columns."""
    import networkx as nx

    held = best_columns(problem)
    value = problem.columns.value
    n_tasks, n_gpus = problem.task_count.size, int(problem.gpu_count[0])
    alone = [held.get((0, (t,))) for t in range(n_tasks)]

    def best(*choices: int | None) -> int | None:
        """Return the column of most worth; None: nothing, which is worth 0."""
        gains = [c for c in choices if c is not None and value[c] > 0]
        return max(gains, key=lambda c: float(value[c]), default=None)

    chosen: dict[tuple[int, int], int | None] = {}
    for i, j in combinations(range(n_tasks), 2):
        chosen[i, j] = best(held.get((0, (i, j))), alone[i], alone[j])
    # A GPU is a pair of vertices: see the module `pairing`.
    empty = min(2 * n_gpus - n_tasks, n_tasks) if 2 * n_gpus > n_tasks else 0
    left_out = max(0, n_tasks - 2 * n_gpus)
    for k in range(n_tasks, n_tasks + empty + left_out):
        for i in range(n_tasks):
            chosen[i, k] = best(alone[i]) if empty else None
        if empty:
            for j in range(n_tasks, k):
                chosen[j, k] = None
    graph: nx.Graph[int] = nx.Graph()
    graph.add_nodes_from(range(n_tasks + empty + left_out))
    for (i, j), c in chosen.items():
        graph.add_edge(i, j, weight=0.0 if c is None else float(value[c]))
    counts = np.zeros(problem.columns.size, dtype=np.int64)
    # Pairs of vertices in order, so that nothing depends on how the library lists them.
    for a, b in sorted(
        (min(e), max(e)) for e in nx.max_weight_matching(graph, maxcardinality=True)
    ):
        column = chosen[a, b]
        if column is not None:
            counts[column] += 1
    return counts
