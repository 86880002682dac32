"""The SLO model, inverted once: the longest time of a batch that it allows.

An SLO model allows times of a batch up to a longest one, which is found by bisection, to the last
bit: a time is allowed exactly when it is at most that.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from colocate.models.slo import SloModel

__all__ = ["longest_batch_time"]

Floats = NDArray[np.float64]

SHORTEST_S, LONGEST_S = 1e-30, 1e30
"""Times of a batch between which the longest allowed one is looked for."""
BISECTIONS = 120
STEPS = 3
"""Neighbouring numbers that are tried where the bisection ends."""


def longest_batch_time(
    slo: SloModel, batch: Floats, rate_rps: Floats, slo_ms: Floats, percentile: float
) -> Floats:
    """Return the longest time of a batch in seconds that the SLO model allows; 0 if it allows none.

    The arrays broadcast to the shape of `batch`.
    """
    low, high = np.full(batch.shape, SHORTEST_S), np.full(batch.shape, LONGEST_S)
    possible = slo.allowed(batch, low, rate_rps, slo_ms, percentile)
    for _ in range(BISECTIONS):
        middle = np.sqrt(low * high)
        if np.all((middle <= low) | (middle >= high)):
            break
        allowed = slo.allowed(batch, middle, rate_rps, slo_ms, percentile)
        low, high = np.where(allowed, middle, low), np.where(allowed, high, middle)
    # The root of a product of neighbours may be either of them, so one more may lie between.
    for _ in range(STEPS):
        further = np.nextafter(low, np.inf)
        allowed = slo.allowed(batch, further, rate_rps, slo_ms, percentile)
        low = np.where(allowed, further, low)
    return np.where(possible, low, 0.0)
