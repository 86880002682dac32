"""Plans as data: views, differences, and bytes that do not change."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from pydantic import ValidationError

import colocate as co
from colocate.instance import Instance
from colocate.placement import PlacementGroup
from colocate.plan import Plan, diff
from colocate.runs import count_ids
from colocate.testing import feasible_instances
from tests.helpers import instance

TASK = {"profile": "train", "batch": 8}


def solved(**changes: Any) -> Plan:
    plan = co.solve(instance(**changes), "greedy").plan
    assert plan is not None
    return plan


def test_placements_are_a_view_of_the_groups() -> None:
    """Every GPU of every group appears once, with the ordinals that belong to it."""
    plan = solved(
        gpu_pools=[{"id": "a", "gpu_type": "A", "count": 5, "memory_gib": 16.0, "sm_count": 4}],
        services=[
            {"id": "web", "profile": "net", "rate_rps": 10.0, "slo_ms": 300.0, "replicas": 4}
        ],
        tasks=[{"id": "job", **TASK, "count": 3}],
    )
    placements = list(plan.iter_placements())
    assert len(placements) == sum(g.count for g in plan.placements) == plan.totals.gpus_used
    assert sorted(r for p in placements for r, _ in p.services) == [0, 1, 2, 3]
    assert sorted(w for p in placements for w, _ in p.tasks) == [0, 1, 2]
    one = placements[0]
    assert plan.placement(one.pool, one.gpu) == one
    assert plan.placement("a", 99) is None
    assert plan.placement("b", 0) is None


def test_a_plan_does_not_differ_from_itself() -> None:
    """No move between equal plans."""
    plan = solved()
    found = diff(plan, plan)
    assert found.empty
    assert found.same_instance
    assert found.value_before == found.value_after


def test_what_changed_is_said_workload_by_workload() -> None:
    """Added, removed, moved and changed are told apart, with before and after."""
    before = solved(tasks=[{"id": "job", **TASK, "count": 1}, {"id": "old", **TASK, "count": 1}])
    group = before.placements[0]
    moved = group.model_copy(update={"gpus": "7"})
    after = before.model_copy(update={"placements": (moved, *before.placements[1:])})
    changes = {(m.kind, m.id): m for m in diff(before, after).moves}
    assert {m.change for m in changes.values()} == {"moved"}
    assert all(m.before and m.before.startswith("a/0 ") for m in changes.values())
    assert all(m.after and m.after.startswith("a/7 ") for m in changes.values())
    empty = before.model_copy(update={"placements": ()})
    assert {m.change for m in diff(before, empty).moves} == {"removed"}
    assert {m.change for m in diff(empty, before).moves} == {"added"}
    assert len(diff(empty, before).moves) == 3
    tasks = tuple(t.model_copy(update={"share_pct": 1}) for t in group.tasks)
    other = group.model_copy(update={"tasks": tasks})
    changed = before.model_copy(update={"placements": (other, *before.placements[1:])})
    assert {m.change for m in diff(before, changed).moves} == {"changed"}


@given(feasible_instances())
def test_a_plan_survives_its_own_json(drawn: Instance) -> None:
    """Writing and reading a plan changes nothing, to the byte."""
    result = co.solve(drawn, "greedy")
    if result.plan is None:
        return
    text = result.plan.model_dump_json(by_alias=True)
    again = Plan.model_validate_json(text)
    assert again == result.plan
    assert again.model_dump_json(by_alias=True) == text


def test_groups_whose_ids_do_not_pair_up_are_refused() -> None:
    """As many replicas and workers as GPUs, and something on every GPU."""
    task = {"task": "job", "batch": 8, "share_pct": 50, "sms": 2}
    service = {"service": "web", "batch": 1, "share_pct": 50, "sms": 2}
    PlacementGroup.model_validate(
        {"pool": "a", "gpus": "0-1", "tasks": [{**task, "workers": "3,9"}]}
    )
    for wrong in (
        {"tasks": [{**task, "workers": "0"}]},
        {"services": [{**service, "replicas": "0-2"}]},
        {},
    ):
        with pytest.raises(ValidationError):
            PlacementGroup.model_validate({"pool": "a", "gpus": "0-1", **wrong})


def test_unplaced_counts_add_up() -> None:
    """Every task is either placed or listed with a reason."""
    plan = solved(tasks=[{"id": "job", **TASK, "count": 9}])
    assert plan.totals.tasks_placed + plan.totals.tasks_unplaced == 9
    assert sum(count_ids(u.ids) for u in plan.unplaced) == plan.totals.tasks_unplaced
    assert all(u.detail for u in plan.unplaced)
