"""Auto: chooses by structure and size, says which and why, and keeps the better answer."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

import colocate as co
from colocate.errors import TooLargeError
from colocate.problem import compile_problem
from colocate.result import Limit, Limits, Reason
from colocate.solvers import auto
from colocate.solvers._course import Course
from colocate.solvers.auto import AutoSolver
from colocate.solvers.base import Context
from colocate.solvers.brute_force import BruteForceSolver
from colocate.solvers.greedy import GreedySolver
from colocate.testing import any_instance
from tests.helpers import instance

TASK = {"profile": "train", "batch": 8}
POOL = {"id": "a", "gpu_type": "A", "memory_gib": 16.0, "sm_count": 4}
TWO_TASKS = {"rules": {"tasks_per_gpu": 2}}
MANY = {
    "gpu_pools": [{**POOL, "count": 500}],
    "tasks": [{"id": "job", **TASK, "count": 300}],
    **TWO_TASKS,
}


def test_one_task_beside_one_service_is_matched() -> None:
    """Whatever the size, and the optimum is proved."""
    result = co.solve(instance())
    assert result.termination.reason is Reason.OPTIMAL
    assert result.solver_detail == "matching, because a GPU joins at most one service and one task"
    large = co.solve(instance(**{**MANY, "rules": {}}))
    assert large.termination.reason is Reason.OPTIMAL
    assert large.solver_detail.startswith("matching")


def test_small_problems_are_enumerated() -> None:
    """Two tasks on a GPU are no matching; few GPUs are gone through."""
    result = co.solve(instance(**TWO_TASKS))
    assert result.termination.reason is Reason.OPTIMAL
    assert result.solver_detail.startswith("brute_force, because all ways to fill")


def test_larger_ones_are_integer_programs() -> None:
    """Many GPUs are not enumerated."""
    result = co.solve(instance(**MANY), isolation="none")
    assert result.termination.reason is Reason.OPTIMAL
    assert result.solver_detail == "milp, because there are at most 200000 columns"


def test_the_largest_go_to_greedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auto, "MIDDLE", 1)
    result = co.solve(instance(**MANY))
    assert result.termination.reason is Reason.FEASIBLE
    assert result.solver_detail == "greedy, because there are more than 1 columns"


def test_what_greedy_cannot_do_is_solved_whatever_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plug-in's constraint needs a solver that reads rows."""
    monkeypatch.setattr(auto, "MIDDLE", 1)
    monkeypatch.setattr(auto, "FEW_COLUMNS", 1)
    result = co.solve(instance(constraints=[{"name": "user_id"}]), isolation="none")
    assert result.ok
    assert "greedy does not support" in result.solver_detail


def test_trying_all_ways_is_given_up_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """The work is bounded in steps, not in seconds, so the choice is the same every time."""
    monkeypatch.setattr(auto, "STEPS", 1)
    result = co.solve(instance(**TWO_TASKS), isolation="none")
    assert result.solver_detail.startswith("milp, because")
    assert "brute_force: " in result.solver_detail
    assert result.ok


def test_a_backend_that_fails_hands_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> object:
        raise TooLargeError("on purpose")

    monkeypatch.setattr(BruteForceSolver, "solve", fail)
    monkeypatch.setattr(Course, "run", fail)
    result = co.solve(instance(**TWO_TASKS))
    assert result.solver_detail.startswith("greedy, because nothing else answered; brute_force: ")
    assert result.ok


def test_without_time_there_is_greedys_plan() -> None:
    result = co.solve(instance(**TWO_TASKS), limits=Limits(time_s=0))
    assert result.ok
    assert result.termination.limit is Limit.TIME
    greedy = co.solve(instance(**TWO_TASKS), "greedy")
    assert result.objective == greedy.objective


@settings(max_examples=25)
@given(any_instance())
def test_it_is_never_worse_than_greedy(drawn: co.Instance) -> None:
    """And an infeasible instance is one for both."""
    problem = compile_problem(drawn)
    if not problem.needed <= GreedySolver.capabilities:
        return
    context = Context(isolation="none")
    mine, other = AutoSolver().solve(problem, context), GreedySolver().solve(problem, context)
    if other.counts is None or other.gangs is None:
        return
    assert mine.counts is not None
    assert mine.gangs is not None
    least = problem.value_of(other.counts, other.gangs)
    assert problem.value_of(mine.counts, mine.gangs) >= least - 1e-9 * problem.scale


def test_no_gpu_at_all_is_answered() -> None:
    """Without a schedulable GPU the empty plan is the plan."""
    result = co.solve(instance(gpu_pools=[{**POOL, "count": 2, "schedulable": False}], services=[]))
    assert result.termination.reason is Reason.OPTIMAL
    assert result.objective == 0
    assert str(result.objective) == "0.0"
