"""Prices: whatever numbers they are, the bound holds; the linear relaxation's are the best."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colocate import prices as prices_module
from colocate.errors import TooLargeError
from colocate.instance import Instance
from colocate.prices import certificate, legal_prices, linear_prices, value_bound
from colocate.problem import compile_problem
from colocate.solvers.base import Context
from colocate.solvers.brute_force import BruteForceSolver
from colocate.testing import any_instance
from tests.helpers import instance


@given(any_instance(), st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.1, 1.0, 10.0]))
def test_any_prices_bound_the_optimum(drawn: Instance, seed: int, scale: float) -> None:
    """Weak duality: random prices never give a bound below the optimum."""
    problem = compile_problem(drawn)
    try:
        found = BruteForceSolver(50_000).solve(problem, Context())
    except TooLargeError:
        return
    if found.counts is None or found.gangs is None:
        return
    value = problem.value_of(found.counts, found.gangs)
    noise = np.random.default_rng(seed).normal(0, scale, problem.rows.size)
    base = linear_prices(problem)
    for numbers in (noise, noise if base is None else base + noise):
        assert value_bound(problem, numbers) >= value - 1e-7 * max(1, abs(value))


@settings(max_examples=settings().max_examples // 2)
@given(any_instance())
def test_linear_prices_are_the_best_prices(drawn: Instance) -> None:
    """The relaxation's own prices prove its own optimum: nudging them never helps."""
    problem = compile_problem(drawn)
    best = linear_prices(problem)
    if best is None:
        return
    bound = value_bound(problem, best)
    rng = np.random.default_rng(3)
    for _ in range(5):
        nudged = best + rng.normal(0, 0.05, best.size)
        assert value_bound(problem, nudged) >= bound - 1e-7 * max(1, abs(bound))


def test_signs_are_made_legal() -> None:
    """A price on an upper side is not negative; one on an equality may be."""
    problem = compile_problem(instance())
    legal = legal_prices(problem, np.full(problem.rows.size, -1.0))
    by_kind = {x.kind: p for x, p in zip(problem.rows.labels, legal.tolist(), strict=True)}
    assert by_kind["gpu"] == by_kind["task"] == 0
    assert by_kind["service"] == -1


def test_large_problems_go_without_linear_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the stated size there are no linear prices, and the certificate is weak but there."""
    problem = compile_problem(instance())
    best = certificate(problem, linear_prices(problem))
    monkeypatch.setattr(prices_module, "MAX_VARIABLES", 1)
    assert linear_prices(problem) is None
    weak = certificate(problem, None)
    assert best is not None
    assert weak is not None
    assert best.bound == pytest.approx(1.5)
    # Without prices every GPU claims the best column there is.
    assert weak.bound == pytest.approx(2)


def test_an_infeasible_relaxation_has_no_prices() -> None:
    """Two required replicas on one GPU have no relaxation."""
    pool = {"id": "a", "gpu_type": "A", "count": 1, "memory_gib": 16.0, "sm_count": 4}
    service = {"id": "web", "profile": "net", "rate_rps": 10.0, "slo_ms": 300.0, "replicas": 2}
    assert linear_prices(compile_problem(instance(gpu_pools=[pool], services=[service]))) is None
