"""Times are put in order without extrapolations that pull at what was measured."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from colocate.models.fitting.rate_tables import monotone
from colocate.models.fitting.rates import RateSettings, fit_rates
from colocate.tables import ProfileTable


def in_order(log_time: np.ndarray) -> bool:
    falls = bool((np.diff(log_time, axis=1) <= 1e-9).all())
    return falls and bool((np.diff(log_time, axis=0) >= -1e-9).all())


def between_shares(rng: np.random.Generator, batches: int, shares: int) -> np.ndarray:
    first = rng.integers(0, shares, (batches, 1))
    last = rng.integers(first, shares)
    at = np.arange(shares)
    return (at >= first) & (at <= last)


@given(seed=st.integers(0, 10**6), batches=st.integers(1, 4), shares=st.integers(1, 7))
def test_measured_times_in_order_stay_whatever_lies_beyond(
    seed: int, batches: int, shares: int
) -> None:
    rng = np.random.default_rng(seed)
    truth = np.cumsum(rng.exponential(size=(batches, shares)), axis=0)
    truth = np.cumsum(truth[:, ::-1], axis=1)[:, ::-1]
    measured = between_shares(rng, batches, shares)
    said = np.where(measured, truth, truth + rng.normal(0, 5, truth.shape))
    found = monotone(said, measured)
    np.testing.assert_allclose(found[measured], truth[measured], rtol=0, atol=1e-12)
    assert in_order(found)


@given(seed=st.integers(0, 10**6), batches=st.integers(1, 4), shares=st.integers(1, 7))
def test_any_times_are_put_in_order(seed: int, batches: int, shares: int) -> None:
    rng = np.random.default_rng(seed)
    said = rng.integers(0, 4, (batches, shares)).astype(float)
    measured = between_shares(rng, batches, shares)
    found = monotone(said, measured)
    # The turns end after some rounds, so that a trace of disorder may be left.
    assert (np.diff(found, axis=1) <= 0.02).all()
    assert (np.diff(found, axis=0) >= -0.02).all()
    assert said.min() <= found.min()
    assert found.max() <= said.max()


def test_disorder_within_what_was_measured_is_pooled() -> None:
    everything = np.ones((2, 2), dtype=bool)
    found = monotone(np.array([[2.0, 2.0], [1.0, 1.0]]), everything)
    np.testing.assert_allclose(found, 1.5)


def test_a_batch_that_ends_early_does_not_move_the_others() -> None:
    """Batch 8 ends at 50 % while it still falls; batch 4 was measured to the end, and is flat."""
    rows = [(4, p, 4 / max(0.03, 1.6 / p)) for p in (10.0, 20.0, 30.0, 50.0, 80.0, 100.0)]
    rows += [(8, p, 8 / (1.62 / p)) for p in (10.0, 20.0, 30.0, 40.0, 50.0)]
    batch, share, rate = zip(*rows, strict=True)
    table = ProfileTable.of(
        workload="w", role="training", gpu="G", batch=batch, share_pct=share, rate=rate
    )
    members = ("power",)
    tidy = fit_rates(table, RateSettings(members)).fits["w", "G"]
    raw = fit_rates(table, RateSettings(members, monotone=False)).fits["w", "G"]
    at_80 = np.searchsorted(raw.share_pct, 80.0)
    assert raw.log_time[1, at_80] < raw.log_time[0, at_80]  # beyond the end batch 8 looks faster
    shares = np.array([60.0, 80.0, 100.0])
    np.testing.assert_allclose(tidy.rate_at(4, shares), raw.rate_at(4, shares), rtol=1e-9)
    assert in_order(tidy.log_time)
