"""Tabulated rate curve: points joined by straight lines, none below the first, flat above the last.

mu(p) = r_i + (r_{i+1} - r_i) * (p - p_i) / (p_{i+1} - p_i)   for p_i <= p <= p_{i+1}
mu(p) = 0 for p < p_1,   mu(p) = r_n for p > p_n
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from colocate.profile import BatchPoints, TabulatedCurve
from colocate.schema import TOLERANCE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def rates(
    curve: TabulatedCurve, at_batch: BatchPoints, share_pct: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the rate at each share."""
    import numpy as np

    del curve
    shares = np.array([p.share_pct for p in at_batch.points])
    values = np.array([p.rate for p in at_batch.points])
    found = np.interp(share_pct, shares, values)
    return np.where(share_pct < shares[0] * (1 - TOLERANCE), 0.0, found)


def rate_at(curve: TabulatedCurve, at_batch: BatchPoints, share_pct: float) -> float:
    """Return the rate at one share."""
    del curve
    points = at_batch.points
    if share_pct < points[0].share_pct * (1 - TOLERANCE):
        return 0.0
    for a, b in pairwise(points):
        if share_pct <= b.share_pct:
            part = (max(share_pct, a.share_pct) - a.share_pct) / (b.share_pct - a.share_pct)
            return a.rate + part * (b.rate - a.rate)
    return points[-1].rate
