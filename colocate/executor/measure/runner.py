"""Measures runs, one after the other: warm-up, steady state, windows until it is known.

A point goes through three stages.

1. Warm-up: `warm_up_s` that nobody looks at.
2. Until it is steady: windows, until for every tenant the mean rate of the last `steady_windows` is
   that of as many before them (within `steady_within`, or within chance), or `steady_most_s` have
   passed; then it is measured all the same, and the outcome says that it was not steady.
3. Measured: at least `least_windows`, and on until every tenant is known well enough: without
   arrivals, half the interval of the median rate is within `rate_within`; with arrivals, half that
   of the 99th percentile of all latencies within `latency_within`. At most `most_windows`.

A window is long enough for five batches of the slowest tenant.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import TYPE_CHECKING

from colocate.executor.measure.bench import Bench, Company, TenantFacts, Window
from colocate.executor.measure.intervals import (
    Interval,
    is_steady,
    median_interval,
    quantile,
    quantile_interval,
)
from colocate.executor.measure.tenants import Point, Tenant
from colocate.executor.ports import GpuReading

if TYPE_CHECKING:
    from colocate.executor.measure.effort import Effort

__all__ = ["Measured", "Outcome", "measure_point", "with_arrivals"]

BATCHES_IN_A_WINDOW = 5
LONGEST_WINDOW_S = 60.0
LEAST_FOR_P99 = 200
"""Latencies below which no 99th percentile is stated: it would be one of the two largest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was found out about one tenant."""

    tenant: Tenant
    """With the rate of arrivals that it had."""
    rate: Interval
    """Samples per second: the median of the windows; with arrivals, the mean."""
    batch_ms: float
    """Mean time of a batch."""
    p50_ms: float | None
    p99_ms: Interval | None
    """Of latencies: with arrivals those of samples, without those of batches."""
    latencies: int
    """How many there were."""
    stable: bool
    """With arrivals: whether it kept up with them. Without, always."""
    memory_mib: float | None
    """Most that one of its processes held, by what the GPU's memory in use grew; None: unknown."""
    own_memory_mib: float | None
    """The same as the process tells it, without the context."""
    facts: TenantFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a point."""

    point: Point
    measured: tuple[Measured, ...]
    seconds: float
    """Time that it took, starts included."""
    steady: bool
    enough: bool
    """Whether everything is known as well as was asked for."""
    windows: int
    readings: tuple[GpuReading, ...] = field(default=(), repr=False)
    """What the GPU said, once in each window that counts."""


def measure_point(
    company: Company,
    bench: Bench,
    tenants: Sequence[Tenant],
    effort: Effort,
    *,
    used_before_mib: float | None = None,
    stop: Callable[[], bool] | None = None,
) -> Outcome:
    """Measure one point.

    Parameters
    ----------
    company
        Processes of the tenants, in their order.
    bench
        For the time and for what the GPU says.
    tenants
        With rates of arrivals in place of loads.
    effort
        When it counts as measured.
    used_before_mib
        Memory of the GPU that was in use before the company was started, if it was just started.
    stop
        Tells that what was measured so far has to do.
    """
    began = bench.seconds()
    company.set(tenants)
    first = company.window(effort.warm_up_s)
    length = _window_s(first, effort)
    steady = _settle(company, bench, length, effort, stop)
    seen: list[tuple[Window, ...]] = []
    readings: list[GpuReading] = []
    enough = False
    while len(seen) < effort.most_windows:
        seen.append(company.window(length))
        reading = bench.read()
        if reading is not None:
            readings.append(reading)
        enough = len(seen) >= effort.least_windows and all(
            _known(tenant, [w[i] for w in seen], effort) for i, tenant in enumerate(tenants)
        )
        if enough or (stop is not None and stop()):
            break
    grown = _grown_mib(used_before_mib, readings, len(tenants))
    facts = company.facts()
    measured = tuple(
        _measured(tenant, [w[i] for w in seen], effort, facts[i], grown)
        for i, tenant in enumerate(tenants)
    )
    return Outcome(
        point=Point(tuple(tenants)),
        measured=measured,
        seconds=bench.seconds() - began,
        steady=steady,
        enough=enough,
        windows=len(seen),
        readings=tuple(readings),
    )


def _window_s(first: Sequence[Window], effort: Effort) -> float:
    """Return how long windows must be for the slowest tenant."""
    slowest = max((w.busy_s / w.batches for w in first if w.batches), default=0.0)
    if any(not w.batches and w.busy_s == 0 and not w.waiting for w in first):
        # not one batch yet: it takes longer than the warm-up, or nothing has arrived
        slowest = max(slowest, effort.warm_up_s)
    return min(LONGEST_WINDOW_S, max(effort.window_s, BATCHES_IN_A_WINDOW * slowest))


def _settle(
    company: Company,
    bench: Bench,
    length: float,
    effort: Effort,
    stop: Callable[[], bool] | None,
) -> bool:
    """Let windows pass until no rate has a trend; return whether that came about."""
    began = bench.seconds()
    rates: list[list[float]] = []
    while bench.seconds() - began < effort.steady_most_s:
        windows = company.window(length)
        rates = rates or [[] for _ in windows]
        for each, window in zip(rates, windows, strict=True):
            # with arrivals the rate is that of the arrivals; what settles is the time of a batch
            each.append(window.batches / window.busy_s if window.busy_s > 0 else window.rate)
        if all(
            is_steady(each, last=effort.steady_windows, tolerance=effort.steady_within)
            for each in rates
        ):
            return True
        if stop is not None and stop():
            break
    return False


def _known(tenant: Tenant, windows: Sequence[Window], effort: Effort) -> bool:
    if tenant.closed:
        rate = median_interval([w.rate for w in windows], effort.confidence)
        return rate.relative <= effort.rate_within
    if not _keeps_up(tenant, windows):
        return True  # there is no percentile that more windows would tell better
    found = quantile_interval([w.latencies_ms for w in windows], 0.99, effort.confidence)
    return found.relative <= effort.latency_within


def _measured(
    tenant: Tenant,
    windows: Sequence[Window],
    effort: Effort,
    facts: TenantFacts,
    grown_mib: float | None,
) -> Measured:
    stable = tenant.closed or _keeps_up(tenant, windows)
    if tenant.closed:
        rate = median_interval([w.rate for w in windows], effort.confidence)
    else:
        seconds = sum(w.seconds for w in windows)
        mean = sum(w.samples for w in windows) / seconds if seconds > 0 else 0.0
        rate = Interval(mean, -math.inf, math.inf, len(windows))
    latencies = [v for w in windows for v in w.latencies_ms]
    p50 = p99 = None
    if latencies and stable:
        p50 = median(latencies)
        if len(latencies) >= LEAST_FOR_P99:
            p99 = quantile_interval([w.latencies_ms for w in windows], 0.99, effort.confidence)
        elif tenant.closed:
            p99 = Interval(quantile(latencies, 0.99), -math.inf, math.inf, len(latencies))
    batches = sum(w.batches for w in windows)
    held = [w.memory_mib for w in windows if w.memory_mib is not None]
    processes = max(1, len(facts.pids))
    return Measured(
        tenant=tenant,
        rate=rate,
        batch_ms=1000 * sum(w.busy_s for w in windows) / batches if batches else math.nan,
        p50_ms=p50,
        p99_ms=p99,
        latencies=len(latencies),
        stable=stable,
        memory_mib=None if grown_mib is None else grown_mib / processes,
        own_memory_mib=max(held, default=None),
        facts=facts,
    )


def _keeps_up(tenant: Tenant, windows: Sequence[Window]) -> bool:
    """Tell whether a tenant with arrivals serves as many as arrive.

    Of n that are expected to arrive, chance lets about sqrt(n) fewer or more come; it does not keep
    up where it serves fewer by 4 sqrt(n), or its queue grows by 3 sqrt(n) and by a twentieth of n.
    """
    assert tenant.arrival_rps is not None
    expected = tenant.arrival_rps * sum(w.seconds for w in windows)
    served = sum(w.samples for w in windows)
    grown = windows[-1].waiting - windows[0].waiting
    chance = math.sqrt(expected)
    return served >= expected - 4 * chance and grown <= max(3 * chance, 0.05 * expected)


def _grown_mib(before: float | None, readings: Sequence[GpuReading], tenants: int) -> float | None:
    """Return by how much the memory in use has grown, where that is one tenant's doing."""
    used = [r.memory_used_mib for r in readings if r.memory_used_mib is not None]
    if before is None or tenants != 1 or not used or max(used) <= before:
        return None
    return max(used) - before


def with_arrivals(
    tenants: Sequence[Tenant], rates: Mapping[tuple[str, int, int], float]
) -> tuple[Tenant, ...] | None:
    """Return tenants with rates of arrivals for their loads, or None where a rate is not known.

    Parameters
    ----------
    tenants
        As they stand in the campaign.
    rates
        Rates without arrivals, alone, by workload, batch and share.
    """
    found = []
    for tenant in tenants:
        if tenant.load is None:
            found.append(tenant)
            continue
        rate = rates.get((tenant.workload, tenant.batch, tenant.share_pct))
        if rate is None or rate <= 0:
            return None
        found.append(replace(tenant, arrival_rps=tenant.load * rate))
    return tuple(found)
