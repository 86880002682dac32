"""Intervals hold the truth as often as they say, also where the noise wanders."""

from __future__ import annotations

import math
import random
from statistics import NormalDist, median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colocate.executor.measure.intervals import (
    is_steady,
    median_interval,
    merged,
    quantile,
    quantile_interval,
)

FINITE = st.floats(1e-3, 1e6)


def coverage(draw, truth: float, interval, trials: int) -> float:
    """Return how often the interval of a draw holds the truth."""
    rng = random.Random(7)
    hits = 0
    for _ in range(trials):
        found = interval(draw(rng))
        hits += found.low <= truth <= found.high
    return hits / trials


def wandering(n: int, keep: float):
    """Return a function that draws n values with a memory: each keeps a part of the last one."""

    def draw(rng: random.Random) -> list[float]:
        value = rng.gauss(0, 1) / math.sqrt(1 - keep**2)
        out = []
        for _ in range(n):
            value = keep * value + rng.gauss(0, 1)
            out.append(100 + value)
        return out

    return draw


def test_independent_windows_are_covered_as_often_as_stated():
    found = coverage(
        lambda rng: [rng.lognormvariate(0, 0.2) for _ in range(15)],
        1.0,
        lambda values: median_interval(values, 0.95),
        1500,
    )
    assert 0.93 <= found <= 0.995


def test_windows_with_a_memory_are_covered_where_plain_order_statistics_are_not():
    draw = wandering(64, 0.7)
    honest = coverage(draw, 100.0, lambda v: median_interval(v, 0.95), 600)

    def naive(values: list[float]):
        ordered = sorted(values)  # the 24th and the 41st of 64: 95 % were they independent
        from colocate.executor.measure.intervals import Interval

        return Interval(median(values), ordered[23], ordered[40], 64)

    plain = coverage(draw, 100.0, naive, 600)
    assert plain < 0.75
    assert honest > 0.85


@given(st.lists(FINITE, min_size=1, max_size=5))
def test_few_windows_say_nothing_at_95_percent(values):
    found = median_interval(values, 0.95)
    assert found.relative == math.inf
    assert min(values) <= found.value <= max(values)


@given(st.lists(FINITE, min_size=6, max_size=40), st.sampled_from([0.5, 0.8, 0.95]))
def test_the_median_lies_in_its_interval_and_the_interval_among_the_values(values, confidence):
    found = median_interval(values, confidence)
    assert found.low <= found.value <= found.high
    assert min(values) <= found.value <= max(values)


def test_no_windows_are_no_measurement():
    assert math.isnan(median_interval([], 0.9).value)
    assert median_interval([], 0.9).relative == math.inf


@given(st.lists(FINITE, min_size=1, max_size=60))
def test_merging_keeps_the_mean_of_what_it_keeps_and_never_makes_more(values):
    found = merged(values)
    assert 1 <= len(found) <= len(values)
    assert len(found) >= min(4, len(values))
    assert min(values) * (1 - 1e-9) <= min(found)
    assert max(found) <= max(values) * (1 + 1e-9)


def test_merging_leaves_noise_alone_and_merges_a_wave():
    rng = random.Random(3)
    noise = [rng.gauss(10, 1) for _ in range(64)]
    assert merged(noise) == noise
    wave = [10 + math.sin(i / 10) for i in range(64)]
    assert len(merged(wave)) < 16


@given(st.lists(FINITE, min_size=1, max_size=60), st.floats(0.01, 0.99))
def test_a_quantile_is_the_smallest_value_that_enough_do_not_exceed(values, q):
    found = quantile(values, q)
    assert found in values
    at_most = sum(v <= found for v in values) / len(values)
    below = sum(v < found for v in values) / len(values)
    assert at_most >= q - 1e-9
    assert below < q + 1e-9


def test_the_99th_percentile_of_independent_latencies_is_covered():
    truth = -math.log(0.01)
    found = coverage(
        lambda rng: [[rng.expovariate(1.0) for _ in range(100)] for _ in range(20)],
        truth,
        lambda blocks: quantile_interval(blocks, 0.99, 0.95),
        600,
    )
    assert 0.92 <= found <= 0.995


def test_clustered_latencies_get_a_wider_interval_than_the_same_ones_shuffled():
    rng = random.Random(5)
    blocks = [[rng.expovariate(0.3 if i % 10 == 0 else 1.0) for _ in range(200)] for i in range(30)]
    everything = [v for block in blocks for v in block]
    rng.shuffle(everything)
    mixed = [everything[i : i + 200] for i in range(0, len(everything), 200)]
    clustered = quantile_interval(blocks, 0.99, 0.95)
    shuffled = quantile_interval(mixed, 0.99, 0.95)
    assert clustered.value == shuffled.value
    assert clustered.n < shuffled.n / 3
    assert clustered.high - clustered.low > 1.4 * (shuffled.high - shuffled.low)


def test_too_few_latencies_do_not_bound_the_99th_percentile_above():
    found = quantile_interval([[1.0, 2.0, 3.0] * 5], 0.99, 0.95)
    assert found.high == math.inf
    assert quantile_interval([[], []], 0.99, 0.95).relative == math.inf


def test_steady_means_no_trend():
    flat = [100, 101, 99, 100, 100, 101]
    rising = [80, 85, 90, 95, 98, 99]
    assert is_steady(flat, last=3, tolerance=0.02)
    assert not is_steady(rising, last=3, tolerance=0.02)
    assert not is_steady(flat[:5], last=3, tolerance=0.02)
    assert not is_steady([0] * 6, last=3, tolerance=0.02)


def test_noise_that_explains_the_difference_counts_as_steady_up_to_a_point():
    noisy = [100, 112, 88, 108, 95, 100]
    wild = [100, 300, 20, 400, 500, 90]
    assert is_steady(noisy, last=3, tolerance=0.02)
    assert not is_steady(wild, last=3, tolerance=0.02)


@pytest.mark.parametrize("n", [6, 9, 15, 40, 3000])
def test_ranks_are_those_of_the_binomial_distribution(n):
    """At 95 %, known from tables: of 6 the extremes, of 9 the second, of 15 the fourth."""
    # up and down, so that nothing looks like a memory
    values = [float(i // 2 if i % 2 else n - 1 - i // 2) for i in range(n)]
    found = median_interval(values, 0.95)
    rank = int(found.low) + 1
    known = {6: 1, 9: 2, 15: 4, 40: 14}
    expected = known.get(n) or math.floor(n / 2 - NormalDist().inv_cdf(0.975) * math.sqrt(n) / 2)
    assert rank == expected
    assert found.high == n - rank
