"""From counters to rates, and from histogram buckets to quantiles, over the time between looks.

A counter that falls was reset, with its process: what it says now is what came since. Series come
and go; a series that is new counts from its first value, unless everything is new.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

__all__ = ["Counters", "Quantile", "quantile"]

Key = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Counters:
    """Remembers the last values of some series, and tells by how much they have grown."""

    last: dict[Key, float] = field(default_factory=dict)
    seen: bool = False

    def grown(self, now: Mapping[Key, float]) -> dict[Key, float]:
        """Return the growth of each series since the last call; none at the first."""
        found: dict[Key, float] = {}
        if self.seen:
            for key, value in now.items():
                if not math.isfinite(value) or value < 0:
                    continue
                before = self.last.get(key, 0.0)
                found[key] = value - before if value >= before else value
        self.last = {k: v for k, v in now.items() if math.isfinite(v) and v >= 0}
        self.seen = True
        return found


@dataclass(frozen=True, slots=True)
class Quantile:
    """A quantile found from buckets."""

    value: float
    """Straight within its bucket, as Prometheus works it out."""
    upper: float
    """Upper bound of its bucket; infinite in the last one."""
    count: float
    """Observations that it rests on."""


def quantile(buckets: Iterable[tuple[float, float]], part: float) -> Quantile | None:
    """Return a quantile of a cumulative histogram.

    Parameters
    ----------
    buckets
        Upper bound and cumulative count of each bucket.
    part
        Such as 0.99.

    Returns
    -------
    Quantile or None
        None without observations. In the last, endless bucket the value is the largest bound that
        is known: the truth may be worse.
    """
    ordered = sorted((b, c) for b, c in buckets if not math.isnan(b) and c >= 0)
    # Buckets that are scraped while they change, or that are wrong, must still be cumulative.
    bounds: list[tuple[float, float]] = []
    top = 0.0
    for bound, count in ordered:
        top = max(top, count)
        bounds.append((bound, top))
    if not bounds or top <= 0 or not math.isfinite(top):
        return None
    rank = part * top
    low, below = 0.0, 0.0
    for bound, count in bounds:
        if count >= rank and count > below:
            if math.isinf(bound):
                return Quantile(low, math.inf, top)
            if bound <= 0:
                return Quantile(bound, bound, top)
            inside = (rank - below) / (count - below)
            return Quantile(low + (bound - low) * max(0.0, inside), bound, top)
        low, below = max(low, bound), count
    last = [bound for (bound, _), _ in pairwise(bounds)]
    return Quantile(max(last, default=0.0), math.inf, top)
