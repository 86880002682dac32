"""The best knobs of a service and a task on one GPU, by plain enumeration, and their assignment.

Reads the instance and the models' plain functions; nothing compiled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linear_sum_assignment

from colocate.components import at_most
from colocate.models.bounds import relative_error
from colocate.models.curves import batches_of, rate_alone
from colocate.models.interference import slowdown
from colocate.models.memory import memory_per_process
from colocate.models.slo import slo_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from colocate.instance import GpuPool, Instance, Service, Task


def is_assignment(instance: Instance) -> bool:
    """Return whether the optimum is an assignment of tasks to services on GPUs that are alike."""
    rules, pools = instance.rules, instance.gpu_pools
    services, tasks = list(instance.iter_services()), list(instance.iter_tasks())
    alike = {(p.gpu_type, p.memory_gib - p.reserve_gib, p.sm_count, p.max_clients) for p in pools}
    return (
        instance.objective.name == "throughput"
        and len(alike) == 1
        and all(p.schedulable and p.measured_sms is None for p in pools)
        and (rules.services_per_gpu, rules.tasks_per_gpu) == (1, 1)
        and (rules.workloads_per_gpu or 2) >= 2
        and (rules.tenants_per_gpu or 2) >= 2
        and not (rules.quotas or rules.anti_affinity or instance.constraints)
        and all(s.required and s.pinned is None and s.user_id is None for s in services)
        and all(t.gang_size == 1 and t.user_id is None for t in tasks)
        and sum(s.replicas for s in services) <= instance.gpu_count
    )


def assignment_optimum(instance: Instance) -> float | None:
    """Return the best total, or None when a service does not fit alone."""
    pool = instance.gpu_pools[0]
    hosts = [s for s in instance.iter_services() for _ in range(s.replicas)]
    free = instance.gpu_count - len(hosts)
    if any(alone(instance, pool, s) is None for s in instance.iter_services()):
        return None
    kinds = list(instance.iter_tasks())
    worth = {
        (s, t.id): (pair_rate(instance, pool, service, t) or 0.0) * t.weight
        for t in kinds
        for s, service in [(h.id, h) for h in instance.iter_services()] + [("", None)]
    }
    names = [h.id for h in hosts] + [""] * free
    columns = [t.id for t in kinds for _ in range(t.count)]
    values = np.array([[worth[h, c] for c in columns] for h in names])
    chosen = linear_sum_assignment(values, maximize=True)
    return float(values[chosen].sum())


def steps(pool: GpuPool) -> Iterator[tuple[int, int, int]]:
    """Yield each percentage with the multiprocessors it is sure to give and those it may take."""
    s = pool.sm_count
    for q in range(1, 101):
        if q * s // 100 >= 1:
            yield q, q * s // 100, -(-q * s // 100)


def alone(instance: Instance, pool: GpuPool, service: Service) -> int | None:
    """Return the smallest share at which a service meets its SLO alone; None when none does."""
    found = service_share(instance, pool, service, None)
    return min((q for q, _, _, _ in found), default=None)


def service_share(
    instance: Instance, pool: GpuPool, service: Service, task: Task | None
) -> list[tuple[int, int, int, float]]:
    """Return (share, multiprocessors taken, batch, memory) of the smallest share at each batch."""
    profile = instance.profile(service.profile, pool.gpu_type)
    if profile is None:
        return []
    company = [] if task is None else [task.profile]
    slow = slowdown(
        instance.interference, pool.gpu_type, service.profile, company, instance.confidence
    )
    if slow is None:
        return []
    model = slo_model(instance.slo_model)
    sure = max(0.0, 1 - relative_error(profile.rate_error, instance.confidence))
    found = []
    for batch in batches_of(profile):
        if service.batches is not None and batch not in service.batches:
            continue
        memory = (memory_per_process(profile, batch) or np.inf) * service.processes
        if not at_most(memory, pool.memory_gib - pool.reserve_gib):
            continue
        for q, lo, hi in steps(pool):
            rate = rate_alone(profile, batch, 100 * lo / pool.sm_count) or 0.0
            if q < service.min_share_pct or rate * sure <= 0:
                continue
            high = batch * slow.high / (rate * sure)
            asked = service.rate_rps, service.slo_ms, service.slo_percentile
            if model.judge(batch, batch * slow.mean / rate, high, *asked).allowed:
                found.append((q, hi, batch, memory))
                break
    return found


def pair_rate(
    instance: Instance, pool: GpuPool, service: Service | None, task: Task
) -> float | None:
    """Return the best normalised rate of a task beside a service, or alone; None if impossible."""
    profile = instance.profile(task.profile, pool.gpu_type)
    if profile is None:
        return None
    company = [] if service is None else [service.profile]
    slow = slowdown(
        instance.interference, pool.gpu_type, task.profile, company, instance.confidence
    )
    if slow is None:
        return None
    taken = [(0, 0, 0, 0.0)] if service is None else service_share(instance, pool, service, task)
    clients = task.processes + (0 if service is None else service.processes)
    memory = (task.memory_gib or memory_per_process(profile, task.batch) or np.inf) * task.processes
    reference = max(
        rate_alone(p, task.batch, 100.0) or 0.0
        for p in instance.profiles
        if p.workload == task.profile
    )
    rates = [
        (rate_alone(profile, task.batch, 100 * lo / pool.sm_count) or 0.0) / slow.mean / reference
        for _, hi_service, _, memory_service in taken
        if at_most(memory + memory_service, pool.memory_gib - pool.reserve_gib)
        for _, lo, hi in steps(pool)
        if hi + hi_service <= pool.sm_count
    ]
    best = max(rates, default=0.0)
    return best if best > 0 and clients <= pool.max_clients else None
