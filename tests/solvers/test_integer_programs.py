"""milp, ilp and cp-sat: equal to the oracle and to each other, honest, and never fed nonsense."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings

import colocate as co
from colocate import datasets
from colocate.errors import SolverError, TooLargeError, UnsupportedError
from colocate.instance import Instance
from colocate.problem import Problem, compile_problem
from colocate.result import Limit, Limits, Reason
from colocate.solvers import _course
from colocate.solvers.base import Context, RawSolution
from colocate.solvers.brute_force import BruteForceSolver
from colocate.solvers.cp_sat import CpSatSolver
from colocate.solvers.ilp import IlpSolver
from colocate.solvers.milp import MilpSolver
from colocate.testing import any_instance, solve_by_enumeration
from tests.counting import count
from tests.helpers import instance

SOLVERS = {"milp": MilpSolver, "ilp": IlpSolver, "cp-sat": CpSatSolver}
HERE = Context(isolation="none")
TASK = {"profile": "train", "batch": 8}
POOL = {"id": "a", "gpu_type": "A", "memory_gib": 16.0, "sm_count": 4}


def against_the_oracle(drawn: Instance, *names: str) -> None:
    """Some, or all three, through the front door, in this process."""
    try:
        truth = solve_by_enumeration(drawn)
    except TooLargeError:
        return
    for name in names or SOLVERS:
        found = count(co.solve(drawn, name, isolation="none"))
        assert found.violations == ()
        if truth.objective is None:
            assert found.termination.reason is Reason.INFEASIBLE
            assert found.plan is None
            continue
        assert found.termination.reason is Reason.OPTIMAL, found.termination.detail
        assert found.objective == pytest.approx(truth.objective, rel=1e-8, abs=1e-8)
        assert found.bound_claimed == pytest.approx(truth.objective, rel=1e-6, abs=1e-6)
        assert found.plan is not None
        sign = 1 if found.plan.objective.sense == "max" else -1
        slack = 1e-8 * max(1.0, abs(truth.objective))
        for bound in (found.bound, found.bound_claimed, *(line.bound for line in found.history)):
            assert bound is None or sign * (bound - truth.objective) >= -slack


def against_brute_force(drawn: Instance) -> None:
    """Backends alone, without a plan to start from and with all columns, on the arrays."""
    problem = compile_problem(drawn)
    try:
        truth = BruteForceSolver(max_nodes=20_000).solve(problem, Context())
    except TooLargeError:
        return
    for solver in SOLVERS.values():
        found = solver(plain=True).solve(problem, HERE)
        assert found.reason is truth.reason, found.detail
        if truth.counts is None:
            assert found.counts is None
            continue
        value = value_of(problem, found)
        assert value == pytest.approx(value_of(problem, truth), rel=1e-8, abs=1e-8 * problem.scale)
        assert found.value_claimed is not None
        assert found.value_claimed >= value - 1e-9 * max(abs(value), problem.scale)


def everything(drawn: Instance) -> None:
    against_the_oracle(drawn)
    against_brute_force(drawn)
    with mock.patch.object(_course, "CORE", 2):
        against_the_oracle(drawn, "milp")


def value_of(problem: Problem, found: RawSolution) -> float:
    assert found.counts is not None
    assert found.gangs is not None
    return problem.value_of(found.counts, found.gangs)


@settings(max_examples=100)
@given(any_instance())
def test_equal_to_the_oracle(drawn: Instance) -> None:
    """On 100 drawn instances: same status, same optimum, valid plans, bounds that hold.

    Backends answer alone, too, where greedy and the prices would have been enough; and in two
    rounds, as they do where columns are many.
    """
    everything(drawn)


def test_an_optimum_that_a_backend_once_lost() -> None:
    """CBC's preprocessing called 4.57 the most that this can be worth, on top of -10."""
    text = Path(__file__).with_name("optimum_cut_off.json").read_text(encoding="utf-8")
    lost = Instance.model_validate_json(text)
    everything(lost)
    assert solve_by_enumeration(lost).objective == pytest.approx(0.0)


@pytest.mark.deep
@pytest.mark.parametrize("part", range(5))
@settings(max_examples=1000, derandomize=False)
@given(drawn=any_instance())
def test_equal_to_the_oracle_on_many(part: int, drawn: Instance) -> None:
    """The same on 5,000 instances that are new in every run, in five parts."""
    everything(drawn)


MEETING = ("gangs", "tenants", "two_tasks", "heterogeneous", "binding_memory")
"""Families of which a few instances are closed by all three."""


def closed_by_all(family: str, seed: int) -> None:
    """About 40 tasks on 12 GPUs: all three close it and agree, and the judge agrees with them."""
    asked = datasets.generate(family, gpus=12, seed=seed, tasks=10, sm_count=20)
    found = {name: co.solve(asked, name) for name in SOLVERS}
    for name, result in found.items():
        assert result.termination.reason is Reason.OPTIMAL, (name, result.termination)
        assert result.violations == ()
        assert result.objective == pytest.approx(found["milp"].objective, rel=1e-8)
        assert result.bound_claimed == pytest.approx(found["milp"].objective, rel=1e-7)
        assert result.bound is not None
        assert result.objective is not None
        assert result.bound >= result.objective * (1 - 1e-9)


@pytest.mark.parametrize("family", MEETING)
def test_they_agree_where_the_oracle_cannot_go(family: str) -> None:
    """Ten instances of each family."""
    for seed in range(10):
        closed_by_all(family, seed)


@pytest.mark.deep
@pytest.mark.parametrize("family", MEETING)
def test_they_agree_on_many(family: str) -> None:
    """Two hundred instances of each family."""
    for seed in range(1000, 1200):
        closed_by_all(family, seed)


@pytest.mark.parametrize("name", SOLVERS)
def test_the_same_question_has_the_same_answer_in_a_worker_and_here(name: str) -> None:
    """To the byte, twice in a worker and once in this process."""
    asked = datasets.generate("gangs", gpus=12, seed=3)
    plans = [co.solve(asked, name, isolation=i).plan for i in ("auto", "auto", "none")]
    texts = [plan.model_dump_json() for plan in plans if plan is not None]
    assert len(texts) == 3
    assert len(set(texts)) == 1


@pytest.mark.parametrize("name", SOLVERS)
def test_a_gap_that_is_close_enough_ends_the_search(name: str) -> None:
    """Within the gap of the objective, and not called optimal unless it is."""
    asked = datasets.generate("gangs", gpus=12, seed=0)
    best = co.solve(asked, name)
    near = co.solve(asked, name, limits=Limits(gap=0.06))
    assert near.termination.reason in (Reason.FEASIBLE, Reason.OPTIMAL)
    assert near.termination.limit is Limit.NONE
    assert best.objective is not None
    assert near.objective is not None
    assert best.objective * (1 - 0.06) <= near.objective <= best.objective + 1e-9
    if near.termination.reason is Reason.FEASIBLE:
        assert "within the gap" in near.termination.detail
        assert near.bound_claimed is not None
        assert near.bound_claimed >= best.objective - 1e-6


def small() -> Problem:
    tasks = [{"id": f"t{i}", **TASK, "weight": 1.0 + i / 7} for i in range(3)]
    rules = {"quotas": [{"tenant": "default", "maximum": 2.0}]}
    return compile_problem(instance(tasks=tasks, rules=rules))


def spoiled(what: str, value: float) -> Problem:
    """One number of a problem replaced."""
    problem = small()
    if what == "worth":
        values = problem.columns.value.copy()
        values[1] = value
        return replace(problem, columns=replace(problem.columns, value=values))
    numbers = getattr(problem.rows, what).copy()
    numbers[-1] = value
    return replace(problem, rows=replace(problem.rows, **{what: numbers}))


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("what", ["worth", "coefficient", "lower", "upper"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_what_is_not_a_number_reaches_no_backend(name: str, what: str, value: float) -> None:
    """NaN, infinite and absurd numbers are an error in words, whatever number they replace."""
    if (what, value) in (("upper", np.inf), ("lower", -np.inf)):
        return  # no limit
    with pytest.raises(SolverError, match=r"which no backend can work with") as caught:
        SOLVERS[name]().solve(spoiled(what, value), HERE)
    assert caught.value.advice is not None


def test_an_engine_of_the_users_own_is_named_after_a_colon() -> None:
    """PuLP's name of an engine; one that is not there is said to be missing, not replaced."""
    asked = instance()
    found = co.solve(asked, "ilp:PULP_CBC_CMD")
    assert found.termination.reason is Reason.OPTIMAL
    assert (found.solver, found.solver_detail) == ("ilp", "engine PULP_CBC_CMD")
    # Greedy's plan is proved by the prices here, so the engine is asked without it.
    missing = IlpSolver("GUROBI_CMD", plain=True).solve(compile_problem(asked), Context())
    assert missing.reason is Reason.ERROR
    assert "GUROBI_CMD is not available to PuLP here (there: PULP_CBC_CMD" in missing.detail
    with pytest.raises(UnsupportedError, match="not the name of an engine"):
        co.solve(asked, "ilp:rm -rf")
    with pytest.raises(UnsupportedError, match="'milp' has no engines"):
        co.solve(asked, "milp:GUROBI_CMD")


@pytest.mark.parametrize("name", SOLVERS)
def test_moves_are_refused(name: str) -> None:
    """What does not reach solvers as rows yet is refused."""
    stated = instance(rules={"moves": {"price": 1.0}}, current=[])
    with pytest.raises(UnsupportedError, match="does not support: move prices"):
        co.solve(stated, name)


def scaled(factor: float) -> Any:
    tasks = [{"id": f"t{i}", **TASK, "weight": factor * (1.0 + i / 7)} for i in range(5)]
    return instance(gpu_pools=[{**POOL, "count": 3}], tasks=tasks, rules={"tasks_per_gpu": 2})


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("factor", [1e-9, 1e9])
def test_the_unit_of_the_weights_changes_nothing(name: str, factor: float) -> None:
    """Tiny and huge weights lead to the same plan."""
    one, other = (
        SOLVERS[name](plain=True).solve(compile_problem(scaled(f)), HERE) for f in (1.0, factor)
    )
    assert one.counts is not None
    assert other.counts is not None
    assert one.counts.tolist() == other.counts.tolist()
