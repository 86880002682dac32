"""From fitted times on a fine grid to a curve that plans can use: few points, and never falling.

    t never grows with the share, and the time of a batch never shrinks as the batch grows.

Where the averages disagree with that they are pooled (isotonic regression of log t). That is done
once for all of them (g) and once for those between measured shares only (m). With the bounds that
m sets for a batch b and a share p,

    least(b, p) = max of m(b', p') over b' <= b, p' >= p,    most(b, p) = min over b' >= b, p' <= p,

the result is the median of least, g and most: in order, since each of the three is, and equal to m
wherever there is m, so that no extrapolation pulls at it. What the measurements themselves disagree
on is reported. Then points are dropped as long as the curve through the rest stays within
`TRUE_TO`.
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
Bools = NDArray[np.bool_]

TRUE_TO: Final = 0.001
"""Relative error of the curve through fewer points."""
WORTH_A_WORD: Final = 0.05
"""A rate that falls by less as the share grows is noise."""
REPEATS_DIFFER: Final = 0.25


def monotone(log_time: Floats, measured: Bools) -> Floats:
    """Return [batch, share]: times that fall with the share and grow with the batch.

    Times between measured shares have the say: what goes beyond them changes none of these.

    Parameters
    ----------
    log_time
        [batch, share]: fitted times.
    measured
        [batch, share]: from the smallest measured share of the batch to the largest.
    """
    everywhere = _pooled(log_time, np.ones_like(measured))
    inside = _pooled(log_time, measured)
    least = np.where(measured, inside, -np.inf)
    least = np.maximum.accumulate(np.maximum.accumulate(least, axis=0)[:, ::-1], axis=1)[:, ::-1]
    most = np.where(measured, inside, np.inf)
    most = np.minimum.accumulate(np.minimum.accumulate(most[::-1], axis=0)[::-1], axis=1)
    found: Floats = np.median([least, everywhere, most], axis=0)
    return found


def _pooled(log_time: Floats, cells: Bools) -> Floats:
    """Return times in which those cells are in order; both directions in turns until they are."""
    found = log_time.copy()
    rows, columns = [np.flatnonzero(c) for c in cells], [np.flatnonzero(c) for c in cells.T]
    for _ in range(20):
        before = found.copy()
        for j, of in enumerate(columns):
            if np.any(np.diff(found[of, j]) < 0):
                found[of, j] = isotonic_regression(found[of, j]).x
        for i, of in enumerate(rows):
            if np.any(np.diff(found[i, of]) > 0):
                found[i, of] = isotonic_regression(found[i, of], increasing=False).x
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
