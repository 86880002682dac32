"""One surface over batch and share for a workload: for batches with few points, or none.

    log t(b, p) = a + log(F ** n + W ** n) / n,
    F = (b / b0) ** f,   W = k * (b / b0) ** w / p,        b0 the geometric mean of the batches

the soft maximum of a floor and a term in batch over share. As for single curves, the answer is the
average over a bank of (k, n, w, f), weighed by how well each fits all points of the workload.

Between measured batches, what their curves differ from the surface is added, joined by straight
lines over log b, times a trust: with the mean square v of the differences at the measured points,

    trust = v / (v + NOISE ** 2) * (1 - 2 ** (1 - number of batches)).

Differences no larger than noise are noise; and from two batches alone nobody can tell whether the
surface or the straight line between them is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from colocate.models.fitting.rate_points import Points
from colocate.models.fitting.rate_posterior import posterior

__all__ = ["Surface", "fit_surface", "trust_in_curves"]

Floats = NDArray[np.float64]

LEAST_WEIGHT: Final = 1e-4
NOISE: Final = 0.02


class Surface(NamedTuple):
    """The average over the parameters that explain a workload, as data."""

    parameters: Floats
    """[row, (k, n, w, f)]."""
    weights: Floats
    """[row], summing to 1."""
    level: float
    """a, the logarithm of seconds."""
    batch: float
    """b0."""

    def log_time(self, batch: Floats, share_pct: Floats) -> Floats:
        """Return log t for batches and shares of equal length."""
        found: Floats = self.level + self.weights @ _shapes(
            self.parameters, np.log(batch / self.batch), share_pct
        )
        return found


@cache
def _bank() -> Floats:
    axes = [
        np.geomspace(0.5, 800, 30),
        [1.0, 1.5, 2.5, 5.0, 12.0, 60.0],
        [0.5, 0.65, 0.8, 0.9, 1.0, 1.1, 1.25],
        [0.0, 0.1],
    ]
    grid = np.meshgrid(*(np.asarray(a, dtype=float) for a in axes), indexing="ij")
    return np.stack([g.ravel() for g in grid], axis=1)


def _shapes(parameters: Floats, log_batch: Floats, share_pct: Floats) -> Floats:
    k, n, w, f = (column[:, None] for column in parameters.T)
    floor = n * f * log_batch[None]
    work = n * (np.log(k / share_pct[None]) + w * log_batch[None])
    found: Floats = np.logaddexp(floor, work) / n
    return found


def fit_surface(curves: Sequence[Points]) -> Surface:
    """Fit the surface to all points of one workload on one GPU."""
    batch = np.concatenate([np.full(len(c), float(c.key.batch)) for c in curves])
    share = np.concatenate([c.share_pct for c in curves])
    middle = float(np.exp(np.mean(np.log([c.key.batch for c in curves]))))
    shapes = _shapes(_bank(), np.log(batch / middle), share)
    y = np.concatenate([c.log_time for c in curves])[None]
    noise = np.concatenate([c.noise for c in curves])[None]
    of = posterior(y, noise, shapes)
    kept = of.weights[0] > LEAST_WEIGHT * of.weights[0].max()
    weights = of.weights[0][kept]
    return Surface(_bank()[kept], weights / weights.sum(), float(of.level[0]), middle)


def trust_in_curves(surface: Surface, curves: Sequence[Points]) -> float:
    """Return how much of what the curves differ from the surface holds between batches too."""
    differences = [
        c.log_time - surface.log_time(np.full(len(c), float(c.key.batch)), c.share_pct)
        for c in curves
    ]
    v = float(np.mean(np.concatenate(differences) ** 2))
    return v / (v + NOISE**2) * (1 - 2.0 ** (1 - len(curves)))
