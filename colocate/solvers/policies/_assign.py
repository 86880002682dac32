"""Assignment of classes, by the method of Kuhn and Munkres with multiplicities.

    max  sum_rc w_rc x_rc    s.t.  sum_c x_rc <= n_r,   sum_r x_rc <= m_c,   x whole numbers

One path of largest gain after the other, each for as many as it can carry:

    gain of reaching column c   u_c = max over r of (v_r + w_rc)
    gain of freeing row r       v_r = max over c with x_rc > 0 of (u_c - w_rc),   0 with rows left

Every state on the way is an assignment, and the best of its size.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["assigned"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

TINY = 1e-12
"""Relative to the largest worth: differences below it are rounding."""


def assigned(
    worth: Floats, rows: Ints, columns: Ints, stop: Callable[[], bool] | None = None
) -> Ints:
    """Return how often to pair each row with each column, for the largest total worth.

    Parameters
    ----------
    worth
        Of each pair; below 0 where a pair is not to be made.
    rows, columns
        How often each exists.
    stop
        Asked before each path; a true answer ends with what there is.
    """
    amount = np.zeros(worth.shape, dtype=np.int64)
    if not worth.size:
        return amount
    row_left, column_left = rows.copy(), columns.copy()
    gain_of = np.where(worth >= 0, worth, -np.inf)
    tiny = TINY * max(1.0, float(worth.max()))
    while row_left.any() and column_left.any() and not (stop is not None and stop()):
        gain, row_before, column_before = _paths(gain_of, amount, row_left, tiny)
        gain = np.where(column_left > 0, gain, -np.inf)
        c = int(gain.argmax())
        if not gain[c] >= -tiny:
            break
        path: list[tuple[int, int, int]] = []
        end = c
        while True:
            r = int(row_before[c])
            path.append((r, c, 1))
            if column_before[r] < 0:
                break
            c = int(column_before[r])
            path.append((r, c, -1))
        most = min(int(row_left[r]), int(column_left[end]))
        most = min([most, *(int(amount[i, j]) for i, j, sign in path if sign < 0)])
        for i, j, sign in path:
            amount[i, j] += sign * most
        row_left[r] -= most
        column_left[end] -= most
    return amount


def _paths(worth: Floats, amount: Ints, row_left: Ints, tiny: float) -> tuple[Floats, Ints, Ints]:
    """Return u, the row before each column, and the column before each row, -1 at the start."""
    v = np.where(row_left > 0, 0.0, -np.inf)
    column_before = np.full(v.size, -1, dtype=np.int64)
    u = np.full(worth.shape[1], -np.inf)
    row_before = np.full(u.size, -1, dtype=np.int64)
    taken = np.where(amount > 0, worth, np.inf)
    while True:
        reach = v[:, None] + worth
        best = reach.argmax(axis=0)
        value = reach[best, np.arange(u.size)]
        better = value > u + tiny
        u[better], row_before[better] = value[better], best[better]
        back = u[None, :] - taken
        best = back.argmax(axis=1)
        value = back[np.arange(v.size), best]
        better = value > v + tiny
        if not better.any():
            return u, row_before, column_before
        v[better], column_before[better] = value[better], best[better]
