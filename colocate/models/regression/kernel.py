"""Sums of Gaussian bumps around landmarks, and how landmarks are picked.

    f(x) = sum_j w_j k(x, z_j),   k(x, z) = exp(-|x - z|^2 / 2)

Landmarks are chosen where the points chosen so far say least about k (pivoted Cholesky), which
depends on the points only, not on what was measured there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["gaussian", "landmark_sum", "landmarks"]

Floats = NDArray[np.float64]
CHUNK = 16_384
"""Rows evaluated at once, so that the matrix of bumps stays in the cache."""


def gaussian(x: Floats, z: Floats) -> Floats:
    """Return k(x_i, z_j) as [i, j]."""
    exponent = x @ z.T
    exponent -= 0.5 * np.einsum("ij,ij->i", x, x)[:, None]
    exponent -= 0.5 * np.einsum("ij,ij->i", z, z)
    np.minimum(exponent, 0, out=exponent)
    bumps: Floats = np.exp(exponent, out=exponent)
    return bumps


def landmarks(x: Floats, most: int, tolerance: float = 1e-4) -> Floats:
    """Return at most so many of the points; fewer where they already explain all others."""
    n, most = len(x), min(most, len(x))
    left = np.ones(n)
    factor = np.zeros((n, most))
    chosen: list[int] = []
    for k in range(most):
        i = int(np.argmax(left))
        if left[i] < tolerance:
            break
        chosen.append(i)
        column = gaussian(x, x[i : i + 1])[:, 0] - factor[:, :k] @ factor[i, :k]
        factor[:, k] = column / np.sqrt(left[i])
        left = np.maximum(left - factor[:, k] ** 2, 0)
    return x[chosen]


def landmark_sum(x: Floats, z: Floats, weights: Floats) -> Floats:
    """Return f(x_i)."""
    f = np.empty(len(x))
    for start in range(0, len(x), CHUNK):
        f[start : start + CHUNK] = gaussian(x[start : start + CHUNK], z) @ weights
    return f
