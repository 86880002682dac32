"""Gaussian process with a lower confidence bound: looking for the smallest of a few measurements.

    y ~ GP(mean of what was measured, variance * exp(-(x - x')^2 / (2 L^2)))
    next = argmin over x of  A(x) = mu(x) - sqrt(beta_n) * sigma(x)      n: measurements so far

It starts in the middle, stops where the next point has been measured already, and answers with the
best measurement. Points are scaled to 0 ... 1 first; L is fixed.

    published   beta_n = 2 log(R / n^2), R points to choose from; 0 where that is negative, which is
                from n = sqrt(R) on: then nothing is explored any more
    standard    beta_n = 2 log(R n^2 pi^2 / (6 delta)), delta = 0.1 (Srinivas et al. 2010)

Both Mudi (Eq. 3) and IADeep print the first. Only numpy is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Beta", "Found", "gp_lcb", "posterior", "published_beta", "standard_beta"]

Floats = NDArray[np.float64]
Beta = Callable[[int, int], float]
"""Of the number of points and the number of measurements."""

LENGTH = 0.3
NOISE = 1e-6
"""Part of the variance; keeps the matrix regular."""
DELTA = 0.1
MOST = 25
"""Rounds that the Mudi paper ever needed."""


class Found(NamedTuple):
    """Where the search ended."""

    best: int
    """Index of the point with the smallest measurement."""
    value: float
    measured: tuple[int, ...]
    """Indices in the order in which they were measured."""


def published_beta(points: int, measurements: int) -> float:
    """Return beta as Mudi and IADeep print it, at least 0."""
    return max(0.0, 2.0 * math.log(points / measurements**2))


def standard_beta(points: int, measurements: int) -> float:
    """Return beta of the theorem that they refer to."""
    return 2.0 * math.log(points * measurements**2 * math.pi**2 / (6.0 * DELTA))


def posterior(x: Floats, y: Floats, at: Floats) -> tuple[Floats, Floats]:
    """Return mean and standard deviation at some points, given measurements y at x."""
    centre = y.mean()
    scale = float(y.std()) or 1.0
    with_itself = _kernel(x, x) + NOISE * np.eye(x.size)
    across = _kernel(at, x)
    weights = np.linalg.solve(with_itself, across.T)
    mean = centre + weights.T @ (y - centre)
    variance = np.maximum(0.0, 1.0 - (across * weights.T).sum(axis=1))
    return np.asarray(mean), np.asarray(scale * np.sqrt(variance))


def _kernel(a: Floats, b: Floats) -> Floats:
    return np.asarray(np.exp(-0.5 * ((a[:, None] - b[None, :]) / LENGTH) ** 2))


def gp_lcb(
    points: Floats, measure: Callable[[int], float | None], beta: Beta, most: int = MOST
) -> Found | None:
    """Return the best point found, or None when none can be measured.

    Parameters
    ----------
    points
        Where the function may be measured, in any unit.
    measure
        The function of a point's index; None drops the point, and costs no round.
    beta
        How much exploring is worth.
    most
        Measurements to make at most.
    """
    low, span = float(points.min()), float(np.ptp(points)) or 1.0
    x = (np.asarray(points, dtype=np.float64) - low) / span
    left = list(range(x.size))
    order: list[int] = []
    values: list[float] = []
    following = (x.size - 1) // 2
    while len(order) < most:
        value = measure(following)
        if value is None:
            left.remove(following)
        else:
            order.append(following)
            values.append(value)
        if not left:
            break
        if order:
            mean, deviation = posterior(x[order], np.array(values), x[left])
            bound = mean - math.sqrt(beta(x.size, len(order))) * deviation
            following = left[int(bound.argmin())]
        else:
            following = min(left, key=lambda i: (abs(2 * i - x.size + 1), i))
        if following in order:
            break
    if not order:
        return None
    k = int(np.argmin(values))
    return Found(order[k], values[k], tuple(order))
