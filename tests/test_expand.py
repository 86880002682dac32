"""From counts back to names: canonical, whole, and on arrays."""

from __future__ import annotations

import tracemalloc
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colocate.expand import expand
from colocate.instance import Instance
from colocate.placement import PlacementGroup
from colocate.plan import Plan
from colocate.problem import Problem, compile_problem
from colocate.runs import count_ids, run_pairs
from colocate.schema import Evidence
from colocate.testing import any_instance
from colocate.verify import verify
from tests.helpers import instance, profile

TASK = {"profile": "train", "batch": 8}
SERVICE = {"profile": "net", "rate_rps": 10.0, "slo_ms": 300.0}


def column(problem: Problem, *items: tuple[str, int], gpu: int = 0) -> int:
    """The column that holds these classes on this GPU class."""
    c = problem.columns
    for i in range(c.size):
        span = range(c.start[i], c.start[i + 1])
        held = tuple(("task" if c.is_task[w] else "service", int(c.cls[w])) for w in span)
        if held == items and c.gpu[i] == gpu:
            return i
    raise AssertionError(items)


def plan_of(problem: Problem, counts: dict[int, int], gangs: dict[int, int] | None = None) -> Plan:
    x = np.zeros(problem.columns.size, dtype=np.int64)
    z = np.zeros(problem.levels.size, dtype=np.int64)
    for c, n in counts.items():
        x[c] = n
    for level, n in (gangs or {}).items():
        z[level] = n
    return expand(problem, x, z, solver="test", proof=None)


def test_groups_in_canonical_order() -> None:
    """Entries of one class fill up one after the other; equal GPUs form one group."""
    stated = instance(
        gpu_pools=[
            {"id": "a", "gpu_type": "A", "count": 6, "first": 5, "memory_gib": 16.0, "sm_count": 4}
        ],
        services=[{"id": "x", **SERVICE, "replicas": 2}, {"id": "y", **SERVICE, "replicas": 3}],
        tasks=[{"id": "job", **TASK, "count": 2}],
    )
    problem = compile_problem(stated)
    shared, alone = column(problem, ("service", 0), ("task", 0)), column(problem, ("service", 0))
    plan = plan_of(problem, {shared: 2, alone: 3})
    shape = [
        (
            g.gpus,
            [(s.service, s.replicas) for s in g.services],
            [(t.task, t.workers) for t in g.tasks],
        )
        for g in plan.placements
    ]
    assert sum(count_ids(gpus) for gpus, _, _ in shape) == 5
    seen: Counter[str] = Counter()
    for _, services, _ in shape:
        for name, runs in services:
            seen[name] += count_ids(runs)
    assert seen == {"x": 2, "y": 3}
    assert [gpus for gpus, _, tasks in shape if tasks] == ["5-6"] or [
        gpus for gpus, _, tasks in shape if tasks
    ] == ["8-9"]
    assert plan.totals.gpus_used == 5
    assert plan.totals.gpus_shared == 2
    assert verify(stated, plan).ok


def test_table_rows_are_named_by_prefix() -> None:
    """Workloads of a table appear under their row's name."""
    stated = instance(
        services=[],
        tasks=[],
        task_table={"rows": 3, **TASK, "weight": [2.0, 1.0, 1.0], "id_prefix": "t-"},
    )
    problem = compile_problem(stated)
    plan = plan_of(problem, {column(problem, ("task", 0)): 1, column(problem, ("task", 1)): 1})
    names = {t.task for g in plan.placements for t in g.tasks}
    assert names == {"t-0", "t-1"}
    assert [(u.task, u.ids) for u in plan.unplaced] == [("t-2", "0")]
    assert verify(stated, plan).ok


@given(st.integers(2, 4), st.integers(2, 4), st.integers(1, 2))
def test_gangs_are_dealt_to_different_gpus(size: int, count: int, per_gpu: int) -> None:
    """However many workers of one class a GPU holds, no gang has two of them there."""
    workers = size * count
    if workers % per_gpu or count < per_gpu:
        return
    stated = instance(
        gpu_pools=[
            {"id": "a", "gpu_type": "A", "count": workers, "memory_gib": 16.0, "sm_count": 4}
        ],
        services=[],
        tasks=[{"id": "gang", **TASK, "gang_size": size, "count": count}],
        rules={"services_per_gpu": 0, "tasks_per_gpu": per_gpu},
    )
    problem = compile_problem(stated)
    columns = problem.columns
    level = 0
    candidates = [
        i
        for i in range(columns.size)
        if columns.start[i + 1] - columns.start[i] == per_gpu
        and (columns.level[columns.start[i] : columns.start[i + 1]] == level).all()
    ]
    plan = plan_of(problem, {candidates[0]: workers // per_gpu}, {level: count})
    where: dict[int, set[tuple[str, int]]] = defaultdict(set)
    for p in plan.iter_placements():
        for worker, t in p.tasks:
            assert t.task == "gang"
            where[worker // size].add((p.pool, p.gpu))
    assert {len(gpus) for gpus in where.values()} == {size}
    assert len(where) == count
    assert verify(stated, plan).ok


def test_evidence_is_the_weakest_link() -> None:
    """A prediction rests on its curve and on every slowdown; the weakest of them names it."""
    pair = {
        "gpu_type": "A",
        "victim": "net",
        "neighbour": "train",
        "slowdown": 1.1,
        "evidence": "regressed",
    }
    stated = instance(interference={"default_slowdown": 1.2, "pairs": [pair]})
    problem = compile_problem(stated)
    plan = plan_of(problem, {column(problem, ("service", 0), ("task", 0)): 1})
    (group,) = plan.placements
    service, task = group.services[0].predicted, group.tasks[0].predicted
    assert service is not None
    assert task is not None
    assert service.evidence is Evidence.REGRESSED
    assert task.evidence is Evidence.CONSTANT
    assert service.rate_rps == pytest.approx(16 / 1.1)
    assert task.rate == pytest.approx(20 / 1.2)
    assert task.normalised_rate == pytest.approx(20 / 1.2 / 40)


def test_bounds_are_beside_the_means() -> None:
    """At a stated confidence the plan shows both what is expected and what is promised."""
    bounds = [{"confidence": 0.9, "relative": 0.2}]
    stated = instance(
        confidence=0.9,
        profiles=[
            profile(
                "net", "A", "inference", {1: [8.0, 16.0, 24.0, 32.0]}, {1: 2.0}, rate_error=bounds
            ),
            profile("train", "A", "training", {8: [10.0, 20.0, 30.0, 40.0]}, {8: 4.0}),
        ],
        interference={"default_slowdown": 1.25, "default_error": bounds},
    )
    problem = compile_problem(stated)
    plan = plan_of(problem, {column(problem, ("service", 0), ("task", 0)): 1})
    service, task = plan.placements[0].services[0], plan.placements[0].tasks[0]
    assert service.predicted is not None
    assert task.predicted is not None
    alone = 32 * service.sms / 4
    assert service.predicted.rate_rps == pytest.approx(alone / 1.25)
    assert service.predicted.rate_lo_rps == pytest.approx(alone * 0.8 / (1.25 * 1.2))
    assert service.predicted.latency_hi_ms == pytest.approx(
        100 + 1000 / service.predicted.rate_lo_rps
    )
    assert service.predicted.latency_hi_ms <= 300
    assert task.predicted.rate_lo == 0
    assert verify(stated, plan).ok


@given(any_instance(), st.integers(0, 1000))
def test_any_solution_of_the_rows_is_a_plan_that_the_judge_accepts(
    drawn: Instance, seed: int
) -> None:
    """Random feasible fillings, not only good ones, expand to plans without a violation."""
    problem = compile_problem(drawn)
    counts, gangs = random_filling(problem, np.random.default_rng(seed))
    if counts is None or gangs is None:
        return
    plan = expand(problem, counts, gangs, solver="test", proof=None)
    assert verify(drawn, plan).violations == ()
    assert plan.totals.gpus_used == counts.sum()


def random_filling(
    problem: Problem, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray] | tuple[None, None]:
    """Draw columns at random until one more would break a row; whole gangs only."""
    for _ in range(30):
        counts = np.zeros(problem.columns.size, dtype=np.int64)
        gangs = np.zeros(problem.levels.size, dtype=np.int64)
        for _ in range(rng.integers(0, 6)):
            if problem.columns.size:
                counts[rng.integers(problem.columns.size)] += 1
        held = counts[problem.columns.owner] if problem.columns.size else counts[:0]
        for level in range(problem.levels.size):
            size = problem.gang_size[problem.levels.task[level]]
            gangs[level] = held[problem.columns.level == level].sum() // size
        activity = problem.activity(counts, gangs)
        rows, distinct = problem.rows, problem.distinct
        parted = (gangs[distinct.level] >= distinct.gangs) | (counts[distinct.column] == 0)
        if (
            (activity <= rows.upper + 1e-9).all()
            and (activity >= rows.lower - 1e-9).all()
            and parted.all()
        ):
            return counts, gangs
    return None, None


@pytest.mark.parametrize("alike", [1, 2])
def test_what_expansion_takes_does_not_grow_with_the_number_of_gpus(alike: int) -> None:
    """Neither its memory nor the text of the plan: nothing is made for a single GPU."""

    def measured(n: int) -> tuple[int, int]:
        stated = instance(
            gpu_pools=[{"id": "a", "gpu_type": "A", "count": n, "memory_gib": 16.0, "sm_count": 4}],
            services=[{"id": "x", **SERVICE, "replicas": n // 2}],
            tasks=[{"id": "job", **TASK, "count": n * alike}],
            rules={"tasks_per_gpu": alike},
        )
        problem = compile_problem(stated)
        beside = column(problem, ("service", 0), *[("task", 0)] * alike)
        counts = {beside: n // 2, column(problem, *[("task", 0)] * alike): n // 4}
        tracemalloc.start()
        plan = plan_of(problem, counts)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert plan.totals.tasks_placed == alike * (n // 2 + n // 4)
        assert verify(stated, plan).ok
        return peak, sum(count_runs(group) for group in plan.placements)

    _, runs = measured(1000)
    peak, as_many = measured(10**7)
    assert runs == as_many == 3 + 2 * alike
    assert peak < 2**20, "a byte for each GPU would be ten times that"


def count_runs(group: PlacementGroup) -> int:
    texts = [group.gpus, *(s.replicas for s in group.services), *(t.workers for t in group.tasks)]
    return sum(len(run_pairs(text)) for text in texts)
