"""Rate of one workload alone, whatever the family of its curve.

A family is one module with two functions, `rates` over an array of shares and `rate_at` for one,
and a line in `_FAMILIES`. Both get the curve and what it says about the batch.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

from colocate.models import (
    hyperbola,
    monotone_table,
    mudi_lines,
    piecewise_linear,
    power,
    soft_maximum,
    tabulated,
)
from colocate.profile import Curve, Profile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["batches_of", "curve_rates", "rate_alone", "rates_alone"]

_FAMILIES: dict[str, ModuleType] = {
    "hyperbola": hyperbola,
    "monotone_table": monotone_table,
    "mudi": mudi_lines,
    "piecewise_linear": piecewise_linear,
    "power": power,
    "soft_maximum": soft_maximum,
    "tabulated": tabulated,
}


def batches_of(profile: Profile) -> tuple[int, ...]:
    """Return the batches at which the curve is known, ascending."""
    return tuple(b.batch for b in profile.curve.batches)


def curve_rates(
    curve: Curve, batch: int, share_pct: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Return samples per second at each share, or None when the curve has no such batch."""
    for at_batch in curve.batches:
        if at_batch.batch == batch:
            found: NDArray[np.float64] = _FAMILIES[curve.family].rates(curve, at_batch, share_pct)
            return found
    return None


def rates_alone(
    profile: Profile, batch: int, share_pct: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Return samples per second at each share, or None when the batch is not profiled."""
    return curve_rates(profile.curve, batch, share_pct)


def rate_alone(profile: Profile, batch: int, share_pct: float) -> float | None:
    """Return samples per second at one share, or None when the batch is not profiled."""
    for at_batch in profile.curve.batches:
        if at_batch.batch == batch:
            family = _FAMILIES[profile.curve.family]
            found: float = family.rate_at(profile.curve, at_batch, share_pct)
            return found
    return None
