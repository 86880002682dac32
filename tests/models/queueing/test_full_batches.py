"""The exact law of a server with full batches: closed forms, and the simulator."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext

import pytest

from colocate.models.queueing.full_batches import full_batch_latency, tail_decay
from colocate.simulator import BatchServer, GammaArrivals, simulate


def erlang(wait: float, load: float) -> float:
    """P(W <= t) of M/D/1 with services of 1 (Erlang 1909); an alternating sum, hence decimals."""
    with localcontext() as context:
        context.prec = 60
        total = Decimal(0)
        for j in range(int(wait) + 1):
            x = Decimal(load) * (j - Decimal(wait))
            total += x**j / math.factorial(j) * (-x).exp()
        return float((1 - Decimal(load)) * total)


@pytest.mark.parametrize("load", [0.3, 0.7, 0.9, 0.95])
def test_single_poisson_requests_follow_erlang(load: float) -> None:
    percentiles = [80.0, 95.0, 99.0, 99.9]
    for p, found in zip(percentiles, full_batch_latency(load, 1, 1.0, percentiles), strict=True):
        assert erlang(found / load - 1, load) == pytest.approx(p / 100, abs=2e-4)


@pytest.mark.parametrize(
    ("load", "batch", "burstiness"), [(0.5, 1, 3.0), (0.7, 6, 2.0), (0.3, 24, 1.0)]
)
def test_other_batches_and_gaps_follow_the_simulator(
    load: float, batch: int, burstiness: float
) -> None:
    server, arrivals = BatchServer(batch, load, math.inf), GammaArrivals(float(batch), burstiness)
    outcome = simulate(server, arrivals, requests=600_000, replications=100, seed=3)
    for p in (50.0, 90.0, 99.0):
        true = outcome.percentile_s(p)
        found = full_batch_latency(load, batch, burstiness, [p])[0]
        assert true.standard_error < 0.02 * true.value
        assert abs(found - true.value) < 4 * true.standard_error + 1e-3


def test_without_load_it_is_the_time_to_fill() -> None:
    """Of two requests one waits for nothing, the other for an exponential gap of half a fill."""
    found = full_batch_latency(0.0, 2, 1.0, [40.0, 75.0, 99.0])
    expected = [0.0, -math.log(2 * 0.25) / 2, -math.log(2 * 0.01) / 2]
    assert found == pytest.approx(expected, abs=1e-6)


def test_the_tail_decays_as_it_says() -> None:
    for load, batch, burstiness in ((0.8, 1, 1.0), (0.9, 8, 2.0), (0.95, 1, 4.0)):
        x = tail_decay(load, batch, burstiness)
        a, b = full_batch_latency(load, batch, burstiness, [99.9, 99.99])
        assert b - a == pytest.approx(math.log(10) / x, rel=0.02)
        # E exp(x (rho - G)) = 1 for G ~ Gamma(b/c2) of mean 1.
        shape = batch / burstiness
        assert math.exp(x * load) * (1 + x / shape) ** -shape == pytest.approx(1.0)
