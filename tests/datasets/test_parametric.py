"""The made-up forms have the shapes that their module promises."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colocate.datasets.parametric import (
    Workload,
    inference_profile,
    pair,
    significant,
    training_profile,
)
from colocate.models.curves import rate_alone
from colocate.models.memory import memory_per_process

WORKLOADS = st.builds(
    Workload,
    name=st.just("w"),
    full_rate=st.floats(10, 1e5),
    half_share_pct=st.floats(4, 90),
    batch_half=st.floats(4, 300),
    base_gib=st.floats(0.5, 10),
    per_sample_mib=st.floats(0, 100),
    sensitivity=st.floats(0.25, 0.75),
    pressure=st.floats(0.08, 0.6),
)


@given(WORKLOADS, st.sampled_from([16, 64, 256]))
def test_rate_rises_with_diminishing_returns_up_to_the_stated_rate(w, batch):
    rates = [w.rate(batch, p) for p in range(0, 101, 5)]
    gains = [b - a for a, b in pairwise(rates)]
    assert rates[0] == 0
    assert rates[-1] == pytest.approx(w.full_rate * batch / (batch + w.batch_half))
    assert all(g > 0 for g in gains)
    assert all(b <= a * (1 + 1e-9) for a, b in pairwise(gains))


@given(WORKLOADS)
def test_a_larger_batch_is_more_efficient_but_needs_more_of_the_gpu(w):
    assert w.rate(64, 100) > w.rate(16, 100)
    assert w.rate(64, 20) / w.rate(64, 100) < w.rate(16, 20) / w.rate(16, 100)
    assert w.memory_gib(64) >= w.memory_gib(16)


@given(WORKLOADS, st.floats(5, 100))
def test_profiles_follow_the_form(w, share):
    inference = inference_profile(w, "gpu", (16, 64))
    training = training_profile(w, "gpu", 64)
    for profile, tolerance in ((inference, 0.04), (training, 0.05)):
        found = rate_alone(profile, 64, share)
        assert found is not None
        # Chords of a concave curve lie below it.
        assert (1 - tolerance) * w.rate(64, share) <= found <= 1.001 * w.rate(64, share)
        assert memory_per_process(profile, 64) == w.memory_gib(64)
        assert rate_alone(profile, 64, 4.9) == 0


@given(WORKLOADS, WORKLOADS)
def test_slowdowns_are_plausible_under_mps(victim, neighbour):
    slowdown = pair(victim, neighbour, "gpu").slowdown
    assert slowdown is not None
    assert 1.02 <= slowdown <= 1.45


@given(st.floats(1e-6, 1e9), st.integers(2, 6))
def test_significant_keeps_so_many_digits(x, digits):
    assert significant(x, digits) == pytest.approx(x, rel=0.5 * 10 ** (1 - digits) * 1.001)
    assert significant(significant(x, digits), digits) == significant(x, digits)
