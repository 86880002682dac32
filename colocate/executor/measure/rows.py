"""Outcomes as rows of a profile table, with what speaks for them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import NormalDist, fmean, median
from typing import TYPE_CHECKING, Any

from colocate.executor.measure.bench import GpuAbout
from colocate.executor.measure.intervals import Interval
from colocate.executor.measure.results import Record
from colocate.executor.measure.runner import Measured, Outcome
from colocate.executor.measure.tenants import Workload

if TYPE_CHECKING:
    from colocate.tables.table import ProfileTable

__all__ = ["evidence_of", "rows_of", "table_of"]


def rows_of(
    outcome: Outcome,
    about: GpuAbout,
    workloads: Mapping[str, Workload],
    *,
    repeat: int,
    confidence: float,
    context_mib: float = 0.0,
) -> tuple[dict[str, Any], ...]:
    """Return a row for each tenant.

    `rate_std` is how far one more such measurement would be from this one: half the interval over
    the quantile of its confidence. The activity of the GPU, and the memory, are those of one tenant
    only where it was alone. Where nobody saw by how much the memory in use grew, memory is what the
    process tells of itself and `context_mib`.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    found = []
    alone = len(outcome.measured) == 1
    for i, one in enumerate(outcome.measured):
        others = [m.tenant for j, m in enumerate(outcome.measured) if j != i]
        tenant, workload = one.tenant, workloads[one.tenant.workload]
        half = (one.rate.high - one.rate.low) / 2
        row: dict[str, Any] = {
            "workload": tenant.workload,
            "role": workload.role,
            "gpu": about.gpu_type,
            "batch": tenant.batch,
            "share_pct": tenant.share_pct,
            "neighbour": "+".join(o.workload for o in others),
            "neighbour_batch": "+".join(str(o.batch) for o in others),
            "neighbour_share_pct": "+".join(str(o.share_pct) for o in others),
            "rate": one.rate.value,
            "rate_std": half / z if math.isfinite(half) else None,
            "latency_ms": one.batch_ms,
            "latency_p99_ms": None if one.p99_ms is None else one.p99_ms.value,
            "arrival_rps": tenant.arrival_rps,
            "processes": workload.processes if workload.processes > 1 else None,
            "driver": about.driver,
            "repeat": repeat,
        }
        if alone:
            held = one.memory_mib
            if held is None and one.own_memory_mib is not None:
                held = one.own_memory_mib + context_mib
            row["memory_gib"] = None if held is None else held / 1024
            row["sm_activity_pct"] = _mean([r.sm_active_pct for r in outcome.readings])
            row["dram_activity_pct"] = _mean([r.dram_active_pct for r in outcome.readings])
        found.append({name: v for name, v in row.items() if v is not None and v != ""})
    return tuple(found)


def evidence_of(outcome: Outcome, about: GpuAbout) -> dict[str, Any]:
    """Return what speaks for an outcome, and against it."""
    return {
        "steady": outcome.steady,
        "enough": outcome.enough,
        "windows": outcome.windows,
        "mps": about.mps,
        "gpu": {
            name: _span([getattr(r, name) for r in outcome.readings])
            for name in (
                *("sm_clock_mhz", "temperature_c", "power_w", "gpu_util_pct"),
                *("sm_active_pct", "dram_active_pct", "memory_used_mib"),
            )
        },
        "xids": sorted({x for r in outcome.readings for x in r.xids}),
        "tenants": [_about(one) for one in outcome.measured],
    }


def table_of(records: Iterable[Record]) -> ProfileTable:
    """Return a profile table of all runs that were measured.

    Left out are rows beside somebody with arrivals: a table cannot say how busy a neighbour was,
    and as a row beside a neighbour that never rests it would be wrong.
    """
    from colocate.tables.columns import COLUMNS
    from colocate.tables.table import ProfileTable

    rows = [
        row
        for record in records
        if record.state == "measured"
        for i, row in enumerate(record.rows)
        if row.get("rate") and not _beside_arrivals(record.rows, i)
    ]
    columns: dict[str, list[Any]] = {}
    for column in COLUMNS:
        if column.kind == "text":
            columns[column.name] = [str(row.get(column.name, "")) for row in rows]
        else:
            values = [row.get(column.name) for row in rows]
            columns[column.name] = [math.nan if v is None else float(v) for v in values]
    return ProfileTable.of(**columns)


def _beside_arrivals(rows: Sequence[Mapping[str, Any]], i: int) -> bool:
    return any(row.get("arrival_rps") is not None for j, row in enumerate(rows) if j != i)


def _about(one: Measured) -> dict[str, Any]:
    found: dict[str, Any] = {
        "workload": one.tenant.workload,
        "rate": _interval(one.rate),
        "stable": one.stable,
        "latencies": one.latencies,
        "p50_ms": one.p50_ms,
        "p99_ms": None if one.p99_ms is None else _interval(one.p99_ms),
        "memory_mib": one.memory_mib,
        "own_memory_mib": one.own_memory_mib,
        "sm_count": one.facts.sm_count,
    }
    return found


def _interval(found: Interval) -> list[float | int]:
    return [found.value, found.low, found.high, found.n]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return fmean(known) if known else None


def _span(values: Sequence[float | None]) -> list[float] | None:
    """Return the smallest, the middle and the largest value."""
    known = [v for v in values if v is not None]
    return [min(known), median(known), max(known)] if known else None
