"""Arrival rates and SLOs that make a service need a wanted share of a GPU.

Given a share, the SLO is the smallest latency that some batch reaches there at the instance's
confidence, times a slack of at least 1. So the service is feasible alone by construction, and with
a slack of 1 it needs just that share.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from colocate.datasets.parametric import significant
from colocate.models.bounds import relative_error
from colocate.models.curves import rate_alone

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from colocate.profile import Profile

__all__ = ["Design", "design", "design_rows"]

RHO_MAX = 0.95
"""Largest load of the `fill` model."""


class Design(NamedTuple):
    """What a service asks for."""

    rate_rps: float
    slo_ms: float


def _lowest_rate(profile: Profile, batch: int, share_pct: float, confidence: float) -> float:
    """Return the rate alone at the confidence."""
    rate = rate_alone(profile, batch, share_pct) or 0.0
    return rate * (1 - relative_error(profile.rate_error, confidence))


def design(
    profile: Profile,
    batches: Sequence[int],
    share_pct: float,
    load: float,
    slack: float,
    confidence: float,
) -> Design:
    """Return a rate and an SLO.

    `load` is the arrival rate over the largest rate at this share, below RHO_MAX.
    """
    rates = {b: _lowest_rate(profile, b, share_pct, confidence) for b in batches}
    arrival = significant(load * max(rates.values()))
    latency = min(
        1000 * b / arrival + 1000 * b / rate
        for b, rate in rates.items()
        if rate > 0 and arrival <= RHO_MAX * rate
    )
    return Design(arrival, math.ceil(10 * slack * latency) / 10)


def design_rows(
    profiles: Sequence[Profile],
    batches: Sequence[int],
    share_pct: Sequence[float],
    level: NDArray[np.int64],
    load: NDArray[np.float64],
    slack: NDArray[np.float64],
    confidence: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a rate and an SLO for each row; row i takes profile and share number `level[i]`."""
    import numpy as np

    rates = np.array(
        [
            [_lowest_rate(profile, b, share, confidence) for b in batches]
            for profile, share in zip(profiles, share_pct, strict=True)
        ]
    )
    arrival = np.round(load * rates.max(axis=1)[level], 6)
    latency = np.full(arrival.shape, np.inf)
    for k, b in enumerate(batches):
        rate = rates[level, k]
        stable = arrival <= RHO_MAX * rate
        here = 1000 * b / arrival + 1000 * b / np.where(stable, rate, 1.0)
        latency = np.where(stable, np.minimum(latency, here), latency)
    return arrival, np.ceil(latency * slack * 1e6) / 1e6
