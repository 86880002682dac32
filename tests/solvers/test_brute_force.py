"""Brute force: exact against a plain enumeration of the rows, and it knows when to give up."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given

from colocate.errors import TooLargeError
from colocate.instance import Instance
from colocate.problem import Problem, compile_problem
from colocate.result import Limit, Limits, Reason
from colocate.solvers.base import Context
from colocate.solvers.brute_force import BruteForceSolver
from colocate.testing import any_instance
from tests.helpers import instance

TASK = {"profile": "train", "batch": 8}


def plain_optimum(problem: Problem) -> float | None:
    """Try every count of every column; gangs follow from the workers at each level."""
    columns, levels, rows = problem.columns, problem.levels, problem.rows
    best = None
    per_gpu = []
    for g, n in enumerate(problem.gpu_count.tolist()):
        mine = [None, *np.flatnonzero(columns.gpu == g).tolist()]
        per_gpu.append(list(itertools.combinations_with_replacement(mine, n)))
    for choice in itertools.product(*per_gpu):
        chosen = [c for group in choice for c in group if c is not None]
        counts = np.bincount(np.array(chosen, dtype=np.int64), minlength=columns.size)
        held = counts[columns.owner] if columns.size else counts
        workers = np.array(
            [held[columns.level == i].sum() for i in range(levels.size)], dtype=np.int64
        )
        size = problem.gang_size[levels.task]
        gangs = workers // size
        activity = problem.activity(counts, gangs)
        fits = (activity <= rows.upper + 1e-9).all() and (activity >= rows.lower - 1e-9).all()
        d = problem.distinct
        parted = ((gangs[d.level] >= d.gangs) | (counts[d.column] == 0)).all()
        if fits and parted and (workers % size == 0).all():
            value = problem.value_of(counts, gangs)
            best = value if best is None else max(best, value)
    return best


@given(any_instance())
def test_equals_plain_enumeration(drawn: Instance) -> None:
    """Prices, pruning and order change nothing: the optimum is that of trying everything."""
    problem = compile_problem(drawn)
    ways = 1
    for g, n in enumerate(problem.gpu_count.tolist()):
        ways *= (1 + int((problem.columns.gpu == g).sum())) ** n
    if ways > 4000:
        return
    expected = plain_optimum(problem)
    found = BruteForceSolver().solve(problem, Context())
    if expected is None:
        assert found.reason is Reason.INFEASIBLE
        assert found.counts is None
    else:
        assert found.reason is Reason.OPTIMAL
        assert found.counts is not None
        assert found.gangs is not None
        assert problem.value_of(found.counts, found.gangs) == pytest.approx(expected, abs=1e-9)
        assert found.value_claimed == pytest.approx(expected, abs=1e-9)


def large() -> Problem:
    tasks = [{"id": f"t{i}", **TASK, "weight": 1.0 + i / 7} for i in range(12)]
    pool = {"id": "a", "gpu_type": "A", "count": 9, "memory_gib": 16.0, "sm_count": 4}
    return compile_problem(instance(gpu_pools=[pool], tasks=tasks, rules={"tasks_per_gpu": 2}))


def test_gives_up_with_the_size() -> None:
    """Beyond its nodes it refuses, with the size of the problem and advice."""
    with pytest.raises(TooLargeError, match="gave up after 5 nodes") as caught:
        BruteForceSolver(max_nodes=5).solve(large(), Context())
    assert "columns, 9 GPUs" in caught.value.message
    assert caught.value.advice is not None


def test_a_gap_that_is_close_enough_ends_the_search() -> None:
    """With a gap asked for, the first filling within it is returned, and not called optimal."""
    problem = large()
    best = BruteForceSolver().solve(problem, Context())
    near = BruteForceSolver().solve(problem, Context(Limits(gap=0.5)))
    assert best.reason is Reason.OPTIMAL
    assert near.reason is Reason.FEASIBLE
    assert near.detail == "within the gap that was asked for"
    assert near.value_claimed is None
    assert len(near.history) <= len(best.history)


def test_stops_when_told() -> None:
    """A stop before anything was found is a clean none; a claim needs the end of the search."""
    found = BruteForceSolver().solve(large(), Context(stop=lambda: True))
    assert (found.reason, found.limit) == (Reason.NO_SOLUTION_FOUND, Limit.INTERRUPTED)
    assert found.value_claimed is None
    timed = BruteForceSolver().solve(large(), Context(Limits(time_s=0)))
    assert timed.limit is Limit.TIME
