"""Blast radius: what the compiler allows, what the judge finds, and what the oracle says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import colocate as co
from colocate.errors import TooLargeError
from colocate.instance import BlastRadius, Instance
from colocate.placement import PlacementGroup
from colocate.result import Reason
from colocate.testing import any_instance, solve_by_enumeration
from tests.helpers import instance

RADIUS = {"blast_radius": {"max_replicas_per_node": 1}}


def spread(drawn: Instance, most: int, nodes: tuple[str | None, ...]) -> Instance:
    """The same, with pools on nodes, and more replicas to spread over them."""
    pools = [
        pool.model_copy(update={"node": nodes[i % len(nodes)]})
        for i, pool in enumerate(drawn.gpu_pools)
    ]
    services = [
        s if s.pinned is not None else s.model_copy(update={"replicas": s.replicas + (i == 0)})
        for i, s in enumerate(drawn.services)
    ]
    rules = drawn.rules.model_copy(update={"blast_radius": BlastRadius(max_replicas_per_node=most)})
    return drawn.replace(gpu_pools=tuple(pools), services=tuple(services), rules=rules)


NODES = st.sampled_from([("n",), ("n", "m"), (None,), (None, "n"), ("n", "n", "m")])


def check(question: Instance, *solvers: str) -> None:
    try:
        truth = solve_by_enumeration(question)
        found = [co.solve(question, name, isolation="none") for name in solvers]
    except TooLargeError:
        return
    for result in found:
        assert result.violations == ()
        if truth.objective is None:
            assert result.termination.reason is Reason.INFEASIBLE
            continue
        assert result.termination.reason is Reason.OPTIMAL
        assert result.objective == pytest.approx(truth.objective, rel=1e-8, abs=1e-8)
        assert result.plan is not None
        sign = 1 if result.plan.objective.sense == "max" else -1
        if result.bound is not None:
            slack = 1e-8 * max(1.0, abs(truth.objective))
            assert sign * (result.bound - truth.objective) >= -slack


@settings(max_examples=60)
@given(any_instance(), st.integers(1, 2), NODES)
def test_brute_force_equals_the_oracle(
    drawn: Instance, most: int, nodes: tuple[str | None, ...]
) -> None:
    check(spread(drawn, most, nodes), "brute_force")


@settings(max_examples=15)
@given(any_instance(), st.integers(1, 2), NODES)
def test_integer_programs_equal_the_oracle(
    drawn: Instance, most: int, nodes: tuple[str | None, ...]
) -> None:
    check(spread(drawn, most, nodes), "milp", "cp-sat", "ilp")


@pytest.mark.deep
@settings(max_examples=5000, derandomize=False)
@given(any_instance(), st.integers(1, 2), NODES)
def test_all_equal_the_oracle_on_many(
    drawn: Instance, most: int, nodes: tuple[str | None, ...]
) -> None:
    """The same on 5,000 instances that are new in every run."""
    check(spread(drawn, most, nodes), "brute_force", "milp")


@settings(max_examples=40)
@given(any_instance(), st.integers(1, 2), NODES)
def test_greedy_keeps_to_it(drawn: Instance, most: int, nodes: tuple[str | None, ...]) -> None:
    found = co.solve(spread(drawn, most, nodes), "greedy")
    assert found.violations == ()


def two_nodes(**changes: Any) -> Instance:
    """Four GPUs on two nodes, and a service that is to be spread."""
    base: dict[str, Any] = {
        "gpu_pools": [
            {**_pool("a"), "node": "left"},
            {**_pool("b"), "node": "right"},
        ],
        "services": [
            {"id": "web", "profile": "net", "rate_rps": 10.0, "slo_ms": 300.0, "replicas": 2}
        ],
        "rules": RADIUS,
    }
    return instance(**(base | changes))


def _pool(name: str) -> dict[str, Any]:
    return {"id": name, "gpu_type": "A", "count": 2, "memory_gib": 16.0, "sm_count": 4}


def nodes_of(plan: co.Plan) -> list[str]:
    return [group.pool for group in plan.placements for s in group.services for _ in s.replicas]


def test_replicas_are_spread() -> None:
    found = co.solve(two_nodes(), "brute_force")
    assert found.plan is not None
    assert sorted(nodes_of(found.plan)) == ["a", "b"]


def test_two_services_of_one_kind_are_counted_by_name() -> None:
    """They fall into one class elsewhere; here each may have a replica on either node."""
    services = [
        {"id": name, "profile": "net", "rate_rps": 10.0, "slo_ms": 300.0, "replicas": 2}
        for name in ("web", "shop")
    ]
    found = co.solve(two_nodes(services=services), "brute_force")
    assert found.plan is not None
    held = {(group.pool, s.service) for group in found.plan.placements for s in group.services}
    assert held == {("a", "web"), ("b", "web"), ("a", "shop"), ("b", "shop")}


def test_rows_of_a_table_are_counted_by_name_too() -> None:
    table = {"rows": 2, "profile": "net", "rate_rps": 10.0, "slo_ms": 300.0, "replicas": 2}
    found = co.solve(two_nodes(services=[], service_table=table), "brute_force")
    assert found.plan is not None
    assert len(found.plan.placements) == 4


def test_a_pool_without_a_node_is_one_by_itself() -> None:
    found = co.solve(two_nodes(gpu_pools=[_pool("a"), _pool("b")]), "brute_force")
    assert found.plan is not None
    assert sorted(nodes_of(found.plan)) == ["a", "b"]


def test_one_node_cannot_hold_two() -> None:
    pools = [{**_pool("a"), "node": "left"}, {**_pool("b"), "node": "left"}]
    assert co.solve(two_nodes(gpu_pools=pools)).termination.reason is Reason.INFEASIBLE


def test_the_judge_finds_what_is_too_close() -> None:
    question = two_nodes()
    plan = co.solve(question.replace(rules=co.Rules()), "brute_force").plan
    assert plan is not None
    close = [
        PlacementGroup.model_validate({**g.model_dump(), "pool": "a"})
        for g in plan.placements
        if g.services
    ]
    forged = plan.model_copy(update={"placements": tuple(close)})
    broken = [v for v in co.verify(question, forged).violations if v.kind == "blast_radius"]
    assert len(broken) == (1 if sum(g.count for g in close) > 1 else 0)
    assert all("2 replicas on node left" in v.message for v in broken)
