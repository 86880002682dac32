"""What a simulated run shows: latencies, waits, batch sizes, load, percentiles with their errors.

Standard errors come from replications: the requests are cut into groups (whole replications where
there are enough of them, else stretches of time), the number is worked out in each, and the spread
of the groups gives the error of their pooled number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from colocate.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["Batches", "Estimate", "Outcome"]

GROUPS = 20


class Batches(NamedTuple):
    """The batches that were served, replication after replication, in order of time."""

    row: NDArray[np.int64]
    """Replication of each."""
    size: NDArray[np.int64]
    start_s: NDArray[np.float64]
    service_s: NDArray[np.float64]


class Estimate(NamedTuple):
    """A number found by simulation."""

    value: float
    standard_error: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened to the requests of a run. Times in seconds, arrays [replication, request]."""

    arrival_s: NDArray[np.float64]
    batches: Batches
    start_s: NDArray[np.float64]
    """When its batch started; nan for those who wait for ever (an infinite timeout, no more
    arrivals)."""
    latency_s: NDArray[np.float64]
    """From arrival to the end of its batch; nan likewise."""
    warmup: int
    """Requests at the start of each replication that the statistics leave out."""
    cooldown: int
    """Requests at the end of each replication that the statistics leave out: the last ones wait in
    vain for others to fill their batch."""

    @classmethod
    def of(
        cls, arrival_s: NDArray[np.float64], batches: Batches, *, warmup: int, cooldown: int
    ) -> Outcome:
        """Deal the batches out to the requests."""
        rows, requests = arrival_s.shape
        served = np.bincount(batches.row, weights=batches.size, minlength=rows).astype(np.int64)
        each = np.stack([batches.start_s, batches.service_s])
        dealt = np.repeat(each, batches.size, axis=1)
        if (served < requests).any():
            # Those who wait for ever are the last of their row.
            waiting = np.arange(requests)[None, :] >= served[:, None]
            full = np.full((2, rows, requests), np.nan)
            full[:, ~waiting] = dealt
            dealt = full
        start, service = dealt.reshape(2, rows, requests)
        latency = start - arrival_s + service
        return cls(arrival_s, batches, start, latency, warmup, cooldown)

    @property
    def wait_s(self) -> NDArray[np.float64]:
        """From arrival to the start of its batch."""
        return self.start_s - self.arrival_s

    @property
    def batch_sizes(self) -> NDArray[np.int64]:
        """Sizes of all batches."""
        return self.batches.size

    @property
    def unserved(self) -> int:
        """How many wait for ever."""
        return int(np.isnan(self.start_s).sum())

    @property
    def load(self) -> float:
        """Share of the time that the server is busy, from first arrival to last end."""
        rows = self.arrival_s.shape[0]
        if self.batches.row.size == 0:
            return 0.0
        last = np.flatnonzero(np.diff(self.batches.row, append=rows))
        ends = self.batches.start_s[last] + self.batches.service_s[last]
        spans = ends - self.arrival_s[self.batches.row[last], 0]
        total = float(spans.sum())
        return float(self.batches.service_s.sum()) / total if total > 0 else 1.0

    def percentile_s(self, percentile: float = 99.0) -> Estimate:
        """Return a percentile of the latency with its standard error."""
        if not 0 <= percentile <= 100:
            raise InputError(f"percentile {percentile}", advice="state one from 0 to 100.")
        return self._estimate(lambda x: float(np.quantile(x, percentile / 100)))

    def mean_s(self) -> Estimate:
        """Return the mean latency with its standard error."""
        return self._estimate(lambda x: float(x.mean()))

    def mean_wait_s(self) -> Estimate:
        """Return the mean wait for the start with its standard error."""
        return self._estimate(lambda x: float(x.mean()), self.wait_s)

    def _estimate(
        self,
        number: Callable[[NDArray[np.float64]], float],
        of: NDArray[np.float64] | None = None,
    ) -> Estimate:
        last = self.arrival_s.shape[1] - self.cooldown
        counted = (self.latency_s if of is None else of)[:, self.warmup : last]
        if counted.shape[0] >= GROUPS:
            groups = np.array_split(counted, GROUPS)
        else:
            groups = np.array_split(counted, min(GROUPS, counted.shape[1]), axis=1)
        known = [g[~np.isnan(g)] for g in groups]
        found = [number(g) for g in known if g.size]
        if not found:
            raise InputError(
                "no request is left to count between warm-up and end",
                advice="simulate more requests, or a finite timeout.",
            )
        error = float(np.std(found, ddof=1)) / len(found) ** 0.5 if len(found) > 1 else np.inf
        return Estimate(number(np.concatenate(known)), error)
