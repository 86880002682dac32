"""Burstiness of recorded arrivals, with and without the drift of their rate."""

from __future__ import annotations

import math

import numpy as np
import pytest

from colocate.errors import InputError
from colocate.simulator import GammaArrivals, measure_arrivals, steady_times


def renewal(burstiness: float, seed: int, count: int = 20_000) -> np.ndarray:
    rows = GammaArrivals(5.0, burstiness).times_s(1, count, np.random.default_rng(seed))
    return np.ravel(rows)


def drifting(burstiness: float, seed: int) -> np.ndarray:
    """The rate doubles and halves every 20 minutes."""
    clock = renewal(burstiness, seed)
    steps = np.linspace(0, clock[-1], 4000)
    slow = 1 / (1 + 0.6 * np.sin(2 * math.pi * steps / 1200))
    return np.asarray(
        np.interp(clock, steps, np.concatenate([[0], np.cumsum(np.diff(steps) * slow[1:])]))
    )


@pytest.mark.parametrize("burstiness", [1.0, 2.0, 4.0])
def test_a_steady_process_has_one_burstiness_and_no_warning(burstiness):
    facts = measure_arrivals(renewal(burstiness, seed=1))
    assert facts.rate_rps == pytest.approx(5.0, rel=0.03)
    assert facts.burstiness == pytest.approx(burstiness, rel=0.08)
    assert facts.steady_burstiness == pytest.approx(burstiness, rel=0.08)
    assert facts.rate_spread == pytest.approx(facts.expected_spread, rel=0.3)
    assert facts.warning is None


@pytest.mark.parametrize("burstiness", [1.0, 2.0])
def test_a_drift_is_seen_taken_out_and_warned_of(burstiness):
    facts = measure_arrivals(drifting(burstiness, seed=2))
    assert facts.burstiness > 1.1 * burstiness
    assert facts.steady_burstiness == pytest.approx(burstiness, rel=0.08)
    assert facts.rate_spread > 3 * facts.expected_spread
    assert facts.peak == pytest.approx(
        2.0, abs=0.35
    )  # 1.6 over the mean of 1 + 0.6 sin in time, 0.8
    assert facts.warning is not None
    assert "drift" in facts.warning


def test_steady_times_keep_order_ends_and_number():
    times = drifting(2.0, seed=3)
    steady = steady_times(times)
    assert steady.size == times.size
    assert (np.diff(steady) >= 0).all()
    assert steady[0] == times[0]
    assert steady[-1] == pytest.approx(times[-1])
    assert times.tolist() == drifting(2.0, seed=3).tolist()
    # The same number in every window of the new clock.
    counts = np.histogram(steady, np.linspace(steady[0], steady[-1], 60))[0]
    assert counts.std() / counts.mean() < 0.15


def test_the_origin_of_time_does_not_matter():
    times = drifting(1.0, seed=4)
    assert measure_arrivals(times + 1e6)[1:7] == pytest.approx(measure_arrivals(times)[1:7])


@pytest.mark.parametrize(
    ("times", "window_s"),
    [
        (np.arange(50.0), 60.0),
        (np.zeros(200), 60.0),
        (np.arange(5000.0), 5.0),
        (np.arange(5000.0), 0.0),
        (np.arange(5000.0), math.nan),
        (np.arange(5000.0)[::-1], 60.0),
    ],
)
def test_what_says_nothing_is_refused(times, window_s):
    with pytest.raises(InputError) as caught:
        measure_arrivals(times, window_s=window_s)
    assert caught.value.advice
