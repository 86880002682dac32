"""What the models expect of placements that were not chosen here, with plain numbers.

For GPUs that keep what they have: their batches and shares are given, whether or not a solver would
consider them. Each group is worked out by the formulas of the models, one workload at a time.
"""

from __future__ import annotations

import math

from colocate.instance import GpuPool, Instance, Service, Task
from colocate.models.bounds import relative_error
from colocate.models.curves import rate_alone
from colocate.models.efficiency import efficiency_of_task
from colocate.models.interference import EVIDENCE_ORDER, Knobs, slowdown
from colocate.models.memory import memory_per_process
from colocate.models.slo import slo_model
from colocate.placement import (
    PlacedService,
    PlacedTask,
    PlacementGroup,
    ServicePrediction,
    TaskPrediction,
)
from colocate.schema import Evidence

__all__ = ["forecast"]


def forecast(instance: Instance, group: PlacementGroup) -> PlacementGroup | str:
    """Return the group with what the models expect of it, or why they expect nothing."""
    pool = instance.pool(group.pool)
    residents: list[PlacedService | PlacedTask] = [*group.services, *group.tasks]
    entries: list[Service | Task] = [
        *(instance.service(s.service) for s in group.services),
        *(instance.task(t.task) for t in group.tasks),
    ]
    sms = [_sms(pool, placed.share_pct) for placed in residents]
    knobs = [
        None if n is None else Knobs(p.batch, *(100 * share / pool.sm_count for share in n))
        for p, n in zip(residents, sms, strict=True)
    ]
    found: list[PlacedService | PlacedTask] = []
    for i, (entry, placed) in enumerate(zip(entries, residents, strict=True)):
        name = entry.id
        here, mine = knobs[i], sms[i]
        profile = instance.profile(entry.profile, pool.gpu_type)
        if profile is None:
            return f"{name} has no profile on {pool.gpu_type}"
        if here is None or mine is None or mine[0] < 1:
            return f"{name}: {placed.share_pct} % is not sure to give a multiprocessor"
        alone = rate_alone(profile, placed.batch, here.sure_pct)
        memory = memory_per_process(profile, placed.batch)
        if isinstance(entry, Task) and entry.memory_gib is not None:
            memory = entry.memory_gib
        if alone is None or memory is None:
            return f"{name} is not profiled at batch {placed.batch} on {pool.gpu_type}"
        beside = [k for j, k in enumerate(knobs) if j != i and k is not None]
        names = [e.profile for j, e in enumerate(entries) if j != i]
        slower = slowdown(
            instance.interference,
            pool.gpu_type,
            entry.profile,
            names,
            instance.confidence,
            at=here,
            beside=beside,
        )
        if slower is None or alone <= 0:
            return f"{name}: nobody knows how fast it runs there"
        sure = max(0.0, 1 - relative_error(profile.rate_error, instance.confidence))
        rates = alone / slower.mean, alone * sure / slower.high
        predicted: ServicePrediction | TaskPrediction | None
        evidence = max(profile.evidence, slower.evidence, key=EVIDENCE_ORDER.index)
        whole = memory * entry.processes
        if isinstance(entry, Service):
            predicted = _of_service(instance, entry, placed.batch, rates, whole, evidence)
            if predicted is None:
                return f"{name}: its rate has no bound at confidence {instance.confidence:g}"
        else:
            predicted = _of_task(instance, entry, placed.batch, rates, whole, evidence)
        found.append(placed.model_copy(update={"sms": mine[0], "predicted": predicted}))
    n = len(group.services)
    return group.model_copy(update={"services": tuple(found[:n]), "tasks": tuple(found[n:])})


def _sms(pool: GpuPool, share_pct: int) -> tuple[int, int] | None:
    """Return the multiprocessors that a percentage is sure to give, and the most it may take."""
    if pool.measured_sms is None:
        return share_pct * pool.sm_count // 100, -(-share_pct * pool.sm_count // 100)
    counted = {m.share_pct: m.sms for m in pool.measured_sms}
    return (counted[share_pct], counted[share_pct]) if share_pct in counted else None


def _of_service(
    instance: Instance,
    service: Service,
    batch: int,
    rates: tuple[float, float],
    memory_gib: float,
    evidence: Evidence,
) -> ServicePrediction | None:
    rate, rate_lo = rates
    if rate_lo <= 0:
        return None
    check = slo_model(instance.slo_model).judge(
        batch,
        batch / rate,
        batch / rate_lo,
        service.rate_rps,
        service.slo_ms,
        service.slo_percentile,
    )
    if math.isinf(check.latency_hi_ms):
        return None
    return ServicePrediction(
        rate_rps=rate,
        rate_lo_rps=rate_lo,
        latency_ms=check.latency_ms,
        latency_hi_ms=check.latency_hi_ms,
        memory_gib=memory_gib,
        evidence=evidence,
    )


def _of_task(
    instance: Instance,
    task: Task,
    batch: int,
    rates: tuple[float, float],
    memory_gib: float,
    evidence: Evidence,
) -> TaskPrediction:
    alone = [
        rate_alone(p, task.batch, 100.0) or 0.0
        for p in instance.profiles
        if p.workload == task.profile
    ]
    return TaskPrediction(
        rate=rates[0],
        rate_lo=rates[1],
        normalised_rate=rates[0] * efficiency_of_task(task, batch) / max(alone),
        memory_gib=memory_gib,
        evidence=evidence,
    )
