"""What a change would bring."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colocate.errors import InstanceError, PlanError
from colocate.explain import (
    AddGpus,
    Change,
    MakeOptional,
    Quarantine,
    SetMemory,
    SetQuota,
    SetRate,
    SetReplicas,
    SetSlo,
    SetWeight,
    apply_changes,
    whatif,
)
from colocate.instance import Instance
from colocate.solve import solve
from colocate.testing import solve_by_enumeration
from colocate.testing.strategies import instances
from tests.explain.plain_changes import changed
from tests.helpers import instance, profile

UUIDS = [f"GPU-0000000{i}-0000-0000-0000-000000000000" for i in range(4)]


@settings(max_examples=settings().max_examples // 4)
@given(instances("feasible"), st.data())
def test_values_and_bounds_are_true(question: Instance, data: st.DataObject) -> None:
    pools, services, tasks = question.gpu_pools, question.services, question.tasks
    choices: list[Change] = [AddGpus(pools[0].id, 1), SetMemory(pools[0].id, 40.0)]
    choices += [SetSlo(s.id, 2.0 * s.slo_ms) for s in services]
    choices += [SetRate(s.id, 0.9 * s.rate_rps) for s in services]
    choices += [MakeOptional(s.id) for s in services]
    choices += [SetWeight(t.id, 5.0) for t in tasks]
    change = data.draw(st.sampled_from(choices))
    found = whatif(question, [change], solver="milp")
    assert found.instance == Instance.model_validate(changed(question, [change]))
    assert found.before is not None
    truth = solve_by_enumeration(question), solve_by_enumeration(found.instance)
    assert found.before.objective.value == pytest.approx(truth[0].objective)
    assert found.after.objective == (
        None if truth[1].objective is None else pytest.approx(truth[1].objective)
    )
    if found.after.plan is not None:
        sign = 1 if found.before.objective.sense == "max" else -1
        assert found.bound_before is not None
        assert found.after.bound is not None
        assert sign * (found.bound_before - found.before.objective.value) >= -1e-6
        assert sign * (found.after.bound - found.after.plan.objective.value) >= -1e-6
        assert found.gain == pytest.approx(
            sign * (found.after.plan.objective.value - found.before.objective.value)
        )


def small(**changes: Any) -> Instance:
    """Four GPUs of one pool, two of them with a service that is pinned there."""
    base: dict[str, Any] = {
        "gpu_pools": [
            {"id": "a", "gpu_type": "A", "count": 4, "first": 3, "memory_gib": 16.0, "sm_count": 4}
        ],
        "services": [
            {
                "id": "web",
                "profile": "net",
                "rate_rps": 10.0,
                "slo_ms": 300.0,
                "replicas": 2,
                "pinned": [{"pool": "a", "gpus": "3,6"}],
            }
        ],
        "tasks": [{"id": "job", "profile": "train", "batch": 8, "count": 4}],
    }
    return instance(**{**base, **changes})


def test_more_gpus_gain_tasks() -> None:
    found = whatif(
        small(tasks=[{"id": "job", "profile": "train", "batch": 8, "count": 9}]), [AddGpus("a", 2)]
    )
    assert found.words == ("2 more GPUs in pool a (6 instead of 4)",)
    assert found.shift is not None
    assert found.shift.tasks_gained == {"job": 2}
    assert found.gain == pytest.approx(2.0)
    assert found.difference is not None
    assert {m.change for m in found.difference.moves} == {"added"}


def test_fewer_gpus_go_from_the_end() -> None:
    question = small(services=[])
    found = whatif(question, [AddGpus("a", -1)])
    assert found.instance.gpu_pools[0].count == 3
    assert found.shift is not None
    assert found.shift.tasks_lost == {"job": 1}
    assert apply_changes(question, [AddGpus("a", -4)]).instance.gpu_pools == ()
    with pytest.raises(InstanceError, match="has 4 GPUs; 5 cannot be removed"):
        apply_changes(question, [AddGpus("a", -5)])


def test_gpus_with_names_get_company_without() -> None:
    pool = {"id": "a", "gpu_type": "A", "uuids": UUIDS, "memory_gib": 16.0, "sm_count": 4}
    question = instance(gpu_pools=[pool])
    grown = apply_changes(question, [AddGpus("a", 2)]).instance
    assert {p.id: p.size for p in grown.gpu_pools} == {"a": 4, "a.more": 2}
    assert apply_changes(question, [AddGpus("a", -3)]).instance.pool("a").uuids == (UUIDS[0],)


def test_a_gpu_in_quarantine_holds_nothing() -> None:
    question = small()
    found = whatif(question, [Quarantine("a", "4")])
    pools = {p.id: (p.first, p.size, p.schedulable) for p in found.instance.gpu_pools}
    assert pools == {
        "a": (3, 1, True),
        "a.from4": (4, 1, False),
        "a.from5": (5, 2, True),
    }
    pinned = found.instance.service("web").pinned or ()
    assert {(r.pool, r.gpus) for r in pinned} == {("a", "3"), ("a.from5", "6")}
    assert found.words == ("nothing on GPU a/4",)
    assert found.difference is not None
    assert found.shift is not None
    assert found.shift.tasks_lost == {"job": 1}
    assert all((m.after or "a/").startswith("a/") for m in found.difference.moves)
    stayed = {m.id for m in found.difference.moves}
    assert "web" not in stayed  # a split pool moves nothing by itself


def test_several_gpus_in_quarantine_with_other_changes() -> None:
    pool = {"id": "a", "gpu_type": "A", "uuids": UUIDS, "memory_gib": 16.0, "sm_count": 4}
    question = instance(gpu_pools=[pool])
    changes: list[Change] = [Quarantine("a", "0"), Quarantine("a", "2-3"), SetMemory("a", 20.0)]
    applied = apply_changes(question, changes)
    kept = [p for p in applied.instance.gpu_pools if p.schedulable]
    assert [p.uuids for p in kept] == [(UUIDS[1],)]
    assert {p.memory_gib for p in applied.instance.gpu_pools} == {20.0}
    assert set(applied.pool_names.values()) == {"a"}
    assert sum(p.size for p in applied.instance.gpu_pools) == 4


def test_a_pinned_service_cannot_follow() -> None:
    found = whatif(small(), [Quarantine("a", "3")])
    assert found.after.plan is None
    assert found.gain is None
    assert found.difference is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (AddGpus("b", 1), "there is no GPU pool 'b'"),
        (SetSlo("x", 1.0), "there is no service 'x'"),
        (SetWeight("x", 1.0), "there is no task 'x'"),
        (SetQuota("x", "tasks", "minimum", 1.0), "tenant 'x'"),
        (Quarantine("a", "9"), "which has 3-6"),
        (SetReplicas("web", 3), "has 3 replicas pinned to 2 GPUs"),
    ],
)
def test_changes_that_cannot_be_made(change: Change, message: str) -> None:
    with pytest.raises(InstanceError, match=message):
        apply_changes(small(), [change])


def test_a_row_of_a_table() -> None:
    question = Instance.from_arrays(
        name="many",
        gpus={"id": ["a"], "gpu_type": ["A"], "count": [2], "memory_gib": 16.0, "sm_count": 4},
        services={"profile": ["net"] * 3, "rate_rps": [10.0] * 3, "slo_ms": [300.0, 300.0, 300.0]},
        tasks={"profile": ["train"] * 2, "batch": [8, 8]},
        slo_model={"name": "fill"},
        confidence=0.5,
        objective={"name": "throughput"},
        profiles=[
            profile("net", "A", "inference", {1: [8.0, 16.0, 24.0, 32.0]}, {1: 2.0}),
            profile("train", "A", "training", {8: [10.0, 20.0, 30.0, 40.0]}, {8: 4.0}),
        ],
    )
    made = apply_changes(question, [SetSlo("service-1", 250.0), SetWeight("task-1", 2.0)]).instance
    assert [s.slo_ms for s in made.iter_services()] == [300.0, 250.0, 300.0]
    assert [t.weight for t in made.iter_tasks()] == [1.0, 2.0]
    everyone = apply_changes(question, [SetSlo("service-*", 200.0)]).instance
    assert [s.slo_ms for s in everyone.iter_services()] == [200.0] * 3
    with pytest.raises(InstanceError, match="there is no service 'service-3'"):
        apply_changes(question, [SetSlo("service-3", 1.0)])


def test_the_present_plan_is_checked() -> None:
    question = small()
    plan = solve(question).plan
    assert plan is not None
    found = whatif(question, [SetWeight("job", 2.0)], plan=plan)
    assert found.before == plan
    assert found.bound_before is not None
    with pytest.raises(PlanError, match="does not answer this instance"):
        whatif(small(services=[]), [AddGpus("a", 1)], plan=plan)
