"""The judge's face of the constraints by itself: it skips what it cannot look up."""

from __future__ import annotations

import pytest

from colocate.components import make
from colocate.constraints.base import BUILT_IN, constraints_of
from colocate.instance import Instance
from colocate.plan import Plan
from colocate.registry import get
from colocate.schema import Component
from tests.judging.toy import toy, toy_plan
from tests.judging.words import changed, swap, swap_in


def said(name: str, instance: Instance, plan: Plan) -> list[str]:
    """Return what one constraint finds."""
    constraint = make(get("constraint", name), Component(name=name), "$")
    return [str(v) for v in constraint.violations(instance, plan)]


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_valid_plan_breaks_nothing(name: str):
    assert said(name, toy(), toy_plan()) == []


@pytest.mark.parametrize("name", BUILT_IN)
def test_groups_with_unknown_names_are_left_to_the_judge(name: str):
    plan = toy_plan()
    for strange in (
        swap_in(plan, 0, "services", 0, service="nobody"),
        swap_in(plan, 0, "tasks", 0, task="nothing"),
        swap(plan, placements=(plan.placements[0].model_copy(update={"pool": "nowhere"}),)),
    ):
        assert said(name, toy(), strange) == []


def test_quotas_do_not_count_unknown_tasks():
    floor = {"tenant": "vision", "minimum": 1}
    instance = changed(lambda s: s["rules"].update(quotas=[floor]))
    assert said("quota", instance, toy_plan(instance)) == []
    strange = swap_in(toy_plan(instance), 0, "tasks", 0, task="nothing")
    assert said("quota", instance, strange) == [
        "quota at tenant vision: 0 placed tasks, but at least 1 are due"
    ]


def test_every_built_in_constraint_is_asked():
    assert [c.name for c in constraints_of(toy())] == list(BUILT_IN)
