"""How well a rate or a percentile is known: intervals that own up to noise that wanders.

The rates of successive windows are rarely independent: clocks drift, caches fill, queues empty
slowly. So neighbouring windows are merged, two and two, until their correlation is gone (batch
means); only then does the interval of the median count them as independent. For a percentile of
latencies, requests count for less the more their excesses come in clusters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist, fmean, median

__all__ = ["Interval", "is_steady", "median_interval", "merged", "quantile", "quantile_interval"]

EXACT = 2000
"""Up to so many values the binomial distribution is summed; beyond, it is as good as normal."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate, and where the truth lies with some confidence."""

    value: float
    low: float
    high: float
    n: int
    """How many values count as independent."""

    @property
    def relative(self) -> float:
        """Half the width over the value; infinite where nothing is known."""
        if not (math.isfinite(self.low) and math.isfinite(self.high)) or self.value <= 0:
            return math.inf
        return (self.high - self.low) / 2 / self.value


def merged(values: Sequence[float]) -> list[float]:
    """Return means of 1, 2, 4, ... successive values: as few as it takes to be uncorrelated.

    The correlation of n values with the next one each is taken for chance below 1.64 / sqrt(n). At
    least four values are left; where the first ones do not fill a group, they are left out.
    """
    now = list(values)
    while len(now) >= 8 and _correlation(now) > 1.64 / math.sqrt(len(now)):
        first = len(now) % 2
        now = [(a + b) / 2 for a, b in zip(now[first::2], now[first + 1 :: 2], strict=True)]
    return now


def median_interval(values: Sequence[float], confidence: float) -> Interval:
    """Return the median of successive values with an interval that needs no distribution.

    Between the k-th smallest and the k-th largest of n independent values lies the median with
    probability 1 - 2 P(Bin(n, 1/2) < k). Where n is too small for the confidence, there is no
    interval: its ends are infinite.
    """
    if not values:
        return Interval(math.nan, -math.inf, math.inf, 0)
    kept = sorted(merged(values))
    n = len(kept)
    k = _rank(n, 0.5, (1 - confidence) / 2)
    if k < 1:
        return Interval(median(values), -math.inf, math.inf, n)
    # the median of the values themselves may lie outside what their merged means span
    middle = median(kept)
    return Interval(middle, kept[k - 1], kept[n - k], n)


def quantile(values: Sequence[float], q: float) -> float:
    """Return the smallest value that a part `q` of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)]


def quantile_interval(blocks: Sequence[Sequence[float]], q: float, confidence: float) -> Interval:
    """Return a quantile of all values with an interval by order statistics.

    Parameters
    ----------
    blocks
        The values in the order in which they came, cut into blocks of time. By how much the part
        above the quantile varies more from block to block than chance alone would have it, by so
        much fewer do the values count.
    q
        Which quantile, such as 0.99.
    confidence
        Of the interval.
    """
    everything = sorted(v for block in blocks for v in block)
    n = len(everything)
    if not n:
        return Interval(math.nan, -math.inf, math.inf, 0)
    found = everything[max(0, math.ceil(q * n) - 1)]
    counted = n / _clustering(blocks, found, q)
    tail = (1 - confidence) / 2
    spread = NormalDist().inv_cdf(1 - tail) * math.sqrt(q * (1 - q) / counted)
    # with less than one value expected beyond the upper end nothing is known of it
    low, high = q - spread, q + spread
    below = everything[max(0, math.floor(low * n) - 1)] if low > 0 else -math.inf
    above = everything[min(n - 1, math.ceil(high * n))] if high < 1 - 0.5 / counted else math.inf
    return Interval(found, below, above, int(counted))


def is_steady(rates: Sequence[float], *, last: int, tolerance: float) -> bool:
    """Tell whether the last 2 `last` rates show no trend.

    The mean of the later half must lie within the tolerance of the mean of the earlier half, or
    within what chance explains: twice the standard error of their difference.
    """
    if len(rates) < 2 * last:
        return False
    before, after = rates[-2 * last : -last], rates[-last:]
    a, b = fmean(before), fmean(after)
    if a <= 0 or b <= 0:
        return False
    spread = sum((x - a) ** 2 for x in before) + sum((x - b) ** 2 for x in after)
    error = math.sqrt(spread / (2 * (last - 1)) * 2 / last) if last > 1 else 0.0
    return abs(b - a) <= max(tolerance * a, 2 * min(error, 2 * tolerance * a))


def _correlation(values: Sequence[float]) -> float:
    mean = fmean(values)
    total = sum((v - mean) ** 2 for v in values)
    if total <= 0:
        return 0.0
    return sum((a - mean) * (b - mean) for a, b in pairwise(values)) / total


def _rank(n: int, q: float, tail: float) -> int:
    """Return the largest k with P(Bin(n, q) < k) <= tail."""
    if n > EXACT:
        found = n * q - NormalDist().inv_cdf(1 - tail) * math.sqrt(n * q * (1 - q))
        return max(0, math.floor(found))
    below, k = 0.0, 0
    while k < n:
        below += math.comb(n, k) * q**k * (1 - q) ** (n - k) if n < 1000 else _pmf(n, k, q)
        if below > tail:
            return k
        k += 1
    return k


def _pmf(n: int, k: int, q: float) -> float:
    choose = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(choose + k * math.log(q) + (n - k) * math.log1p(-q))


def _clustering(blocks: Sequence[Sequence[float]], found: float, q: float) -> float:
    """Return by how much the variance over blocks exceeds that of independent values, at least 1.

    Each block of m values is expected to have m (1 - q) above the quantile, with variance
    m q (1 - q); the mean of (excess - expected)^2 / variance is 1 without clusters.
    """
    ratios = [
        (sum(v > found for v in block) - len(block) * (1 - q)) ** 2 / (len(block) * q * (1 - q))
        for block in blocks
        if block
    ]
    return max(1.0, fmean(ratios)) if len(ratios) > 1 else 1.0
