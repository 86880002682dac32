"""Mudi's picture of a latency: two straight lines over the share that meet at a cutoff.

    P(q) = k1 (q - cutoff) + l0   up to the cutoff,   k2 (q - cutoff) + l0   beyond it

The cutoff is the middle of the three consecutive samples at which the curve bends most; both lines
go through it, their slopes are least squares. From P(q) <= theta the least share follows:

    q = cutoff - (theta - l0) / |k1|   if theta >= l0,     cutoff + (l0 - theta) / |k2|   otherwise
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Lines", "fit_lines"]

Floats = NDArray[np.float64]


class Lines(NamedTuple):
    """Latency in milliseconds over a share in percent."""

    k1: float
    k2: float
    cutoff_pct: float
    l0_ms: float

    @property
    def slope(self) -> float:
        """Mean steepness of both lines."""
        return (abs(self.k1) + abs(self.k2)) / 2

    def latency_ms(self, share_pct: float) -> float:
        """Return P."""
        slope = self.k1 if share_pct <= self.cutoff_pct else self.k2
        return slope * (share_pct - self.cutoff_pct) + self.l0_ms

    def least_share(self, theta_ms: float) -> float:
        """Return the least share with P <= theta; 0 where any will do, infinite where none does."""
        slack = theta_ms - self.l0_ms
        if slack >= 0:
            return max(0.0, self.cutoff_pct + slack / self.k1) if self.k1 < 0 else 0.0
        found = self.cutoff_pct + slack / self.k2 if self.k2 < 0 else math.inf
        return found if found <= 100.0 + 1e-9 else math.inf


def fit_lines(share_pct: Floats, latency_ms: Floats) -> Lines | None:
    """Fit both lines to samples at ascending shares; None without any finite one."""
    known = np.isfinite(latency_ms)
    q, p = share_pct[known], latency_ms[known]
    if not q.size:
        return None
    middle = q.size - 1
    if q.size >= 3:
        steps = np.diff(p) / np.diff(q)
        bend = np.diff(steps) / (q[2:] - q[:-2])
        middle = 1 + int(bend.argmax())
    x, y = q - q[middle], p - p[middle]
    slopes = [
        float(x[side] @ y[side] / (x[side] @ x[side])) if x[side].any() else 0.0
        for side in (slice(None, middle), slice(middle + 1, None))
    ]
    return Lines(slopes[0], slopes[1], float(q[middle]), float(p[middle]))
