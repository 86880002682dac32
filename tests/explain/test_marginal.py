"""Marginal values keep their promise: the bound grows by no more."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from colocate.errors import PlanError
from colocate.explain import AddGpus, Change, SetQuota, SetReplicas, apply_changes, marginal_values
from colocate.instance import Instance
from colocate.solve import solve
from colocate.testing import solve_by_enumeration
from colocate.testing.strategies import instances
from tests.explain.plain_changes import document_of
from tests.helpers import instance


@settings(max_examples=settings().max_examples // 4)
@given(instances("contended"))
def test_one_more_is_worth_no_more_than_promised(question: Instance) -> None:
    plan = solve(question, "milp", isolation="none").plan
    if plan is None or plan.certificate is None:
        return
    found = marginal_values(question, plan)
    sign = 1 if found.sense == "max" else -1
    if plan.certificate.kind == "prices":
        assert found.bound == pytest.approx(plan.certificate.bound, rel=1e-6, abs=1e-6)
    # Boxes prove more than the prices of all plans, which are what is worth something here.
    assert sign * found.bound >= sign * plan.certificate.bound - 1e-6
    for row in found.rows[:4]:
        assert row.worth >= 0
        changed = with_one_more(question, row.kind, row.name, row.change)
        if changed is None:
            continue
        best = solve_by_enumeration(changed).objective
        # A task more that is left out costs what it costs, whatever the plan.
        before = sign * found.bound - left_out(question, changed)
        assert best is None or sign * best <= before + row.worth + 1e-6, row


def with_one_more(question: Instance, kind: str, name: str, change: str) -> Instance | None:
    """Return the instance with what a marginal value is about."""
    made: Change
    if kind == "gpu":
        made = AddGpus(name, 1)
    elif kind == "service":
        service = question.service(name)
        if service.pinned is not None or not service.required or service.replicas == 1:
            return None
        made = SetReplicas(name, service.replicas + (-1 if "less" in change else 1))
    elif kind == "task":
        document = document_of(question)
        task = next(t for t in document["tasks"] if t["id"] == name)
        task["count"] = task.get("count", 1) + 1
        return Instance.model_validate(document)
    else:
        unit = "tasks" if "task" in change else "gpu_share"
        quota = next(q for q in question.rules.quotas if (q.tenant, q.unit) == (name, unit))
        side, more = ("maximum", 1.0) if kind == "quota" else ("minimum", -1.0)
        value = (getattr(quota, side) or 0.0) + more
        if value < 0:
            return None
        made = SetQuota(name, quota.unit, side, value)  # type: ignore[arg-type]
    return apply_changes(question, [made]).instance


def left_out(question: Instance, changed: Instance) -> float:
    """Return what tasks that are only in the changed instance cost when they are left out."""
    if question.objective.name != "iteration_time":
        return 0.0
    seconds = float(question.objective.params["unplaced_s"] or 0.0)
    return sum(
        t.weight * seconds * (t.count - question.task(t.id).count) for t in changed.iter_tasks()
    )


def test_what_is_scarce_has_a_price() -> None:
    question = instance()
    plan = solve(question).plan
    assert plan is not None
    rows = {(r.kind, r.name): r for r in marginal_values(question, plan).rows}
    assert rows["gpu", "a"].worth == pytest.approx(1.0)
    assert rows["service", "web"].change == "one replica less"
    assert rows["service", "web"].worth == pytest.approx(0.5)
    assert ("task", "job") not in rows  # there are more than fit


def test_plans_without_prices_are_refused() -> None:
    question = instance()
    plan = solve(question).plan
    assert plan is not None
    with pytest.raises(PlanError, match="no certificate"):
        marginal_values(question, plan.model_copy(update={"certificate": None}))
    with pytest.raises(PlanError, match="another instance"):
        marginal_values(instance(services=[]), plan)
