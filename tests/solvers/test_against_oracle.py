"""Brute force and auto equal the oracle, which knows no classes; greedy never beats it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

import colocate as co
from colocate.errors import TooLargeError
from colocate.instance import Instance
from colocate.result import Reason
from colocate.testing import any_instance, solve_by_enumeration
from tests.counting import count


def check(drawn: Instance) -> None:
    """Both solvers against the oracle on one instance."""
    try:
        exact = count(co.solve(drawn, "brute_force"))
        truth = solve_by_enumeration(drawn)
    except TooLargeError:
        return
    quick = count(co.solve(drawn, "greedy"))
    chosen = count(co.solve(drawn, "auto", isolation="none"))
    assert exact.violations == quick.violations == chosen.violations == ()
    assert quick.termination.reason in (
        Reason.FEASIBLE,
        Reason.NO_SOLUTION_FOUND,
        Reason.INFEASIBLE,
    )
    if truth.objective is None:
        assert exact.termination.reason is Reason.INFEASIBLE
        assert exact.plan is None
        assert quick.plan is None
        return
    assert exact.termination.reason is Reason.OPTIMAL
    assert exact.objective == pytest.approx(truth.objective, rel=1e-9, abs=1e-9)
    assert exact.plan is not None
    assert quick.termination.reason is not Reason.INFEASIBLE
    sign = 1 if exact.plan.objective.sense == "max" else -1
    slack = 1e-7 * max(1.0, abs(truth.objective))
    if chosen.termination.reason is Reason.OPTIMAL:
        assert chosen.objective == pytest.approx(truth.objective, rel=1e-8, abs=1e-8)
    for result in (exact, quick, chosen):
        if result.bound is not None:
            assert sign * (result.bound - truth.objective) >= -slack
        if result.objective is not None:
            assert sign * (truth.objective - result.objective) >= -slack


@settings(max_examples=200)
@given(any_instance())
def test_brute_force_equals_the_oracle(drawn: Instance) -> None:
    """On 200 drawn instances: same status, same optimum, and every plan passes the judge."""
    check(drawn)


@pytest.mark.deep
@settings(max_examples=5000, derandomize=False)
@given(any_instance())
def test_brute_force_equals_the_oracle_on_many(drawn: Instance) -> None:
    """The same on 5,000 instances that are new in every run."""
    check(drawn)


@pytest.mark.deep
@pytest.mark.parametrize("part", range(10))
@settings(max_examples=10_000, derandomize=False)
@given(drawn=any_instance())
def test_every_plan_of_both_solvers_passes_the_judge(part: int, drawn: Instance) -> None:
    """No solver's plan is rejected, on 100,000 instances: ten parts, each with its own seed."""
    for solver in ("greedy", "brute_force"):
        try:
            result = count(co.solve(drawn, solver))
        except TooLargeError:
            continue
        assert result.violations == ()
        assert result.termination.reason is not Reason.ERROR
