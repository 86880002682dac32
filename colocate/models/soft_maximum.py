"""One formula over batch and share: the soft maximum of a floor and the work.

    F(b) = floor_s * b ** floor_growth
    W(b, p) = work_s * b ** work_growth * (100 / p) ** share_exponent
    t(b, p) = (F ** n + W ** n) ** (1 / n),   n the sharpness
    mu(b, p) = b / t(b, p)   for p >= min_share_pct of the batch, else 0

n = 1 adds the two; as n grows, t becomes the longer of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from colocate.profile import BatchFrom, SoftMaximumCurve
from colocate.schema import TOLERANCE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def rates(
    curve: SoftMaximumCurve, at_batch: BatchFrom, share_pct: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the rate at each share."""
    import numpy as np

    b, n = at_batch.batch, curve.sharpness
    with np.errstate(divide="ignore"):  # a floor or work of 0 has the logarithm -inf
        log_floor = np.log(curve.floor_s) + curve.floor_growth * np.log(b)
        log_work = np.log(curve.work_s) + curve.work_growth * np.log(b)
    log_work = log_work + curve.share_exponent * np.log(100.0 / share_pct)
    log_time = np.logaddexp(n * log_floor, n * log_work) / n
    offered = share_pct >= at_batch.min_share_pct * (1 - TOLERANCE)
    return np.where(offered, b * np.exp(-log_time), 0.0)


def rate_at(curve: SoftMaximumCurve, at_batch: BatchFrom, share_pct: float) -> float:
    """Return the rate at one share."""
    if share_pct < at_batch.min_share_pct * (1 - TOLERANCE):
        return 0.0
    b = float(at_batch.batch)
    floor = curve.floor_s * b**curve.floor_growth
    work = curve.work_s * b**curve.work_growth * (100 / share_pct) ** curve.share_exponent
    longer, shorter = max(floor, work), min(floor, work)
    # written around the longer one, powers cannot overflow
    joined: float = longer * (1 + (shorter / longer) ** curve.sharpness) ** (1 / curve.sharpness)
    return b / joined
