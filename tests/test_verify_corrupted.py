"""Spoiled plans: every one must be rejected, and for the right reason."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from colocate.instance import Instance
from colocate.plan import Plan
from colocate.verify import verify
from tests.judging.corrupt_plans import PLAN_CORRUPTIONS
from tests.judging.corrupt_rules import RULE_CORRUPTIONS, spoiled_cases
from tests.judging.valid_plans import valid_plans

EACH = 2
"""How many spoiled plans one corruption makes of one valid plan, at most."""


def spoiled(corruption: str, each: int = EACH) -> Iterator[tuple[str, Instance, Plan]]:
    """Yield the spoiled plans of one corruption."""
    for name, instance, plan in valid_plans():
        if corruption in PLAN_CORRUPTIONS:
            make, _ = PLAN_CORRUPTIONS[corruption]
            cases: Iterator[tuple[Instance, Plan]] = (
                (instance, bad) for bad in make(instance, plan)
            )
        else:
            cases = spoiled_cases(RULE_CORRUPTIONS[corruption][0], instance, plan)
        for _, (question, bad) in zip(range(each), cases, strict=False):
            yield name, question, bad


def rejected(corruption: str, each: int) -> int:
    """Check that every spoiled plan is rejected for one of the expected kinds; return how many."""
    _, expected = {**PLAN_CORRUPTIONS, **RULE_CORRUPTIONS}[corruption]
    n = 0
    for name, instance, bad in spoiled(corruption, each):
        verdict = verify(instance, bad)
        found = {v.kind for v in verdict.violations}
        assert found & expected, (name, corruption, found)
        n += 1
    return n


def test_the_plans_that_are_spoiled_are_right():
    for name, instance, plan in valid_plans():
        verdict = verify(instance, plan)
        assert verdict.ok, (name, verdict.violations)
        assert verdict.objective == pytest.approx(plan.objective.value)
    assert len(valid_plans()) >= 40


@pytest.mark.parametrize("corruption", sorted({**PLAN_CORRUPTIONS, **RULE_CORRUPTIONS}))
def test_every_spoiled_plan_is_rejected(corruption: str):
    assert rejected(corruption, EACH) >= 2


@pytest.mark.deep
@pytest.mark.parametrize("corruption", sorted({**PLAN_CORRUPTIONS, **RULE_CORRUPTIONS}))
def test_every_variation_of_every_spoiled_plan_is_rejected(corruption: str):
    assert rejected(corruption, 10_000) >= 2


def test_the_bank_is_large():
    """At least 25 ways to spoil a plan; at least 500 spoiled plans without counting the rules'."""
    assert len(PLAN_CORRUPTIONS) >= 25
    assert len(RULE_CORRUPTIONS) >= 25
    assert sum(1 for name in PLAN_CORRUPTIONS for _ in spoiled(name)) >= 500
