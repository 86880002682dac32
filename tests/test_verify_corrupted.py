"""Spoiled plans: every one must be rejected, and for the right reason."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, repeat

import pytest

from colocate.instance import Instance
from colocate.plan import Plan
from colocate.verify import verify
from tests.judging.corrupt_plans import PLAN_CORRUPTIONS
from tests.judging.corrupt_rules import RULE_CORRUPTIONS, spoiled_cases
from tests.judging.valid_plans import valid_plans
from tests.judging.words import swap

CORRUPTIONS = sorted({*PLAN_CORRUPTIONS, *RULE_CORRUPTIONS})


def spoiled(corruption: str, each: int) -> Iterator[tuple[str, Instance, Plan]]:
    """Yield the spoiled plans of one corruption, so many of each valid plan."""
    for name, instance, right in valid_plans():
        cases: Iterator[tuple[Instance, Plan]]
        if corruption in PLAN_CORRUPTIONS:
            make, kinds = PLAN_CORRUPTIONS[corruption]
            # Most of the judge's time goes into bounds, which few corruptions have to do with.
            plan = right if "certificate" in kinds else swap(right, certificate=None)
            cases = zip(repeat(instance), make(instance, plan), strict=False)
        else:
            change, _ = RULE_CORRUPTIONS[corruption]
            cases = spoiled_cases(change, instance, swap(right, certificate=None))
        for question, bad in islice(cases, each):
            yield name, question, bad


def rejected(corruption: str, each: int) -> int:
    """Check that every spoiled plan is rejected for one of the expected kinds; return how many."""
    bank = PLAN_CORRUPTIONS if corruption in PLAN_CORRUPTIONS else RULE_CORRUPTIONS
    _, expected = bank[corruption]
    n = 0
    for name, instance, bad in spoiled(corruption, each):
        found = {v.kind for v in verify(instance, bad).violations}
        assert found & expected, (name, corruption, found)
        n += 1
    return n


def test_the_plans_that_are_spoiled_are_right():
    for name, instance, plan in valid_plans():
        verdict = verify(instance, plan)
        assert verdict.ok, (name, verdict.violations)
        assert verdict.objective == pytest.approx(plan.objective.value)
    assert len(valid_plans()) >= 40


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_every_spoiled_plan_is_rejected(corruption: str):
    assert rejected(corruption, 1) >= 1


@pytest.mark.deep
@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_every_variation_of_every_spoiled_plan_is_rejected(corruption: str):
    assert rejected(corruption, 10_000) >= 1


def test_the_bank_is_large():
    """At least 500 spoiled plans are judged, without counting those that change the rules."""
    assert len(PLAN_CORRUPTIONS) >= 25
    assert len(RULE_CORRUPTIONS) >= 25
    assert sum(1 for name in PLAN_CORRUPTIONS for _ in spoiled(name, 1)) >= 500
