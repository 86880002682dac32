"""Why a task is left out, held against the oracle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, reject, settings

from colocate.errors import PlanError, TooLargeError, UnsupportedError
from colocate.explain import SetWeight, explain_task
from colocate.explain.parts import Part, parts_of
from colocate.instance import Instance
from colocate.solve import solve
from colocate.testing import solve_by_enumeration
from colocate.testing.strategies import instances
from tests.explain.plain_changes import changed, document_of, only_what_is_due, relaxed
from tests.helpers import instance, profile

if TYPE_CHECKING:
    from colocate.explain import TaskExplanation

FEW = min(200, settings().max_examples // 4)
WANTED = Part("floor", "wanted", "tasks")


def asking_for(question: Instance, task: str, count: int) -> Instance | None:
    """Return an instance that must place so many tasks, where a floor can say that."""
    document = document_of(question)
    rules = document["rules"]
    row = next(t for t in document["tasks"] if t["id"] == task)
    alike = [
        t
        for t in document["tasks"]
        if t is not row and {**t, "id": 0, "count": 0} == {**row, "id": 0, "count": 0}
    ]
    counted = {q["tenant"] for q in rules.get("quotas", ())}
    if alike or row["tenant"] in counted or "tenants_per_gpu" in rules:
        return None
    row["tenant"] = "wanted"
    rules["quotas"] = [*rules.get("quotas", ()), {"tenant": "wanted", "minimum": float(count)}]
    return Instance.model_validate(document)


@settings(max_examples=FEW)
@given(instances("contended"))
def test_what_is_said_of_tasks_that_are_left_out(question: Instance) -> None:
    found = solve(question, "milp", isolation="none")
    if found.plan is None:
        return
    for left_out in found.plan.unplaced[:1]:
        explained = explain_task(question, left_out.task, plan=found.plan)
        asking = asking_for(question, left_out.task, explained.placed + 1)
        if asking is None:
            continue
        best = solve_by_enumeration(asking)
        if explained.status == "impossible":
            assert best.status == "infeasible"
            check_conflicts(asking, explained)
        else:
            assert explained.status in ("outbid", "free")
            assert best.objective == pytest.approx(explained.value_with)
            check_worth(question, explained)


def check_conflicts(asking: Instance, explained: TaskExplanation) -> None:
    """Hold the conflicts against an instance in which a floor asks for the task."""
    everything = {p for p in parts_of(asking) if p != Part("task_count", "wanted")}
    for conflict in explained.conflicts:
        assert conflict.irreducible
        groups = [
            [WANTED if p.kind == "placed" else p for p in s.parts] for s in conflict.statements
        ]
        core = {p for group in groups for p in group}
        assert WANTED in core
        assert core <= everything
        assert not feasible(relaxed(asking, everything - core))
        for group in groups:
            assert feasible(relaxed(asking, everything - core | set(group)))
    for suggestion in explained.suggestions:
        document = only_what_is_due(changed(asking, suggestion.changes))
        assert feasible(Instance.model_validate(document)), suggestion.text


def feasible(question: Instance) -> bool:
    try:
        return solve_by_enumeration(question, max_steps=100_000).status == "optimal"
    except TooLargeError:
        reject()


def check_worth(question: Instance, explained: TaskExplanation) -> None:
    """Check that the heavier task is placed in every best plan."""
    assert explained.cost is not None
    assert (explained.status == "free") == (abs(explained.cost) < 1e-7)
    for suggestion in explained.suggestions:
        heavier = suggestion.apply(question)
        assert isinstance(suggestion.changes[0], SetWeight)
        best = solve_by_enumeration(heavier)
        workers = sum(a.id == explained.task for a in best.assignments)
        assert workers // question.task(explained.task).gang_size > explained.placed


# -- by hand ---------------------------------------------------------------------------------------


def said(found: TaskExplanation) -> list[str]:
    return [s.text for c in found.conflicts for s in c.statements]


def test_a_task_that_finds_no_memory() -> None:
    question = instance(
        tasks=[{"id": "job", "profile": "train", "batch": 8, "memory_gib": 15.0}],
        gpu_pools=[{"id": "a", "gpu_type": "A", "count": 1, "memory_gib": 16.0, "sm_count": 4}],
    )
    found = explain_task(question, "job")
    assert found.status == "impossible"
    assert "a GPU of pool a offers 16 GiB" in said(found)
    assert "task job is to be placed; it needs 15 GiB on A" in said(found)
    assert "service web must have its replica placed; it needs at least 2 GiB on A" in said(found)
    fixes = [s.text for s in found.suggestions]
    assert "+1 GiB on each GPU of pool a (17 instead of 16 GiB)" in fixes
    assert "1 more GPU in pool a (2 instead of 1)" in fixes


def test_a_task_that_the_quota_keeps_out() -> None:
    question = instance(rules={"quotas": [{"tenant": "default", "maximum": 1.0}]})
    found = explain_task(question, "job")
    assert (found.status, found.placed, found.count) == ("impossible", 1, 3)
    assert said(found) == [
        "tenant default may have at most 1 task placed",
        "2 of task job are to be placed",
    ]
    assert [s.text for s in found.suggestions] == ["quota of tenant default 2 tasks instead of 1"]


def test_a_task_without_a_profile() -> None:
    question = instance(
        tasks=[{"id": "job", "profile": "other", "batch": 8}],
        profiles=[
            profile("net", "A", "inference", {1: [8.0, 16.0, 24.0, 32.0]}, {1: 2.0}),
            profile("other", "B", "training", {8: [10.0]}, {8: 4.0}),
        ],
    )
    found = explain_task(question, "job")
    assert said(found) == ["task job is to be placed; it has no profile at its batch on A"]
    assert not found.suggestions


def two_tasks(**changes: Any) -> Instance:
    """One GPU without a service, and a light and a heavy task."""
    return instance(
        gpu_pools=[{"id": "a", "gpu_type": "A", "count": 1, "memory_gib": 16.0, "sm_count": 4}],
        services=[],
        tasks=[
            {"id": "light", "profile": "train", "batch": 8, "weight": 1.0},
            {"id": "heavy", "profile": "train", "batch": 8, "weight": 3.0},
        ],
        **changes,
    )


def test_a_task_that_is_outbid() -> None:
    found = explain_task(two_tasks(), "light")
    assert found.status == "outbid"
    assert (found.value_now, found.value_with) == (3.0, 1.0)
    assert found.cost == 2.0
    assert found.is_exact
    assert found.shift is not None
    assert found.shift.tasks_lost == {"heavy": 1}
    assert found.shift.tasks_gained == {"light": 1}
    assert [s.text for s in found.suggestions] == ["weight of light 3.01 instead of 1"]


def test_a_task_that_might_as_well_be_placed() -> None:
    document = document_of(two_tasks())
    for i, task in enumerate(document["tasks"]):
        task.update(weight=3.0, tenant=f"tenant-{i}")
    question = Instance.model_validate(document)
    found = [explain_task(question, name) for name in ("light", "heavy")]
    assert sorted(f.status for f in found) == ["free", "placed"]
    free = next(f for f in found if f.status == "free")
    assert free.cost == 0.0
    assert not free.suggestions


def test_tasks_that_are_alike_are_one() -> None:
    document = document_of(two_tasks())
    for task in document["tasks"]:
        task["weight"] = 3.0
    question = Instance.model_validate(document)
    found = [explain_task(question, name) for name in ("light", "heavy")]
    assert sorted(f.status for f in found) == ["impossible", "placed"]
    left_out = next(f for f in found if f.status == "impossible")
    assert any(text.startswith("2 of task ") for text in said(left_out))
    assert "1 more GPU in pool a (2 instead of 1)" in [s.text for s in left_out.suggestions]


def test_a_poor_plan_is_not_defended() -> None:
    question = two_tasks()
    best = solve(question).plan
    other = explain_task(question, "light", plan=best).plan
    found = explain_task(question, "heavy", plan=other)
    assert found.status == "free"
    assert found.cost == -2.0


def test_a_task_that_is_placed() -> None:
    found = explain_task(two_tasks(), "heavy")
    assert found.status == "placed"


def test_what_cannot_be_asked() -> None:
    question = two_tasks()
    with pytest.raises(UnsupportedError, match="there is no task 'x'"):
        explain_task(question, "x")
    plan = solve(instance()).plan
    with pytest.raises(PlanError, match="does not answer this instance"):
        explain_task(question, "light", plan=plan)
    with pytest.raises(UnsupportedError, match="no plan to ask about"):
        explain_task(two_tasks(rules={"quotas": [{"tenant": "default", "minimum": 3.0}]}), "light")
