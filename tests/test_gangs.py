"""Gangs are whole, no two workers of one on a GPU, and a few intervals however many they are."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from colocate.dealing import Dealt, deal
from colocate.expand import expand
from colocate.instance import Instance
from colocate.problem import Problem, compile_problem
from colocate.runs import run_pairs
from colocate.verify import verify
from tests.helpers import instance


def gang_instance(gpus: int, size: int, gangs: list[int]) -> Instance:
    """Only gangs of one kind, in entries of so many, at most three workers on a GPU."""
    pool = {"id": "a", "gpu_type": "A", "count": gpus, "memory_gib": 16.0, "sm_count": 4}
    tasks = [
        {"id": f"g{i}", "profile": "train", "batch": 8, "gang_size": size, "count": n}
        for i, n in enumerate(gangs)
    ]
    rules = {"services_per_gpu": 0, "tasks_per_gpu": 3}
    return instance(gpu_pools=[pool], services=[], tasks=tasks, rules=rules)


def at_lowest_level(problem: Problem) -> dict[int, int]:
    """The columns with so many workers, all at the first level."""
    columns = problem.columns
    found: dict[int, int] = {}
    for c in range(columns.size):
        span = slice(columns.start[c], columns.start[c + 1])
        if (columns.level[span] == 0).all():
            found.setdefault(int(columns.start[c + 1] - columns.start[c]), c)
    return found


def members(problem: Problem, dealt: Dealt, size: int) -> dict[tuple[int, int], list[int]]:
    """The GPUs of each gang, and of each the column it holds."""
    found: dict[tuple[int, int], list[int]] = {}
    on = np.repeat(dealt.column, dealt.length)
    for place in range(3):
        entry, number = dealt.individuals(place)
        for gpu, (e, i) in enumerate(zip(entry.tolist(), number.tolist(), strict=True)):
            if e >= 0:
                found.setdefault((e, i // size), []).append(gpu)
    assert (np.diff(problem.columns.start)[on] >= 1).all()
    return found


@settings(max_examples=150)
@given(
    st.integers(2, 5),
    st.lists(st.tuples(st.integers(1, 3), st.integers(1, 9)), min_size=1, max_size=3),
    st.integers(0, 10**6),
)
def test_gangs_are_whole_and_apart(size: int, stretches: list[tuple[int, int]], where: int) -> None:
    counts: Counter[int] = Counter()
    for width, n in stretches:
        counts[width] += n
    workers = sum(width * n for width, n in counts.items())
    # Filled up with single workers to whole gangs, and to as many as a GPU may hold of them.
    n_gangs = max([-(-workers // size), *counts])
    counts[1] += n_gangs * size - workers
    gpus = sum(counts.values())
    cut = where % n_gangs
    stated = gang_instance(gpus, size, [n for n in (cut, n_gangs - cut) if n])
    problem = compile_problem(stated)
    x = np.zeros(problem.columns.size, dtype=np.int64)
    columns = at_lowest_level(problem)
    for width, n in counts.items():
        if n:
            x[columns[width]] = n
    z = np.zeros(problem.levels.size, dtype=np.int64)
    z[0] = n_gangs
    dealt = deal(problem, x, z)
    found = members(problem, dealt, size)
    assert len(found) == n_gangs
    assert all(len(set(held)) == len(held) == size for held in found.values())
    # What gangs are made of is counted right.
    on = np.repeat(dealt.column, dealt.length)
    truth = Counter(tuple(sorted({*on[held].tolist()})) for held in found.values())
    owner = problem.columns.owner
    counted: Counter[tuple[int, ...]] = Counter()
    for i, times in enumerate(dealt.gangs.times.tolist()):
        made_of = owner[dealt.gangs.workload[dealt.gangs.member_of == i]]
        counted[tuple(sorted({*made_of.tolist()}))] += times
    assert counted == truth
    assert verify(stated, expand(problem, x, z, solver="test", proof=None)).ok


def test_gangs_that_follow_each_other_are_one_run() -> None:
    """However many GPUs, the plan's text does not grow, and a short stretch costs only itself."""
    lengths = []
    for n in (999, 999_999):
        stated = gang_instance(n + 2, 3, [(2 * n + 6) // 3])
        problem = compile_problem(stated)
        columns = at_lowest_level(problem)
        x = np.zeros(problem.columns.size, dtype=np.int64)
        x[columns[2]], x[columns[3]] = n, 2
        z = np.zeros(problem.levels.size, dtype=np.int64)
        z[0] = (2 * n + 6) // 3
        assert x @ np.diff(problem.columns.start) == 3 * z[0]
        plan = expand(problem, x, z, solver="test", proof=None)
        assert verify(stated, plan).ok
        texts = [t.workers for group in plan.placements for t in group.tasks]
        lengths.append(sum(len(run_pairs(text)) for text in texts))
        assert plan.totals.tasks_placed == z[0]
    assert lengths[0] == lengths[1] < 20
