"""Plans that choose the training batch: the choice, its worth, and what the judge says of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import colocate as co
from colocate.classes import classify
from colocate.configure.variants import variants_of
from colocate.instance import Instance, Task
from colocate.io import build_instance
from colocate.models.efficiency import efficiency_of_task
from colocate.result import Reason
from colocate.testing.oracle import solve_by_enumeration

RATES: dict[int, dict[float, float]] = {
    8: {10: 100, 40: 400, 100: 500},
    32: {10: 180, 40: 800, 100: 900},
}


def instance(
    *, big_gib: float = 20.0, gpus: int = 2, tasks_per_gpu: int = 1, **task: Any
) -> Instance:
    """`gpus` whole GPUs and one kind of task whose larger batch is quicker and larger."""
    return (
        co.InstanceBuilder("batches")
        .gpus("a", "A", count=gpus, memory_gib=40, sm_count=100)
        .training("vgg", "A", RATES, memory_gib={8: 4, 32: big_gib})
        .task("v", "vgg", **{"batch": 8, "count": 3, **task})
        .rules(services_per_gpu=0, tasks_per_gpu=tasks_per_gpu)
        .slowdown(default=1.25)
        .build()
    )


def batches(result: co.Result) -> list[int]:
    assert result.plan is not None
    assert result.violations == ()
    return [t.batch for g in result.plan.placements for t in g.tasks for _ in range(g.count)]


@pytest.mark.parametrize(("noise_scale", "chosen"), [(0.0, 8), (10.0, 8), (1000.0, 32)])
@pytest.mark.parametrize("solver", ["greedy", "brute_force", "auto"])
def test_the_noise_scale_decides(solver: str, noise_scale: float, chosen: int) -> None:
    made = instance(batches=[8, 32], noise_scale=noise_scale)
    result = co.solve(made, solver)
    assert batches(result) == [chosen, chosen]
    worth = (noise_scale + 8) / (noise_scale + chosen)
    assert result.objective == pytest.approx(2 * RATES[chosen][100] * worth / 500)


def test_the_worth_of_a_batch_may_turn_exactly_where_the_rates_say() -> None:
    # 900 (g + 8) / (g + 32) = 500 at g = 22.
    assert batches(co.solve(instance(batches=[8, 32], noise_scale=21.9), "brute_force")) == [8, 8]
    assert batches(co.solve(instance(batches=[8, 32], noise_scale=22.1), "brute_force")) == [32, 32]


def test_memory_keeps_two_large_batches_apart() -> None:
    made = instance(batches=[8, 32], noise_scale=1000.0, big_gib=25.0, gpus=1, tasks_per_gpu=2)
    alone = instance(batches=[32], noise_scale=1000.0, big_gib=25.0, gpus=1, tasks_per_gpu=2)
    result = co.solve(made, "brute_force")
    answer = solve_by_enumeration(made)
    assert result.objective == pytest.approx(answer.objective)
    # Two at the large batch do not fit; one of each beats one alone.
    assert sorted(batches(result)) == [8, 32]
    assert batches(co.solve(alone, "brute_force")) == [32]


def test_the_rate_is_in_samples_and_the_normalised_one_in_progress() -> None:
    plan = co.solve(instance(batches=[8, 32], noise_scale=1000.0), "brute_force").plan
    assert plan is not None
    predicted = plan.placements[0].tasks[0].predicted
    assert predicted is not None
    assert predicted.rate == pytest.approx(900)
    assert predicted.normalised_rate == pytest.approx(900 * (1008 / 1032) / 500)


def test_a_gang_counts_the_batch_of_all_its_workers() -> None:
    task = Task(id="t", profile="p", batch=8, gang_size=4, noise_scale=100.0)
    assert efficiency_of_task(task, 8) == 1.0
    assert efficiency_of_task(task, 32) == pytest.approx((100 + 32) / (100 + 128))
    assert efficiency_of_task(task.model_copy(update={"noise_scale": None}), 32) == 1.0


def test_a_gang_trains_at_one_batch() -> None:
    """One GPU has no room for the large batch, so the gang takes the small one on both."""
    roomy = instance(batches=[8, 32], noise_scale=1000.0, gang_size=2, count=1)
    data: dict[str, Any] = roomy.model_dump(mode="json", by_alias=True)
    data["gpu_pools"][0]["count"] = 1
    data["gpu_pools"].append({**data["gpu_pools"][0], "id": "small", "memory_gib": 10})
    made = build_instance(data)
    result = co.solve(made, "brute_force")
    assert result.termination.reason is Reason.OPTIMAL
    assert batches(result) == [8, 8]
    assert result.objective == pytest.approx(solve_by_enumeration(made).objective)
    assert result.plan is not None
    spoiled = result.plan.model_dump(mode="json", by_alias=True)
    mixed = spoiled["placements"][0]["tasks"][0]
    worth = 1016 / 1064
    mixed["batch"] = 32
    mixed["predicted"].update(
        rate=900.0, rate_lo=900.0, memory_gib=20.0, normalised_rate=900 * worth / 500
    )
    verdict = co.verify(made, co.Plan.model_validate(spoiled))
    assert [v.kind for v in verdict.violations if v.kind == "gang"] == ["gang"]
    assert "train at one batch" in str(verdict.violations)


def test_a_batch_that_is_not_listed_is_rejected() -> None:
    plan = co.solve(instance(batches=[32], noise_scale=1000.0), "greedy").plan
    assert plan is not None
    verdict = co.verify(instance(batches=[8], noise_scale=1000.0), plan)
    assert "knobs" in {v.kind for v in verdict.violations}


def test_without_a_choice_nothing_changes() -> None:
    plain = co.solve(instance(), "brute_force")
    same = co.solve(instance(batches=[8], noise_scale=123.0), "brute_force")
    assert plain.plan is not None
    assert same.plan is not None
    assert plain.plan.placements == same.plan.placements


def test_the_order_of_the_batches_does_not_matter() -> None:
    one = instance(batches=[8, 32], noise_scale=30.0)
    other = instance(batches=[32, 8], noise_scale=30.0)
    assert one.sha256 == other.sha256


@pytest.mark.parametrize(
    ("task", "path", "says"),
    [
        ({"batches": [8, 32]}, "$.tasks[0].noise_scale", "has no noise_scale"),
        ({"batches": [8, 8], "noise_scale": 1.0}, "$.tasks[0].batches", "lists a batch twice"),
        ({"batches": [8, 16], "noise_scale": 1.0}, "$.tasks[0].batches[1]", "batch 16 is not in"),
    ],
)
def test_contradictions_are_refused(task: dict[str, Any], path: str, says: str) -> None:
    with pytest.raises(co.InstanceError, match=says) as caught:
        instance(**task)
    assert caught.value.path == path


def test_unknown_memory_of_a_batch_is_refused() -> None:
    builder = (
        co.InstanceBuilder("x")
        .gpus("a", "A", count=1, memory_gib=40, sm_count=100)
        .training("vgg", "A", RATES, memory_gib={8: 4})
        .task("v", "vgg", batch=8, batches=[8, 32], noise_scale=5.0)
    )
    with pytest.raises(co.InstanceError, match="at batch 32 is unknown"):
        builder.build()


def test_a_table_of_tasks_has_the_same_choice() -> None:
    made = Instance.from_arrays(
        name="table",
        slo_model={"name": "fill"},
        confidence=0.5,
        objective={"name": "throughput"},
        gpus={"id": "a", "gpu_type": "A", "count": 4, "memory_gib": 40, "sm_count": 100},
        services={},
        tasks={
            "profile": ["vgg", "vgg"],
            "batch": 8,
            "batches": [8, 32],
            "noise_scale": [0.0, 1000.0],
            "count": [2, 2],
        },
        profiles=instance().profiles,
        interference={"default_slowdown": 1.25},
    )
    assert classify(made).tasks.size == 2
    assert sorted(batches(co.solve(made, "greedy"))) == [8, 8, 32, 32]


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    st.integers(0, 2),
    st.integers(1, 3),
    st.randoms(use_true_random=False),
)
def test_sets_of_variants_are_the_multisets_of_their_classes(
    choices: list[int], n_services: int, n_tasks: int, rng: Any
) -> None:
    tasks = [
        Task(id=f"t{i}", profile="p", batch=1, batches=tuple(range(1, n + 1)), noise_scale=1.0)
        for i, n in enumerate(choices)
    ]
    variants = variants_of(tasks)
    services = [rng.randrange(5) for _ in range(n_services)]
    members = sorted(rng.randrange(len(tasks)) for _ in range(n_tasks))
    chosen, origin = variants.expand(np.array([[*services, *members]]), n_services)
    assert not origin.any()
    found = [tuple(row[n_services:]) for row in chosen.tolist()]
    assert len(found) == len(set(found))
    assert all(row[:n_services] == services for row in chosen.tolist())
    wanted = {tuple(sorted(v)) for v in _products(variants, members)}
    assert {tuple(sorted(row)) for row in found} == wanted
    assert len(found) == len(wanted)
    for row in found:
        for v in row:
            assert variants.at(int(variants.task[v]), int(variants.batch[v])) == v


def _products(variants: Any, members: list[int]) -> list[tuple[int, ...]]:
    rows: list[tuple[int, ...]] = [()]
    for task in members:
        mine = range(int(variants.first[task]), int(variants.first[task + 1]))
        rows = [(*row, v) for row in rows for v in mine]
    return rows
