"""The judge's face of the objectives: worth from predicted rates, and whether both faces agree."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colocate.errors import PlanError
from colocate.instance import Instance
from colocate.objectives.base import TaskFacts, objective, used_gpu_worth
from colocate.plan import Plan
from colocate.testing._plain_model import reference_rate
from tests.judging.plans import On, hand_made
from tests.judging.toy import TOY_GROUPS, toy, toy_plan
from tests.judging.words import Spec, changed, swap, swap_in

ITERATION_TIME = {"name": "iteration_time", "params": {"unplaced_s": 3.0}}
DEGRADATION = {"name": "degradation", "params": {"unplaced": 3.0}}
# On the toy `gpt` runs at 0.2 of its rate alone on an h100, `resnet` at 0.24.
SERVES_ALL = {"name": "active_gpus", "params": {"unserved_gpus": 3.0, "least_rate": 0.2}}
SERVES_SOME = {"name": "active_gpus", "params": {"unserved_gpus": 3.0, "least_rate": 0.21}}


def score(instance: Instance, plan: Plan) -> float:
    """Return the worth of a plan."""
    return objective(instance.objective).score(instance, plan)


@pytest.mark.parametrize(
    "named", [{"name": "throughput"}, ITERATION_TIME, DEGRADATION, SERVES_ALL, SERVES_SOME]
)
@given(
    left_out=st.sets(st.integers(0, len(TOY_GROUPS) - 1)),
    weight=st.floats(0.1, 10),
    unit=st.floats(0.1, 10),
)
def test_both_faces_say_the_same(named: Spec, left_out: set[int], weight: float, unit: float):
    """score = sign * (sum of placed_value over placed tasks) + what the empty plan is worth."""

    def other(spec: Spec) -> None:
        spec["objective"] = named
        spec["tasks"][0]["weight"] = weight
        spec["services"][1]["missing_price"] = unit

    instance = changed(other)
    # The gang is in the last three groups: all of them or none.
    groups = [g for i, g in enumerate(TOY_GROUPS) if i not in left_out]
    if left_out & {1, 2, 3}:
        groups = [g for g in groups if not any(t[0] == "gpt" for t in g.tasks)]
    plan = hand_made(instance, groups)
    faces = objective(instance.objective)
    sign = 1 if faces.sense == "max" else -1
    # bert is required and has no price; yolo has two replicas, of which group 1 holds one.
    held = sum(s[0] == "yolo" for group in groups for s in group.services)
    expected = -sign * unit * (2 - held)
    for task in instance.iter_tasks():
        reference = reference_rate(instance, task)
        facts = TaskFacts(task.weight, task.gang_size, task.batch, reference)
        rates = {
            "resnet": [480.0, 480.0] if 0 not in left_out else [],
            "gpt": [] if left_out & {1, 2, 3} else [160.0, 160.0],
        }[task.id]
        expected += float(np.sum(sign * faces.placed_value(facts, np.array(rates))))
        expected += task.count * float(np.asarray(faces.unplaced_worth(facts)))
    expected += sign * used_gpu_worth(faces) * sum(g.count for g in plan.placements)
    assert score(instance, plan) == pytest.approx(expected)


def test_a_gang_runs_at_the_pace_of_its_slowest_worker():
    """Alone on an h100 a worker of gpt makes 400 samples/s, beside bert on an a100 160."""
    pair = [On("h100", "0", (), [("gpt", "0", 4, 50)]), On("a100", "3", (), [("gpt", "1", 4, 50)])]
    assert score(toy(), hand_made(toy(), pair)) == pytest.approx(2 * 200 / 800 - 1.0)


def test_required_replicas_that_are_missing_have_no_price():
    assert score(toy(), hand_made(toy(), [])) == -1.0


@pytest.mark.parametrize("named", [{"name": "throughput"}, ITERATION_TIME])
def test_a_plan_that_cannot_be_scored_says_so(named: Spec):
    instance = changed(lambda s: s.update(objective=named))
    plan = toy_plan(instance)
    with pytest.raises(PlanError, match="is not in the instance"):
        score(instance, swap_in(plan, 0, "tasks", 0, task="nothing"))
    with pytest.raises(PlanError, match="has no predicted rate"):
        score(instance, swap_in(plan, 0, "tasks", 0, predicted=None))
    torn = swap(plan, placements=plan.placements[:3])
    with pytest.raises(PlanError, match="not all workers"):
        score(instance, torn)
    swapped = swap_in(plan, 3, "tasks", 0, workers="2")
    with pytest.raises(PlanError, match="not all workers"):
        score(instance, swapped)
