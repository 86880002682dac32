"""Steps of the device: shares at which every workload gets more, or less, than the formula says.

A percentage becomes whole multiprocessors in ways that drivers do not document, and clocks depend
on how many are busy. What all curves of a GPU have in common there is a function d of the share,

    log t_c(p) = a_c + g_c(p * exp(d(p))),

so that a curve's residual is about -e_c(p) * d(p), with e_c its elasticity: flat curves say
nothing about d, steep ones much. d is estimated at the measured shares, with a Gaussian process of
a rough path as prior (no steps: 0), in turns with the shapes; between them it is joined by straight
lines over log p.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from colocate.models.fitting.rate_families import explained
from colocate.models.fitting.rate_points import Points
from colocate.models.fitting.rate_posterior import NU

__all__ = ["DeviceSteps", "can_have_steps", "estimate_steps"]

Floats = NDArray[np.float64]

SIZE: Final = 0.05
"""Standard deviation of d beforehand."""
REACH: Final = 1.0
"""Over this distance in log p, d(p) and d(p') are related."""
NOISE: Final = 0.03
ROUNDS: Final = 8
FEWEST_SHARES: Final = 5
FEWEST_CURVES: Final = 6


class DeviceSteps(NamedTuple):
    """d at the measured shares."""

    share_pct: Floats
    shift: Floats

    def at(self, share_pct: Floats) -> Floats:
        """Return d at any share."""
        return np.interp(np.log(share_pct), np.log(self.share_pct), self.shift)

    def moved(self, share_pct: Floats) -> Floats:
        """Return the share that a workload makes use of."""
        found: Floats = share_pct * np.exp(self.at(share_pct))
        return found


def can_have_steps(curves: Sequence[Points]) -> bool:
    """Return whether steps can be told from the shapes of curves: only with many of both."""
    shares = {p for curve in curves for p in curve.share_pct.tolist()}
    return len(shares) >= FEWEST_SHARES and len(curves) >= FEWEST_CURVES


def estimate_steps(curves: Sequence[Points]) -> DeviceSteps:
    """Return the steps that these curves have in common."""
    shares = np.unique(np.concatenate([curve.share_pct for curve in curves]))
    where = np.concatenate([np.searchsorted(shares, curve.share_pct) for curve in curves])
    x = np.log(shares)
    prior = np.linalg.inv(SIZE**2 * np.exp(-np.abs(x[:, None] - x[None]) / REACH))
    y = np.concatenate([curve.log_time for curve in curves])
    noise = NOISE * np.concatenate([curve.noise for curve in curves])
    none: Floats = np.zeros(shares.size)
    steps = DeviceSteps(shares, none)
    for _ in range(ROUNDS):
        said, elastic = explained(curves, steps.moved)
        e = np.concatenate(elastic)
        residual = y - np.concatenate(said) - e * steps.shift[where]  # as if d were 0
        steps = DeviceSteps(shares, _shift(residual, e, noise, where, prior))
    return steps


def _shift(
    residual: Floats, e: Floats, noise: Floats, where: NDArray[np.int64], prior: Floats
) -> Floats:
    """Return the most likely d for residual = -e * d + Student noise."""
    n = prior.shape[0]
    d: Floats = np.zeros(n)
    for _ in range(6):
        z = (residual + e * d[where]) / noise
        weight = (NU + 1) / (NU + z**2) / noise**2
        pull = np.bincount(where, weight * e * e, minlength=n)
        push = np.bincount(where, -weight * e * residual, minlength=n)
        d = np.asarray(np.linalg.solve(prior + np.diag(pull), push), dtype=np.float64)
    return d
