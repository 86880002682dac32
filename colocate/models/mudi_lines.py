"""Mudi's latency curve (EuroSys'25, Eq. 1): two straight lines that meet at a cut-off.

    L(p) = l0_ms + k1 * (p - cutoff_pct)   for p <= cutoff_pct
    L(p) = l0_ms + k2 * (p - cutoff_pct)   otherwise,       k1 <= k2 <= 0
    mu(p) = 1000 * b / L(p)   for p >= min_share_pct, else 0

The paper counts shares from 0 to 1; here they are percentages, and k is per percent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from colocate.profile import BatchMudi, MudiCurve
from colocate.schema import TOLERANCE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def rates(
    curve: MudiCurve, at_batch: BatchMudi, share_pct: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the rate at each share."""
    import numpy as np

    del curve
    beyond = share_pct - at_batch.cutoff_pct
    latency_ms = at_batch.l0_ms + np.where(beyond <= 0, at_batch.k1, at_batch.k2) * beyond
    offered = share_pct >= at_batch.min_share_pct * (1 - TOLERANCE)
    return np.where(offered, 1000.0 * at_batch.batch / latency_ms, 0.0)


def rate_at(curve: MudiCurve, at_batch: BatchMudi, share_pct: float) -> float:
    """Return the rate at one share."""
    del curve
    if share_pct < at_batch.min_share_pct * (1 - TOLERANCE):
        return 0.0
    if share_pct > at_batch.cutoff_pct:
        latency_ms = at_batch.l0_ms - at_batch.k2 * (at_batch.cutoff_pct - share_pct)
    else:
        latency_ms = at_batch.l0_ms + at_batch.k1 * (share_pct - at_batch.cutoff_pct)
    return at_batch.batch / (latency_ms / 1000)
