"""Memory by batch: never below what was measured, never falling, unknown where it is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colocate.models.fitting.memory import fit_memory, memory_polynomial
from colocate.tables import ProfileTable


def measured(batch: list[float], gib: list[float]) -> ProfileTable:
    return ProfileTable.of(
        workload="a", role="training", gpu="G", batch=batch, share_pct=100, rate=1, memory_gib=gib
    )


def points(table: ProfileTable, batches: tuple[int, ...] = ()) -> dict[int, float]:
    return {p.batch: p.memory_gib for p in fit_memory(table, "a", "G", batches)}


@given(
    st.lists(st.tuples(st.integers(1, 512), st.floats(0.1, 80)), min_size=1, max_size=8),
    st.lists(st.integers(1, 2000), max_size=5),
)
def test_memory_never_falls_and_is_never_below_a_measurement(
    rows: list[tuple[int, float]], asked: list[int]
) -> None:
    found = points(measured([b for b, _ in rows], [m for _, m in rows]), tuple(asked))
    values = list(found.values())
    assert values == sorted(values)
    for batch, gib in rows:
        assert found[batch] >= gib
    # What holds for a batch is that of the next listed one, so between points nothing is too low.
    assert set(found) <= {b for b, _ in rows} | set(asked)


@given(
    st.lists(st.floats(0, 5), min_size=2, max_size=3),
    st.lists(st.integers(1, 64), min_size=4, max_size=8, unique=True),
)
def test_a_polynomial_is_found_again(coefficients: list[float], batches: list[int]) -> None:
    b = np.array(sorted(batches), dtype=float)
    at = np.array([b[0], (b[0] + b[-1]) / 2, 1.5 * b[-1]])
    truth, expected = (np.polynomial.Polynomial([0.5, *coefficients])(x / 64) for x in (b, at))
    np.testing.assert_allclose(memory_polynomial(b, truth, at), expected, rtol=1e-4)


def test_batches_between_and_a_little_beyond_are_predicted() -> None:
    found = points(measured([8, 32], [2.0, 5.0]), (16, 64, 65, 4))
    assert found == pytest.approx({8: 2.0, 16: 3.0, 32: 5.0, 64: 9.0})


def test_from_one_batch_nothing_is_predicted() -> None:
    assert points(measured([8], [2.0]), (4, 16)) == {8: 2.0}


def test_unknown_memory_stays_unknown() -> None:
    nowhere = ProfileTable.of(workload="a", role="training", gpu="G", share_pct=100, rate=1)
    assert fit_memory(nowhere, "a", "G", (1,)) == ()
    assert fit_memory(measured([8], [2.0]), "b", "G") == ()
    assert fit_memory(measured([8], [2.0]), "a", "other") == ()
    assert fit_memory(measured([8, 9], [np.nan, 0.0]), "a", "G") == ()


def test_the_largest_repeat_counts() -> None:
    assert points(measured([8, 8], [2.0, 2.5])) == {8: 2.5}
