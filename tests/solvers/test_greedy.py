"""Greedy: what it finds, what it cannot, and that names do not matter."""

from __future__ import annotations

import pytest
from hypothesis import given

import colocate as co
from colocate.capability import needed
from colocate.instance import Instance
from colocate.problem import compile_problem
from colocate.result import Reason
from colocate.solvers._order import column_rank
from colocate.solvers._state import State
from colocate.solvers.base import Context
from colocate.solvers.greedy import GreedySolver, _place_required
from colocate.testing import any_instance, solve_by_enumeration
from tests.helpers import instance, profile

TASK = {"profile": "train", "batch": 8}
SERVICE = {"profile": "net", "rate_rps": 10.0, "slo_ms": 300.0}


@given(any_instance())
def test_greedy_never_beats_the_truth_and_never_lies(drawn: Instance) -> None:
    """Its plans are valid, never better than the optimum, and none is found where there is none."""
    if not needed(drawn) <= GreedySolver.capabilities:
        return
    truth = solve_by_enumeration(drawn)
    result = co.solve(drawn, "greedy")
    assert result.termination.reason is not Reason.ERROR
    if truth.objective is None:
        assert result.plan is None
    elif result.objective is not None:
        sign = 1 if result.plan is not None and result.plan.objective.sense == "max" else -1
        slack = 1e-7 * max(1, abs(truth.objective))
        assert sign * (truth.objective - result.objective) >= -slack


def test_scarce_services_go_first() -> None:
    """A service that only one type can hold is not crowded out by one that fits both."""
    pools = [
        {"id": "a", "gpu_type": "A", "count": 1, "memory_gib": 16.0, "sm_count": 4},
        {"id": "b", "gpu_type": "B", "count": 1, "memory_gib": 16.0, "sm_count": 4},
    ]
    profiles = [
        profile("easy", "A", "inference", {1: [8.0, 16.0, 24.0, 32.0]}, {1: 2.0}),
        profile("easy", "B", "inference", {1: [8.0, 16.0, 24.0, 32.0]}, {1: 2.0}),
        profile("picky", "A", "inference", {1: [8.0, 16.0, 24.0, 32.0]}, {1: 2.0}),
        profile("train", "A", "training", {8: [10.0, 20.0, 30.0, 40.0]}, {8: 4.0}),
    ]
    services = [{**SERVICE, "id": n, "profile": n} for n in ("easy", "picky")]
    result = co.solve(instance(gpu_pools=pools, profiles=profiles, services=services), "greedy")
    assert result.plan is not None
    where = {s.service: g.pool for g in result.plan.placements for s in g.services}
    assert where == {"easy": "b", "picky": "a"}


def test_a_failure_to_place_is_not_called_infeasible() -> None:
    """Greedy says that it found nothing, which is all it knows."""
    pool = {"id": "a", "gpu_type": "A", "count": 1, "memory_gib": 16.0, "sm_count": 4}
    result = co.solve(
        instance(gpu_pools=[pool], services=[{"id": "web", **SERVICE, "replicas": 3}]), "greedy"
    )
    assert result.plan is None
    assert result.termination.reason is Reason.NO_SOLUTION_FOUND
    assert "2 required replicas" in result.termination.detail


def gang_instance(gpus: int, **task: object) -> Instance:
    return instance(
        gpu_pools=[{"id": "a", "gpu_type": "A", "count": gpus, "memory_gib": 16.0, "sm_count": 4}],
        services=[],
        tasks=[
            {"id": "gang", **TASK, "gang_size": 2, "count": 2, **task},
            {"id": "one", **TASK, "count": 2, "weight": 0.75},
        ],
    )


def test_gangs_compete_by_their_worth_for_one_gpu() -> None:
    """A gang of two is worth its place by what it brings for each of its GPUs."""
    for weight, expected in ((1.0, 4.0), (0.5, 2 * 0.75 + 2 * 0.5)):
        result = co.solve(gang_instance(4, weight=weight), "greedy")
        assert result.plan is not None
        assert result.objective == pytest.approx(expected)
        assert result.plan.totals.tasks_placed == (2 if weight == 1.0 else 3)


def test_a_gang_is_not_started_without_room_for_all_of_it() -> None:
    """Three GPUs hold one gang of two and one single task, never half a gang."""
    result = co.solve(gang_instance(3, weight=1.0), "greedy")
    assert result.plan is not None
    assert result.objective == pytest.approx(2.75)
    assert [(u.task, u.ids) for u in result.plan.unplaced] == [("gang", "1"), ("one", "1")]


def test_quotas_stop_greedy() -> None:
    """A quota in tasks counts a gang once; a quota in shares counts every worker's share."""
    for unit, maximum, placed in (("tasks", 1.0, 1), ("gpu_share", 3.0, 1), ("gpu_share", 4.0, 2)):
        rules = {"quotas": [{"tenant": "default", "unit": unit, "maximum": maximum}]}
        stated = gang_instance(4, weight=1.0).replace(rules=rules)
        result = co.solve(stated, "greedy")
        assert result.plan is not None
        gangs = {
            w // 2 for p in result.plan.iter_placements() for w, t in p.tasks if t.task == "gang"
        }
        assert len(gangs) == placed, (unit, maximum)


def test_floors_are_met_first() -> None:
    """A tenant with a floor gets its tasks placed although others are worth more."""
    tasks = [
        {"id": "rich", **TASK, "count": 4, "weight": 9.0},
        {"id": "poor", **TASK, "count": 4, "tenant": "poor"},
    ]
    pool = {"id": "a", "gpu_type": "A", "count": 3, "memory_gib": 16.0, "sm_count": 4}
    base = instance(gpu_pools=[pool], services=[], tasks=tasks)
    for unit in ("tasks", "gpu_share"):
        rules = {"quotas": [{"tenant": "poor", "unit": unit, "minimum": 2.0}]}
        result = co.solve(base.replace(rules=rules), "greedy")
        assert result.plan is not None
        placed = [t.task for p in result.plan.iter_placements() for _, t in p.tasks]
        assert sorted(placed) == ["poor", "poor", "rich"]
        rules = {"quotas": [{"tenant": "poor", "unit": unit, "minimum": 4.0}]}
        nothing = co.solve(base.replace(rules=rules), "greedy")
        assert nothing.plan is None
        assert nothing.termination.reason is Reason.NO_SOLUTION_FOUND
        assert "no way to meet a floor" in nothing.termination.detail


def test_required_replicas_are_placed_before_anything_gains() -> None:
    """Phase one leaves every required replica on some GPU and nothing else."""
    problem = compile_problem(instance(services=[{"id": "web", **SERVICE, "replicas": 2}]))
    state = State(problem)
    assert _place_required(state) == 0
    assert state.services == [0]
    assert state.tasks == [3]
    assert state.empty == [0]


def test_ranks_are_a_permutation_whatever_the_names() -> None:
    """Renaming services, tasks and pools leaves the rank of what a column is unchanged."""

    def ranked(a: str, b: str, pool: str) -> list[tuple[float, int]]:
        tasks = [{"id": a, **TASK, "weight": 1.5}, {"id": b, **TASK, "weight": 2.5}]
        pools = [{"id": pool, "gpu_type": "A", "count": 2, "memory_gib": 16.0, "sm_count": 4}]
        problem = compile_problem(instance(tasks=tasks, gpu_pools=pools))
        rank = column_rank(problem)
        assert sorted(rank.tolist()) == list(range(problem.columns.size))
        return sorted(zip(problem.columns.value.tolist(), rank.tolist(), strict=True))

    assert ranked("a", "b", "p") == ranked("z", "b", "q")


def test_history_ends_with_what_is_returned() -> None:
    """The last line of the history is the value of the plan."""
    problem = compile_problem(instance())
    raw = GreedySolver().solve(problem, Context())
    assert raw.counts is not None
    assert raw.gangs is not None
    value = problem.objective_of(problem.value_of(raw.counts, raw.gangs))
    assert raw.history[-1].incumbent == pytest.approx(value)


def test_nothing_is_placed_at_a_loss() -> None:
    """A task that costs more running than left out is left out."""
    cheap = {"name": "iteration_time", "params": {"unplaced_s": 0.1}}
    result = co.solve(instance(objective=cheap, services=[]), "greedy")
    assert result.plan is not None
    assert result.plan.placements == ()
    assert result.objective == pytest.approx(3 * 0.1)


def test_a_floor_between_two_counts_is_met_by_the_larger() -> None:
    """One and a half tasks are two tasks."""
    tasks = [
        {"id": "rich", **TASK, "count": 4, "weight": 9.0},
        {"id": "poor", **TASK, "count": 4, "tenant": "poor"},
    ]
    pool = {"id": "a", "gpu_type": "A", "count": 3, "memory_gib": 16.0, "sm_count": 4}
    rules = {"quotas": [{"tenant": "poor", "unit": "tasks", "minimum": 1.5}]}
    stated = instance(gpu_pools=[pool], services=[], tasks=tasks, rules=rules)
    result = co.solve(stated, "greedy")
    assert result.plan is not None
    placed = [t.task for p in result.plan.iter_placements() for _, t in p.tasks]
    assert sorted(placed) == ["poor", "poor", "rich"]


@pytest.mark.parametrize("solver", ["greedy", "brute_force"])
def test_no_gang_runs_on_one_gpu(solver: str) -> None:
    """Two places on one GPU are not two GPUs, even where two gangs are waiting."""
    pool = {"id": "a", "gpu_type": "A", "count": 1, "memory_gib": 16.0, "sm_count": 4}
    gangs = [{"id": "gang", **TASK, "gang_size": 2, "count": 2}]
    stated = instance(gpu_pools=[pool], services=[], tasks=gangs, rules={"tasks_per_gpu": 2})
    result = co.solve(stated, solver)
    assert result.plan is not None
    assert result.plan.placements == ()


def test_a_floor_that_is_met_stays_met() -> None:
    """A neighbour that is worth more takes no share that a floor needs."""
    tasks = [
        {"id": "rich", **TASK, "count": 1, "weight": 9.0},
        {"id": "poor", **TASK, "count": 1, "tenant": "poor"},
    ]
    pool = {"id": "a", "gpu_type": "A", "count": 1, "memory_gib": 16.0, "sm_count": 4}
    floor = [{"tenant": "poor", "unit": "gpu_share", "minimum": 0.75}]
    rules = {"tasks_per_gpu": 2, "quotas": floor}
    stated = instance(gpu_pools=[pool], services=[], tasks=tasks, rules=rules)
    result = co.solve(stated, "greedy")
    assert result.plan is not None
    shares = {t.task: t.share_pct for p in result.plan.iter_placements() for _, t in p.tasks}
    assert shares["poor"] >= 75
