"""The simulator against closed forms, against its own plain loop, and against what must hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colocate.errors import InputError
from colocate.simulator import (
    BatchServer,
    GammaArrivals,
    Outcome,
    PoissonArrivals,
    RecordedArrivals,
    serve,
    simulate,
)
from colocate.simulator.always_full import always_full
from colocate.simulator.one_by_one import one_by_one
from colocate.simulator.side_by_side import side_by_side


def close(estimate, expected, errors=4.0):
    """Within so many standard errors, which themselves are small."""
    assert estimate.standard_error < 0.02 * expected
    assert abs(estimate.value - expected) < errors * estimate.standard_error


# -- closed forms --------------------------------------------------------------------------------


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_mean_wait_of_fixed_service_times(load):
    """M/D/1: rho / (2 (1 - rho)) services (Pollaczek and Khinchine)."""
    found = simulate(BatchServer(1, 2.0), PoissonArrivals(load / 2.0), requests=400_000, seed=1)
    close(found.mean_wait_s(), 2.0 * load / (2 * (1 - load)))
    assert found.load == pytest.approx(load, rel=0.02)


@pytest.mark.parametrize("load", [0.3, 0.7])
def test_latency_of_exponential_service_times(load):
    """M/M/1: the latency is exponential with rate mu - lambda, at every percentile."""
    server = BatchServer(1, 1.0, variation=1.0)
    found = simulate(server, PoissonArrivals(load), requests=600_000, seed=2)
    for p in (50, 90, 99):
        close(found.percentile_s(p), -math.log(1 - p / 100) / (1 - load))


def test_poisson_is_the_gamma_process_of_burstiness_1():
    server = BatchServer(4, 1.0, timeout_s=0.5)
    one = simulate(server, PoissonArrivals(2.0), requests=300_000, seed=3).percentile_s(99)
    two = simulate(server, GammaArrivals(2.0, 1.0), requests=300_000, seed=4).percentile_s(99)
    assert abs(one.value - two.value) < 4 * math.hypot(one.standard_error, two.standard_error)


@pytest.mark.parametrize("burstiness", [0.5, 1.0, 3.0])
def test_gaps_have_the_rate_and_the_burstiness_asked_for(burstiness):
    times = GammaArrivals(5.0, burstiness).times_s(1, 400_000, np.random.default_rng(5))
    gaps = np.diff(times[0])
    assert gaps.mean() == pytest.approx(0.2, rel=0.02)
    assert gaps.var() / gaps.mean() ** 2 == pytest.approx(burstiness, rel=0.05)


def test_exponential_arrivals_have_rate_and_burstiness_1():
    gaps = np.diff(PoissonArrivals(5.0).times_s(1, 400_000, np.random.default_rng(6))[0])
    assert gaps.mean() == pytest.approx(0.2, rel=0.02)
    assert gaps.var() / gaps.mean() ** 2 == pytest.approx(1.0, rel=0.03)


def test_even_arrivals_never_wait_for_the_server():
    """D/D/1 below full load."""
    found = simulate(BatchServer(1, 0.9), RecordedArrivals.of(np.arange(50.0)))
    np.testing.assert_allclose(found.latency_s, 0.9)
    assert found.load == pytest.approx(50 * 0.9 / 49.9)


def test_overload_grows_by_what_is_left_over():
    """D/D/1 above full load: the i-th request waits i (tau - gap)."""
    found = simulate(BatchServer(1, 1.25), RecordedArrivals.of(np.arange(50.0)))
    np.testing.assert_allclose(found.wait_s[0], 0.25 * np.arange(50))


def test_light_load_waits_for_nothing_but_the_timeout():
    arrivals = RecordedArrivals.of(100.0 * np.arange(20))
    for timeout in (0.0, 3.0):
        found = simulate(BatchServer(8, (1.0,) * 8, timeout), arrivals)
        np.testing.assert_allclose(found.latency_s, timeout + 1.0)
        assert set(found.batch_sizes) == {1}


def test_by_hand():
    """b = 3, T = 2: a full batch at once, a partial one at its timeout, one that was waiting."""
    arrivals = RecordedArrivals.of([0.0, 0.5, 1.0, 1.5, 6.0, 6.5, 9.0, 9.1, 9.2, 9.3])
    found = simulate(BatchServer(3, (1.0, 2.0, 4.0), 2.0), arrivals)
    assert found.batch_sizes.tolist() == [3, 1, 2, 3, 1]
    # full at 1; its timeout passed at 3.5, but the server is busy until 5; timeout at 8; full at
    # 9.2, server free at 10; the last has waited long enough when the server is free at 14.
    assert found.batches.start_s.tolist() == [1.0, 5.0, 8.0, 10.0, 14.0]
    assert found.latency_s[0, [0, 3, 5, 9]] == pytest.approx([5.0, 4.5, 3.5, 5.7])


def test_what_arrives_at_the_very_moment_is_taken():
    found = simulate(BatchServer(4, 1.0, 1.0), RecordedArrivals.of([0.0, 1.0, 2.0, 2.0, 2.0]))
    assert found.batch_sizes.tolist() == [2, 3]


# -- what must hold ------------------------------------------------------------------------------

GAPS = st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0, 1.7, 4.0]), min_size=1, max_size=60)
TIMEOUTS = st.sampled_from([0.0, 0.3, 1.0, 2.5, math.inf])


@st.composite
def servers(draw):
    batch = draw(st.integers(1, 9))
    times = sorted(draw(st.lists(st.floats(0.0, 3.0), min_size=batch, max_size=batch)))
    return BatchServer(batch, tuple(times), draw(TIMEOUTS))


@given(servers(), GAPS)
def test_invariants(server: BatchServer, gaps: list[float]) -> None:
    arrival = np.cumsum(gaps)
    found = simulate(server, RecordedArrivals.of(arrival), warmup=0.0)
    start, size = found.batches.start_s, found.batch_sizes
    end = start + found.batches.service_s
    served = int(size.sum())
    # Everyone is served once, in order of arrival; only a wait for ever is left over.
    assert served + found.unserved == arrival.size
    assert math.isinf(server.timeout_s) or found.unserved == 0
    assert found.unserved < server.batch
    assert ((size >= 1) & (size <= server.batch)).all()
    taken = found.start_s[0, :served]
    assert (np.diff(taken) >= 0).all()
    assert np.isnan(found.latency_s[0, served:]).all()
    # Nobody is served before arriving, and one batch is served at a time.
    assert (taken >= arrival[:served]).all()
    assert (start[1:] >= end[:-1] - 1e-9).all()
    np.testing.assert_allclose(found.batches.service_s, server.table_s[size])
    first = np.cumsum(size) - size
    for i, s in enumerate(start):
        waiting = (arrival <= s).sum() - first[i]
        assert size[i] == min(waiting, server.batch)
        free = end[i - 1] if i else -math.inf
        due = arrival[first[i]] + server.timeout_s
        last = first[i] + server.batch - 1
        if last < arrival.size:
            due = min(due, arrival[last])
        # It starts at once when it may: never early, never late.
        assert s == pytest.approx(max(free, due))
    # Little's law: the integral of the number in the system is the sum of the latencies.
    if served:
        ends = np.repeat(end, size)
        moments = np.sort(np.concatenate([arrival[:served], ends]))
        inside = [((arrival[:served] <= t) & (ends > t)).sum() for t in moments[:-1]]
        area = float((np.diff(moments) * inside).sum())
        assert area == pytest.approx(float(np.nansum(found.latency_s)), abs=1e-6)


@given(servers(), st.integers(0, 1000), st.booleans())
def test_the_fast_ways_are_the_plain_way(server: BatchServer, seed: int, stretched: bool) -> None:
    rng = np.random.default_rng(seed)
    rows = int(rng.integers(1, 6))
    times = GammaArrivals(3.0, 2.0).times_s(rows, int(rng.integers(1, 50)), rng)
    factors = rng.standard_exponential(times.shape) if stretched else None
    plain = [
        one_by_one(server, times[r : r + 1], None if factors is None else factors[r : r + 1])
        for r in range(rows)
    ]
    ways = [side_by_side]
    if server.batch == 1 or math.isinf(server.timeout_s):
        ways.append(always_full)
    for way in ways:
        found = way(server, times, factors)
        assert found.row.tolist() == [r for r, p in enumerate(plain) for _ in p.size]
        for name in ("size", "start_s", "service_s"):
            expected = np.concatenate([getattr(p, name) for p in plain])
            np.testing.assert_allclose(getattr(found, name), expected, rtol=1e-9, atol=1e-9)


def test_little_in_the_long_run():
    """Mean number in the system = rate times mean latency, with batches and a timeout."""
    server = BatchServer(6, 1.0, 0.4)
    found = simulate(server, PoissonArrivals(3.0), requests=200_000, replications=20, seed=7)
    ends = np.sort(found.arrival_s + found.latency_s, axis=1)
    at = np.linspace(100, 3000, 5000)
    inside = [
        np.searchsorted(a, at, side="right") - np.searchsorted(e, at, side="right")
        for a, e in zip(found.arrival_s, ends, strict=True)
    ]
    assert np.mean(inside) == pytest.approx(3.0 * found.mean_s().value, rel=0.02)


def test_a_longer_batch_time_costs_latency():
    tails = [
        simulate(BatchServer(8, tau, 0.5), GammaArrivals(4.0, 2.0), seed=8).percentile_s(99).value
        for tau in (0.2, 0.5, 1.0, 1.5, 1.8)
    ]
    assert tails == sorted(tails)


# -- percentiles and their errors ----------------------------------------------------------------


def test_standard_errors_are_as_large_as_the_spread_of_repeated_runs():
    server, arrivals = BatchServer(4, 1.0), GammaArrivals(2.8, 2.0)
    runs = [simulate(server, arrivals, requests=20_000, seed=s).percentile_s(95) for s in range(40)]
    spread = np.std([r.value for r in runs], ddof=1)
    assert np.mean([r.standard_error for r in runs]) == pytest.approx(spread, rel=0.4)


def test_same_seed_same_outcome():
    def once(seed: int) -> Outcome:
        return simulate(BatchServer(3, 1.0, 0.2, 0.5), GammaArrivals(2.0, 3.0), seed=seed)

    np.testing.assert_array_equal(once(1).latency_s, once(1).latency_s)
    assert not np.array_equal(once(1).latency_s, once(2).latency_s)


def test_the_warm_up_and_the_end_do_not_count():
    times = np.arange(40.0)[None, :]
    # Overloaded: the latency of request i is 2 + i.
    found = serve(BatchServer(1, 2.0), times, warmup=10, cooldown=10)
    assert found.percentile_s(0).value == pytest.approx(12.0)
    assert found.percentile_s(100).value == pytest.approx(31.0)
    assert found.mean_s().value == pytest.approx(21.5)
    assert found.mean_wait_s().value == pytest.approx(19.5)


def test_a_recorded_list_counts_whole_when_asked_to():
    times = np.arange(40.0)
    found = simulate(BatchServer(1, 2.0), RecordedArrivals.of(times), warmup=0.0)
    assert found.percentile_s(100).value == pytest.approx(41.0)
    assert found.percentile_s(0).value == pytest.approx(2.0)


# -- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: BatchServer(0, 1.0),
        lambda: BatchServer(2, -1.0),
        lambda: BatchServer(2, math.nan),
        lambda: BatchServer(2, (1.0,)),
        lambda: BatchServer(2, 1.0, -0.1),
        lambda: BatchServer(2, 1.0, math.nan),
        lambda: BatchServer(2, 1.0, 0.0, -1.0),
        lambda: PoissonArrivals(0.0),
        lambda: GammaArrivals(1.0, 0.0),
        lambda: GammaArrivals(math.inf, 1.0),
        lambda: RecordedArrivals.of([]),
        lambda: RecordedArrivals.of([1.0, 0.5]),
        lambda: RecordedArrivals.of([1.0, math.nan]),
        lambda: RecordedArrivals.of([[1.0, 2.0]]),
        lambda: simulate(BatchServer(1, 1.0), PoissonArrivals(1.0), requests=0),
        lambda: simulate(BatchServer(1, 1.0), PoissonArrivals(1.0), warmup=1.0),
        lambda: serve(BatchServer(1, 1.0), np.zeros(3)),
        lambda: simulate(BatchServer(1, 1.0), RecordedArrivals.of([1.0])).percentile_s(101),
        lambda: simulate(BatchServer(2, 1.0, math.inf), RecordedArrivals.of([1.0])).mean_s(),
    ],
)
def test_nonsense_is_refused_with_advice(wrong):
    with pytest.raises(InputError) as caught:
        wrong()
    assert caught.value.advice
