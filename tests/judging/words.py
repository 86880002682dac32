"""Words for tests of the judge: change the toy instance, judge a plan for it, say what is due."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from colocate.instance import Instance
from colocate.placement import PlacedService, PlacedTask, PlacementGroup
from colocate.plan import Plan
from colocate.verify import Verdict, verify
from colocate.violation import ViolationKind
from tests.judging.plans import On, hand_made
from tests.judging.toy import TOY_GROUPS, toy_spec

Spec = dict[str, Any]


def changed(change: Callable[[Spec], object]) -> Instance:
    """Return the toy instance after a change to its plain form."""
    spec = toy_spec()
    change(spec)
    return Instance.model_validate(spec)


def judged(change: Callable[[Spec], object], *groups: On) -> Verdict:
    """Judge a hand-made plan for a changed toy instance."""
    instance = changed(change)
    return verify(instance, hand_made(instance, groups or TOY_GROUPS))


def nothing(_: Spec) -> None:
    """Change nothing."""


def expect(verdict: Verdict, kind: ViolationKind, *words: str, where: str | None = None) -> None:
    """Check that there is a violation of this kind that says all these words, and no other kind."""
    assert not verdict.ok
    assert {v.kind for v in verdict.violations} == {kind}, list(map(str, verdict.violations))
    found = [
        v
        for v in verdict.violations
        if all(word in v.message for word in words) and where in (None, v.where)
    ]
    assert found, list(map(str, verdict.violations))


def kinds(verdict: Verdict) -> set[str]:
    """Return the kinds of what was found."""
    return {v.kind for v in verdict.violations}


def in_group(group: PlacementGroup) -> list[PlacedService | PlacedTask]:
    """Return what each GPU of a group holds."""
    return [*group.services, *group.tasks]


def swap(plan: Plan, **fields: object) -> Plan:
    """Return the plan with other fields, unchecked, as a careless program could make it."""
    return plan.model_copy(update=fields)


def swap_in(plan: Plan, group: int, kind: str, at: int, **fields: object) -> Plan:
    """Return the plan with other fields of one placed service or task."""
    placements = list(plan.placements)
    placed = list(getattr(placements[group], kind))
    placed[at] = placed[at].model_copy(update=fields)
    placements[group] = placements[group].model_copy(update={kind: tuple(placed)})
    return swap(plan, placements=tuple(placements))
