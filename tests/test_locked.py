"""Locked GPUs: they stay as they are, and the rest is solved as if they were not there."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import colocate as co
from colocate.errors import InstanceError, TooLargeError, UnsupportedError
from colocate.instance import GpuRef, Instance
from colocate.locked import free
from colocate.placement import PlacementGroup
from colocate.plan import Plan
from colocate.problem import compile_problem
from colocate.result import Reason
from colocate.runs import iter_ids
from colocate.schema import Component
from colocate.testing import any_instance, solve_by_enumeration
from tests.helpers import instance

Cell = tuple[str, int]


def bare(plan: Plan) -> tuple[PlacementGroup, ...]:
    """The placements of a plan without predictions, as somebody would write them down."""
    text = plan.model_dump(mode="json", by_alias=True)["placements"]
    for group in text:
        for placed in (*group["services"], *group["tasks"]):
            placed.pop("predicted")
    return tuple(PlacementGroup.model_validate(group) for group in text)


def lockable(drawn: Instance, plan: Plan) -> list[set[Cell]]:
    """Sets of GPUs that can only be locked together: those that share a gang."""
    sizes = {t.id: t.gang_size for t in drawn.tasks}
    groups: list[set[Cell]] = [
        {(p.id, p.first + i)} for p in drawn.gpu_pools for i in range(p.size)
    ]
    gangs: dict[tuple[str, int], set[Cell]] = {}
    for group in plan.placements:
        for t in group.tasks:
            if sizes[t.task] > 1:
                for gpu, w in zip(iter_ids(group.gpus), iter_ids(t.workers), strict=True):
                    gangs.setdefault((t.task, w // sizes[t.task]), set()).add((group.pool, gpu))
    for together in gangs.values():
        touching = [g for g in groups if g & together]
        groups = [g for g in groups if not g & together]
        groups.append(set().union(*touching))
    return groups


@st.composite
def questions(draw: st.DrawFn) -> Instance:
    """An instance, a plan of it as what is there now, some GPUs locked, and a change since."""
    drawn = draw(any_instance())
    try:
        plan = co.solve(drawn, "brute_force").plan
    except TooLargeError:
        plan = None
    assume(plan is not None)
    assert plan is not None
    chosen = sorted(
        cell for group in lockable(drawn, plan) if draw(st.booleans()) for cell in group
    )
    rules = drawn.rules.model_copy(
        update={"locked": tuple(GpuRef(pool=p, gpus=str(i)) for p, i in chosen)}
    )
    tasks = list(drawn.tasks)
    for i, t in enumerate(tasks):
        change = draw(st.sampled_from(["none", "none", "weight", "more"]))
        if change == "weight":
            tasks[i] = t.model_copy(update={"weight": t.weight * 3})
        elif change == "more" and t.count < 3:
            tasks[i] = t.model_copy(update={"count": t.count + 1})
    return drawn.replace(rules=rules, current=bare(plan), tasks=tuple(tasks))


def check(question: Instance, *solvers: str) -> None:
    try:
        truth = solve_by_enumeration(question)
        found = [co.solve(question, name, isolation="none") for name in solvers]
    except TooLargeError:
        return
    for result in found:
        assert result.violations == ()
        if truth.objective is None:
            assert result.termination.reason is Reason.INFEASIBLE
            assert result.plan is None
            continue
        assert result.termination.reason is Reason.OPTIMAL, result.termination
        assert result.plan is not None
        assert result.objective == pytest.approx(truth.objective, rel=1e-8, abs=1e-8)
        sign = 1 if result.plan.objective.sense == "max" else -1
        slack = 1e-8 * max(1.0, abs(truth.objective))
        for bound in (result.bound, result.bound_claimed):
            assert bound is None or sign * (bound - truth.objective) >= -slack


@settings(max_examples=25)
@given(questions())
def test_brute_force_equals_the_oracle(question: Instance) -> None:
    check(question, "brute_force")


@settings(max_examples=10)
@given(questions())
def test_integer_programs_equal_the_oracle(question: Instance) -> None:
    check(question, "milp", "cp-sat", "ilp")


@pytest.mark.deep
@settings(max_examples=5000, derandomize=False)
@given(questions())
def test_all_equal_the_oracle_on_many(question: Instance) -> None:
    """The same on 5,000 questions that are new in every run."""
    check(question, "brute_force", "milp")


@settings(max_examples=10)
@given(questions(), st.sampled_from([1.5, 4.0]))
def test_worst_cases_too(question: Instance, unplaced: float) -> None:
    worst = Component(name="max_slowdown", params={"unplaced": unplaced})
    check(question.replace(objective=worst), "brute_force")


@settings(max_examples=12)
@given(questions())
def test_greedy_and_auto_leave_them_alone(question: Instance) -> None:
    for name in ("greedy", "auto"):
        assert co.solve(question, name, isolation="none").violations == ()


# -- by hand ---------------------------------------------------------------------------------------

WEB = {"service": "web", "replicas": "0", "batch": 1, "share_pct": 75, "sms": 3}


def stuck(**changes: Any) -> Instance:
    """Two GPUs, the first locked with a service that takes more than it needs."""
    base: dict[str, Any] = {
        "rules": {"locked": [{"pool": "a", "gpus": "0"}]},
        "current": [{"pool": "a", "gpus": "0", "services": [WEB]}],
    }
    return instance(**(base | changes))


def test_what_is_locked_keeps_share_and_company() -> None:
    """No task joins the service, which would leave it room after a new look."""
    found = co.solve(stuck())
    assert found.plan is not None
    here = found.plan.placement("a", 0)
    assert here is not None
    assert [(s.share_pct, s.batch) for _, s in here.services] == [(75, 1)]
    assert here.tasks == ()
    assert found.objective == pytest.approx(1.0)
    assert found.bound == pytest.approx(1.0)
    free_to_move = co.solve(instance())
    assert free_to_move.objective is not None
    assert free_to_move.objective > 1.0


def test_an_empty_locked_gpu_stays_empty() -> None:
    found = co.solve(stuck(current=[]))
    assert found.plan is not None
    assert found.plan.placement("a", 0) is None


def test_what_cannot_stay_makes_it_infeasible() -> None:
    too_slow = {**WEB, "share_pct": 25, "sms": 1}
    services = [{"id": "web", "profile": "net", "rate_rps": 10.0, "slo_ms": 150.0}]
    found = co.solve(
        stuck(services=services, current=[{"pool": "a", "gpus": "0", "services": [too_slow]}])
    )
    assert found.termination.reason is Reason.INFEASIBLE
    assert "cannot stay" in found.termination.detail
    assert "slo at a/0" in found.termination.detail


@pytest.mark.parametrize(("home", "words"), [("1", "pinned to other GPUs"), ("0-1", "")])
def test_a_pinned_service_stays_at_home_only(home: str, words: str) -> None:
    """Locked beside its home, the service cannot stay; at home, its other replica has its own."""
    web = {"id": "web", "profile": "net", "rate_rps": 10.0, "slo_ms": 300.0}
    pinned = {**web, "replicas": len(home[::2]), "pinned": [{"pool": "a", "gpus": home}]}
    found = co.solve(stuck(services=[pinned]))
    if words:
        assert found.termination.reason is Reason.INFEASIBLE
        assert words in found.termination.detail
    else:
        assert found.plan is not None
        assert found.plan.totals.replicas_placed == 2


def test_a_home_that_is_locked_without_its_service_makes_it_infeasible() -> None:
    web = {"id": "web", "profile": "net", "rate_rps": 10.0, "slo_ms": 300.0}
    pinned = {**web, "pinned": [{"pool": "a", "gpus": "0"}]}
    found = co.solve(stuck(services=[pinned], current=[]))
    assert found.termination.reason is Reason.INFEASIBLE
    assert "pinned to a locked GPU that does not hold it" in found.termination.detail


def test_the_judge_finds_what_has_moved() -> None:
    question = stuck()
    plan = co.solve(instance()).plan
    assert plan is not None
    forged = plan.model_copy(update={"instance_sha256": question.sha256})
    broken = [v for v in co.verify(question, forged).violations if v.kind == "locked"]
    assert [v.where for v in broken] == ["a/0"]
    assert "is locked with service web 0 (batch 1, 75 %)" in broken[0].message


def test_a_tighter_bound_than_proved_is_rejected() -> None:
    question = stuck()
    plan = co.solve(question).plan
    assert plan is not None
    assert plan.certificate is not None
    tighter = plan.certificate.model_copy(update={"bound": plan.certificate.bound - 1e-4})
    verdict = co.verify(question, plan.model_copy(update={"certificate": tighter}))
    assert {v.kind for v in verdict.violations} == {"certificate"}


def test_ordinals_and_pool_names_come_back() -> None:
    """The middle of three GPUs is locked with the second replica and the last task."""
    pools = [{"id": "a", "gpu_type": "A", "count": 3, "memory_gib": 16.0, "sm_count": 4}]
    services = [{"id": "web", "profile": "net", "rate_rps": 10.0, "slo_ms": 300.0, "replicas": 2}]
    job = {"task": "job", "workers": "2", "batch": 8, "share_pct": 25, "sms": 1}
    here = {"pool": "a", "gpus": "1", "services": [{**WEB, "replicas": "1"}], "tasks": [job]}
    found = co.solve(
        stuck(
            gpu_pools=pools,
            services=services,
            current=[here],
            rules={"locked": [{"pool": "a", "gpus": "1"}]},
        )
    )
    assert found.plan is not None
    placed = {(p.pool, p.gpu): p for p in found.plan.iter_placements()}
    assert set(placed) <= {("a", 0), ("a", 1), ("a", 2)}
    assert [i for i, _ in placed["a", 1].services] == [1]
    assert [i for i, _ in placed["a", 1].tasks] == [2]
    everyone = sorted(i for p in placed.values() for i, _ in p.tasks)
    assert everyone == [0, 1, 2]


def test_a_split_gang_is_refused() -> None:
    half = {"task": "pair", "workers": "0", "batch": 8, "share_pct": 100, "sms": 4}
    tasks = [{"id": "pair", "profile": "train", "batch": 8, "gang_size": 2}]
    question = stuck(
        services=[], tasks=tasks, current=[{"pool": "a", "gpus": "0", "tasks": [half]}]
    )
    with pytest.raises(UnsupportedError, match="1 of the 2 workers"):
        co.solve(question)


def test_what_is_not_in_the_instance_is_refused() -> None:
    with pytest.raises(InstanceError, match="which is not in the instance"):
        co.solve(stuck(services=[]))
    beyond = {**WEB, "replicas": "7"}
    with pytest.raises(InstanceError, match="does not exist"):
        co.solve(stuck(current=[{"pool": "a", "gpus": "0", "services": [beyond]}]))


def test_rules_that_do_not_go_together_are_refused() -> None:
    rules = {"locked": [{"pool": "a", "gpus": "0"}], "moves": {"price": 1.0}}
    with pytest.raises(UnsupportedError, match="move"):
        co.solve(stuck(rules=rules))


def test_it_is_not_compiled() -> None:
    with pytest.raises(UnsupportedError, match="no part of what is to be decided"):
        compile_problem(stuck())
    assert compile_problem(free(stuck()).instance).gpu_count.sum() == 1
