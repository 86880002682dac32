"""The oracle against nested loops, by hand, and against the judge."""

from __future__ import annotations

import ast
import inspect
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings

from colocate.errors import TooLargeError, UnsupportedError
from colocate.instance import Instance
from colocate.testing import _one_gpu as one_gpu
from colocate.testing import _plain_model as plain_model
from colocate.testing import (
    any_instance,
    contended_instances,
    free_instances,
    oracle,
    solve_by_enumeration,
)
from colocate.verify import verify
from tests.helpers import instance, profile
from tests.judging.plans import hand_made
from tests.testing.naive import best_by_loops, combinations
from tests.testing.oracle_plans import groups_of

MOST_PLACEMENTS = 300
WEB = {"id": "web", "profile": "net", "rate_rps": 5.0, "slo_ms": 350.0}


def few_percentages(drawn: Instance) -> bool:
    """Whether single percentages can be tried one by one on all GPUs at once."""
    by_share = any(q.unit == "gpu_share" for q in drawn.rules.quotas)
    return not by_share or all(p.measured_sms is not None for p in drawn.gpu_pools)


def check_against_loops(drawn: Instance) -> None:
    assume(combinations(drawn) <= MOST_PLACEMENTS and few_percentages(drawn))
    answer = solve_by_enumeration(drawn)
    expected = best_by_loops(drawn)
    if expected is None:
        assert answer.status == "infeasible"
        assert answer.objective is None
    else:
        assert answer.objective == pytest.approx(expected, rel=1e-9, abs=1e-9)


@settings(suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(free_instances())
def test_the_oracle_equals_nested_loops(drawn: Instance) -> None:
    """Counting, merging and dropping lose no plan, and invent none."""
    check_against_loops(drawn)


@settings(
    max_examples=settings().max_examples // 2,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)
@given(contended_instances())
def test_the_oracle_equals_nested_loops_where_rules_decide(drawn: Instance) -> None:
    """The same where memory, SLOs, gangs and quotas bite."""
    check_against_loops(drawn)


@given(any_instance())
def test_the_oracles_plan_passes_the_judge(drawn: Instance) -> None:
    """What the oracle says is attainable is: the judge accepts its plan at the same worth."""
    answer = solve_by_enumeration(drawn)
    if answer.objective is None:
        assert answer.assignments == ()
        return
    plan = hand_made(drawn, groups_of(answer.assignments))
    verdict = verify(drawn, plan)
    assert verdict.ok, [str(v) for v in verdict.violations]
    assert plan.objective.value == pytest.approx(answer.objective, rel=1e-9, abs=1e-9)


# -- by hand -----------------------------------------------------------------------------------


def objective_of(**changes: Any) -> float | None:
    return solve_by_enumeration(instance(**({"services": [WEB]} | changes))).objective


def test_a_service_takes_the_least_share_that_holds_its_slo() -> None:
    """Fill 200 ms, service 125 ms at one of four multiprocessors: three are left for training.

    The other GPU holds training alone: 3/4 + 1 of a whole GPU.
    """
    assert objective_of() == pytest.approx(1.75)


def test_a_tighter_slo_costs_multiprocessors() -> None:
    """The latency is 325 ms at one of four, 262.5 ms at two and 231.25 ms at all."""
    assert objective_of(services=[WEB | {"slo_ms": 325.0}]) == pytest.approx(1.75)
    assert objective_of(services=[WEB | {"slo_ms": 324.9}]) == pytest.approx(1.5)
    assert objective_of(services=[WEB | {"slo_ms": 262.4}]) == pytest.approx(1.25)
    assert objective_of(services=[WEB | {"slo_ms": 231.25}]) == pytest.approx(1.0)
    assert objective_of(services=[WEB | {"slo_ms": 231.24}]) is None


def test_a_load_must_be_stable() -> None:
    """At 8 a second and one of four multiprocessors the load is 1, so two are needed."""
    busy = WEB | {"rate_rps": 8.0, "slo_ms": 1e6}
    assert objective_of(services=[busy]) == pytest.approx(1.5)
    full = {"name": "fill", "params": {"rho_max": 1.0}}
    assert objective_of(services=[busy], slo_model=full) == pytest.approx(1.75)
    assert objective_of(services=[busy], slo_model={"name": "mudi"}) == pytest.approx(1.75)


def test_a_gang_runs_at_its_slowest_worker() -> None:
    """Beside the service 3/4 of the full rate, alone all of it: both run at 3/4."""
    gang = {"id": "job", "profile": "train", "batch": 8, "gang_size": 2}
    assert objective_of(tasks=[gang]) == pytest.approx(1.5)
    assert objective_of(tasks=[gang | {"gang_size": 3}]) == 0


def test_two_workers_of_one_gang_do_not_share_a_gpu() -> None:
    """Three GPUs with room for two workers each, at half the rate: three gangs of two at most."""
    gang = {"id": "job", "profile": "train", "batch": 8, "gang_size": 2, "count": 4}
    pool = {"id": "a", "gpu_type": "A", "count": 3, "memory_gib": 8.0, "sm_count": 4}
    apart: dict[str, Any] = {"rules": {"tasks_per_gpu": 2}, "services": []}
    answer = solve_by_enumeration(instance(tasks=[gang], gpu_pools=[pool], **apart))
    assert answer.objective == pytest.approx(3.0)
    alone = [pool | {"count": 1}]
    assert objective_of(tasks=[gang | {"count": 1}], gpu_pools=alone, **apart) == 0


def test_slowdown_is_paid_by_the_victim_only() -> None:
    """The service slows training down by two, and not the other way round."""
    pairs = [{"gpu_type": "A", "victim": "train", "neighbour": "net", "slowdown": 2.0}]
    found = objective_of(interference={"default_slowdown": 1.0, "pairs": pairs})
    assert found == pytest.approx(0.75 / 2 + 1)
    # Without a constant nothing is known of the service beside training.
    assert objective_of(interference={"pairs": pairs}) == pytest.approx(1.0)


def test_a_missing_replica_is_worth_its_price() -> None:
    """The service costs a quarter of a GPU: it stays where its price is above that."""
    optional = WEB | {"required": False}
    assert objective_of(services=[optional | {"missing_price": 0.2}]) == pytest.approx(1.8)
    assert objective_of(services=[optional | {"missing_price": 0.3}]) == pytest.approx(1.75)


def test_errors_are_planned_with_at_the_stated_confidence() -> None:
    """A tenth less than 8 a second is 7.2: 338.9 ms instead of 325, which two would bring down."""
    net = profile("net", "A", "inference", {1: [8.0, 16.0, 24.0, 32.0]}, {1: 2.0})
    train = profile("train", "A", "training", {8: [10.0, 20.0, 30.0, 40.0]}, {8: 4.0})
    bounds = [{"confidence": 0.9, "relative": 0.1}]
    known: dict[str, Any] = {
        "profiles": [net | {"rate_error": bounds}, train],
        "interference": {"default_slowdown": 1.0, "default_error": bounds},
    }
    tight = [WEB | {"slo_ms": 330.0}]
    assert objective_of(services=tight, **known) == pytest.approx(1.75)
    assert objective_of(services=tight, confidence=0.8, **known) == pytest.approx(1.5)
    assert objective_of(confidence=0.95, **known) is None


def test_iteration_time_charges_what_is_left_out() -> None:
    """Batch 8 at 30 and at 40 samples a second, and one task left out."""
    spec = {"name": "iteration_time", "params": {"unplaced_s": 5.0}}
    assert objective_of(objective=spec) == pytest.approx(8 / 30 + 8 / 40 + 5)


def test_a_floor_of_shares_is_met_by_rounding_up() -> None:
    """One multiprocessor of three is 34 ... 66 %: a floor of 0.66 holds, one of 1.01 does not."""
    changes: dict[str, Any] = {
        "gpu_pools": [{"id": "a", "gpu_type": "A", "count": 1, "memory_gib": 16.0, "sm_count": 3}],
        "services": [],
        "profiles": [profile("train", "A", "training", {8: [10.0]}, {8: 4.0})],
    }
    changes["profiles"][0]["curve"]["batches"][0]["points"][0]["share_pct"] = 1.0

    def floor(minimum: float, maximum: float) -> dict[str, Any]:
        quota = {"tenant": "default", "unit": "gpu_share", "minimum": minimum, "maximum": maximum}
        return {**changes, "rules": {"quotas": [quota]}}

    answer = solve_by_enumeration(instance(**floor(0.655, 0.665)))
    assert answer.objective == pytest.approx(1.0)
    assert [a.share_pct for a in answer.assignments] == [66]
    assert objective_of(**floor(0.655, 0.655)) is None
    assert objective_of(**floor(1.01, 2.0)) is None


# -- what it refuses ---------------------------------------------------------------------------


def test_a_long_enumeration_is_refused() -> None:
    with pytest.raises(TooLargeError, match="more than 50 steps"):
        solve_by_enumeration(instance(), max_steps=50)


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"rules": {"moves": {"price": 1.0}}, "current": []}, "$.rules.moves"),
        ({"constraints": [{"name": "mine"}]}, "$.constraints"),
        ({"objective": {"name": "mine"}}, "$.objective"),
        ({"objective": {"name": "throughput", "params": {"x": 1}}}, "$.objective"),
        ({"slo_model": {"name": "mine"}}, "$.slo_model"),
        ({"slo_model": {"name": "mudi", "params": {"rho_max": 0.5}}}, "$.slo_model"),
        ({"slo_model": {"name": "fill", "params": {"rho": 0.5}}}, "$.slo_model"),
    ],
)
def test_what_the_oracle_does_not_know_is_refused(changes: dict[str, Any], path: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        solve_by_enumeration(instance(**changes))
    assert caught.value.path == path


@pytest.mark.parametrize("module", [oracle, one_gpu, plain_model])
def test_the_oracle_shares_no_code_with_what_it_checks(module: Any) -> None:
    """It reads data objects, and evaluates them by itself."""
    allowed = {"errors", "instance", "profile", "runs", "testing"}
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("colocate."):
            assert str(node.module).split(".")[1] in allowed
        elif isinstance(node, ast.Import):
            assert not any(name.name.startswith("colocate") for name in node.names)
