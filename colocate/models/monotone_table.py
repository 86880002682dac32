"""Monotone table: between two points the time of a sample is a straight line over 1/share.

With the slowness z = 1/mu and x = 1/p,

    z(x) = z_i + (z_{i+1} - z_i) * (x_i - x) / (x_i - x_{i+1})   for p_i <= p <= p_{i+1}
    mu(p) = 1/z,   0 for p < p_1,   mu(p) = r_n for p > p_n

Differences of 1/p lose digits where rates differ by orders of magnitude. In p itself it is the line

    z = z_i * w + z_{i+1} * (1 - w),   w = p_i * (p_{i+1} - p) / (p * (p_{i+1} - p_i))

in which nothing but measured numbers is subtracted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from colocate.profile import BatchPoints, MonotoneTableCurve
from colocate.schema import TOLERANCE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def rates(
    curve: MonotoneTableCurve, at_batch: BatchPoints, share_pct: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the rate at each share."""
    import numpy as np

    del curve
    shares = np.array([p.share_pct for p in at_batch.points])
    slowness = np.array([1.0 / p.rate for p in at_batch.points])
    if shares.size == 1:
        found = np.full(share_pct.shape, slowness[0])
    else:
        p = np.clip(share_pct, shares[0], shares[-1])
        right = np.clip(np.searchsorted(shares, p), 1, shares.size - 1)
        low, high = shares[right - 1], shares[right]
        width = p * (high - low)
        found = slowness[right - 1] * (low * (high - p) / width)
        found += slowness[right] * (high * (p - low) / width)
    return np.where(share_pct < shares[0] * (1 - TOLERANCE), 0.0, 1.0 / found)


def rate_at(curve: MonotoneTableCurve, at_batch: BatchPoints, share_pct: float) -> float:
    """Return the rate at one share."""
    del curve
    points = at_batch.points
    if share_pct < points[0].share_pct * (1 - TOLERANCE):
        return 0.0
    if share_pct >= points[-1].share_pct:
        return points[-1].rate
    left = points[0]
    for right in points[1:]:
        if share_pct <= right.share_pct:
            share = max(share_pct, left.share_pct)
            from_left = left.share_pct * (right.share_pct - share) / left.rate
            from_right = right.share_pct * (share - left.share_pct) / right.rate
            return share * (right.share_pct - left.share_pct) / (from_left + from_right)
        left = right
    return left.rate
