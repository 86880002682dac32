"""Interpolation in stacked tables, and sums of bumps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import RegularGridInterpolator

from colocate.models.regression.grids import GridStack
from colocate.models.regression.hats import hat_matrix
from colocate.models.regression.kernel import gaussian, landmark_sum, landmarks


@given(st.integers(0, 2**31), st.integers(1, 3), st.integers(1, 4))
def test_stacked_tables_interpolate_like_single_ones(seed: int, depth: int, tables: int) -> None:
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(tables):
        axes = [np.cumsum(rng.uniform(0.1, 2, rng.integers(1, 5))) for _ in range(depth)]
        made.append((axes, rng.normal(size=(*(a.size for a in axes), 2))))
    stack = GridStack.of(made)
    table = rng.integers(0, tables, 50)
    x = rng.uniform(-1, 9, (depth, 50))
    found, inside = stack.lookup(table, *x)
    for i in range(50):
        axes, values = made[table[i]]
        long = [k for k in range(depth) if axes[k].size > 1]
        assert inside[i] == all(axes[k][0] <= x[k, i] <= axes[k][-1] for k in range(depth))
        at = [np.clip(x[k, i], axes[k][0], axes[k][-1]) for k in long]
        grid = values.reshape(*(axes[k].size for k in long), 2)
        if long:
            grid = RegularGridInterpolator([axes[k] for k in long], grid)(at)[0]
        assert found[i] == pytest.approx(grid.ravel(), rel=1e-9, abs=1e-9)


def test_a_single_node_is_inside_at_itself_or_everywhere() -> None:
    tables = [([np.array([node])], np.array([[7.0]])) for node in (2.0, np.nan)]
    found, inside = GridStack.of(tables).lookup(np.array([0, 0, 1]), np.array([2.0, 3.0, 3.0]))
    assert list(inside) == [True, False, True]
    assert list(found[:, 0]) == [7, 7, 7]


def test_a_gap_counts_only_where_it_has_weight() -> None:
    stack = GridStack.of([([np.array([1.0, 2, 3])], np.array([[1.0], [2], [np.nan]]))])
    found, _ = stack.lookup(np.zeros(3, dtype=int), np.array([1.5, 2.0, 2.1]))
    assert found[:2, 0] == pytest.approx([1.5, 2])
    assert np.isnan(found[2, 0])


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=6, unique=True), st.floats(-9, 9))
def test_hats_interpolate_linearly(knots: list[float], x: float) -> None:
    at = np.sort(np.array(knots))
    y = np.cos(at)
    # knots closer than this make slopes beyond what floats can tell
    if at.size > 1 and np.diff(at).min() < 1e-6:
        return
    weights = hat_matrix(np.array([x]), at)
    assert weights.sum() == pytest.approx(1)
    assert weights @ y == pytest.approx(np.interp([x], at, y), abs=1e-9)


def test_bumps_and_their_sum() -> None:
    rng = np.random.default_rng(0)
    x, z, w = rng.normal(size=(40_000, 3)), rng.normal(size=(5, 3)), rng.normal(size=5)
    direct = np.exp(-0.5 * ((x[:100, None] - z) ** 2).sum(axis=2))
    assert gaussian(x[:100], z) == pytest.approx(direct)
    assert landmark_sum(x, z, w)[:100] == pytest.approx(direct @ w)
    tail = np.exp(-0.5 * ((x[-3:, None] - z) ** 2).sum(axis=2)) @ w
    assert landmark_sum(x, z, w)[-3:] == pytest.approx(tail)


def test_landmarks_stop_where_they_explain_the_rest() -> None:
    x = np.repeat(np.array([[0.0], [10.0], [20.0]]), 4, axis=0)
    assert sorted(landmarks(x, 12)[:, 0]) == [0, 10, 20]
    assert len(landmarks(x, 2)) == 2
