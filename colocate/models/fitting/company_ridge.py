"""Ridge regression in blocks, with exact errors for groups left out.

    minimise  sum_i h_i ((y_i - x_i b) / n_i)^2 + |b|^2

x holds blocks of columns, each scaled by the standard deviation that its coefficients are expected
to have; n_i is the noise of row i, and h_i <= 1 shrinks rows that fit badly (Huber). With
u_i = x_i sqrt(h_i) / n_i, A = U'U + I and hat matrix H = U A^-1 U', the error at the rows g, had
they had no part in the fit with the same h and n, is

    e_g = (I - H_gg)^-1 r_g,   r the scaled errors of the fit with all rows
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, solve_triangular

__all__ = ["Ridge", "fit_ridge", "left_out"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
HUBER = 2.0
"""Errors beyond so many times the noise count linearly."""


class Ridge(NamedTuple):
    """A fit, with what `left_out` needs."""

    coefficients: Floats
    scaled: Floats
    """U' of the module's text, after division by the factor of A: [columns, rows]."""
    errors: Floats
    """r of the module's text."""
    weight: Floats
    """sqrt(h_i) / n_i."""


def fit_ridge(x: Floats, y: Floats, noise: Floats, rounds: int = 3) -> Ridge:
    """Return the coefficients; `rounds` > 1 resists outliers."""
    weight = 1 / noise
    for k in range(rounds):
        u = x * weight[:, None]
        a = u.T @ u
        a[np.diag_indices_from(a)] += 1
        factor = cho_factor(a, lower=True)
        b = cho_solve(factor, u.T @ (weight * y))
        if k < rounds - 1:
            size = np.abs(y - x @ b) / noise
            weight = np.sqrt(np.minimum(1, HUBER / np.maximum(size, 1e-300))) / noise
    half = solve_triangular(factor[0], u.T, lower=True)
    return Ridge(b, half, weight * (y - x @ b), weight)


def left_out(fit: Ridge, groups: Iterable[Ints]) -> list[Floats]:
    """Return y - predicted at each group's rows, as if the group had had no part in the fit."""
    found = []
    for g in groups:
        part = fit.scaled[:, g]
        rest = -(part.T @ part)
        rest[np.diag_indices_from(rest)] += 1
        error = np.linalg.solve(rest, fit.errors[g])
        found.append(error / fit.weight[g])
    return found
