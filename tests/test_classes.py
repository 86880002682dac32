"""What is indistinguishable shares a class; what differs in anything that matters does not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colocate.classes import MAX_CLASSES, classify, share_grid
from colocate.errors import TooLargeError
from colocate.instance import GpuPool, Instance, Service, Task
from tests.helpers import instance

SERVICE = {"profile": "net", "rate_rps": 10.0, "slo_ms": 300.0}
TASK = {"profile": "train", "batch": 8}


def test_equal_entries_share_a_class() -> None:
    """Two services that differ in name and replicas only are one class."""
    found = classify(
        instance(
            services=[
                {"id": "x", **SERVICE, "replicas": 2},
                {"id": "y", **SERVICE, "replicas": 3},
                {"id": "z", **SERVICE, "slo_ms": 301.0},
            ]
        )
    )
    assert found.services.entry_class.tolist() == [0, 0, 1]
    assert found.services.count.tolist() == [5, 1]
    assert found.services.entry_count.tolist() == [2, 3, 1]


@pytest.mark.parametrize(
    "change",
    [
        {"slo_ms": 299.0},
        {"rate_rps": 9.0},
        {"slo_percentile": 95.0},
        {"batches": [1]},
        {"required": False, "missing_price": 1.0},
        {"min_share_pct": 2},
        {"processes": 2},
        {"tenant": "other"},
        {"user_id": 5},
        {"pinned": [{"pool": "a", "gpus": "0"}]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_field_of_a_service_parts_classes(change: dict[str, object]) -> None:
    """A service that differs in one field that matters is a class of its own."""
    services = [{"id": "x", **SERVICE}, {"id": "y", **SERVICE, **change}]
    assert classify(instance(services=services)).services.size == 2


@pytest.mark.parametrize(
    "change",
    [
        {"weight": 2.0},
        {"gang_size": 2},
        {"memory_gib": 1.0},
        {"processes": 2},
        {"tenant": "other"},
        {"user_id": 5},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_field_of_a_task_parts_classes(change: dict[str, object]) -> None:
    """A task that differs in one field that matters is a class of its own."""
    tasks = [{"id": "x", **TASK}, {"id": "y", **TASK, **change}]
    assert classify(instance(tasks=tasks)).tasks.size == 2


def test_anti_affinity_parts_classes() -> None:
    """A task that a rule names is not the same as one that it does not name."""
    tasks = [{"id": "x", **TASK}, {"id": "y", **TASK}]
    rules = {"anti_affinity": [{"left": ["x"], "right": ["web"]}]}
    found = classify(instance(tasks=tasks, rules=rules))
    assert found.tasks.size == 2
    assert found.tasks.left.tolist() == [[True], [False]]
    assert found.services.right.tolist() == [[True]]


def table_instance(**changes: object) -> Instance:
    """An instance whose tasks come as a table."""
    table = {
        "rows": 6,
        "profile": "train",
        "batch": 8,
        "weight": [1.0, 2.0, 1.0, 2.0, 1.0, 1.0],
        "count": [1, 2, 3, 4, 5, 6],
        **changes,
    }
    return instance(tasks=[{"id": "job", **TASK}], task_table=table)


def test_table_rows_join_listed_entries() -> None:
    """Rows of a table fall into the same classes as the list, by value."""
    found = classify(table_instance())
    assert found.tasks.entry_class.tolist() == [0, 0, 1, 0, 1, 0, 0]
    assert found.tasks.count.tolist() == [1 + 1 + 3 + 5 + 6, 2 + 4]


def test_table_rows_named_by_a_rule_stand_apart() -> None:
    """A rule that names one row parts that row, and only that row, from its like."""
    rules = {"anti_affinity": [{"left": ["task-2"], "right": ["web"]}]}
    found = classify(table_instance().replace(rules=rules))
    of = found.tasks.entry_class.tolist()
    assert of[3] not in {of[i] for i in (0, 1, 2, 4, 5, 6)}
    assert of[1] == of[5] == of[6] == of[0]


def test_table_with_only_scalars_is_one_class() -> None:
    """A table without a varying column is one class."""
    found = classify(table_instance(weight=1.0, count=1))
    assert found.tasks.size == 1
    assert found.tasks.count.tolist() == [7]


@given(st.lists(st.sampled_from([1.0, 2.0, 3.0]), min_size=1, max_size=20))
def test_a_table_means_the_same_as_a_list(weights: list[float]) -> None:
    """Classes of a table equal the classes of the same rows written as a list."""
    n = len(weights)
    table = classify(instance(tasks=[], task_table={"rows": n, **TASK, "weight": weights}))
    rows = [{"id": f"task-{i:03d}", **TASK, "weight": w} for i, w in enumerate(weights)]
    listed = classify(instance(tasks=rows))
    parts = [sorted(np.bincount(c.tasks.entry_class).tolist()) for c in (table, listed)]
    assert parts[0] == parts[1]
    by_weight = {
        t.weight: n for t, n in zip(table.tasks.representative, table.tasks.count, strict=True)
    }
    assert by_weight == {w: weights.count(w) for w in set(weights)}


def test_gpus_that_are_alike_join_across_pools() -> None:
    """Pools that differ only in name and node are one class; unschedulable ones are left out."""
    pool = {"gpu_type": "A", "count": 2, "memory_gib": 16.0, "sm_count": 4}
    found = classify(
        instance(
            gpu_pools=[
                {"id": "a", **pool, "node": "n1"},
                {"id": "b", **pool, "node": "n2"},
                {"id": "c", **pool, "reserve_gib": 1.0},
                {"id": "d", **pool, "schedulable": False},
                {"id": "e", **pool, "max_clients": 60},
                {"id": "f", **pool, "sm_count": 5},
            ]
        )
    )
    assert [[name for name, _ in g.members] for g in found.gpus] == [
        ["a", "b"],
        ["c"],
        ["e"],
        ["f"],
    ]
    assert [g.count for g in found.gpus] == [4, 2, 2, 2]
    assert found.gpus[1].memory_gib == 15.0


def test_gpus_that_were_measured_differently_do_not_join() -> None:
    """Measured counts of multiprocessors are part of what a GPU is."""
    pool = {"gpu_type": "A", "count": 2, "memory_gib": 16.0, "sm_count": 4}
    half = [{"share_pct": 50, "sms": 1}, {"share_pct": 100, "sms": 4}]
    found = classify(
        instance(
            gpu_pools=[
                {"id": "a", **pool},
                {"id": "b", **pool, "measured_sms": half},
                {"id": "c", **pool, "measured_sms": half},
            ]
        )
    )
    assert [[name for name, _ in g.members] for g in found.gpus] == [["a"], ["b", "c"]]
    assert [g.grid.lo.tolist() for g in found.gpus] == [[1, 2, 3, 4], [1, 4]]


def test_pins_part_gpus() -> None:
    """GPUs that a service is pinned to are a class of their own, at their own ordinals."""
    pool = {"id": "a", "gpu_type": "A", "count": 4, "first": 10, "memory_gib": 16.0, "sm_count": 4}
    services = [{"id": "web", **SERVICE, "replicas": 2, "pinned": [{"pool": "a", "gpus": "11,13"}]}]
    found = classify(instance(gpu_pools=[pool], services=services))
    members = {g.pinned: g.members[0][1].tolist() for g in found.gpus}
    assert members == {(): [[10, 1], [12, 1]], (0,): [[11, 1], [13, 1]]}


def test_pins_of_many_gpus_are_runs() -> None:
    """Where pins begin and end, not how many GPUs they hold, is what costs."""
    n = 10**6
    pool = {"id": "a", "gpu_type": "A", "count": n, "memory_gib": 16.0, "sm_count": 4}
    services = [
        {"id": "web", **SERVICE, "replicas": n // 2, "pinned": [{"pool": "a", "gpus": "0-499999"}]},
        {
            "id": "zip",
            **SERVICE,
            "replicas": 400_000,
            "pinned": [
                {"pool": "a", "gpus": "450000-499999"},
                {"pool": "a", "gpus": "500000-849999"},
            ],
        },
    ]
    found = classify(instance(gpu_pools=[pool], services=services))
    assert [(g.pinned, g.members[0][1].tolist(), g.count) for g in found.gpus] == [
        ((), [[850_000, 150_000]], 150_000),
        ((1,), [[500_000, 350_000]], 350_000),
        ((0,), [[0, 450_000]], 450_000),
        ((0, 1), [[450_000, 50_000]], 50_000),
    ]


def test_too_many_classes_are_refused() -> None:
    """A table of too many different rows is refused with its size, before any work."""
    n = MAX_CLASSES + 1
    weights = [1.0 + i for i in range(n)]
    with pytest.raises(TooLargeError, match=str(n)):
        classify(instance(tasks=[], task_table={"rows": n, **TASK, "weight": weights}))


# -- percentages ---------------------------------------------------------------------------------


def pool(sm_count: int, **rest: object) -> GpuPool:
    """A pool with this many multiprocessors."""
    return GpuPool.model_validate(
        {"id": "p", "gpu_type": "A", "count": 1, "memory_gib": 1.0, "sm_count": sm_count, **rest}
    )


@given(st.integers(1, 200), st.sampled_from(["least", "ends", "all"]))
def test_the_grid_rounds_down_and_up(sm_count: int, keep: str) -> None:
    """Every kept percentage gives its floor and takes its ceiling, and gives at least one."""
    grid = share_grid(pool(sm_count), keep)  # type: ignore[arg-type]
    for q, lo, hi in zip(grid.share_pct, grid.lo, grid.hi, strict=True):
        assert lo == int(q) * sm_count // 100 >= 1
        assert hi == -(-int(q) * sm_count // 100)
    assert (np.diff(grid.hi) >= 0).all()


@given(st.integers(1, 200), st.integers(1, 100))
def test_nothing_left_out_of_the_grid_is_better(sm_count: int, floor: int) -> None:
    """Each percentage above a floor has a kept one above it that gives and takes as well."""
    grid = share_grid(pool(sm_count), "least", (1, floor))
    for q in range(floor, 101):
        lo, hi = q * sm_count // 100, -(-q * sm_count // 100)
        if lo:
            as_good = (grid.share_pct >= floor) & (grid.lo >= lo) & (grid.hi <= hi)
            assert as_good.any(), (q, floor)


@given(st.integers(1, 60))
def test_ends_keep_the_least_and_the_largest(sm_count: int) -> None:
    """With floors on shares, the largest percentage of equal effect is kept as well."""
    kept = share_grid(pool(sm_count), "ends")
    every = share_grid(pool(sm_count), "all")
    effects = {(int(a), int(b)) for a, b in zip(every.lo, every.hi, strict=True)}
    for effect in effects:
        of_all = [
            int(q)
            for q, a, b in zip(every.share_pct, every.lo, every.hi, strict=True)
            if (a, b) == effect
        ]
        of_kept = [
            int(q)
            for q, a, b in zip(kept.share_pct, kept.lo, kept.hi, strict=True)
            if (a, b) == effect
        ]
        assert {min(of_all), max(of_all)} <= set(of_kept)


def test_measured_counts_replace_rounding() -> None:
    """With measured counts only the listed percentages are used, and they give what they take."""
    grid = share_grid(
        pool(10, measured_sms=[{"share_pct": 50, "sms": 4}, {"share_pct": 100, "sms": 10}]), "least"
    )
    assert grid.share_pct.tolist() == [50, 100]
    assert grid.lo.tolist() == grid.hi.tolist() == [4, 10]


def test_representatives_are_the_entries_themselves() -> None:
    """A class leads back to one of its entries."""
    found = classify(instance())
    assert isinstance(found.services.representative[0], Service)
    assert isinstance(found.tasks.representative[0], Task)
