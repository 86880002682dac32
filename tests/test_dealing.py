"""Runs name the same individuals as dealing one by one."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings

from colocate.capability import needed
from colocate.classes import Entries
from colocate.dealing import deal
from colocate.instance import Instance
from colocate.problem import Problem, compile_problem
from colocate.solvers.base import Context
from colocate.solvers.greedy import GreedySolver
from colocate.testing import any_instance
from tests.helpers import instance

Individual = tuple[int, int]


def line(entries: Entries) -> dict[int, list[Individual]]:
    """The individuals of each class, entry by entry."""
    found: dict[int, list[Individual]] = {c: [] for c in range(entries.size)}
    for e, (cls, n) in enumerate(
        zip(entries.entry_class.tolist(), entries.entry_count.tolist(), strict=True)
    ):
        found[cls] += [(e, i) for i in range(n)]
    return found


def stretches(column_of: dict[Individual, int]) -> list[list[Individual]]:
    """GPUs of one pool that follow each other and hold the same column."""
    found: list[list[Individual]] = []
    for pool, i in sorted(column_of):
        before = found[-1][-1] if found else None
        if before == (pool, i - 1) and column_of[pool, i] == column_of[before]:
            found[-1].append((pool, i))
        else:
            found.append([(pool, i)])
    return found


def one_by_one(problem: Problem, counts: np.ndarray) -> dict[Individual, list[Individual]]:
    """Who is on each GPU (pool, ordinal), in the order of the column's workloads.

    Stretch by stretch, in a stretch place by place, at a place GPU by GPU.
    """
    columns, classes = problem.columns, problem.source.classes
    pools = [p.id for p in problem.source.instance.gpu_pools]
    column_of: dict[Individual, int] = {}
    for g, gpu in enumerate(classes.gpus):
        gpus = sorted(
            (pools.index(p), first + i)
            for p, runs in gpu.members
            for first, n in runs.tolist()
            for i in range(n)
        )
        mine = np.flatnonzero(columns.gpu == g).tolist()
        held = [c for c in mine for _ in range(counts[c])]
        column_of |= dict(zip(gpus, held, strict=False))
    waiting = line(classes.services), line(classes.tasks)
    found: dict[Individual, list[Individual]] = {gpu_id: [] for gpu_id in sorted(column_of)}
    for stretch in stretches(column_of):
        c = column_of[stretch[0]]
        for w in range(columns.start[c], columns.start[c + 1]):
            for gpu_id in stretch:
                found[gpu_id].append(
                    (-1, -1)
                    if columns.level[w] >= 0
                    else waiting[int(columns.is_task[w])][int(columns.cls[w])].pop(0)
                )
    return found


@settings(max_examples=25)
@given(any_instance())
def test_runs_are_what_dealing_one_by_one_gives(drawn: Instance) -> None:
    if not needed(drawn) <= GreedySolver.capabilities:
        return
    problem = compile_problem(drawn)
    raw = GreedySolver().solve(problem, Context())
    if raw.counts is None:
        return
    truth = one_by_one(problem, raw.counts)
    dealt = deal(problem, raw.counts)
    pool, ordinal = dealt.gpus()
    assert list(zip(pool.tolist(), ordinal.tolist(), strict=True)) == list(truth)
    for place in range(max((len(held) for held in truth.values()), default=0)):
        entry, number = dealt.individuals(place)
        assert list(zip(entry.tolist(), number.tolist(), strict=True)) == [
            held[place] if place < len(held) else (-1, -1) for held in truth.values()
        ]
    assert (dealt.length > 0).all()
    assert (np.diff(dealt.start) == np.diff(problem.columns.start)[dealt.column]).all()


def test_a_column_with_one_class_twice_deals_place_by_place() -> None:
    """Two of a kind on each GPU: the first three, then the others; entries begin new runs."""
    pool = {"id": "a", "gpu_type": "A", "count": 3, "memory_gib": 16.0, "sm_count": 4, "first": 5}
    tasks = [{"id": n, "profile": "train", "batch": 8, "count": c} for n, c in (("p", 4), ("q", 2))]
    stated = instance(gpu_pools=[pool], services=[], tasks=tasks, rules={"tasks_per_gpu": 2})
    problem = compile_problem(stated)
    width = np.diff(problem.columns.start)
    counts = np.where(width == 2, 3, 0)
    assert counts.sum() == 3
    dealt = deal(problem, counts)
    assert dealt.gpus()[1].tolist() == [5, 6, 7]
    assert [x.tolist() for x in dealt.individuals(0)] == [[0, 0, 0], [0, 1, 2]]
    assert [x.tolist() for x in dealt.individuals(1)] == [[0, 1, 1], [3, 0, 1]]
    assert dealt.first.tolist() == [5, 6]


def test_a_million_alike_are_one_run() -> None:
    pool = {"id": "a", "gpu_type": "A", "count": 10**6, "memory_gib": 16.0, "sm_count": 4}
    tasks = [{"id": "job", "profile": "train", "batch": 8, "count": 10**6}]
    problem = compile_problem(instance(gpu_pools=[pool], services=[], tasks=tasks))
    counts = np.zeros(problem.columns.size, dtype=np.int64)
    counts[np.argmax(problem.columns.value)] = 10**6
    dealt = deal(problem, counts)
    assert dealt.length.tolist() == [10**6]
    entry, number = dealt.individuals(0)
    assert not entry.any()
    assert (number == np.arange(10**6)).all()


def test_nothing_used_is_no_run() -> None:
    problem = compile_problem(instance())
    dealt = deal(problem, np.zeros(problem.columns.size, dtype=np.int64))
    assert dealt.length.size == 0
    assert dealt.gpus()[0].size == 0
