"""Worst-case objectives: the smallest level that everybody can keep to, and its proof."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import colocate as co
from colocate.errors import InstanceError, TooLargeError, UnsupportedError
from colocate.instance import Instance
from colocate.objectives._worst import all_satisfied, is_worst, within
from colocate.objectives.base import objective
from colocate.problem import compile_problem
from colocate.registry import get
from colocate.result import Limit, Limits, Reason
from colocate.schema import Component
from colocate.testing import any_instance, instances, solve_by_enumeration
from tests.helpers import instance, profile

UNPLACED = st.sampled_from([1.5, 4.0, 10.0])


def asked(drawn: Instance, unplaced: float) -> Instance:
    """The same instance, but for the objective and how far its tasks are.

    One in two asks for finish-time fairness; which one follows from the instance.
    """
    if int(drawn.sha256, 16) % 2:
        spec = Component(name="max_slowdown", params={"unplaced": unplaced})
        return drawn.replace(objective=spec)
    left, so_far = (None, 100.0, 1000.0, 0.0), (None, 50.0, 5.0)
    tasks = [
        t.model_copy(update={"remaining_samples": left[i % 4], "attained_gpu_s": so_far[i % 3]})
        for i, t in enumerate(drawn.tasks)
    ]
    spec = Component(name="finish_time_fairness", params={"unplaced": unplaced})
    return drawn.replace(objective=spec, tasks=tuple(tasks))


def check(question: Instance, *solvers: str) -> None:
    """Solvers against the oracle, which knows levels from nowhere."""
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
        assert result.termination.reason is Reason.OPTIMAL
        assert result.objective == pytest.approx(truth.objective, rel=1e-8)
        assert result.bound is None or result.bound <= truth.objective * (1 + 1e-9)
        assert result.bound_claimed == result.objective


@settings(max_examples=10)
@given(any_instance(), UNPLACED)
def test_the_exact_solvers_equal_the_oracle(drawn: Instance, unplaced: float) -> None:
    check(asked(drawn, unplaced), "brute_force")


@settings(max_examples=4)
@given(any_instance(), UNPLACED)
def test_integer_programs_equal_the_oracle(drawn: Instance, unplaced: float) -> None:
    check(asked(drawn, unplaced), "milp", "cp-sat")


@pytest.mark.deep
@settings(max_examples=5000, derandomize=False)
@given(any_instance(), UNPLACED)
def test_the_exact_solvers_equal_the_oracle_on_many(drawn: Instance, unplaced: float) -> None:
    """The same on 5,000 instances that are new in every run."""
    check(asked(drawn, unplaced), "brute_force", "milp")


@settings(max_examples=10)
@given(instances(supported=get("solver", "matching").capabilities), UNPLACED)
def test_matching_is_exact_where_it_answers(drawn: Instance, unplaced: float) -> None:
    question = asked(drawn, unplaced)
    try:
        truth = solve_by_enumeration(question)
        found = co.solve(question, "matching")
    except (TooLargeError, UnsupportedError):
        return
    if truth.objective is None:
        assert found.plan is None
        return
    assert found.objective == pytest.approx(truth.objective, rel=1e-8)
    if found.objective:
        assert found.gap is not None
        assert found.gap <= 1e-8


@settings(max_examples=10)
@given(any_instance(), UNPLACED)
def test_greedy_never_beats_the_truth(drawn: Instance, unplaced: float) -> None:
    question = asked(drawn, unplaced)
    try:
        truth = solve_by_enumeration(question)
    except TooLargeError:
        return
    found = co.solve(question, "greedy")
    assert found.violations == ()
    if truth.objective is None:
        assert found.plan is None
    elif found.objective is not None:
        assert found.objective >= truth.objective * (1 - 1e-9)
        assert found.bound is None or found.bound <= truth.objective * (1 + 1e-9)


def two_jobs(**changes: Any) -> Instance:
    """Two tasks, one GPU for both or one for each, no service."""
    base: dict[str, Any] = {
        "services": [],
        "tasks": [
            {"id": "fast", "profile": "train", "batch": 8},
            {"id": "slow", "profile": "train", "batch": 8, "weight": 2.0},
        ],
        "objective": {"name": "max_slowdown", "params": {"unplaced": 100.0}},
        "rules": {"tasks_per_gpu": 2},
        "gpu_pools": [{"id": "a", "gpu_type": "A", "count": 1, "memory_gib": 16.0, "sm_count": 4}],
    }
    return instance(**(base | changes))


def test_a_weight_makes_a_task_count_as_slower() -> None:
    """Of 4 multiprocessors the heavier gets the larger part: 4/3 * 2 against 4/1, not 2 and 2 * 2.

    Even shares: 2 and 2 * 2 = 4. Three for the heavier: 4 and 8/3. Both are 4; one more would not
    help.
    """
    found = co.solve(two_jobs())
    assert found.objective == pytest.approx(4.0)
    assert found.bound == pytest.approx(4.0)


def test_the_worst_decides_and_not_the_sum() -> None:
    """Throughput starves one task where the other is faster; the worst case does not."""
    profiles = [
        profile("train", "A", "training", {8: [10.0, 20.0, 30.0, 40.0]}, {8: 4.0}),
        profile("flat", "A", "training", {8: [9.0, 9.5, 9.8, 10.0]}, {8: 4.0}),
    ]
    tasks = [
        {"id": "steep", "profile": "train", "batch": 8},
        {"id": "level", "profile": "flat", "batch": 8, "weight": 3.0},
    ]
    worst = co.solve(two_jobs(tasks=tasks, profiles=profiles))
    # Two multiprocessors for each: 4 / 2, and 3 * 10 / 9.5. With three the level one would leave
    # the steep one at 4; the largest throughput is 3 and 1, and 3 * 10 / 9.
    assert worst.objective == pytest.approx(3 * 10 / 9.5)
    assert worst.termination.reason is Reason.OPTIMAL


def test_who_is_slower_than_not_running_counts_as_not_running() -> None:
    found = co.solve(two_jobs(objective={"name": "max_slowdown", "params": {"unplaced": 1.5}}))
    # The heavier alone, at 2 * 1; the other is charged 1.5 instead of any slowdown beyond it.
    assert found.objective == pytest.approx(2.0)
    assert found.plan is not None
    assert found.plan.totals.tasks_unplaced <= 1


def fairness(**of_first: Any) -> float | None:
    """Two tasks on one GPU with two multiprocessors each, or one of them alone."""
    tasks = [
        {"id": "one", "profile": "train", "batch": 8, **of_first},
        {"id": "two", "profile": "train", "batch": 8},
    ]
    spec = {"name": "finish_time_fairness", "params": {"unplaced": 50.0}}
    return co.solve(two_jobs(tasks=tasks, objective=spec)).objective


def test_an_even_share_is_fair() -> None:
    """Half the GPU gives half the rate of 40, which is what an even share of one GPU gives."""
    assert fairness() == pytest.approx(1.0)


def test_what_has_been_received_counts_on_both_sides() -> None:
    """With 3 of 4 multiprocessors the other gets 10 instead of 20 a second.

    It has run 10 s and has 100 samples to go: (10 + 100/10) / (10 + 100/20) = 4/3; the first is at
    20/30. Evenly both are at 1, and nothing beats that.
    """
    assert fairness(remaining_samples=100.0, attained_gpu_s=10.0) == pytest.approx(1.0)
    assert fairness(remaining_samples=100.0, attained_gpu_s=10.0, weight=1.4) == pytest.approx(1.4)
    heavier = fairness(remaining_samples=100.0, weight=2.5)
    # 2 * 2 against 3 * 1: with 30 a second (100/30) / (100/20) * 2.5 = 5/3, the other at 20/10.
    assert heavier == pytest.approx(2.0)


def test_nothing_left_to_do_is_fair_at_any_rate() -> None:
    assert fairness(remaining_samples=0.0) == pytest.approx(1.0)


def test_missing_replicas_count_with_their_price() -> None:
    services = [
        {
            "id": "web",
            "profile": "net",
            "rate_rps": 10.0,
            "slo_ms": 1.0,
            "required": False,
            "missing_price": 7.0,
        }
    ]
    found = co.solve(
        instance(
            services=services, objective={"name": "max_slowdown", "params": {"unplaced": 100.0}}
        )
    )
    assert found.plan is not None
    assert found.plan.totals.replicas_missing == 1
    # Three tasks on two GPUs, one each: the third is not placed.
    assert found.objective == pytest.approx(100.0)
    fewer = found.plan.model_copy()
    assert fewer.objective.sense == "min"
    alone = instance(
        services=services,
        tasks=[{"id": "job", "profile": "train", "batch": 8}],
        objective={"name": "max_slowdown", "params": {"unplaced": 100.0}},
    )
    assert co.solve(alone).objective == pytest.approx(7.0)


def test_nothing_to_place_is_worth_nothing() -> None:
    found = co.solve(two_jobs(tasks=[]))
    assert found.objective == 0.0
    assert found.termination.reason is Reason.OPTIMAL


@settings(max_examples=10)
@given(any_instance(), UNPLACED, st.floats(1e-6, 0.5))
def test_a_level_that_can_be_kept_to_is_never_ruled_out(
    drawn: Instance, unplaced: float, more: float
) -> None:
    """A certificate that states more than it proves is rejected."""
    question = asked(drawn, unplaced)
    try:
        found = co.solve(question, "brute_force")
    except TooLargeError:
        return
    if found.plan is None or found.plan.certificate is None or not found.objective:
        return
    proof = found.plan.certificate
    stated = proof.model_copy(update={"bound": found.objective * (1 + more)})
    verdict = co.verify(question, found.plan.model_copy(update={"certificate": stated}))
    assert verdict.bound is None
    assert {v.kind for v in verdict.violations} == {"certificate"}


def test_a_weak_level_is_accepted_as_weak() -> None:
    question = two_jobs()
    plan = co.solve(question).plan
    assert plan is not None
    assert plan.certificate is not None
    weak = plan.certificate.model_copy(update={"bound": 1.0})
    verdict = co.verify(question, plan.model_copy(update={"certificate": weak}))
    assert verdict.ok
    assert verdict.bound == 1.0


def test_a_forged_value_is_rejected() -> None:
    question = two_jobs()
    plan = co.solve(question).plan
    assert plan is not None
    better = plan.objective.model_copy(update={"value": 3.9})
    verdict = co.verify(question, plan.model_copy(update={"objective": better}))
    assert {v.kind for v in verdict.violations} == {"objective"}


@settings(max_examples=10)
@given(any_instance(), UNPLACED, st.floats(0.5, 12.0))
def test_a_question_is_answered_with_all_or_not(
    drawn: Instance, unplaced: float, level: float
) -> None:
    """`within` is worth as much as there are tasks to satisfy exactly where the level is kept."""
    question = asked(drawn, unplaced)
    faces = objective(question.objective)
    assert is_worst(faces)
    try:
        truth = solve_by_enumeration(question)
        found = co.solve(within(question, level), "brute_force")
    except TooLargeError:
        return
    if truth.objective is None:
        assert found.plan is None
        return
    if abs(truth.objective - level) < 1e-9 * level:
        return
    assert found.objective is not None
    everybody = all_satisfied(question, faces, level)
    assert (found.objective > everybody - 0.5) == (truth.objective <= level)


def test_it_is_no_integer_program() -> None:
    with pytest.raises(UnsupportedError, match="worst part"):
        compile_problem(two_jobs())


def test_within_names_a_worst_case() -> None:
    spec = {"name": "within", "params": {"of": "throughput", "level": 2.0}}
    with pytest.raises(InstanceError, match="no worst-case objective"):
        co.solve(two_jobs(objective=spec))


def test_a_stop_ends_the_search_with_the_best_plan() -> None:
    answers = iter([False] * 3)
    found = co.solve(two_jobs(), "brute_force", stop=lambda: next(answers, True))
    assert found.termination.reason is not Reason.OPTIMAL
    assert found.termination.limit is Limit.INTERRUPTED


def test_a_gap_that_is_close_enough_ends_the_search() -> None:
    whole = co.solve(two_jobs())
    part = co.solve(two_jobs(), limits=Limits(gap=0.9))
    assert part.gap is not None
    assert part.gap <= 0.9
    assert len(part.history) < len(whole.history)
