"""Kuhn-Munkres with multiplicities, against SciPy on single rows and columns."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from colocate.solvers.policies._assign import assigned


@given(st.integers(0, 2**32 - 1))
def test_as_good_as_scipy(seed: int) -> None:
    """The same total, and no pair that must not be made."""
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 7, 2))
    worth = rng.uniform(0, 1, shape).round(int(rng.choice([1, 9])))
    worth[rng.uniform(size=shape) < 0.3] = -1
    rows, columns = rng.integers(0, 4, shape[0]), rng.integers(0, 4, shape[1])
    amount = assigned(worth, rows, columns)
    assert (amount >= 0).all()
    assert (amount.sum(axis=1) <= rows).all()
    assert (amount.sum(axis=0) <= columns).all()
    assert not amount[worth < 0].any()
    single = np.maximum(np.repeat(np.repeat(worth, rows, axis=0), columns, axis=1), 0)
    best = single[linear_sum_assignment(single, maximize=True)].sum() if single.size else 0.0
    assert (amount * worth).sum() == pytest.approx(best)


def test_a_path_undoes_what_was_best_first() -> None:
    """Greedy takes 10 and is left with 0; 9 + 9 is better."""
    amount = assigned(np.array([[10.0, 9.0], [9.0, -1.0]]), np.array([5, 5]), np.array([5, 5]))
    assert amount.tolist() == [[0, 5], [5, 0]]


def test_it_stops_when_told() -> None:
    """With what there is so far."""
    amount = assigned(np.ones((1, 1)), np.array([3]), np.array([3]), lambda: True)
    assert amount.sum() == 0
