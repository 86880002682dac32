"""Rate curves in plain Python, written from `docs/formulation.md` for the oracle.

It shares no code with `models`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from colocate.profile import (
    BatchFrom,
    BatchHyperbola,
    BatchLines,
    BatchMudi,
    BatchPoints,
    BatchPower,
    Profile,
    SoftMaximumCurve,
    TabulatedCurve,
)

__all__ = ["rate_alone"]

_SLACK = 1e-9


def rate_alone(profile: Profile, batch: int, share_pct: float) -> float | None:
    """Return mu(b, p), or None when the curve is not known at this batch."""
    curve = profile.curve
    known = [at for at in curve.batches if at.batch == batch]
    if not known:
        return None
    at = known[0]
    first = at.points[0].share_pct if isinstance(at, BatchPoints) else at.min_share_pct
    if share_pct < first * (1 - _SLACK):
        return 0.0
    if isinstance(at, BatchPoints):
        shares = [point.share_pct for point in at.points]
        rates = [point.rate for point in at.points]
        if isinstance(curve, TabulatedCurve):
            return _join(shares, rates, share_pct)
        # the time of a sample is straight over 1/share, so p times it is straight over p
        held = min(max(share_pct, shares[0]), shares[-1])
        products = [share / rate for share, rate in zip(shares, rates, strict=True)]
        return held / _join(shares, products, held)
    if isinstance(curve, SoftMaximumCurve):
        return _softly(curve, batch, share_pct)
    return _by_formula(at, share_pct)


def _join(xs: Sequence[float], ys: Sequence[float], x: float) -> float:
    if x <= xs[0]:
        return ys[0]
    if x >= xs[-1]:
        return ys[-1]
    right = next(i for i, known in enumerate(xs) if known >= x)
    left = right - 1
    total = (xs[right] - x) * ys[left] + (x - xs[left]) * ys[right]
    return total / (xs[right] - xs[left])


def _by_formula(
    at: BatchFrom | BatchHyperbola | BatchLines | BatchMudi | BatchPower, p: float
) -> float:
    if isinstance(at, BatchLines):
        return max(0.0, min(line.intercept + line.slope * p for line in at.lines))
    if isinstance(at, BatchHyperbola):
        return at.batch / (at.floor_s + at.work_s / (min(p, at.flat_from_pct) / 100))
    if isinstance(at, BatchPower):
        growth = at.exponent * min(0.0, math.log(p) - math.log(at.flat_from_pct))
        return at.top_rate * math.exp(growth)
    if isinstance(at, BatchMudi):
        slope = at.k1 if p <= at.cutoff_pct else at.k2
        return at.batch * 1000 / (at.l0_ms + slope * (p - at.cutoff_pct))
    msg = f"{type(at).__name__} says nothing by itself"
    raise TypeError(msg)


def _softly(curve: SoftMaximumCurve, batch: int, p: float) -> float:
    floor = curve.floor_s * math.pow(batch, curve.floor_growth)
    work = curve.work_s * math.pow(batch, curve.work_growth)
    work /= math.pow(p / 100, curve.share_exponent)
    top = max(floor, work)
    total = math.pow(floor / top, curve.sharpness) + math.pow(work / top, curve.sharpness)
    return batch / (top * math.pow(total, 1 / curve.sharpness))
