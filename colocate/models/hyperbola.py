"""Saturating hyperbola with a flat part.

t(p) = floor_s + work_s * 100 / min(p, flat_from_pct)
mu(p) = b / t(p)   for p >= min_share_pct, else 0
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from colocate.profile import BatchHyperbola, HyperbolaCurve
from colocate.schema import TOLERANCE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def rates(
    curve: HyperbolaCurve, at_batch: BatchHyperbola, share_pct: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the rate at each share."""
    import numpy as np

    del curve
    helpful = np.minimum(share_pct, at_batch.flat_from_pct)
    time_s = at_batch.floor_s + 100.0 * at_batch.work_s / helpful
    offered = share_pct >= at_batch.min_share_pct * (1 - TOLERANCE)
    return np.where(offered, at_batch.batch / time_s, 0.0)


def rate_at(curve: HyperbolaCurve, at_batch: BatchHyperbola, share_pct: float) -> float:
    """Return the rate at one share."""
    del curve
    if share_pct < at_batch.min_share_pct * (1 - TOLERANCE):
        return 0.0
    part = min(share_pct, at_batch.flat_from_pct) / 100
    return at_batch.batch * part / (at_batch.floor_s * part + at_batch.work_s)
