"""One formula through the points of a curve, and curves as Mudi writes them.

`fit_rates` averages over formulas, which predicts better; a single formula is what people read,
compare and hand on. Parameters theta minimise, with SciPy's robust least squares,

    sum_i rho((log t_theta(p_i) - y_i) / (SCALE * noise_i)),    rho(z) = 2 * (sqrt(1 + z^2) - 1),

so that a point far off counts linearly, not by its square. Several starts are tried.

Mudi's curve has four numbers: the latency is straight with slope k1 up to a cut-off, and straight
with slope k2 from there on. Its paper puts the cut-off at the knee of the measured points and fits
the slopes through it; here every inner point is tried as the cut-off, and the best fit wins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression, least_squares

from colocate.errors import InputError
from colocate.models.curves import curve_rates
from colocate.models.fitting.rate_points import Points
from colocate.profile import (
    BatchFrom,
    BatchHyperbola,
    BatchLines,
    BatchMudi,
    BatchPoints,
    BatchPower,
    Curve,
    HyperbolaCurve,
    Line,
    MonotoneTableCurve,
    MudiCurve,
    PiecewiseLinearCurve,
    PowerCurve,
    RatePoint,
    SoftMaximumCurve,
)

__all__ = ["FORMULAS", "as_mudi", "fit_formula"]

Floats = NDArray[np.float64]

SCALE: Final = 0.02
MOST_LINES: Final = 3
"""Lines of a fitted piecewise-linear curve."""


def fit_formula(curves: Sequence[Points], family: str) -> Curve:
    """Fit one family to the curves of a workload on a GPU, one for each batch.

    Raises
    ------
    InputError
        When the family is not known or a curve has too few points for it.
    """
    if family not in FORMULAS:
        raise InputError(
            f"no curve of family {family!r} can be fitted",
            advice=f"choose one of {', '.join(FORMULAS)}.",
        )
    needed = 3 if family == "mudi" else 2
    for curve in curves:
        if len(curve) < needed and family != "soft_maximum":
            raise InputError(
                f"{curve.key.workload!r} has {len(curve)} points at batch {curve.key.batch} on "
                f"{curve.key.gpu!r}, and a {family} curve takes {needed}",
                advice="measure it at more shares, or let fit_rates pool its shape.",
            )
    return FORMULAS[family](sorted(curves, key=lambda c: c.key.batch))


def _robust(
    residual: Callable[[Floats], Floats],
    starts: Sequence[Sequence[float]],
    low: Floats,
    high: Floats,
) -> Floats:
    """Return the best parameters over all starts."""
    best = min(
        (
            least_squares(
                residual, np.clip(start, low, high), bounds=(low, high), loss="soft_l1",
                max_nfev=200,
            )
            for start in starts
        ),
        key=lambda found: float(found.cost),
    )  # fmt: skip
    return np.asarray(best.x, dtype=np.float64)


def _log_of_linear(c: Floats, design: Floats, wanted: Floats, scale: Floats) -> Floats:
    """Return the residuals of log(design @ c): relative, whether a measurement is high or low."""
    found: Floats = (np.log(np.maximum(design @ c, 1e-12)) - wanted) / scale
    return found


def _first(curve: Points) -> float:
    return float(curve.share_pct[0])


def _hyperbola(curves: Sequence[Points]) -> Curve:
    return HyperbolaCurve(batches=tuple(_one_hyperbola(c) for c in curves))


def _one_hyperbola(curve: Points) -> BatchHyperbola:
    share, scale = curve.share_pct, SCALE * curve.noise
    middle = float(np.median(curve.log_time))
    whole = float(np.exp(curve.log_time[-1]))

    def residual(theta: Floats) -> Floats:
        part, cap = np.exp(theta[0]), np.exp(theta[2])
        log_time = theta[1] + np.log1p(part * 100 / np.minimum(share, cap))
        found: Floats = (log_time - curve.log_time) / scale
        return found

    starts = [
        [np.log(part), middle - np.log1p(part * 100 / share[share.size // 2]), np.log(cap)]
        for part in (0.01, 0.1, 1.0, 10.0)
        for cap in (99.0, 50.0)
    ]
    low = np.array([-14.0, -25.0, np.log(min(share[0], 99.0))])
    theta = _robust(residual, starts, low, np.array([14.0, 25.0, np.log(100.0)]))
    floor = float(np.exp(theta[1]))
    return BatchHyperbola(
        batch=curve.key.batch,
        min_share_pct=_first(curve),
        floor_s=min(floor, 1e9),
        work_s=min(max(floor * float(np.exp(theta[0])), 1e-9 * whole), 1e9),
        flat_from_pct=min(float(np.exp(theta[2])), 100.0),
    )


def _power(curves: Sequence[Points]) -> Curve:
    return PowerCurve(batches=tuple(_one_power(c) for c in curves))


def _one_power(curve: Points) -> BatchPower:
    log_share, scale = np.log(curve.share_pct), SCALE * curve.noise

    def residual(theta: Floats) -> Floats:
        level, exponent, log_cap = theta
        log_time = level + exponent * np.maximum(log_cap - log_share, 0.0)
        found: Floats = (log_time - curve.log_time) / scale
        return found

    top = float(np.log(100.0))
    starts = [
        [curve.log_time[-1], exponent, np.log(cap)]
        for exponent in (0.3, 0.9)
        for cap in (25.0, 50.0, 75.0, 99.0)
    ]
    low = np.array([-25.0, 0.0, min(log_share[0], top - 1e-3)])
    theta = _robust(residual, starts, low, np.array([25.0, 2.0, top]))
    return BatchPower(
        batch=curve.key.batch,
        min_share_pct=_first(curve),
        top_rate=float(curve.key.batch * np.exp(-theta[0])),
        exponent=float(theta[1]),
        flat_from_pct=min(float(np.exp(theta[2])), 100.0),
    )


def _soft_maximum(curves: Sequence[Points]) -> Curve:
    log_batch = np.concatenate([np.full(len(c), np.log(c.key.batch)) for c in curves])
    log_share = np.log(np.concatenate([c.share_pct for c in curves]) / 100)
    y = np.concatenate([c.log_time for c in curves])
    scale = SCALE * np.concatenate([c.noise for c in curves])

    def residual(theta: Floats) -> Floats:
        floor, growth, work, work_growth, exponent, log_n = theta
        n = np.exp(log_n)
        parts = floor + growth * log_batch, work + work_growth * log_batch - exponent * log_share
        found: Floats = (np.logaddexp(n * parts[0], n * parts[1]) / n - y) / scale
        return found

    least, whole = float(y.min()), float(np.median(y - log_batch))
    starts = [
        [least, 0.0, whole + shift, growth, 1.0, np.log(n)]
        for shift in (0.0, -1.5)
        for growth in (0.6, 1.0)
        for n in (1.5, 6.0)
    ]
    low = np.array([-20.0, 0.0, -20.0, 0.0, 0.0, 0.0])
    high = np.array([20.0, 2.0, 20.0, 2.0, 1.2, np.log(60.0)])
    floor, growth, work, work_growth, exponent, log_n = _robust(
        residual, starts, low, high
    ).tolist()
    return SoftMaximumCurve(
        floor_s=float(np.exp(floor)),
        floor_growth=growth,
        work_s=float(np.exp(work)),
        work_growth=work_growth,
        share_exponent=exponent,
        sharpness=float(np.exp(log_n)),
        batches=tuple(BatchFrom(batch=c.key.batch, min_share_pct=_first(c)) for c in curves),
    )


def _monotone_table(curves: Sequence[Points]) -> Curve:
    return MonotoneTableCurve(batches=tuple(_one_table(c) for c in curves))


def _one_table(curve: Points) -> BatchPoints:
    weights = curve.noise**-2.0
    log_time = isotonic_regression(curve.log_time, weights=weights, increasing=False).x
    rates = np.maximum.accumulate(curve.key.batch * np.exp(-log_time))
    return BatchPoints(
        batch=curve.key.batch,
        points=tuple(
            RatePoint(share_pct=p, rate=r)
            for p, r in zip(curve.share_pct.tolist(), rates.tolist(), strict=True)
        ),
    )


def _piecewise_linear(curves: Sequence[Points]) -> Curve:
    return PiecewiseLinearCurve(batches=tuple(_one_concave(c) for c in curves))


def _one_concave(curve: Points) -> BatchLines:
    """Fit the lowest of a few rising lines: straight between knots that are measured shares.

    With r = c_0 + sum_j c_j * min(p, knot_j), c_j >= 0, every such curve is concave and rising.
    """
    share, rate = curve.share_pct, curve.rate
    inner = share[1:-1].tolist()
    best: tuple[float, list[float], Floats] | None = None
    for count in range(min(MOST_LINES - 1, len(inner)) + 1):
        for chosen in combinations(inner, count):
            knots = [*chosen, float(share[-1])]
            design = np.stack([np.ones(share.size), *(np.minimum(share, k) for k in knots)], axis=1)
            start = np.linalg.lstsq(design / rate[:, None], np.ones(rate.size), rcond=None)[0]
            found = least_squares(
                _log_of_linear,
                [max(float(start[0]), 0.0), *(start[1:].clip(min=0) + 1e-6 * rate.max() / 100)],
                bounds=([-np.inf] + [0.0] * len(knots), np.inf),
                loss="soft_l1",
                x_scale=[float(rate.max()), *[float(rate.max()) / 100] * len(knots)],
                max_nfev=200,
                args=(design, np.log(rate), SCALE * curve.noise),
            )
            cost = float(found.cost) * (1 + 0.02 * count)  # another line has to earn its place
            if best is None or cost < best[0] * (1 - 1e-9):
                best = cost, knots, np.asarray(found.x, dtype=np.float64)
    assert best is not None
    _, knots, c = best
    lines = []
    for j in range(len(knots)):
        flat = float(c[0] + sum(c[i + 1] * knots[i] for i in range(j)))
        lines.append(Line(intercept=flat, slope=max(0.0, float(c[j + 1 :].sum()))))
    whole = float(c[0] + sum(c[i + 1] * k for i, k in enumerate(knots)))
    lines.append(Line(intercept=max(whole, 1e-9), slope=0.0))
    return BatchLines(batch=curve.key.batch, min_share_pct=_first(curve), lines=tuple(lines))


def _mudi(curves: Sequence[Points]) -> Curve:
    return MudiCurve(batches=tuple(_one_mudi(c) for c in curves))


def _one_mudi(curve: Points) -> BatchMudi:
    latency = 1000 * np.exp(curve.log_time)
    return _knee(curve.key.batch, curve.share_pct, latency, curve.noise)


def _knee(batch: int, share: Floats, latency_ms: Floats, noise: Floats) -> BatchMudi:
    """Fit two lines that meet at one of the inner shares."""
    best: tuple[float, Floats, float] | None = None
    slope = float(np.median(latency_ms)) / 100
    for cutoff in share[1:-1].tolist():
        beyond = share - cutoff
        # latency = l0 + a * max(-beyond, 0) - b * max(beyond, 0),  a >= b >= 0: a = b + extra
        design = np.stack([np.ones(share.size), np.maximum(-beyond, 0.0), -beyond], axis=1)
        found = least_squares(
            _log_of_linear,
            [100 * slope, slope, 0.1 * slope],
            bounds=([1e-6, 0.0, 0.0], np.inf),
            loss="soft_l1",
            x_scale=[100 * slope, slope, slope],
            max_nfev=300,
            args=(design, np.log(latency_ms), SCALE * noise),
        )
        if best is None or float(found.cost) < best[0] * (1 - 1e-9):
            best = float(found.cost), np.asarray(found.x, dtype=np.float64), cutoff
    assert best is not None
    _, (level, extra, gentle), cutoff = best
    # the line must stay above zero on the whole GPU, whatever lies beyond the last point
    gentle = min(float(gentle), 0.999 * float(level) / max(100 - cutoff, 1e-9))
    return BatchMudi(
        batch=batch,
        min_share_pct=float(share[0]),
        k1=-(gentle + float(extra)),
        k2=-gentle,
        cutoff_pct=cutoff,
        l0_ms=float(level),
    )


def as_mudi(curve: Curve, share_pct: Sequence[float] = tuple(range(10, 100, 10))) -> MudiCurve:
    """Write a curve in Mudi's form, from its latency at the shares that the paper measures.

    Raises
    ------
    InputError
        When a batch is offered fewer than three of the shares.
    """
    shares = np.array(sorted(set(share_pct)), dtype=float)
    found = []
    for at in curve.batches:
        rates = curve_rates(curve, at.batch, shares)
        assert rates is not None
        known = rates > 0
        if np.count_nonzero(known) < 3:
            raise InputError(
                f"batch {at.batch} is offered {np.count_nonzero(known)} of the shares "
                f"{', '.join(f'{p:g}' for p in shares)}, and Mudi's form takes three",
                advice="name more shares that the curve covers.",
            )
        some = shares[known]
        found.append(_knee(at.batch, some, 1000 * at.batch / rates[known], np.ones(some.size)))
    return MudiCurve(batches=tuple(found))


FORMULAS: Final[dict[str, Callable[[Sequence[Points]], Curve]]] = {
    "hyperbola": _hyperbola,
    "monotone_table": _monotone_table,
    "mudi": _mudi,
    "piecewise_linear": _piecewise_linear,
    "power": _power,
    "soft_maximum": _soft_maximum,
}
"""Families that can be fitted one by one."""
