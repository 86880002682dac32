"""From fitted times on a fine grid to a curve that plans can use: few points, and never falling.

    t never grows with the share, and the time of a batch never shrinks as the batch grows.

Where the averages disagree with that they are pooled (isotonic regression of log t); what the
measurements themselves disagree on is reported. Then points are dropped as long as the curve
through the rest stays within `TRUE_TO`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from colocate.models.fitting.rate_points import Points
from colocate.profile import BatchPoints, MonotoneTableCurve, RatePoint

__all__ = ["disagreements", "few_points", "monotone", "table_curve"]

Floats = NDArray[np.float64]

TRUE_TO: Final = 0.001
"""Relative error of the curve through fewer points."""
WORTH_A_WORD: Final = 0.05
"""A rate that falls by less as the share grows is noise."""
REPEATS_DIFFER: Final = 0.25


def monotone(log_time: Floats) -> Floats:
    """Return [batch, share]: times that fall with the share and grow with the batch.

    The two directions are pooled in turns until nothing changes.
    """
    found = log_time.copy()
    for _ in range(20):
        before = found.copy()
        for j in range(found.shape[1]):
            if np.any(np.diff(found[:, j]) < 0):
                found[:, j] = isotonic_regression(found[:, j]).x
        for i in range(found.shape[0]):
            if np.any(np.diff(found[i]) > 0):
                found[i] = isotonic_regression(found[i], increasing=False).x
        if np.allclose(before, found, rtol=0, atol=1e-12):
            break
    return found


def few_points(share_pct: Floats, rate: Floats) -> NDArray[np.int64]:
    """Return which points to keep: the curve through them is within `TRUE_TO` of all."""
    kept = [0, share_pct.size - 1] if share_pct.size > 1 else [0]
    x, z = 1 / share_pct, 1 / rate
    while len(kept) < share_pct.size:
        at = np.sort(np.array(kept))
        through = np.interp(x[::-1], x[at][::-1], z[at][::-1])[::-1]
        off = np.abs(through / z - 1)
        worst = int(np.argmax(off))
        if off[worst] <= TRUE_TO:
            break
        kept.append(worst)
    return np.sort(np.array(kept))


def table_curve(
    batches: Sequence[int], share_pct: Sequence[Floats], rate: Sequence[Floats]
) -> MonotoneTableCurve:
    """Return the curve through rates on a grid for each batch."""
    tables = []
    for batch, shares, rates in zip(batches, share_pct, rate, strict=True):
        rising = np.maximum.accumulate(rates)
        tables.append(
            BatchPoints(
                batch=batch,
                points=tuple(
                    RatePoint(share_pct=float(shares[i]), rate=float(rising[i]))
                    for i in few_points(shares, rising)
                ),
            )
        )
    return MonotoneTableCurve(batches=tuple(tables))


def disagreements(curves: Sequence[Points]) -> list[str]:
    """Return in words where the measured points of one workload contradict physics."""
    notes = []
    for curve in curves:
        b, p, rate = curve.key.batch, curve.share_pct, curve.rate
        falls = np.flatnonzero(rate[1:] < rate[:-1] * (1 - WORTH_A_WORD))
        notes += [
            f"batch {b}: the rate falls from {rate[i]:.4g} at {p[i]:g} % "
            f"to {rate[i + 1]:.4g} at {p[i + 1]:g} %"
            for i in falls.tolist()
        ]
        notes += [
            f"batch {b}: repeats at {p[i]:g} % differ by {100 * curve.spread[i]:.0f} %"
            for i in np.flatnonzero(curve.spread > REPEATS_DIFFER).tolist()
        ]
    for small, large in pairwise(curves):
        shared, left, right = np.intersect1d(small.share_pct, large.share_pct, return_indices=True)
        least = small.log_time[left] + np.log(1 - WORTH_A_WORD)
        shorter = large.log_time[right] < least
        if np.any(shorter):
            at = ", ".join(f"{p:g}" for p in shared[shorter][:6])
            notes.append(
                f"batch {large.key.batch} takes less time than batch {small.key.batch} at {at} %"
            )
    return notes
