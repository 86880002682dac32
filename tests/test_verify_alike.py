"""Groups that are alike are judged once, and the verdict is that of judging each of them."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import colocate as co
from colocate.constraints._residents import Reading
from colocate.entries import Entries
from colocate.instance import AntiAffinity, Instance
from colocate.judge.placement import PlacementJudge
from colocate.placement import PlacementGroup
from colocate.plan import Plan
from colocate.verify import Verdict, verify
from tests.helpers import instance

N = 12


def tabled(weights: int = 3) -> Instance:
    """Twelve services of two kinds, twelve tasks of three, each with a name of its own."""
    pool = {"id": "a", "gpu_type": "A", "count": N, "memory_gib": 16.0, "sm_count": 4}
    return instance(
        gpu_pools=[pool],
        services=[],
        service_table={
            "rows": N,
            "profile": "net",
            "rate_rps": [10.0 + 2 * (i % 2) for i in range(N)],
            "slo_ms": 300.0,
        },
        tasks=[],
        task_table={
            "rows": N,
            "profile": "train",
            "batch": 8,
            "weight": [1.0 + i % weights for i in range(N)],
        },
    )


@cache
def solved() -> tuple[Instance, Plan]:
    stated = tabled()
    plan = co.solve(stated, "greedy").plan
    assert plan is not None
    return stated, plan


def changed(plan: Plan, at: int, how: str) -> Plan:
    """The plan with one group wrong, or only looking different."""
    group = plan.placements[at]
    service, (*others,) = group.services[0], group.services[1:]
    predicted = service.predicted
    assert predicted is not None
    updates: dict[str, dict[str, Any]] = {
        "share": {"share_pct": 25 if service.share_pct != 25 else 50},
        "sms": {"sms": service.sms + 1},
        "batch": {"batch": 7},
        "rate": {"predicted": predicted.model_copy(update={"rate_rps": predicted.rate_rps * 2})},
        "unpredicted": {"predicted": None},
        "copy": {"predicted": predicted.model_copy()},
        "hair": {
            "predicted": predicted.model_copy(update={"rate_rps": predicted.rate_rps * (1 + 1e-9)})
        },
    }
    other = service.model_copy(update=updates[how])
    wrong = group.model_copy(update={"services": (other, *others)})
    placements = (*plan.placements[:at], wrong, *plan.placements[at + 1 :])
    return plan.model_copy(update={"placements": placements})


def one_by_one(stated: Instance, plan: Plan) -> Verdict:
    """The verdict where nothing is taken to be alike."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Entries, "alike", lambda _self, _position: object())
        return verify(stated, plan)


HOW = ("share", "sms", "batch", "rate", "unpredicted", "copy", "hair")


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, N - 1), st.sampled_from(HOW)), max_size=6))
def test_the_verdict_is_that_of_judging_each(changes: list[tuple[int, str]]) -> None:
    stated, plan = solved()
    for at, how in changes:
        plan = changed(plan, at, how) if plan.placements[at].services[0].predicted else plan
    found = verify(stated, plan)
    assert found == one_by_one(stated, plan)
    assert found.ok == all(how in ("copy", "hair") for _, how in changes)


def test_only_one_of_each_kind_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[PlacementGroup] = []
    judge = PlacementJudge.judge

    def counted(self: PlacementJudge, pool: Any, group: PlacementGroup, *entries: Any) -> None:
        judged.append(group)
        judge(self, pool, group, *entries)

    monkeypatch.setattr(PlacementJudge, "judge", counted)
    stated, plan = solved()
    judged.clear()
    assert verify(stated, plan).ok
    assert len(plan.placements) == N
    assert len(judged) == len(Reading(stated, plan).first) <= 6


def test_another_kind_is_not_alike_whatever_the_plan_states() -> None:
    """A group that states of itself what is true of another one is judged by what it holds."""
    stated = tabled(weights=1)
    plan = co.solve(stated, "greedy").plan
    assert plan is not None
    lead = plan.placements[0]
    rate = stated.service(lead.services[0].service).rate_rps
    at, other = next(
        (i, group)
        for i, group in enumerate(plan.placements)
        if stated.service(group.services[0].service).rate_rps != rate and group.tasks
    )
    named = {"service": other.services[0].service, "replicas": other.services[0].replicas}
    service = lead.services[0].model_copy(update=named)
    placed = {"task": other.tasks[0].task, "workers": other.tasks[0].workers}
    task = lead.tasks[0].model_copy(update=placed)
    wrong = other.model_copy(update={"services": (service,), "tasks": (task,)})
    placements = (*plan.placements[:at], wrong, *plan.placements[at + 1 :])
    found = verify(stated, plan.model_copy(update={"placements": placements})).violations
    assert {v.kind for v in found} == {"prediction"}
    assert {v.where for v in found} == {f"a/{other.gpus}"}


def test_a_name_decides_where_a_rule_names_it() -> None:
    """Rows alike but for their names are told apart by rules that name them."""
    stated, plan = solved()
    group = plan.placements[5]
    apart = AntiAffinity(left=(group.services[0].service,), right=(group.tasks[0].task,))
    stated = stated.replace(rules=co.Rules(anti_affinity=(apart,)))
    found = verify(stated, plan).violations
    assert [v.where for v in found if v.kind == "anti_affinity"] == [f"a/{group.gpus}"]
