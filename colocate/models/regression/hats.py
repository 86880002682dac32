"""Linear interpolation as weights, so that tables can be looked up and fitted alike.

    y(x) = sum_k h_k(x) y_k,   h_k the hat over knot k

x beyond the knots counts as the last one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["bracket", "hat_matrix"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def bracket(x: Floats, knots: Floats) -> tuple[Ints, Floats]:
    """Return the knot below each x, and how far x is on the way to the next one (0 to 1)."""
    if knots.size == 1:
        return np.zeros(x.shape, dtype=np.int64), np.zeros(x.shape)
    clipped = np.clip(x, knots[0], knots[-1])
    below = np.clip(np.searchsorted(knots, clipped, side="right") - 1, 0, knots.size - 2)
    return below, (clipped - knots[below]) / (knots[below + 1] - knots[below])


def hat_matrix(x: Floats, knots: Floats) -> Floats:
    """Return h_k(x_i) as [i, k]."""
    below, way = bracket(x, knots)
    weights = np.zeros((x.size, knots.size))
    rows = np.arange(x.size)
    weights[rows, below] = 1 - way
    if knots.size > 1:
        weights[rows, below + 1] += way
    return weights
