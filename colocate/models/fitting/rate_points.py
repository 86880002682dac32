"""From a profile table to the points of rate curves: one curve for each workload, GPU and batch.

Repeats of a setting are joined by the median of their logarithms, so that one bad run among three
does not matter. A curve is kept as the logarithm of the time of a batch,

    y_i = log(b / rate_i)   at the shares p_1 < p_2 < ...,

because errors of measurement are relative. Each point has a relative weight of its noise, rho_i:
1 where nothing is known, else the root of its standard error against the usual one of the curve.
Only the ratio within a curve counts, and only its root, because tables mix standard deviations over
iterations, runs and requests: a setting whose iterations vary more need not have a worse mean.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from colocate.tables.table import ProfileTable

__all__ = ["MOST_SHARES", "CurveKey", "Points", "gather_points"]

Floats = NDArray[np.float64]

MOST_SHARES: Final = 24
"""More points of a curve are merged for the fit: they tell its shape no better, only slower."""
LEAST_NOISE, MOST_NOISE = 0.5, 2.0


class CurveKey(NamedTuple):
    """Which curve."""

    workload: str
    gpu: str
    batch: int


@dataclass(frozen=True, eq=False)
class Points:
    """The measured points of one curve."""

    key: CurveKey
    share_pct: Floats
    """Ascending, without repeats."""
    log_time: Floats
    """Logarithm of the seconds of a batch."""
    noise: Floats
    """rho: noise relative to the other points of the curve."""
    count: NDArray[np.int64]
    """How many rows stand behind each point."""
    spread: Floats
    """Largest over smallest of the repeats, less 1."""

    def __len__(self) -> int:
        """Return the number of points."""
        return int(self.share_pct.size)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Points:
        """Return the curve with some of its points."""
        return Points(
            self.key,
            self.share_pct[rows],
            self.log_time[rows],
            self.noise[rows],
            self.count[rows],
            self.spread[rows],
        )

    def thinned(self) -> Points:
        """Return the curve with at most `MOST_SHARES` points: neighbours merged, ends kept.

        Merged are the logarithms of share and time, weighed by 1 / rho^4, as rho is the root of a
        standard error.
        """
        n = len(self)
        if n <= MOST_SHARES:
            return self
        inner = 1 + np.arange(n - 2) * (MOST_SHARES - 2) // (n - 2)
        to = np.concatenate([[0], inner, [MOST_SHARES - 1]])
        starts, weight = np.searchsorted(to, np.arange(MOST_SHARES)), self.noise**-4.0
        total = np.bincount(to, weight)
        log_share = np.bincount(to, weight * np.log(self.share_pct)) / total
        share = np.concatenate([self.share_pct[:1], np.exp(log_share[1:-1]), self.share_pct[-1:]])
        return Points(
            self.key,
            share,
            np.bincount(to, weight * self.log_time) / total,
            np.clip(total**-0.25, LEAST_NOISE, MOST_NOISE),
            np.add.reduceat(self.count, starts),
            np.maximum.reduceat(self.spread, starts),
        )

    @property
    def rate(self) -> Floats:
        """Samples per second."""
        found: Floats = self.key.batch * np.exp(-self.log_time)
        return found


def gather_points(table: ProfileTable) -> tuple[list[Points], Counter[str]]:
    """Return the curves of what ran alone, and how many rows were left out for which reason.

    Rows in company, with an offered load (their rate is that of the arrivals) or with several
    processes say nothing about the rate of one process alone.
    """
    left_out: Counter[str] = Counter()
    rates, batches = table.rates, np.where(np.isnan(table["batch"]), 1.0, table["batch"])
    with np.errstate(invalid="ignore"):
        reasons = {
            "in company": ~table.alone,
            "with an offered load: the rate is that of the arrivals": table["arrival_rps"] > 0,
            "with several processes": table["processes"] > 1,
            "without a positive rate": ~((rates > 0) & np.isfinite(rates)),
            "with a batch that is no whole number": batches != np.round(batches),
        }
    kept = np.ones(len(table), dtype=bool)
    for reason, bad in reasons.items():
        found = int(np.count_nonzero(kept & bad))
        if found and reason != "in company":
            left_out[reason] += found
        kept &= ~bad
    rows = np.flatnonzero(kept)
    by_curve: dict[CurveKey, list[int]] = {}
    for row in rows.tolist():
        key = CurveKey(table["workload"][row], table["gpu"][row], int(batches[row]))
        by_curve.setdefault(key, []).append(row)
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = table["rate_std"] / rates
    return [
        _points(key, table["share_pct"][at], rates[at], relative[at])
        for key, at in sorted(by_curve.items())
    ], left_out


def _points(key: CurveKey, share: Floats, rate: Floats, relative: Floats) -> Points:
    shares, which = np.unique(share, return_inverse=True)
    n = shares.size
    log_time, error = np.empty(n), np.full(n, np.nan)
    count, spread = np.bincount(which, minlength=n), np.zeros(n)
    for i in range(n):
        of = which == i
        log_time[i] = np.log(key.batch) - np.median(np.log(rate[of]))
        spread[i] = rate[of].max() / rate[of].min() - 1
        known = relative[of][np.isfinite(relative[of]) & (relative[of] > 0)]
        if known.size:
            error[i] = np.sqrt(np.mean(known**2) / of.sum())
    return Points(key, shares, log_time, _ratios(error, count), count, spread)


def _ratios(error: Floats, count: NDArray[np.int64]) -> Floats:
    """Return the noise of each point relative to the others of its curve."""
    known = np.isfinite(error)
    if known.any():
        ratio = np.where(known, error / np.median(error[known]), 1.0)
    else:
        ratio = np.sqrt(np.median(count) / count)
    return np.clip(np.sqrt(ratio), LEAST_NOISE, MOST_NOISE)
