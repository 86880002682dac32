"""From held-out predictions to one-sided relative error bounds, alone and in company.

    alone       score = log(predicted rate / measured rate)       mu_lo = mu * (1 - e)
                e = max(0, 1 - exp(-t))   so that   measured >= mu_lo    wherever   score <= t
    slowdown    score = log(measured slowdown / predicted)        s_hi = s * (1 + e)
                e = max(0, exp(t) - 1)    so that   measured <= s_hi     wherever   score <= t
    in company  score = log((mu_lo / s) / measured rate)          rate_lo = mu_lo / s_hi
                e = max(0, exp(t) - 1)    so that   measured >= rate_lo  wherever   score <= t

with t the threshold of the scores at a level (see `conformal`). In company, the bound on the rate
alone has been applied before the scores are taken: the slowdown's error covers what that leaves
over, and the two together hold the level, not twice its complement. The scores differ from level to
level because mu_lo does.

A level whose threshold is infinite, or whose error is beyond what an `ErrorBound` can hold, is left
out: planning at that level then finds no bound. Errors are rounded up to six decimals.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from colocate.errors import InputError
from colocate.models.bounds import relative_error
from colocate.models.fitting.conformal import by_cell, by_new_unit, by_new_unit_surely
from colocate.models.fitting.residuals import Residuals
from colocate.profile import ErrorBound

__all__ = [
    "LEVELS",
    "For",
    "company_error_bounds",
    "company_scores",
    "owners",
    "rate_error_bounds",
    "rate_scores",
    "slowdown_error_bounds",
    "threshold",
]

Floats = NDArray[np.float64]
Bounds = tuple[ErrorBound, ...]
For = Literal["cell", "unit", "sure_unit"]
"""Whom a bound is for: one more cell of known workloads, a workload that is new, or the same with
an exact promise, which needs many workloads."""

LEVELS = (0.9, 0.95, 0.99)
"""Levels of a fit, unless others are asked for."""
LARGEST = 10.0
"""Largest relative error that an `ErrorBound` holds."""
DECIMALS = 1e6


def rate_scores(residuals: Residuals) -> Floats:
    """Return the score of each predicted rate (alone, or in company as a whole)."""
    return _log_ratio(residuals.predicted, residuals.measured)


def company_scores(
    residuals: Residuals, rate_error: Bounds | Mapping[str, Bounds], level: float
) -> Floats:
    """Return what the bound on the rate alone leaves over of each score in company.

    The score of a victim that has no bound at this level is not a number.
    """
    if isinstance(rate_error, Mapping):
        of = {v: relative_error(rate_error.get(v, ()), level) for v in set(residuals.victim)}
        error = np.array([of[v] for v in residuals.victim], dtype=np.float64)
    else:
        error = np.full(residuals.predicted.shape, relative_error(rate_error, level))
    kept = np.where(np.isinf(error), np.nan, np.maximum(0.0, 1.0 - error))
    return _log_ratio(residuals.predicted * kept, residuals.measured)


def threshold(scores: Floats, residuals: Residuals, level: float, *, new: For = "unit") -> float:
    """Return the threshold of scores that belong to these residuals; see `conformal`.

    Units are the workloads without which a prediction was made.
    """
    if new == "cell":
        return by_cell(scores, level)
    if new == "unit":
        involved = [residuals.victim, residuals.neighbour]
        return by_new_unit(scores, owners(residuals), level, involved=involved)
    if new == "sure_unit":
        return by_new_unit_surely(scores, owners(residuals), level)
    raise InputError(
        f"bounds are for a new {new!r}, which is not one of 'cell', 'unit', 'sure_unit'",
        advice="use 'unit' for workloads that were not measured.",
    )


def rate_error_bounds(
    residuals: Residuals, levels: Sequence[float] = LEVELS, *, new: For = "unit"
) -> Bounds:
    """Return by how much a rate may be lower than predicted.

    Parameters
    ----------
    residuals
        Predictions of rates that had no part in them.
    levels
        Confidences; those that cannot be reached are left out of the answer.
    new
        Whom the bound is for.
    """
    scores = rate_scores(residuals)
    return _bounds(levels, lambda level: _rate_error(threshold(scores, residuals, level, new=new)))


def slowdown_error_bounds(
    residuals: Residuals, levels: Sequence[float] = LEVELS, *, new: For = "unit"
) -> Bounds:
    """Return by how much a slowdown may be higher than predicted, from residuals of slowdowns."""
    scores = _log_ratio(residuals.measured, residuals.predicted)
    return _bounds(
        levels, lambda level: _slowdown_error(threshold(scores, residuals, level, new=new))
    )


def company_error_bounds(
    residuals: Residuals,
    rate_error: Bounds | Mapping[str, Bounds],
    levels: Sequence[float] = LEVELS,
    *,
    new: For = "unit",
) -> Bounds:
    """Return the slowdown errors that make `mu_lo / s_hi` hold the levels.

    Parameters
    ----------
    residuals
        Predicted mean rates in company, `mu / s`, beside measured ones.
    rate_error
        Error bounds of the rate alone, for all victims or by victim. A victim without a bound at a
        level takes no part there: its rate bound is 0 whatever the slowdown.
    levels
        Confidences. Every level listed in `rate_error` has to be among them: looking a confidence
        up takes the smallest listed level that reaches it, and has to find the same in both lists.
    new
        Whom the bound is for.
    """
    listed = rate_error.values() if isinstance(rate_error, Mapping) else [rate_error]
    lost = sorted({b.confidence for bounds in listed for b in bounds} - set(levels))
    if lost:
        raise InputError(
            f"the rate has a bound at confidence {lost[0]:g}, for which none is asked in company",
            advice="ask for the same levels in both.",
        )

    def error(level: float) -> float:
        scores = company_scores(residuals, rate_error, level)
        known = ~np.isnan(scores)
        return _slowdown_error(threshold(scores[known], residuals.take(known), level, new=new))

    return _bounds(levels, error)


def owners(residuals: Residuals) -> NDArray[Any]:
    """Return the workloads of each row without which its prediction was made, joined by "+".

    Where the group that was held out names none of the row's workloads, it is the victim.
    """
    found = []
    for victim, neighbour, unit in zip(*residuals[2:], strict=True):
        here = [victim, *neighbour.split("+")]
        held_out = dict.fromkeys(name for name in unit.split("+") if name in here)
        found.append("+".join(held_out) or victim)
    return np.array(found, dtype=object)


def _log_ratio(over: Floats, under: Floats) -> Floats:
    """Return log(over / under); a prediction that is no better than nothing covers all."""
    bad = (over < 0) | (under < 0) | np.isinf(over) | np.isinf(under)
    if bad.any():
        raise InputError(
            f"{int(bad.sum())} of {bad.size} predictions or measurements are negative or infinite",
            advice="leave such cells out.",
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Floats = np.where((over == 0) & (under == 0), 0.0, np.log(over) - np.log(under))
    return np.where(np.isnan(over) | np.isnan(under), np.nan, found)


def _rate_error(t: float) -> float:
    return math.inf if math.isinf(t) and t > 0 else -math.expm1(-max(0.0, t))


def _slowdown_error(t: float) -> float:
    # Beyond this the error is far too large to hold, and exp would overflow.
    return math.inf if t > 700 else math.expm1(max(0.0, t))


def _bounds(levels: Sequence[float], error: Callable[[float], float]) -> Bounds:
    found: list[ErrorBound] = []
    for level in sorted(set(levels)):
        if not 0.5 <= level < 1:
            raise InputError(
                f"confidence {level!r} is not in 0.5 ... 1", advice="use 0.9, 0.95 or 0.99."
            )
        relative = _rounded_up(error(level))
        if found:
            relative = max(relative, found[-1].relative)
        if relative <= LARGEST:
            found.append(ErrorBound(confidence=level, relative=relative))
    return tuple(found)


def _rounded_up(error: float) -> float:
    if error == 0 or error > LARGEST:
        return error
    # Past the rounding errors of log and exp, to be on the safe side.
    return math.ceil((error + 1e-12) * DECIMALS) / DECIMALS
