"""Pairing is exact, by graph and by program; repeated matching is valid and never better."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

import colocate as co
from colocate.capability import Capability, needed
from colocate.errors import TooLargeError, UnsupportedError
from colocate.instance import Instance
from colocate.problem import compile_problem
from colocate.result import Limit, Limits, Reason
from colocate.solvers import pairing
from colocate.solvers._pairs import Program, by_program
from colocate.solvers.base import Context
from colocate.solvers.muri import MuriSolver
from colocate.solvers.pairing import PairingSolver, fits
from colocate.testing import SolverConformance, solve_by_enumeration
from colocate.testing.strategies import instances
from tests.counting import count
from tests.helpers import instance, profile

EXAMPLES = max(4, settings.default.max_examples // 10) if settings.default else 5
SUPPORTED = PairingSolver.capabilities
POOL = {"id": "a", "gpu_type": "A", "count": 2, "memory_gib": 16.0, "sm_count": 4}
calm = [HealthCheck.filter_too_much, HealthCheck.too_slow]


class _Groups(SolverConformance):
    examples = EXAMPLES
    most = 2

    def _solve(self, instance: Instance, **options: Any) -> co.Result:
        """Ask about the tasks alone, and pass over groups that are too large."""
        problem = compile_problem(instance)
        why = pairing.mixed(problem) if self.most > 2 else fits(problem)
        if why is not None:
            reject()
        return super()._solve(instance, **options)

    def test_what_has_no_plan_gets_none(self) -> None:
        """Without services and floors there is always a plan, the empty one."""
        assert not {Capability.FREE_SERVICES, Capability.FLOORS} & self._capabilities()


class TestPairing(_Groups):
    solver = "pairing"


class TestMuri(_Groups):
    solver = "muri"
    most = 4


def tasks_only(drawn: Instance, most: int) -> Instance:
    """The same without services, and with so many tasks on a GPU."""
    spec = json.loads(drawn.model_dump_json(by_alias=True, exclude_none=True))
    spec["services"] = []
    spec["rules"] |= {"tasks_per_gpu": most, "anti_affinity": []}
    spec["rules"].pop("workloads_per_gpu", None)
    return Instance.model_validate(spec)


def check(drawn: Instance, most: int) -> None:
    stated = tasks_only(drawn, most)
    try:
        truth = solve_by_enumeration(stated)
    except TooLargeError:
        reject()
    assert truth.objective is not None
    grouped = count(co.solve(stated, "muri"))
    assert grouped.violations == ()
    assert grouped.plan is not None
    assert grouped.objective is not None
    assert grouped.termination.reason is Reason.FEASIBLE
    sign = 1 if grouped.plan.objective.sense == "max" else -1
    slack = 1e-7 * max(1.0, abs(truth.objective))
    assert sign * (truth.objective - grouped.objective) >= -slack
    if fits(compile_problem(stated)) is not None:
        return
    paired = count(co.solve(stated, "pairing"))
    assert paired.termination.reason is Reason.OPTIMAL
    assert paired.objective == pytest.approx(truth.objective, rel=1e-7, abs=1e-7)
    assert paired.bound_claimed == pytest.approx(paired.objective, rel=1e-7, abs=1e-7)
    # Groups of two are the first round, which is exact too.
    assert grouped.objective == pytest.approx(truth.objective, rel=1e-7, abs=1e-7)


@settings(max_examples=100, suppress_health_check=calm)
@given(instances("contended", supported=SUPPORTED), st.integers(2, 3))
def test_pairing_equals_the_oracle(drawn: Instance, most: int) -> None:
    check(drawn, most)


@pytest.mark.deep
@settings(max_examples=5000, derandomize=False, suppress_health_check=calm)
@given(instances("any", supported=SUPPORTED), st.integers(2, 3))
def test_pairing_equals_the_oracle_on_many(drawn: Instance, most: int) -> None:
    """The same on 5,000 instances that are new in every run."""
    check(drawn, most)


def distinct(
    n_tasks: int, gpus: int, seed: int, per_gpu: int = 2, slowest: float = 1.6
) -> Instance:
    """Tasks of one each that slow each other down, pair by pair."""
    rng = np.random.default_rng(seed)
    names = [f"job{i}" for i in range(n_tasks)]
    pairs = [
        {"gpu_type": "A", "victim": v, "neighbour": n, "slowdown": float(rng.uniform(1, slowest))}
        for v in names
        for n in names
    ]
    # Rates that level off, so that half a GPU is worth more than half.
    rates = [[6.0, 10.0, 12.5, 14.0, 15.5, float(rng.uniform(15.5, 18)), 18, 18] for _ in names]
    return instance(
        gpu_pools=[{**POOL, "count": gpus, "sm_count": 20}],
        services=[],
        tasks=[
            {"id": n, "profile": n, "batch": 8, "weight": float(rng.uniform(2 - slowest, slowest))}
            for n in names
        ],
        profiles=[
            profile(n, "A", "training", {8: r}, {8: 2.0}) for n, r in zip(names, rates, strict=True)
        ],
        interference={"pairs": pairs, "default_slowdown": 1.0},
        rules={"tasks_per_gpu": per_gpu},
    )


@pytest.mark.parametrize(("n_tasks", "gpus"), [(7, 2), (8, 4), (5, 9), (9, 4), (6, 5), (1, 1)])
def test_graph_and_program_agree(n_tasks: int, gpus: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """More tasks than places, as many, and fewer than GPUs."""
    methods = Counter[str]()
    for seed in range(4):
        problem = compile_problem(distinct(n_tasks, gpus, seed))
        values = []
        for graph in (40, 0):
            monkeypatch.setattr(pairing, "GRAPH", graph)
            raw = PairingSolver().solve(problem, Context())
            assert raw.counts is not None
            assert raw.gangs is not None
            values.append(problem.value_of(raw.counts, raw.gangs))
            methods[raw.history[-1].phase] += 1
        assert values[0] == pytest.approx(values[1], rel=1e-9)
    assert methods == {"graph": 4, "program": 4}


def test_odd_sets_leave_a_gap_that_is_shown() -> None:
    """Three tasks, each pair worth 1: half a pair each for the relaxation, one pair in truth."""
    stated = distinct(5, 2, 0)
    result = co.solve(stated, "pairing")
    assert result.termination.reason is Reason.OPTIMAL
    assert result.objective is not None
    assert result.bound is not None
    assert result.bound_claimed == pytest.approx(result.objective, rel=1e-9)
    assert result.bound >= result.objective - 1e-9
    assert result.objective == pytest.approx(solve_by_enumeration(stated).objective)


def test_many_alike_are_no_larger_a_problem() -> None:
    """Ten thousand tasks of four kinds on four thousand GPUs."""
    few = distinct(4, 3, 1)
    spec = json.loads(few.model_dump_json(by_alias=True, exclude_none=True))
    for task in spec["tasks"]:
        task["count"] = 2500
    spec["gpu_pools"][0]["count"] = 4000
    stated = Instance.model_validate(spec)
    result = co.solve(stated, "pairing")
    assert result.termination.reason is Reason.OPTIMAL
    assert result.gap is not None
    assert result.gap <= 1e-6


def test_groups_of_four_are_found() -> None:
    """Repeated matching fills GPUs with more than two tasks where that pays."""
    stated = distinct(8, 2, 3, per_gpu=4, slowest=1.1)
    problem = compile_problem(stated)
    raw = MuriSolver().solve(problem, Context())
    assert raw.counts is not None
    width = np.diff(problem.columns.start)
    assert width[raw.counts > 0].max() > 2
    pairs = co.solve(distinct(8, 2, 3, per_gpu=2, slowest=1.1), "pairing")
    result = co.solve(stated, "muri")
    assert result.termination.reason is Reason.FEASIBLE
    assert result.objective is not None
    assert pairs.objective is not None
    assert result.objective >= pairs.objective * (1 - 1e-9)
    found = [line.incumbent for line in result.history if line.incumbent is not None]
    assert found == sorted(found)
    assert len(found) >= 2


@pytest.mark.parametrize("solver", ["pairing", "muri"])
def test_larger_groups_are_refused(solver: str) -> None:
    most = {"pairing": 3, "muri": 5}[solver]
    with pytest.raises(UnsupportedError, match=f"up to {most} tasks"):
        co.solve(distinct(6, 2, 0, per_gpu=most, slowest=1.1), solver)


@pytest.mark.parametrize("solver", ["pairing", "muri"])
@pytest.mark.parametrize(
    "changes",
    [
        {"tasks": [{"id": "job", "profile": "train", "batch": 8, "gang_size": 2}]},
        {"rules": {"quotas": [{"tenant": "default", "maximum": 1.0}]}},
        {"constraints": [{"name": "memory"}]},
        {"services": [{"id": "web", "profile": "net", "rate_rps": 10.0, "slo_ms": 300.0}]},
    ],
    ids=["gang", "quota", "plug-in", "services"],
)
def test_what_is_not_supported_is_refused(solver: str, changes: dict[str, object]) -> None:
    stated = instance(**{"services": [], **changes})
    assert needed(stated) - SUPPORTED
    with pytest.raises(UnsupportedError, match="does not support"):
        co.solve(stated, solver)


@pytest.mark.parametrize("solver", ["pairing", "muri"])
def test_no_time_is_no_proof(solver: str) -> None:
    result = co.solve(distinct(6, 2, 0), solver, limits=Limits(time_s=0.0))
    assert result.termination.limit is Limit.TIME
    assert result.termination.reason is Reason.NO_SOLUTION_FOUND


def test_programs_say_what_they_know() -> None:
    """Infeasible is a proof; worths of any unit come back as they are."""
    one = np.ones(1)
    none = np.zeros(1, dtype=np.int64)
    impossible = by_program(Program(one, none, none, one, 2 * one, one))
    assert impossible.x is None
    assert impossible.complete
    for unit in (1e-9, 1.0, 1e9):
        answer = by_program(Program(unit * one, none, none, one, -np.inf * one, 3 * one))
        assert answer.x is not None
        assert answer.x.tolist() == [3]
        assert answer.bound == pytest.approx(3 * unit, rel=1e-9)
