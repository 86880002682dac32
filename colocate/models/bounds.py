"""From a stated confidence to a relative error: never interpolated, never extrapolated."""

from __future__ import annotations

import math
from collections.abc import Sequence

from colocate.profile import ErrorBound
from colocate.schema import TOLERANCE

__all__ = ["relative_error"]


def relative_error(bounds: Sequence[ErrorBound], confidence: float) -> float:
    """Return the one-sided relative error that holds at this confidence.

    Confidence 0.5 plans with the mean: 0. Otherwise the smallest listed level that reaches the
    confidence counts; where none does, nothing is known and the error is infinite.
    """
    if confidence <= 0.5:
        return 0.0
    for bound in sorted(bounds, key=lambda b: b.confidence):
        if bound.confidence >= confidence - TOLERANCE:
            return bound.relative
    return math.inf
