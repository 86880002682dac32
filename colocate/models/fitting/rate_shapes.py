"""Shapes that a rate curve may have over the share, as banks of parameters.

Every shape gives the logarithm of the time of a batch over the share p, up to a constant:

    hyperbola      log(1 + k / min(p, c))                         flat from c on
    power          e * log(max(k / p, 1))                         flat from k on
    soft maximum   log(1 + (k / p) ** (n * e)) / n                k the knee, n its sharpness

All fall as the share grows, none faster than 1/p. A bank lists parameters densely enough that the
posterior over it (`rate_posterior`) is an average over curves, which no single fit can be.
"""

from __future__ import annotations

from functools import cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["FAMILIES", "Bank", "bank_of", "elasticities", "log_times"]

Floats = NDArray[np.float64]

FAMILIES: Final = ("hyperbola", "power", "soft_maximum")


class Bank(NamedTuple):
    """Parameters of many shapes of one family, a row each."""

    family: str
    knee: Floats
    """k, in percent."""
    exponent: Floats
    """e."""
    sharpness: Floats
    """n."""
    flat_from: Floats
    """c, in percent."""


@cache
def bank_of(family: str) -> Bank:
    """Return the bank of a family."""
    if family == "hyperbola":
        axes = [
            np.geomspace(3, 400, 18),
            [1.0],
            [1.0],
            [20, 25, 30, 35, 40, 45, *range(50, 101, 10)],
        ]
    elif family == "power":
        axes = [np.geomspace(3, 100, 24), [1, 0.95, 0.9, 0.8, 0.7, 0.55], [1], [100]]
    else:
        axes = [np.geomspace(3, 400, 18), [1, 0.95, 0.9, 0.8], [1, 1.5, 2.5, 5, 12], [100]]
    grid = np.meshgrid(*(np.asarray(a, dtype=float) for a in axes), indexing="ij")
    return Bank(family, *(g.ravel() for g in grid))


def log_times(bank: Bank, share_pct: Floats) -> Floats:
    """Return [shape, share]: the logarithm of the time, up to a constant."""
    p = np.asarray(share_pct, dtype=float)[None, :]
    k, e, n = bank.knee[:, None], bank.exponent[:, None], bank.sharpness[:, None]
    found: Floats
    if bank.family == "power":
        found = e * np.maximum(np.log(k / p), 0.0)
    elif bank.family == "hyperbola":
        found = np.log1p(k / np.minimum(p, bank.flat_from[:, None]))
    else:
        found = np.logaddexp(0.0, n * e * np.log(k / p)) / n
    return found


def elasticities(bank: Bank, weights: Floats, share_pct: Floats, step: float = 0.05) -> Floats:
    """Return [curve, share]: -d log t / d log p, averaged over the shapes with these weights."""
    up = weights @ log_times(bank, share_pct * np.exp(step))
    down = weights @ log_times(bank, share_pct * np.exp(-step))
    return (down - up) / (2 * step)
