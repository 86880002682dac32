"""The best configuration of one GPU: the smallest instance that asks for it, solved.

The GPU becomes a pool of one, its services are pinned there at the load that is seen, its training
workers may stay or be left out. What the library finds is proven best for that question.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from colocate.errors import ColocateError, UnsupportedError
from colocate.executor.tuner.company import Load, OneGpu, Tenant, slower
from colocate.instance import GpuPool, GpuRef, Instance, Rules, Service, Task
from colocate.profile import Interference
from colocate.result import Limits
from colocate.schema import Component
from colocate.solve import solve

__all__ = ["Answer", "question", "relief", "retune"]

SOLVE_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Settings of one GPU for a load."""

    tenants: tuple[Tenant, ...]
    """Those that run, with their knobs; in the order in which they were given."""
    paused: tuple[Tenant, ...]
    """Training that has no place, with the knobs that it has now."""
    in_time: bool
    """Whether every SLO holds at the stated confidence; else this is the best that there is."""
    worth: float
    """Normalised throughput of the training."""


def question(
    instance: Instance, pool: str, tenants: Sequence[Tenant], loads: Mapping[str, Load]
) -> Instance:
    """Return the instance that asks for the best configuration of one GPU.

    Raises
    ------
    UnsupportedError
        When the GPU holds two replicas of one service: a question pins one to a GPU.
    """
    there = instance.pool(pool)
    services = Counter(t.entry for t in tenants if t.role == "service")
    tasks = Counter(t.entry for t in tenants if t.role == "task")
    twice = [name for name, n in services.items() if n > 1]
    if twice:
        raise UnsupportedError(
            f"the GPU holds {services[twice[0]]} replicas of {twice[0]!r}",
            advice="make each of them a service of its own.",
        )
    asked = tuple(_service(instance.service(name), loads[name]) for name in services)
    trained = tuple(_task(instance.task(name), n) for name, n in tasks.items())
    names = {s.profile for s in asked} | {t.profile for t in trained}
    factor = max((loads[name].slower for name in services), default=1.0)
    rules = Rules(
        services_per_gpu=max(1, services.total()),
        tasks_per_gpu=max(1, tasks.total()),
        tenants_per_gpu=instance.rules.tenants_per_gpu,
    )
    return Instance(
        name="one-gpu",
        slo_model=slower(instance.slo_model, factor),
        confidence=instance.confidence,
        objective=Component(name="throughput"),
        gpu_pools=(_one(there),),
        services=asked,
        tasks=trained,
        profiles=tuple(
            p for p in instance.profiles if p.workload in names and p.gpu_type == there.gpu_type
        ),
        interference=Interference(
            default_slowdown=instance.interference.default_slowdown,
            default_error=instance.interference.default_error,
            pairs=tuple(
                p
                for p in instance.interference.pairs
                if p.gpu_type == there.gpu_type and {p.victim, p.neighbour} <= names
            ),
        ),
        rules=rules,
    )


def _one(pool: GpuPool) -> GpuPool:
    return pool.model_copy(
        update={"id": "here", "count": 1, "uuids": None, "first": 0, "schedulable": True}
    )


def _service(service: Service, load: Load) -> Service:
    return service.model_copy(
        update={
            "replicas": 1,
            "rate_rps": load.rate_rps * load.slower,
            "slo_ms": service.slo_ms / load.slower,
            "pinned": (GpuRef(pool="here", gpus="0"),),
            "required": True,
            "missing_price": None,
        }
    )


def _task(task: Task, count: int) -> Task:
    return task.model_copy(update={"count": count, "gang_size": 1})


def retune(
    model: OneGpu, tenants: Sequence[Tenant], loads: Mapping[str, Load], *, time_s: float = SOLVE_S
) -> Answer:
    """Return the best configuration of one GPU.

    Where no configuration meets every SLO, training is paused and the services get what brings
    them closest.
    """
    asked = question(model.instance, model.pool.id, tenants, loads)
    found = solve(asked, limits=Limits(time_s=time_s), isolation="none")
    if found.plan is None:
        return _closest(model, tenants, loads)
    placed = [p for p in found.plan.iter_placements() if p.gpu == 0]
    services = {s.service: s for p in placed for _, s in p.services}
    tasks: dict[str, list[tuple[int, int]]] = {}
    for p in placed:
        for _, t in p.tasks:
            tasks.setdefault(t.task, []).append((t.batch, t.share_pct))
    run, paused = [], []
    for tenant in tenants:
        if tenant.role == "service":
            s = services[tenant.entry]
            run.append(_with(tenant, s.batch, s.share_pct))
        elif tasks.get(tenant.entry):
            run.append(_with(tenant, *tasks[tenant.entry].pop(0)))
        else:
            paused.append(tenant)
    worth = found.plan.totals.normalised_throughput
    return Answer(tenants=tuple(run), paused=tuple(paused), in_time=True, worth=worth)


def _with(tenant: Tenant, batch: int, share_pct: int) -> Tenant:
    return Tenant(entry=tenant.entry, role=tenant.role, batch=batch, share_pct=share_pct)


def _closest(model: OneGpu, tenants: Sequence[Tenant], loads: Mapping[str, Load]) -> Answer:
    """Give the services the whole GPU, in parts of their present shares, at their fastest."""
    services = [t for t in tenants if t.role == "service"]
    total = sum(t.share_pct for t in services) or 1
    wide = [_with(t, t.batch, max(t.share_pct, 100 * t.share_pct // total)) for t in services]
    best = relief(model, wide, loads)
    return Answer(
        tenants=best.tenants,
        paused=tuple(t for t in tenants if t.role == "task"),
        in_time=best.in_time,
        worth=0.0,
    )


def relief(model: OneGpu, tenants: Sequence[Tenant], loads: Mapping[str, Load]) -> Answer:
    """Return the batches to take at once, with the shares as they are.

    Only batches change: of those that meet the SLO the one with the lowest latency bound, where
    none does the fastest one, which wears a queue down soonest.
    """
    now = list(tenants)
    for i, tenant in enumerate(now):
        if tenant.role != "service" or tenant.entry not in loads:
            continue
        others = [*now[:i], *now[i + 1 :]]
        now[i] = _best_batch(model, tenant, others, loads[tenant.entry])
    return Answer(tenants=tuple(now), paused=(), in_time=model.all_in_time(now, loads), worth=0.0)


def _best_batch(model: OneGpu, tenant: Tenant, others: Sequence[Tenant], load: Load) -> Tenant:
    allowed: list[tuple[float, int]] = []
    fastest: list[tuple[float, int]] = []
    for batch in model.batches(tenant.entry):
        tried = _with(tenant, batch, tenant.share_pct)
        try:
            check, speed = model.check(tried, others, load), model.speed(tried, others)
        except ColocateError:
            continue
        if check is None or speed is None:
            continue
        fastest.append((-speed.rate_lo, batch))
        if check.allowed:
            allowed.append((check.latency_hi_ms, batch))
    if allowed:
        return _with(tenant, min(allowed)[1], tenant.share_pct)
    return _with(tenant, min(fastest)[1], tenant.share_pct) if fastest else tenant
