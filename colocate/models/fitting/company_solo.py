"""Rates alone, as the fit of slowdowns needs them: at any batch and share, smooth and rising.

At one batch the rate cannot fall as the share grows. The measured rates y_1 .. y_n over ascending
shares (the median where one is repeated) are replaced by the rising sequence that is closest in
absolute error (min-max formula with medians):

    r_i = max over a <= i of  min over b >= i of  median(y_a .. y_b)

Between shares log r is linear in log share; above the last share r stays; below the first it
falls in proportion to the share. Between batches log r is linear in log batch; beyond them the
nearest batch counts, in samples per second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from colocate.models.regression.hats import bracket
from colocate.tables.table import ProfileTable

__all__ = ["SoloRates", "rising", "solo_rates"]

Floats = NDArray[np.float64]
SoloRates = Callable[[str, Floats, Floats], Floats]
"""(workload, batches, shares) to rates alone; nan where a workload was never measured alone."""


def rising(y: Floats) -> Floats:
    """Return the rising sequence closest to y in absolute error."""
    n = y.size
    best = np.full(n, -np.inf)
    for a in range(n):
        # medians of y[a..b] for all b, then the smallest of those from i on
        medians = np.array([np.median(y[a : b + 1]) for b in range(a, n)])
        least = np.minimum.accumulate(medians[::-1])[::-1]
        best[a:] = np.maximum(best[a:], least)
    return best


class Curve(NamedTuple):
    """Rates of one workload at one batch."""

    share: Floats
    log_rate: Floats

    def at(self, share: Floats) -> Floats:
        """Return the logarithm of the rate."""
        logs = np.log(self.share)
        below, way = bracket(np.log(share), logs)
        above = np.minimum(below + 1, logs.size - 1)
        inside = self.log_rate[below] * (1 - way) + self.log_rate[above] * way
        below_first: Floats = np.minimum(np.log(share) - logs[0], 0)
        return inside + below_first


def solo_rates(table: ProfileTable) -> SoloRates:
    """Return the rates alone of one GPU type's table, smoothed as in the module's text."""
    rates, batch = table.rates, np.nan_to_num(table["batch"], nan=1.0)
    use = table.alone & (rates > 0) & np.isnan(table["arrival_rps"])
    use &= ~(table["processes"] > 1)
    curves: dict[str, dict[float, Curve]] = {}
    for name in sorted(set(table["workload"][use])):
        of = use & (table["workload"] == name)
        curves[name] = {
            float(b): _curve(table["share_pct"][of & (batch == b)], rates[of & (batch == b)])
            for b in np.unique(batch[of])
        }

    def rate(name: str, batches: Floats, shares: Floats) -> Floats:
        if name not in curves:
            return np.full(np.broadcast(batches, shares).shape, np.nan)
        return _between(curves[name], *np.broadcast_arrays(batches, shares))

    return rate


def _curve(share: Floats, rate: Floats) -> Curve:
    shares = np.unique(share)
    return Curve(shares, np.log(rising(np.array([np.median(rate[share == s]) for s in shares]))))


def _between(curves: Mapping[float, Curve], batches: Floats, shares: Floats) -> Floats:
    known = np.array(sorted(curves))
    below, way = bracket(np.log(batches), np.log(known))
    found = np.zeros(batches.shape)
    for k, b in enumerate(known):
        weight = np.where(below == k, 1 - way, np.where(below == k - 1, way, 0.0))
        at = weight > 0
        if at.any():
            found[at] += weight[at] * curves[float(b)].at(shares[at])
    rate: Floats = np.exp(found)
    return rate
