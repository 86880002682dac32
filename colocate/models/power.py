"""Power of the share with a cap.

    mu(p) = top_rate * (min(p, flat_from_pct) / flat_from_pct) ** exponent

for p >= min_share_pct, else 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from colocate.profile import BatchPower, PowerCurve
from colocate.schema import TOLERANCE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def rates(
    curve: PowerCurve, at_batch: BatchPower, share_pct: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the rate at each share."""
    import numpy as np

    del curve
    part = np.minimum(share_pct / at_batch.flat_from_pct, 1.0)
    offered = share_pct >= at_batch.min_share_pct * (1 - TOLERANCE)
    return np.where(offered, at_batch.top_rate * part**at_batch.exponent, 0.0)


def rate_at(curve: PowerCurve, at_batch: BatchPower, share_pct: float) -> float:
    """Return the rate at one share."""
    del curve
    if share_pct < at_batch.min_share_pct * (1 - TOLERANCE):
        return 0.0
    if share_pct >= at_batch.flat_from_pct:
        return at_batch.top_rate
    return at_batch.top_rate * float((share_pct / at_batch.flat_from_pct) ** at_batch.exponent)
