"""Concave piecewise-linear rate curve: the lowest of a few straight lines, never below zero.

mu(p) = max(0, min_i (intercept_i + slope_i * p))   for p >= min_share_pct, else 0
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from colocate.profile import BatchLines, PiecewiseLinearCurve
from colocate.schema import TOLERANCE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def rates(
    curve: PiecewiseLinearCurve, at_batch: BatchLines, share_pct: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the rate at each share."""
    import numpy as np

    del curve
    intercepts = np.array([line.intercept for line in at_batch.lines])[:, None]
    slopes = np.array([line.slope for line in at_batch.lines])[:, None]
    lowest = (intercepts + slopes * share_pct[None, :]).min(axis=0)
    offered = share_pct >= at_batch.min_share_pct * (1 - TOLERANCE)
    return np.where(offered, np.maximum(lowest, 0.0), 0.0)


def rate_at(curve: PiecewiseLinearCurve, at_batch: BatchLines, share_pct: float) -> float:
    """Return the rate at one share."""
    del curve
    if share_pct < at_batch.min_share_pct * (1 - TOLERANCE):
        return 0.0
    return max(0.0, min(line.intercept + line.slope * share_pct for line in at_batch.lines))
