"""Matching: equal to the oracle where it answers, proved to 1e-9, and refused where not exact."""

from __future__ import annotations

import json
import threading
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

import colocate as co
from colocate.capability import Capability, needed
from colocate.datasets import generate
from colocate.errors import TooLargeError, UnsupportedError
from colocate.instance import Instance
from colocate.prices import value_bound
from colocate.problem import Problem, compile_problem
from colocate.result import Limit, Reason
from colocate.solvers import matching
from colocate.solvers.base import Clock, Context
from colocate.solvers.matching import MatchingSolver, fits
from colocate.solvers.transport import assignment as _assignment
from colocate.solvers.transport import flow as _flow
from colocate.solvers.transport.flow import Network, best_flow
from colocate.solvers.transport.problem import NotTransport, Transport, transport
from colocate.testing import SolverConformance, solve_by_enumeration
from colocate.testing.strategies import InstanceKind, instances
from tests.counting import count
from tests.helpers import instance, profile

EXAMPLES = max(10, settings.default.max_examples // 4) if settings.default else 10
SUPPORTED = MatchingSolver.capabilities
TASK = {"profile": "train", "batch": 8}
SERVICE = {"profile": "net", "rate_rps": 10.0, "slo_ms": 300.0}
POOL = {"id": "a", "gpu_type": "A", "count": 2, "memory_gib": 16.0, "sm_count": 4}
calm = [HealthCheck.filter_too_much, HealthCheck.too_slow]


class TestMatching(SolverConformance):
    solver = "matching"
    examples = EXAMPLES

    def _solve(self, instance: Instance, **options: Any) -> co.Result:
        """Pass over what is no flow problem."""
        try:
            return super()._solve(instance, **options)
        except UnsupportedError:
            assert needed(instance) <= SUPPORTED
            reject()


def close(result: co.Result, scale: float) -> None:
    """Assert that the recomputed bound proves the plan."""
    assert result.termination.reason is Reason.OPTIMAL, result.termination
    assert result.objective is not None
    assert result.bound is not None
    assert result.bound_claimed is not None
    # The second part is for plans that are worth about nothing.
    slack = 1e-9 * abs(result.objective) + 1e-11 * scale
    assert abs(result.bound - result.objective) <= slack
    assert abs(result.bound_claimed - result.objective) <= slack


def check(drawn: Instance) -> None:
    """Same status, same optimum, proved; or refused, as `fits` says."""
    problem = compile_problem(drawn)
    why = fits(problem)
    if why is not None:
        with pytest.raises(UnsupportedError) as caught:
            co.solve(drawn, "matching")
        assert why in caught.value.message
        assert caught.value.path is not None
        assert caught.value.advice
        return
    result = count(co.solve(drawn, "matching"))
    try:
        truth = solve_by_enumeration(drawn)
    except TooLargeError:
        return
    assert result.violations == ()
    if truth.objective is None:
        assert result.termination.reason is Reason.INFEASIBLE
        assert result.plan is None
        return
    assert result.objective == pytest.approx(truth.objective, rel=1e-9, abs=1e-9)
    close(result, problem.scale + abs(problem.offset))


@settings(max_examples=100, suppress_health_check=calm)
@given(instances("any", supported=SUPPORTED))
def test_matching_equals_the_oracle(drawn: Instance) -> None:
    check(drawn)


KINDS: tuple[InstanceKind, ...] = ("any", "contended", "boundary", "infeasible", "degenerate")


@pytest.mark.deep
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=1000, derandomize=False, suppress_health_check=calm)
@given(data=st.data())
def test_matching_equals_the_oracle_on_many(kind: InstanceKind, data: st.DataObject) -> None:
    """The same on 5,000 instances that are new in every run."""
    check(data.draw(instances(kind, supported=SUPPORTED)))


# -- both methods, at sizes that an oracle does not reach ---------------------------------------


@pytest.mark.parametrize("family", ["typed", "all_distinct", "tight_slo"])
def test_flow_and_assignment_agree(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With and without the dense matrix: the same optimum, and both prove it."""
    problem = compile_problem(generate(family, gpus=30, seed=3))
    methods = Counter[str]()
    values = []
    for largest in (0, _assignment.LARGEST):
        monkeypatch.setattr(_assignment, "LARGEST", largest)
        raw = MatchingSolver().solve(problem, Context())
        assert raw.counts is not None
        assert raw.prices is not None
        assert raw.reason is Reason.OPTIMAL
        none = np.zeros(0, dtype=np.int64)
        values.append(problem.value_of(raw.counts, none))
        assert value_bound(problem, raw.prices) == pytest.approx(values[-1], rel=1e-9)
        methods[raw.history[-1].phase] += 1
    assert values[0] == pytest.approx(values[1], rel=1e-9)
    assert methods["flow"] >= 1
    assert family != "all_distinct" or methods["assignment"] == 1


def test_distinct_pairs_are_assigned_as_scipy_does() -> None:
    """Pinned services of one replica each, and tasks of one each: the optimum of the matrix."""
    rng = np.random.default_rng(5)
    for _ in range(20):
        n, m = rng.integers(1, 7, size=2).tolist()
        worth = rng.integers(0, 9, size=(n, m)) / 4.0
        matched = _assignment._matched(worth, Clock(Context()))
        assert not isinstance(matched, Limit)
        row, column = matched
        price, of_row = _assignment._prices(worth, row, column)
        assert (of_row[:, None] + price[None, :] >= worth - 1e-12).all()
        assert price.sum() + of_row.sum() == pytest.approx(worth[row, column].sum(), abs=1e-12)


def _random_network(rng: np.random.Generator) -> Network:
    n, arcs = int(rng.integers(2, 7)), int(rng.integers(1, 16))
    tail, head = rng.integers(0, n, size=(2, arcs))
    lower = rng.integers(0, 2, arcs) * rng.integers(0, 2, arcs)
    upper = lower + rng.integers(0, 4, arcs)
    supply = np.zeros(n, dtype=np.int64)
    flow = rng.integers(lower, upper + 1)
    np.add.at(supply, tail, flow)
    np.subtract.at(supply, head, flow)
    # Worths of very different size: rounded to whole numbers once, some would vanish.
    value = rng.normal(size=arcs) * 10.0 ** rng.integers(-9, 10, arcs)
    return Network(supply, tail, head, lower, upper, value)


def test_flows_are_optimal_in_float64() -> None:
    """Against an LP, and within 1e-9 even where worths differ by eighteen digits."""
    from scipy.optimize import linprog

    rng = np.random.default_rng(11)
    for _ in range(60):
        network = _random_network(rng)
        flow = best_flow(network)
        assert flow is not None, "a flow was there to begin with"
        assert (network.lower <= flow.amount).all()
        assert (flow.amount <= network.upper).all()
        balance = np.zeros_like(network.supply)
        np.add.at(balance, network.tail, flow.amount)
        np.subtract.at(balance, network.head, flow.amount)
        assert (balance == network.supply).all()
        value = float(network.value @ flow.amount)
        matrix = np.zeros((network.supply.size, network.tail.size))
        np.add.at(matrix, (network.tail, np.arange(network.tail.size)), 1.0)
        np.add.at(matrix, (network.head, np.arange(network.tail.size)), -1.0)
        unit = float(np.abs(network.value).max())
        found = linprog(  # type: ignore[call-overload]
            -network.value / unit,
            A_eq=matrix,
            b_eq=network.supply,
            bounds=np.stack([network.lower, network.upper], axis=1),
        )
        assert value >= -found.fun * unit - 1e-9 * unit
        assert flow.gap <= 1e-9 * abs(value) + 1e-15 * unit
        assert flow.gap >= -1e-12 * unit


def test_an_impossible_flow_is_none() -> None:
    """More must go through an arc than arrives."""
    one, two = np.array([0]), np.array([1])
    assert best_flow(Network(np.array([0, 0]), one, two, two, two, np.ones(1))) is None


def test_a_round_of_whole_numbers_is_refined(monkeypatch: pytest.MonkeyPatch) -> None:
    """With four bits a round is far off; the further ones still reach the optimum."""
    problem = compile_problem(generate("typed", gpus=200, seed=1))
    exact = MatchingSolver().solve(problem, Context()).value_claimed
    monkeypatch.setattr(_flow, "SCALE", 2.0**14)
    raw = MatchingSolver().solve(problem, Context())
    assert raw.reason is Reason.OPTIMAL
    assert raw.value_claimed == pytest.approx(exact, rel=1e-9)
    monkeypatch.setattr(_flow, "ROUNDS", 1)
    rough = MatchingSolver().solve(problem, Context())
    assert rough.reason is Reason.FEASIBLE
    assert "leave" in rough.detail


# -- the regime ---------------------------------------------------------------------------------


def two_types(**changes: object) -> Instance:
    pools = [{**POOL, "count": 1}, {**POOL, "id": "b", "gpu_type": "B", "count": 1}]
    profiles = [
        profile(name, t, role, rates, {batch: 2.0})
        for t, speed in (("A", 1.0), ("B", 2.0))
        for name, role, batch, rates in (
            ("net", "inference", 1, {1: [8.0 * speed * i for i in (1, 2, 3, 4)]}),
            ("train", "training", 8, {8: [10.0 * speed * i for i in (1, 2, 3, 4)]}),
        )
    ]
    return instance(gpu_pools=pools, profiles=profiles, **changes)


def found(stated: Instance) -> Transport | NotTransport | None:
    problem: Problem = compile_problem(stated)
    return transport(problem)


def test_a_service_free_on_two_types_is_refused() -> None:
    """Three-sided: which type, which service, which task."""
    stated = two_types(services=[{"id": "web", **SERVICE}])
    why = fits(compile_problem(stated))
    assert why is not None
    assert "'web' may share GPUs of 2 kinds" in why
    with pytest.raises(UnsupportedError, match="would not be exact here") as caught:
        co.solve(stated, "matching")
    assert caught.value.path == "$.services"


@pytest.mark.parametrize(
    "services",
    [
        [],
        [{"id": "web", **SERVICE, "replicas": 2}],
        [{"id": "web", **SERVICE, "required": False, "missing_price": 0.1, "replicas": 2}],
        [{"id": "web", **SERVICE, "pinned": [{"pool": "b", "gpus": "0"}]}],
    ],
    ids=["none", "a replica for every GPU", "optional and ample", "pinned"],
)
def test_two_types_are_solved_where_that_is_a_flow(services: list[dict[str, object]]) -> None:
    stated = two_types(services=services)
    assert fits(compile_problem(stated)) is None
    result = co.solve(stated, "matching")
    assert result.objective == pytest.approx(solve_by_enumeration(stated).objective)
    close(result, 1.0)


def test_services_that_keep_to_themselves_may_choose_among_types() -> None:
    """Nobody shares a GPU: then a service is one side of the flow and the GPU types the other."""
    stated = two_types(
        services=[{"id": "web", **SERVICE}],
        rules={"workloads_per_gpu": 1},
        tasks=[
            {"id": "job", **TASK, "count": 1},
            {"id": "big", **TASK, "weight": 3.0},
        ],
    )
    result = co.solve(stated, "matching")
    assert result.objective == pytest.approx(solve_by_enumeration(stated).objective)
    close(result, 1.0)


def test_two_services_share_a_gpu_only_where_that_is_settled() -> None:
    """Pinned together: one host. Free to choose whom to join: no flow."""
    pinned = [{"id": n, **SERVICE, "pinned": [{"pool": "a", "gpus": "1"}]} for n in ("web", "api")]
    rules = {"services_per_gpu": 2}
    stated = instance(services=pinned, rules=rules)
    result = co.solve(stated, "matching")
    assert result.objective == pytest.approx(solve_by_enumeration(stated).objective)
    close(result, 1.0)
    free = [{"id": n, **SERVICE, "slo_ms": ms} for n, ms in (("web", 300.0), ("api", 400.0))]
    why = fits(compile_problem(instance(services=free, rules=rules)))
    assert why is not None
    assert "beside different other services" in why


def test_services_on_gpus_that_exclude_others_are_forced_in_turn() -> None:
    """One service fills its GPU, so another fills the rest: prices that prove it."""
    services = [
        {"id": "web", **SERVICE, "pinned": [{"pool": "a", "gpus": "0"}]},
        {"id": "api", **SERVICE, "slo_ms": 400.0},
    ]
    tasks = [{"id": "job", **TASK, "weight": 5.0}]
    stated = instance(services=services, tasks=tasks)
    result = co.solve(stated, "matching")
    assert result.objective == pytest.approx(solve_by_enumeration(stated).objective)
    close(result, 1.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"rules": {"tasks_per_gpu": 2}},
        {"tasks": [{"id": "job", **TASK, "gang_size": 2}]},
        {"rules": {"quotas": [{"tenant": "default", "maximum": 1.0}]}},
        {"rules": {"quotas": [{"tenant": "default", "minimum": 1.0}]}},
        {"constraints": [{"name": "memory"}]},
    ],
    ids=["two tasks", "gang", "quota", "floor", "plug-in"],
)
def test_what_couples_gpus_is_refused(changes: dict[str, object]) -> None:
    stated = instance(**changes)
    assert needed(stated) - SUPPORTED
    with pytest.raises(UnsupportedError, match="does not support"):
        co.solve(stated, "matching")
    # A plug-in that only prunes adds no row: by itself it is no reason.
    assert (fits(compile_problem(stated)) is None) == ("constraints" in changes)


def test_too_many_required_replicas_are_infeasible() -> None:
    result = co.solve(instance(services=[{"id": "web", **SERVICE, "replicas": 3}]), "matching")
    assert result.termination.reason is Reason.INFEASIBLE


def test_a_stop_before_the_start_is_honoured() -> None:
    result = co.solve(instance(), "matching", stop=lambda: True)
    assert result.plan is None
    assert result.termination.limit is Limit.INTERRUPTED


def test_an_assignment_under_way_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told to stop after the start: no plan, soon; left alone, the answer of the thread."""
    monkeypatch.setattr(_assignment, "AT_ONCE", 0)
    problem = compile_problem(generate("all_distinct", gpus=40, seed=1))
    done = MatchingSolver().solve(problem, Context())
    assert done.reason is Reason.OPTIMAL
    assert done.history[-1].phase == "assignment"
    began = threading.Event()

    def slow(worth: np.ndarray, *, maximize: bool) -> None:
        began.set()
        threading.Event().wait(5.0)

    monkeypatch.setattr("scipy.optimize.linear_sum_assignment", slow)
    raw = MatchingSolver().solve(problem, Context(stop=began.is_set))
    assert raw.counts is None
    assert raw.reason is Reason.NO_SOLUTION_FOUND
    assert raw.limit is Limit.INTERRUPTED


# -- manners ------------------------------------------------------------------------------------


def test_neither_order_nor_names_change_the_worth() -> None:
    """Reversed lists give the same bytes; other names the same objective."""
    stated = generate("all_distinct", gpus=8, seed=2)
    spec = json.loads(stated.model_dump_json(by_alias=True, exclude_none=True))
    for name in ("services", "tasks", "profiles", "gpu_pools"):
        spec[name] = spec[name][::-1]
    plans = [co.solve(s, "matching").plan for s in (stated, Instance.model_validate(spec))]
    assert plans[0] is not None
    assert plans[1] is not None
    assert plans[0].model_dump_json() == plans[1].model_dump_json()


def test_the_method_does_not_depend_on_the_number_of_gpus() -> None:
    """A thousand times the GPUs, replicas and tasks: the same arcs, and a proof."""
    sizes = []
    for gpus in (1_000, 1_000_000):
        problem = compile_problem(generate("typed", gpus=gpus, seed=0))
        way = transport(problem)
        assert isinstance(way, Transport)
        sizes.append(way.network().tail.size)
        raw = matching.MatchingSolver().solve(problem, Context())
        assert raw.reason is Reason.OPTIMAL
        assert raw.prices is not None
        assert raw.counts is not None
        assert raw.counts.sum() <= gpus
    assert sizes[1] <= 1.2 * sizes[0]


def test_exactness_is_declared() -> None:
    assert Capability.EXACT in SUPPORTED
    assert Capability.GANGS not in SUPPORTED
    assert MatchingSolver.availability().available
    assert not isinstance(found(instance()), NotTransport)
