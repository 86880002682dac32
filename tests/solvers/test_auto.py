"""Auto: chooses by structure and size, and says which and why."""

from __future__ import annotations

import pytest

import colocate as co
from colocate.result import Reason
from colocate.solvers import auto
from tests.helpers import instance

TASK = {"profile": "train", "batch": 8}
POOL = {"id": "a", "gpu_type": "A", "memory_gib": 16.0, "sm_count": 4}


def test_small_problems_are_enumerated() -> None:
    """The optimum is proved where that is cheap."""
    result = co.solve(instance())
    assert result.termination.reason is Reason.OPTIMAL
    assert result.solver_detail.startswith("brute_force, because there are at most")


def test_large_problems_go_to_greedy() -> None:
    """Many GPUs are not enumerated."""
    result = co.solve(
        instance(gpu_pools=[{**POOL, "count": 500}], tasks=[{"id": "job", **TASK, "count": 300}])
    )
    assert result.termination.reason is Reason.FEASIBLE
    assert result.solver_detail == "greedy, because there are more than 5000 ways to fill the GPUs"


def test_what_greedy_cannot_do_is_enumerated_whatever_the_size() -> None:
    """A plug-in's constraint needs enumeration; the note says that."""
    result = co.solve(instance(constraints=[{"name": "user_id"}]))
    assert result.ok
    assert "greedy does not support constraints from plug-ins" in result.solver_detail


def test_trying_all_ways_is_given_up_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """The work is bounded in steps, not in seconds, so the choice is the same every time."""
    monkeypatch.setattr(auto, "NODES", 1)
    result = co.solve(instance())
    assert result.solver_detail == "greedy, because trying all ways takes more than 1 steps"
    assert result.ok


def test_no_gpu_at_all_is_answered() -> None:
    """Without a schedulable GPU the empty plan is the plan."""
    result = co.solve(instance(gpu_pools=[{**POOL, "count": 2, "schedulable": False}], services=[]))
    assert result.termination.reason is Reason.OPTIMAL
    assert result.objective == 0
    assert str(result.objective) == "0.0"
