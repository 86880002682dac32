"""What the solvers add up is what the judge finds a plan to be worth, on drawn instances."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given

from colocate.instance import Instance
from colocate.objectives.base import TaskFacts, objective, used_gpu_worth
from colocate.testing import any_instance, solve_by_enumeration
from colocate.testing._plain_model import progress, reference_rate
from tests.judging.plans import hand_made
from tests.testing.oracle_plans import groups_of


@given(any_instance())
def test_placed_values_add_up_to_the_score(drawn: Instance) -> None:
    """score = worth of the empty plan + sign * (placed values + prices of what is not missing)."""
    answer = solve_by_enumeration(drawn)
    assume(answer.assignments)
    plan = hand_made(drawn, groups_of(answer.assignments))
    faces = objective(drawn.objective)
    sign = 1 if faces.sense == "max" else -1
    expected = 0.0
    for service in drawn.iter_services():
        placed = sum(a.id == service.id for a in answer.assignments)
        expected -= sign * (service.missing_price or 0.0) * (service.replicas - placed)
    for task in drawn.iter_tasks():
        facts = TaskFacts(task.weight, task.gang_size, task.batch, reference_rate(drawn, task))
        slowest: dict[int, float] = {}
        for a in answer.assignments:
            if a.id == task.id:
                gang = a.ordinal // task.gang_size
                made = progress(task, a.batch, a.rate)
                slowest[gang] = min(made, slowest.get(gang, np.inf))
        values = faces.placed_value(facts, np.array(list(slowest.values())))
        expected += task.count * float(np.asarray(faces.unplaced_worth(facts)))
        expected += sign * float(values.sum())
    used = {(a.pool, a.gpu) for a in answer.assignments}
    expected += sign * used_gpu_worth(faces) * len(used)
    assert faces.score(drawn, plan) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(any_instance())
def test_a_faster_task_is_never_worth_less(drawn: Instance) -> None:
    """What lets the oracle and the compiler drop slower settings: the value rises with the rate."""
    faces = objective(drawn.objective)
    for task in drawn.iter_tasks():
        facts = TaskFacts(task.weight, task.gang_size, task.batch, reference_rate(drawn, task))
        values = faces.placed_value(facts, np.array([1e-3, 0.5, 1.0, 7.0, 1e4]))
        assert (np.diff(values) >= 0).all()
