"""A plan against reality: what was predicted of each tenant, and what is seen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from colocate.executor.tuner.company import Load, OneGpu, Tenant
from colocate.executor.tuner.sources import Signal
from colocate.schema import Evidence

__all__ = ["Drift", "drift"]

Verdict = Literal["as planned", "worse than its bound", "over its SLO", "better", "unknown"]
SLACK = 0.1
"""A tenth more or less is as planned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One tenant, as planned and as seen."""

    entry: str
    planned_rps: float
    """Rate that the plan was made for."""
    seen_rps: float | None
    planned_ms: float | None
    """Predicted percentile of the latency at the rate that is seen."""
    bound_ms: float | None
    """The same at the stated confidence."""
    seen_ms: float | None
    slo_ms: float
    slower: float | None
    """By how much its batches take longer than modelled, as far as the latency tells."""
    evidence: Evidence | None
    """What the prediction rests on."""
    verdict: Verdict

    def record(self) -> dict[str, Any]:
        """Return it as plain data."""
        found: dict[str, Any] = {
            name: getattr(self, name) for name in self.__dataclass_fields__ if name != "evidence"
        }
        return {
            **{k: _plain(v) for k, v in found.items()},
            "evidence": None if self.evidence is None else self.evidence.value,
        }


def _plain(value: object) -> object:
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else str(value)
    return value


def drift(
    model: OneGpu,
    tenants: Sequence[Tenant],
    seen: Mapping[str, Signal],
    planned_rps: Mapping[str, float],
) -> tuple[Drift, ...]:
    """Hold every service of a GPU against what the models said of it."""
    found = []
    for tenant in tenants:
        if tenant.role != "service":
            continue
        others = [t for t in tenants if t is not tenant]
        signal = seen.get(tenant.entry)
        service = model.service(tenant.entry)
        planned = planned_rps.get(tenant.entry, service.rate_rps)
        rate = None if signal is None else signal.rate_rps
        p99 = None if signal is None else signal.p99_ms
        at = rate if rate else planned
        check = model.check(tenant, others, Load(rate_rps=at))
        speed = model.speed(tenant, others)
        slower = None
        if p99 is not None and rate and math.isfinite(p99):
            slower = model.slower_by(tenant, others, rate, p99)
        found.append(
            Drift(
                entry=tenant.entry,
                planned_rps=planned,
                seen_rps=rate,
                planned_ms=None if check is None else check.latency_ms,
                bound_ms=None if check is None else check.latency_hi_ms,
                seen_ms=p99,
                slo_ms=service.slo_ms,
                slower=slower,
                evidence=None if speed is None else speed.evidence,
                verdict=_verdict(check and (check.latency_ms, check.latency_hi_ms), p99, service),
            )
        )
    return tuple(found)


def _verdict(
    predicted: tuple[float, float] | None, seen_ms: float | None, service: object
) -> Verdict:
    slo: float = service.slo_ms  # type: ignore[attr-defined]
    if predicted is None or seen_ms is None:
        return "unknown"
    if seen_ms > slo:
        return "over its SLO"
    if seen_ms > predicted[1] * (1 + SLACK):
        return "worse than its bound"
    return "better" if seen_ms < predicted[0] * (1 - 2 * SLACK) else "as planned"
