"""Rate of one workload alone, whatever the family of its curve.

A family is one module with two functions, `rates` over an array of shares and `rate_at` for one,
and a line in `_FAMILIES`.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

from colocate.models import piecewise_linear, tabulated
from colocate.profile import BatchLines, BatchPoints, Profile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["batches_of", "rate_alone", "rates_alone"]

_FAMILIES: dict[str, ModuleType] = {"tabulated": tabulated, "piecewise_linear": piecewise_linear}


def _at_batch(profile: Profile, batch: int) -> BatchPoints | BatchLines | None:
    for at_batch in profile.curve.batches:
        if at_batch.batch == batch:
            return at_batch
    return None


def batches_of(profile: Profile) -> tuple[int, ...]:
    """Return the batches at which the curve is known, ascending."""
    return tuple(b.batch for b in profile.curve.batches)


def rates_alone(
    profile: Profile, batch: int, share_pct: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Return samples per second at each share, or None when the batch is not profiled."""
    at_batch = _at_batch(profile, batch)
    if at_batch is None:
        return None
    found: NDArray[np.float64] = _FAMILIES[profile.curve.family].rates(at_batch, share_pct)
    return found


def rate_alone(profile: Profile, batch: int, share_pct: float) -> float | None:
    """Return samples per second at one share, or None when the batch is not profiled."""
    at_batch = _at_batch(profile, batch)
    if at_batch is None:
        return None
    found: float = _FAMILIES[profile.curve.family].rate_at(at_batch, share_pct)
    return found
