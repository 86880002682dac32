"""The `queue` SLO model: its faces, its limits, the simulator, and plans that use it."""

from __future__ import annotations

import math
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import colocate as co
from colocate.errors import InputError, InstanceError, TooLargeError
from colocate.instance import Instance
from colocate.models.queueing.full_batches import full_batch_latency
from colocate.models.queueing.table import stored_table
from colocate.models.slo import SloModel, slo_model
from colocate.schema import Component
from colocate.simulator import BatchServer, GammaArrivals, simulate
from colocate.testing import any_instance, solve_by_enumeration
from colocate.testing._plain_queue import queue_latency_ms
from tests.helpers import instance


def queue(**params: float) -> SloModel:
    return slo_model(Component(name="queue", params=dict(params)))


def latency(model: SloModel, batch: int, tau_s: float, rate_rps: float, p: float = 99.0) -> float:
    found = model.latency_ms(np.array([float(batch)]), np.array([tau_s]), np.array([rate_rps]), p)
    return float(found[0])


BATCH = st.one_of(st.integers(1, 64), st.sampled_from([128, 200, 256, 300, 512, 4096]))
LOAD = st.one_of(st.floats(0.0, 0.97), st.sampled_from([0.0, 0.05, 0.2, 0.5, 0.9, 0.95]))
BURSTINESS = st.one_of(st.floats(1.0, 4.0), st.sampled_from([1.0, 2.0, 4.0]))
PERCENTILE = st.one_of(st.floats(1.0, 99.9), st.sampled_from([50.0, 90.0, 95.0, 99.0, 99.9]))
TIMEOUT_FILLS = st.one_of(st.just(0.0), st.floats(0.0, 5.0), st.just(1e9))
FILL_S = st.floats(1e-3, 10.0)


# -- the three ways to read the table ------------------------------------------------------------


@given(BATCH, LOAD, BURSTINESS, PERCENTILE, TIMEOUT_FILLS, FILL_S)
def test_the_faces_and_the_oracle_say_the_same(
    batch: int, load: float, burstiness: float, p: float, timeout: float, fill_s: float
) -> None:
    rate, timeout_ms = batch / fill_s, 1000 * timeout * fill_s
    model = queue(burstiness=burstiness, timeout_ms=timeout_ms)
    taus = [load * fill_s, min(1.3 * load, 0.5 + load / 2) * fill_s]
    arrays = [latency(model, batch, tau, rate, p) for tau in taus]
    judged = model.judge(batch, taus[0], taus[1], rate, 1e9, p)
    assert judged.latency_ms == pytest.approx(arrays[0], rel=1e-9, abs=1e-12)
    assert judged.latency_hi_ms == pytest.approx(arrays[1], rel=1e-9, abs=1e-12)
    plain = queue_latency_ms(batch, taus[0], rate, p, burstiness, timeout_ms)
    assert plain == pytest.approx(arrays[0], rel=1e-9, abs=1e-12)


def test_arrays_broadcast_and_large_ones_are_cut_in_parts() -> None:
    model = queue(burstiness=1.5, timeout_ms=30.0)
    rng = np.random.default_rng(1)
    batch = rng.integers(1, 70, 70_000).astype(float)
    rate = rng.uniform(1, 100, batch.size)
    tau = rng.uniform(0, 1.1, batch.size) * batch / rate
    many = model.latency_ms(batch, tau, rate, 99.0)
    for i in (0, 1, 65_535, 65_536, 69_999):
        assert many[i] == latency(model, int(batch[i]), float(tau[i]), float(rate[i]))
    table = model.latency_ms(batch[:3, None], tau[None, :4], np.asarray(20.0), 99.0)
    assert table.shape == (3, 4)
    for i, j in product(range(3), range(4)):
        assert table[i, j] == latency(model, int(batch[i]), float(tau[j]), 20.0)


# -- what must hold ------------------------------------------------------------------------------


@given(
    BATCH, BURSTINESS, PERCENTILE, TIMEOUT_FILLS, st.lists(LOAD, min_size=2, max_size=30), FILL_S
)
def test_a_longer_batch_never_helps(
    batch: int, burstiness: float, p: float, timeout: float, loads: list[float], fill_s: float
) -> None:
    """Judge and configurator look for the longest batch that holds an SLO by bisection."""
    model = queue(burstiness=burstiness, timeout_ms=1000 * timeout * fill_s)
    tau = np.sort(np.array([*loads, 0.999, 1.5])) * fill_s
    found = model.latency_ms(np.array([float(batch)]), tau, np.array([batch / fill_s]), p)
    assert (found[1:] >= found[:-1] * (1 - 1e-12)).all()


@given(BATCH, LOAD, BURSTINESS, PERCENTILE, TIMEOUT_FILLS, st.floats(0.01, 100.0))
def test_time_has_no_scale(
    batch: int, load: float, burstiness: float, p: float, timeout: float, scale: float
) -> None:
    one = latency(queue(burstiness=burstiness, timeout_ms=1e3 * timeout), batch, load, batch, p)
    model = queue(burstiness=burstiness, timeout_ms=1e3 * timeout * scale)
    other = latency(model, batch, load * scale, batch / scale, p)
    assert other == pytest.approx(scale * one, rel=1e-9)


@given(BATCH, LOAD, BURSTINESS, st.floats(50.0, 99.9), TIMEOUT_FILLS)
def test_bounds_that_need_no_theory(
    batch: int, load: float, burstiness: float, p: float, timeout: float
) -> None:
    """It takes a batch at least; without a timeout and with little load, hardly more than two."""
    found = latency(queue(burstiness=burstiness, timeout_ms=1e3 * timeout), batch, load, batch, p)
    assert found >= 1e3 * load * 0.99 - 1e-100  # below, numbers underflow
    if load <= 0.2 and timeout == 0 and batch >= 16:
        assert found <= 1e3 * load * 2.02 + 1e-9


@pytest.mark.parametrize("burstiness", [1.0, 1.4, 2.0, 3.0, 4.0])
@pytest.mark.parametrize("timeout_ms", [0.0, 300.0, 5000.0])
def test_more_is_more(burstiness: float, timeout_ms: float) -> None:
    """Tails grow with the percentile; with burstiness too, where the server is what one waits for.

    To a per cent, which may be noise; with a timeout to ten, for percentiles between two of the
    table meet a kink there.
    """
    model = queue(burstiness=burstiness, timeout_ms=timeout_ms)
    for batch, load in product((1, 2, 5, 8, 20, 64), (0.1, 0.5, 0.8, 0.95)):
        tails = [latency(model, batch, load, batch, p) for p in (50, 70, 90, 97, 99, 99.5, 99.9)]
        assert all(b >= (0.9 if timeout_ms else 0.99) * a for a, b in pairwise(tails))
        if load >= 0.8 and burstiness > 1:
            calmer = queue(burstiness=burstiness / 1.4, timeout_ms=timeout_ms)
            assert latency(calmer, batch, load, batch) <= 1.01 * latency(model, batch, load, batch)


def test_the_stored_table_rises_where_it_must() -> None:
    table = stored_table()
    greedy, fill = np.array(table["greedy"]), np.array(table["fill"])
    assert (np.diff(greedy, axis=3) >= 0).all()
    assert (np.diff(greedy, axis=2) >= 0).all()
    assert (np.diff(greedy, axis=2)[..., -1] > 0).all()
    assert (np.diff(fill, axis=2) >= 0).all()
    # The correction corrects: at the 99th percentile it is small.
    p99 = table["percentiles"].index(99.0)
    f, g = fill[:, :, p99, None, None], greedy[:, :, p99, None, :]
    timeout = np.array([np.inf if t is None else t for t in table["timeouts"]])[:, None]
    with np.errstate(invalid="ignore"):
        waited = np.where(f > 0, np.minimum(timeout * f, f), 0.0)
    base = np.maximum(waited + np.array(table["loads"]), g)
    correction = np.array(table["correction"])[:, :, p99]
    assert (np.abs(correction) <= 0.17 * base + 1e-3).all()


# -- against what is known, and against the simulator --------------------------------------------


@pytest.mark.parametrize("burstiness", [1.0, 1.5, 3.0])
@pytest.mark.parametrize("load", [0.22, 0.55, 0.83, 0.93])
def test_single_requests_against_the_exact_law(burstiness: float, load: float) -> None:
    exact = 1000 * full_batch_latency(load, 1, burstiness, [99.0])[0]
    assert latency(queue(burstiness=burstiness), 1, load, 1.0) == pytest.approx(exact, rel=0.05)


@pytest.mark.parametrize("batch", [2, 5, 10, 28, 64])
def test_full_batches_against_the_exact_law(batch: int) -> None:
    """A timeout that never comes."""
    for load, burstiness in ((0.0, 1.0), (0.35, 1.5), (0.72, 2.0), (0.92, 3.0)):
        exact = 1000 * full_batch_latency(load, batch, burstiness, [99.0])[0]
        found = latency(queue(burstiness=burstiness, timeout_ms=1e12), batch, load, batch)
        assert found == pytest.approx(exact, rel=0.06)


SETTINGS = [
    # load, batch (not in the table), burstiness, timeout in fills
    (0.3, 5, 1.0, 0.0),
    (0.5, 10, 2.5, 0.0),
    (0.7, 20, 1.5, 0.0),
    (0.8, 7, 3.0, 0.0),
    (0.3, 7, 1.5, 0.6),
    (0.5, 28, 3.5, 1.2),
    (0.75, 10, 1.0, 2.0),
    (0.85, 40, 2.5, 0.3),
]


@pytest.mark.parametrize("setting", SETTINGS)
def test_against_the_simulator(setting: tuple[float, int, float, float]) -> None:
    load, batch, burstiness, timeout = setting
    outcome = simulate(
        BatchServer(batch, load, timeout),
        GammaArrivals(float(batch), burstiness),
        requests=400_000,
        replications=100,
        warmup=0.15,
        seed=11,
    )
    for p in (95.0, 99.0):
        true = outcome.percentile_s(p)
        assert true.standard_error < 0.02 * true.value
        model = queue(burstiness=burstiness, timeout_ms=1000 * timeout)
        found = latency(model, batch, load, batch, p) / 1000
        assert abs(found - true.value) < 0.05 * true.value + 2 * true.standard_error


@pytest.mark.parametrize("load", [0.3, 0.6, 0.85])
def test_batches_that_are_faster_when_not_full_are_never_faster_than_promised(load: float) -> None:
    """The model takes every batch for a full one, which may only overstate the latency."""
    for batch, timeout in ((4, 0.0), (16, 0.0), (16, 0.5)):
        times = tuple(load * (0.3 + 0.7 * n / batch) for n in range(1, batch + 1))
        outcome = simulate(
            BatchServer(batch, times, timeout), GammaArrivals(float(batch), 2.0), seed=12
        )
        true = outcome.percentile_s(99)
        found = latency(queue(burstiness=2.0, timeout_ms=1000 * timeout), batch, load, batch)
        assert found / 1000 > true.value - 3 * true.standard_error - 0.02 * true.value


# -- where it ends -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "params",
    [
        {"burstiness": 0.99},
        {"burstiness": 4.01},
        {"rho_max": 0.951},
        {"rho_max": 0.0},
        {"timeout_ms": -1.0},
        {"rho": 0.5},
    ],
)
def test_parameters_beyond_its_range_are_refused(params: dict[str, float]) -> None:
    with pytest.raises(InstanceError) as caught:
        queue(**params)
    assert caught.value.path == f"$.slo_model.params.{next(iter(params))}"


def test_percentiles_beyond_its_range_are_refused() -> None:
    for ask in (
        lambda: latency(queue(), 4, 0.1, 10.0, 99.91),
        lambda: queue().judge(4, 0.1, 0.1, 10.0, 100.0, 99.91),
    ):
        with pytest.raises(InputError) as caught:
            ask()
        assert caught.value.advice
    with pytest.raises(InputError):
        co.solve(served(slo_percentile=99.95))


def test_low_percentiles_get_the_median() -> None:
    assert latency(queue(), 4, 0.1, 30.0, 20.0) == latency(queue(), 4, 0.1, 30.0, 50.0)


def test_what_is_overloaded_is_not_allowed_whatever_the_slo() -> None:
    model = queue()
    tau = np.array([0.0, 0.3, 0.95, 0.96, 0.999, 1.0, 2.0, np.inf, np.nan])
    one = np.array([1.0])
    found = model.latency_ms(one, tau, one, 99.0)
    assert np.isfinite(found[:5]).all()
    assert np.isinf(found[5:]).all()
    allowed = model.allowed(one, tau, one, np.array([1e15]), 99.0)
    assert allowed.tolist() == [True] * 3 + [False] * 6
    for t in (0.95, 0.96, 1.0, 2.0, math.inf):
        assert model.judge(1, t, t, 1.0, 1e15, 99.0).allowed == (t <= 0.95)


# -- plans ---------------------------------------------------------------------------------------


def served(**service: Any) -> Instance:
    """16 samples/s at half the GPU: a load of 0.625, a p99 of 360 ms; 24 at three quarters."""
    base = {"id": "web", "profile": "net", "rate_rps": 10.0, "slo_ms": 250.0, **service}
    return instance(slo_model={"name": "queue"}, services=[base])


def share_of(asked: Instance) -> int:
    result = co.solve(asked)
    assert result.plan is not None
    (share,) = (s.share_pct for g in result.plan.placements for s in g.services)
    return share


def test_the_percentile_that_a_service_asks_for_decides_its_share() -> None:
    assert share_of(served(slo_percentile=90.0)) == 50
    assert share_of(served()) == share_of(served(slo_percentile=99.0)) == 75


def test_services_that_differ_in_the_percentile_only_are_kept_apart() -> None:
    """Also by the judge, who would otherwise refuse the plan or its bound."""
    both = [
        {"id": name, "profile": "net", "rate_rps": 10.0, "slo_ms": 250.0, "slo_percentile": p}
        for name, p in (("hard", 99.0), ("soft", 90.0))
    ]
    result = co.solve(instance(slo_model={"name": "queue"}, services=both))
    assert result.plan is not None
    shares = {s.service: s.share_pct for g in result.plan.placements for s in g.services}
    assert shares == {"hard": 75, "soft": 50}


def test_bursts_cost_share() -> None:
    calm = share_of(served(slo_ms=400.0))
    burst = served(slo_ms=400.0).model_copy(
        update={"slo_model": Component(name="queue", params={"burstiness": 3.0})}
    )
    assert share_of(burst) > calm


@settings(max_examples=15)
@given(any_instance(), st.sampled_from([{}, {"burstiness": 2.5, "timeout_ms": 50.0}]))
def test_plans_are_as_good_as_enumeration(drawn: Instance, params: dict[str, float]) -> None:
    """Compiler, solver and judge with this model against the oracle, which reads the table anew."""
    spec = Component(name="queue", params=dict(params))
    asked = drawn.model_copy(update={"slo_model": spec})
    try:
        expected = solve_by_enumeration(asked)
    except TooLargeError:
        assume(False)
    result = co.solve(asked, solver="brute_force")
    if expected.objective is None:
        assert result.plan is None
    else:
        assert result.objective == pytest.approx(expected.objective, rel=1e-6)
