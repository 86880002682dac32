"""Plans written by hand: predictions, totals and worth worked out from the formulation.

Nothing here uses the models, the compiler, the solvers or the judge, so that a plan that the judge
accepts is one that two separate readings of the formulation agree on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from colocate.instance import Instance, Service, Task
from colocate.placement import (
    PlacedService,
    PlacedTask,
    PlacementGroup,
    ServicePrediction,
    TaskPrediction,
)
from colocate.plan import (
    Certificate,
    MissingReplicas,
    ObjectiveValue,
    Plan,
    Totals,
    UnplacedTasks,
)
from colocate.runs import count_ids, format_ids, ids_of
from colocate.schema import Evidence
from colocate.testing._company import Company
from colocate.testing._one_gpu import Worth
from colocate.testing._plain_model import (
    Choice,
    Knob,
    Workload,
    knobs_of,
    memory_of,
    progress,
    rate_alone,
    reference_rate,
)


@dataclass(frozen=True)
class On:
    """What a group of GPUs holds: (id, ordinals, batch, share) of each service and task."""

    pool: str
    gpus: str
    services: Sequence[tuple[str, str, int, int]] = ()
    tasks: Sequence[tuple[str, str, int, int]] = ()


@dataclass
class _Sum:
    """What adds up over the groups."""

    replicas: dict[str, list[int]] = field(default_factory=dict)
    workers: dict[str, dict[int, float]] = field(default_factory=dict)
    used: int = 0
    shared: int = 0


def hand_made(
    instance: Instance, groups: Sequence[On], certificate: Certificate | None = None
) -> Plan:
    """Return the plan that puts everything where the groups say; the rest is left out."""
    total = _Sum()
    placements = tuple(_group(instance, on, total) for on in groups)
    missing = []
    for s in instance.iter_services():
        left = sorted(set(range(s.replicas)) - set(total.replicas.get(s.id, ())))
        if left:
            text = format_ids(np.array(left))
            missing.append(MissingReplicas(service=s.id, replicas=text, reason="outbid"))
    unplaced, n_placed, progress = [], 0, 0.0
    for t in instance.iter_tasks():
        placed = _paces(t, total.workers.get(t.id, {}))
        n_placed += len(placed)
        progress += sum(placed.values()) * t.gang_size / (reference_rate(instance, t) or 1.0)
        left = sorted(set(range(t.count)) - set(placed))
        if left:
            unplaced.append(
                UnplacedTasks(task=t.id, ids=format_ids(np.array(left)), reason="outbid")
            )
    return Plan(
        instance_name=instance.name,
        instance_sha256=instance.sha256,
        solver="hand",
        objective=ObjectiveValue(
            name=instance.objective.name,
            sense="max" if instance.objective.name == "throughput" else "min",
            value=worth_of(instance, total.replicas, total.workers, total.used),
        ),
        placements=placements,
        missing=tuple(missing),
        unplaced=tuple(unplaced),
        totals=Totals(
            gpus_used=total.used,
            gpus_shared=total.shared,
            replicas_placed=sum(map(len, total.replicas.values())),
            replicas_missing=sum(count_ids(m.replicas) for m in missing),
            tasks_placed=n_placed,
            tasks_unplaced=sum(count_ids(u.ids) for u in unplaced),
            normalised_throughput=progress,
        ),
        certificate=certificate,
    )


def reworked(instance: Instance, plan: Plan) -> Plan:
    """Return a plan for this instance with the same placements and everything else worked out."""
    groups = [
        On(
            g.pool,
            g.gpus,
            [(s.service, s.replicas, s.batch, s.share_pct) for s in g.services],
            [(t.task, t.workers, t.batch, t.share_pct) for t in g.tasks],
        )
        for g in plan.placements
    ]
    return hand_made(instance, groups)


def worth_of(
    instance: Instance,
    replicas: dict[str, list[int]],
    workers: dict[str, dict[int, float]],
    used: int,
) -> float:
    """Return the objective from the replicas, the progress of all workers, and the GPUs in use."""
    lost = sum(
        (s.missing_price or 0.0) * (s.replicas - len(set(replicas.get(s.id, ()))))
        for s in instance.iter_services()
    )
    worth = Worth(instance)
    value = worth.of_used_gpu * used
    for t in instance.iter_tasks():
        paces = _paces(t, workers.get(t.id, {}))
        value += sum(worth.of_placed(t, pace or 1e-9) for pace in paces.values())
        value += worth.of_unplaced(t) * (t.count - len(paces))
    return value - lost if instance.objective.name == "throughput" else value + lost


def _paces(task: Task, rates: dict[int, float]) -> dict[int, float]:
    gangs: dict[int, list[float]] = {}
    for worker, rate in rates.items():
        gangs.setdefault(worker // task.gang_size, []).append(rate)
    return {gang: min(found) for gang, found in gangs.items()}


def _group(instance: Instance, on: On, total: _Sum) -> PlacementGroup:
    entries: list[Service | Task] = [instance.service(s[0]) for s in on.services]
    entries += [instance.task(t[0]) for t in on.tasks]
    company = _company(instance, on, entries)
    services, tasks = [], []
    for i, (service_id, ids, batch, share) in enumerate(on.services):
        service = instance.service(service_id)
        sms, seen = _seen(instance, on, entries, i, company)
        services.append(
            PlacedService(
                service=service_id,
                replicas=ids,
                batch=batch,
                share_pct=share,
                sms=sms or 1,
                predicted=_serves(instance, service, batch, seen),
            )
        )
        total.replicas.setdefault(service_id, []).extend(ids_of(ids).tolist())
    for i, (task_id, ids, batch, share) in enumerate(on.tasks, len(on.services)):
        task = instance.task(task_id)
        sms, seen = _seen(instance, on, entries, i, company)
        made = progress(task, batch, seen.rate)
        tasks.append(
            PlacedTask(
                task=task_id,
                workers=ids,
                batch=batch,
                share_pct=share,
                sms=sms or 1,
                predicted=TaskPrediction(
                    rate=seen.rate,
                    rate_lo=seen.rate_lo,
                    normalised_rate=made / (reference_rate(instance, task) or 1.0),
                    memory_gib=seen.memory_gib,
                    evidence=seen.evidence,
                ),
            )
        )
        rates = total.workers.setdefault(task_id, {})
        rates.update(dict.fromkeys(ids_of(ids).tolist(), made))
    total.used += count_ids(on.gpus)
    total.shared += count_ids(on.gpus) * (len(entries) > 1)
    return PlacementGroup(pool=on.pool, gpus=on.gpus, services=tuple(services), tasks=tuple(tasks))


@dataclass(frozen=True)
class _Seen:
    rate: float
    rate_lo: float
    memory_gib: float
    evidence: Evidence


Slower = list[tuple[float, float] | None]


def _company(instance: Instance, on: On, entries: list[Service | Task]) -> Slower:
    """Return the slowdown and its bound of each workload of a group, legal or not."""
    pool = instance.pool(on.pool)
    members = [Workload(e, "service" if isinstance(e, Service) else "task") for e in entries]
    choices = [
        Choice(batch, _knob(instance, on.pool, share), 0.0, 0.0, 0.0)
        for _, _, batch, share in (*on.services, *on.tasks)
    ]
    company = Company(instance, pool, members)
    return [company.slowdown(i, choices) for i in range(len(members))]


def _knob(instance: Instance, pool_id: str, share: int) -> Knob:
    known = knobs_of(instance.pool(pool_id))
    return next((k for k in known if k.first <= share <= k.last), Knob(share, share, 0, 0))


def _seen(
    instance: Instance, on: On, entries: list[Service | Task], i: int, company: Slower
) -> tuple[int, _Seen]:
    pool, entry, slower = instance.pool(on.pool), entries[i], company[i]
    _, _, batch, share = [*on.services, *on.tasks][i]
    neighbours = [e.profile for n, e in enumerate(entries) if n != i]
    sure = _knob(instance, on.pool, share).sure
    profile = instance.profile(entry.profile, pool.gpu_type)
    if profile is None or slower is None:
        return sure, _Seen(0.0, 0.0, 0.0, Evidence.MEASURED)
    alone = rate_alone(profile, batch, 100 * sure / pool.sm_count) or 0.0
    keep = max(0.0, 1 - _error(profile.rate_error, instance.confidence))
    evidence = [profile.evidence]
    for n in neighbours:
        evidence += [
            p.evidence
            for p in instance.interference.pairs
            if (p.gpu_type, p.victim, p.neighbour) == (pool.gpu_type, entry.profile, n)
        ] or [Evidence.CONSTANT]
    order = [Evidence.MEASURED, Evidence.REGRESSED, Evidence.CONSTANT]
    return sure, _Seen(
        alone / slower[0],
        alone * keep / slower[1],
        memory_of(entry, profile, batch) or 0.0,
        max(evidence, key=order.index),
    )


def _error(bounds: Sequence[object], confidence: float) -> float:
    if confidence == 0.5:
        return 0.0
    good = [b for b in bounds if b.confidence >= confidence - 1e-9]  # type: ignore[attr-defined]
    return min(b.relative for b in good) if good else math.inf  # type: ignore[attr-defined]


def _serves(instance: Instance, service: Service, batch: int, seen: _Seen) -> ServicePrediction:
    def latency(rate: float) -> float:
        if rate <= 0:
            return 1e15
        if instance.slo_model.name == "mudi":
            return 1000 * service.rate_rps / rate
        return 1000 * batch / service.rate_rps + 1000 * batch / rate

    return ServicePrediction(
        rate_rps=seen.rate,
        rate_lo_rps=seen.rate_lo,
        latency_ms=latency(seen.rate),
        latency_hi_ms=latency(seen.rate_lo),
        memory_gib=seen.memory_gib,
        evidence=seen.evidence,
    )
