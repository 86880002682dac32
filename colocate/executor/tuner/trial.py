"""Trying out the batches of a GPU's service in quiet times, where the models are unsure.

Each batch that the models allow runs for a while. Its cost is the time that a training sample takes
where the training tells its rate, else the p99 of the service; a batch that breaks the SLO is
dropped at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Self

from colocate.executor.tuner.company import Load, OneGpu, Tenant
from colocate.executor.tuner.search import BatchSearch
from colocate.executor.tuner.sources import Signal
from colocate.schema import Evidence

__all__ = ["Trial"]


@dataclass(slots=True)
class Trial:
    """One search, over many looks."""

    service: str | None
    """None: there is nothing to find out."""
    slo_ms: float
    tasks: tuple[str, ...]
    search: BatchSearch
    dwell_s: float
    batch: int
    """What runs now."""
    since: float
    costs: list[float] = field(default_factory=list)
    over: bool = False

    @classmethod
    def of(cls, model: OneGpu, tenants: Sequence[Tenant], dwell_s: float, now: float) -> Self:
        """Return the search for a GPU: over the batches of its one service, if they are unsure."""
        services = [t for t in tenants if t.role == "service"]
        tasks = tuple(t.entry for t in tenants if t.role == "task")
        nothing = cls(None, 0.0, tasks, BatchSearch(()), dwell_s, 0, now, over=True)
        if len(services) != 1:
            return nothing
        service = services[0]
        others = [t for t in tenants if t is not service]
        speed = model.speed(service, others)
        if speed is None or speed.evidence is Evidence.MEASURED:
            return nothing
        entry = model.service(service.entry)
        allowed = []
        for batch in model.batches(service.entry):
            tried = Tenant(
                entry=service.entry, role="service", batch=batch, share_pct=service.share_pct
            )
            check = model.check(tried, others, Load(rate_rps=entry.rate_rps))
            if check is not None and check.allowed:
                allowed.append(batch)
        if len(allowed) < 2:
            return nothing
        search = BatchSearch(allowed)
        return cls(service.entry, entry.slo_ms, tasks, search, dwell_s, service.batch, now)

    def look(self, now: float, signals: Mapping[str, Signal]) -> tuple[str, int] | None:
        """Take in one look; return the service and the batch that it is to run at, if another."""
        if self.over or self.service is None:
            return None
        signal = signals.get(self.service)
        broken = signal is not None and signal.p99_ms is not None and signal.p99_ms > self.slo_ms
        cost = self._cost(signals)
        if cost is not None:
            self.costs.append(cost)
        if not broken and now - self.since < self.dwell_s:
            return None
        cost = None if broken or not self.costs else fmean(self.costs)
        self.search.tell(self.batch, cost)
        following = self.search.next()
        if following is None:
            self.over = True
            following = self.search.best
        self.costs, self.since = [], now
        if following is None or following == self.batch:
            return None
        self.batch = following
        return self.service, following

    def _cost(self, signals: Mapping[str, Signal]) -> float | None:
        rates = [s.rate_rps for n, s in signals.items() if n in self.tasks and s.rate_rps]
        if rates:
            return sum(1.0 / r for r in rates)
        signal = signals.get(self.service or "")
        p99 = None if signal is None else signal.p99_ms
        return p99 if p99 is not None and math.isfinite(p99) else None
