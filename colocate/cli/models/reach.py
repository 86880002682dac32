"""Up to which confidence fitted models have bounds for some predictions.

A bound steps from one stated level to the next, and what exists at one level exists at all lower
ones; so the levels are searched by halves, with a prediction at each step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from colocate.models.queries import predict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from colocate.models.queries import Predictions
    from colocate.profile.bounds import Bounds
    from colocate.profile.fitted import FittedModels
    from colocate.tables import ProfileTable

__all__ = ["Reach", "lacking", "reach"]


class Reach(NamedTuple):
    """What a smaller confidence gives to rows that lack a bound."""

    confidence: float
    """The largest at which at least one of them has both."""
    rows: int
    """How many of them have both there."""


def lacking(found: Predictions) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return which rows are predicted without a lower or without an upper bound."""
    bounded = (found.low > 0) & np.isfinite(found.high)
    return np.isfinite(found.rate) & ~bounded


def reach(
    models: FittedModels, queries: ProfileTable, found: Predictions, confidence: float
) -> Reach | None:
    """Return up to where there are bounds for the rows that lack one; None where nowhere."""
    rows = np.flatnonzero(lacking(found))
    if not rows.size:
        return None
    asked = queries.take(rows)
    levels = sorted({x for x in _levels(models) if 0.5 < x < confidence})
    best: Reach | None = None
    low, high = 0, len(levels)
    while low < high:
        middle = (low + high) // 2
        level = levels[middle]
        bounded = rows.size - int(lacking(predict(models, asked, confidence=level)).sum())
        if bounded:
            best, low = Reach(level, bounded), middle + 1
        else:
            high = middle
    return best


def _levels(models: FittedModels) -> Iterator[float]:
    return (bound.confidence for bounds in _all_bounds(models) for bound in bounds)


def _all_bounds(models: FittedModels) -> Iterator[Bounds]:
    for profile in models.profiles:
        yield profile.rate_error
    for kind in models.calibration:
        yield kind.low
        yield kind.high
    if models.interference is not None:
        yield models.interference.default_error
        for pair in models.interference.pairs:
            yield pair.error
