"""Ridge regression in blocks, with exact errors for groups left out.

    minimise  sum_i h_i ((y_i - x_i b) / n_i)^2 + |b|^2

x holds blocks of columns, each scaled by the standard deviation that its coefficients are expected
to have; n_i is the noise of row i, and h_i <= 1 shrinks rows that fit badly (Huber). With
u_i = x_i sqrt(h_i) / n_i, A = U'U + I and hat matrix H = U A^-1 U', the error at the rows g, had
they had no part in the fit with the same h and n, is

    e_g = (I - H_gg)^-1 r_g,   r the scaled errors of the fit with all rows

and its coefficients would have been

    b_g = b - A^-1 U_g' e_g

Only the blocks H_gg are worked out, from A^-1 and the few entries that a row of U has.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.linalg.lapack import dpotri

from colocate.models.fitting.company_design import Design

__all__ = ["Ridge", "coefficients_without", "fit_ridge", "left_out"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
HUBER = 2.0
"""Errors beyond so many times the noise count linearly."""


class Ridge(NamedTuple):
    """A fit, with what `left_out` needs."""

    coefficients: Floats
    scaled: Design
    """U of the module's text."""
    inverse: Floats
    """A^-1."""
    errors: Floats
    """r of the module's text."""
    weight: Floats
    """sqrt(h_i) / n_i."""


def fit_ridge(x: Design, y: Floats, noise: Floats, rounds: int = 3) -> Ridge:
    """Return the coefficients; `rounds` > 1 resists outliers."""
    weight = 1 / noise
    for k in range(rounds):
        u = x.scaled(weight)
        a = u.gram()
        a[np.diag_indices_from(a)] += 1
        factor, _ = cho_factor(a, lower=True, overwrite_a=True, check_finite=False)
        b = cho_solve((factor, True), u.moments(weight * y))
        if k < rounds - 1:
            size = np.abs(y - x @ b) / noise
            weight = np.sqrt(np.minimum(1, HUBER / np.maximum(size, 1e-300))) / noise
    return Ridge(b, u, _inverse(factor), weight * (y - x @ b), weight)


def _inverse(factor: Floats) -> Floats:
    """Return A^-1 from the lower factor of A."""
    lower, failed = dpotri(factor, lower=1, overwrite_c=1)
    assert failed == 0
    lower = np.tril(lower)
    found: Floats = lower + np.tril(lower, -1).T
    return found


def left_out(fit: Ridge, groups: Iterable[Ints]) -> list[Floats]:
    """Return y - predicted at each group's rows, as if the group had had no part in the fit."""
    return [_errors(fit, g, *fit.scaled.dense(g)) / fit.weight[g] for g in groups]


def coefficients_without(fit: Ridge, group: Ints) -> Floats:
    """Return the coefficients as if the group had had no part in the fit."""
    part, used = fit.scaled.dense(group)
    moved = part.T @ _errors(fit, group, part, used)
    found: Floats = fit.coefficients - fit.inverse[:, used] @ moved
    return found


def _errors(fit: Ridge, group: Ints, part: Floats, used: Ints) -> Floats:
    """Return e_g; `part` are the columns of U_g that are used."""
    rest = -(part @ fit.inverse[np.ix_(used, used)] @ part.T)
    rest[np.diag_indices_from(rest)] += 1
    return np.asarray(np.linalg.solve(rest, fit.errors[group]), dtype=np.float64)
