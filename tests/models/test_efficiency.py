"""Statistical efficiency: its limits, its two faces, and the batch it speaks for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colocate.errors import InputError
from colocate.models.efficiency import best_batch, efficiencies, efficiency_at

batches = st.integers(1, 100_000)
noises = st.floats(0, 1e7)


@given(st.lists(batches, min_size=1, max_size=8), batches, noises)
def test_the_two_faces_agree(ms: list[int], m0: int, g: float) -> None:
    one_by_one = [efficiency_at(m, m0, g) for m in ms]
    np.testing.assert_allclose(efficiencies(ms, m0, g), one_by_one, rtol=1e-15)


@given(batches, batches, noises)
def test_a_larger_batch_never_makes_more_of_a_sample(m: int, m0: int, g: float) -> None:
    assert efficiency_at(m + 1, m0, g) <= efficiency_at(m, m0, g)
    assert efficiency_at(m0, m0, g) == 1


@given(batches, batches, noises)
def test_steps_of_a_larger_batch_make_at_least_as_much_progress(m: int, m0: int, g: float) -> None:
    """Progress per step, m e(m), grows with the batch but no faster than the batch."""
    assert (m + 1) * efficiency_at(m + 1, m0, g) >= m * efficiency_at(m, m0, g) * (1 - 1e-12)


def test_without_noise_only_steps_count_and_with_much_every_sample() -> None:
    assert 64 * efficiency_at(64, 16, 0) == 16
    assert efficiency_at(64, 16, 1e12) == pytest.approx(1, abs=1e-10)


def test_the_best_batch_weighs_speed_against_progress() -> None:
    rates = [100.0, 180.0, 300.0, 420.0]
    assert best_batch([16, 32, 64, 128], rates, 16, 1e9)[0] == 128
    assert best_batch([16, 32, 64, 128], rates, 16, 0.0)[0] == 16
    batch, goodput = best_batch([16, 32, 64, 128], rates, 16, 64.0)
    by_hand = {m: r * 80 / (64 + m) for m, r in zip([16, 32, 64, 128], rates, strict=True)}
    assert batch == max(by_hand, key=by_hand.__getitem__) == 64
    assert goodput == pytest.approx(by_hand[64])


def test_of_equal_goodputs_the_smallest_batch_is_taken() -> None:
    assert best_batch([8, 16], [50.0, 50.0 * 116 / 108], 8, 100.0)[0] == 8


@pytest.mark.parametrize(("m", "m0", "g"), [(0, 8, 1), (8, 0, 1), (8, 8, -1)])
def test_nonsense_is_refused_with_its_values(m: float, m0: float, g: float) -> None:
    with pytest.raises(InputError, match=f"batch {m:g}, reference batch {m0:g}"):
        efficiency_at(m, m0, g)
    with pytest.raises(InputError):
        best_batch([8], [], 8, 1)
