"""What the tuner remembers of one service: what it saw lately, and how slow it seems to be."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from statistics import fmean, median

from colocate.executor.tuner.company import OneGpu, Tenant
from colocate.executor.tuner.sources import Signal
from colocate.executor.tuner.trigger import Watch

__all__ = ["ServiceMemory"]

LEAST = 4
"""Looks that an estimate rests on."""
DRAINING = 0.7
"""Latencies that fall by more than this within one window."""


@dataclass(slots=True)
class ServiceMemory:
    """One service."""

    watch: Watch = field(default_factory=Watch)
    slower: float = 1.0
    """By how much its batches seem to take longer than modelled."""
    signals: deque[Signal] = field(default_factory=lambda: deque(maxlen=600))
    steady_from: float = 0.0
    """Since when nothing has been changed: what was before says nothing about now."""
    complaint: str = ""
    """What its source said last instead of an answer."""

    def add(self, signal: Signal) -> None:
        """Take in one look."""
        self.signals.append(signal)

    def late(self, begin: float) -> list[Signal]:
        """Return what was seen since a moment, oldest first."""
        found = []
        for signal in reversed(self.signals):
            if signal.seconds < begin:
                break
            found.append(signal)
        return found[::-1]

    def highest_rps(self, now: float, window_s: float) -> float | None:
        """Return the highest rate of late."""
        rates = [s.rate_rps for s in self.late(now - window_s) if s.rate_rps is not None]
        return max(rates, default=None)

    def mean_rps(self, now: float, window_s: float) -> float | None:
        """Return the mean rate of late."""
        rates = [s.rate_rps for s in self.late(now - window_s) if s.rate_rps is not None]
        return fmean(rates) if rates else None

    def estimate(
        self,
        model: OneGpu,
        tenant: Tenant,
        others: list[Tenant],
        now: float,
        window_s: float,
    ) -> float | None:
        """Return by how much it is slower than modelled, from its latency of late.

        None while there are too few looks since the last change.
        """
        begin = max(now - window_s, self.steady_from)
        late = self.late(begin)
        rates = [s.rate_rps for s in late if s.rate_rps]
        tails = [s.p99_ms for s in late if s.p99_ms is not None]
        if len(rates) < LEAST or len(tails) < LEAST:
            return None
        tail = median(tails)
        if median(tails[len(tails) // 2 :]) < DRAINING * median(tails[: len(tails) // 2]):
            return None  # a queue from before is worn down: that is no slow service
        if not math.isfinite(tail):
            tail = 1e9
        found = model.slower_by(tenant, others, median(rates), tail)
        # A few good looks do not undercut the bounds that the models come with.
        return None if found is None else max(1.0, found)
