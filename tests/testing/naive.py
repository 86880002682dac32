"""The best plan of a tiny instance by nothing but nested loops: every place, every percentage.

It counts nothing, drops nothing and merges nothing; the oracle does all three and must not differ.
The formulas of one GPU are the oracle's, which other tests hold against the judge and the compiler.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from colocate.instance import GpuPool, Instance, Service, Task
from colocate.runs import iter_ids
from colocate.testing._company import settings_together
from colocate.testing._plain_model import (
    Setting,
    Workload,
    at_least,
    at_most,
    is_coupled,
    may_share,
    progress,
    reference_rate,
    settings_of,
    workloads_of,
)

Place = tuple[str, int]


class One(NamedTuple):
    """One replica or worker."""

    workload: Workload
    ordinal: int

    @property
    def task(self) -> tuple[str, int] | None:
        """The task that a worker belongs to."""
        entry = self.workload.entry
        return None if isinstance(entry, Service) else (entry.id, self.ordinal // entry.gang_size)


class Held(NamedTuple):
    """What one GPU holds at given percentages."""

    paces: tuple[tuple[int, float], ...]
    """Batch and progress of each."""
    shares: tuple[int, ...]


def individuals(instance: Instance) -> list[One]:
    """Every replica and worker by itself."""
    found = []
    for w in workloads_of(instance):
        e = w.entry
        n = e.replicas if isinstance(e, Service) else e.count * e.gang_size
        found += [One(w, i) for i in range(n)]
    return found


def ways(instance: Instance, pool: GpuPool, company: list[Workload]) -> set[Held]:
    """Every outcome of one GPU, over all batches and, where shares count, all percentages."""
    counted = {q.tenant for q in instance.rules.quotas if q.unit == "gpu_share"}
    if not may_share(instance, pool, company):
        return set()
    found = set()
    for settings in _settings(instance, pool, company):
        last = [
            s.knob.last if w.entry.tenant in counted else s.knob.first
            for s, w in zip(settings, company, strict=True)
        ]
        memory = sum(s.memory_gib for s in settings)
        taken = sum(s.knob.taken for s in settings)
        if taken > pool.sm_count or not at_most(memory, pool.memory_gib - pool.reserve_gib):
            continue
        # How fast a service is, beyond its SLO, and its share enter nothing.
        tasks = [w.kind == "task" for w in company]
        paces = tuple(_pace(w.entry, s) for w, s in zip(company, settings, strict=True))
        for percents in itertools.product(
            *(range(s.knob.first, n + 1) for s, n in zip(settings, last, strict=True))
        ):
            found.add(
                Held(paces, tuple(q if t else 0 for q, t in zip(percents, tasks, strict=True)))
            )
    return found


def _pace(entry: Service | Task, setting: Setting) -> tuple[int, float]:
    if isinstance(entry, Service):
        return 0, 0.0
    # Of tasks without gangs the batch enters nothing but the progress.
    batch = setting.batch if entry.gang_size > 1 else 0
    return batch, progress(entry, setting.batch, setting.rate)


def _settings(
    instance: Instance, pool: GpuPool, company: list[Workload]
) -> Iterator[tuple[Setting, ...]]:
    """Yield every choice of knobs that is allowed but for memory and multiprocessors."""
    if is_coupled(instance, pool.gpu_type, company):
        together = settings_together(instance, pool, company)
        yield from (settings for settings in together if settings is not None)
        return
    alone = [
        list(settings_of(instance, pool, w, company[:i] + company[i + 1 :]))
        for i, w in enumerate(company)
    ]
    yield from itertools.product(*alone)


def best_by_loops(instance: Instance) -> float | None:
    """Return the objective of the best plan, None when there is none."""
    ones = individuals(instance)
    pools = {(p.id, p.first + i): p for p in instance.gpu_pools for i in range(p.size)}
    homes = {
        s.id: {(ref.pool, i) for ref in s.pinned for i in iter_ids(ref.gpus)}
        for s in instance.iter_services()
        if s.pinned is not None
    }
    usable = [place for place, pool in pools.items() if pool.schedulable]
    known: dict[tuple[Place, tuple[str, ...]], set[Held]] = {}
    best = None
    for places in itertools.product((None, *usable), repeat=len(ones)):
        if not _places_allowed(instance, ones, places, homes):
            continue
        groups = []
        for place in usable:
            here = [one for one, at in zip(ones, places, strict=True) if at == place]
            if here:
                company = [one.workload for one in here]
                key = (place, tuple(w.id for w in company))
                if key not in known:
                    known[key] = ways(instance, pools[place], company)
                groups.append((here, known[key]))
        for value in _values(instance, groups):
            if best is None or _sign(instance) * value > _sign(instance) * best:
                best = value
    return best


def combinations(instance: Instance) -> int:
    """Return about how many placements the loops would go through."""
    gpus = sum(p.size for p in instance.gpu_pools if p.schedulable)
    return int((gpus + 1) ** len(individuals(instance)))


def _sign(instance: Instance) -> int:
    return 1 if instance.objective.name == "throughput" else -1


def _places_allowed(
    instance: Instance,
    ones: list[One],
    places: tuple[Place | None, ...],
    homes: dict[str, set[Place]],
) -> bool:
    gangs: dict[tuple[str, int], list[Place]] = {}
    pinned: Counter[tuple[str, Place]] = Counter()
    for one, place in zip(ones, places, strict=True):
        entry = one.workload.entry
        if isinstance(entry, Service):
            if place is None and entry.required:
                return False
            if place is not None and entry.id in homes:
                pinned[entry.id, place] += 1
                if place not in homes[entry.id] or pinned[entry.id, place] > 1:
                    return False
        elif place is not None and one.task is not None:
            gangs.setdefault(one.task, []).append(place)
    tasks: Counter[str] = Counter()
    for (task_id, _), at in gangs.items():
        task = instance.task(task_id)
        if len(at) != task.gang_size or len(set(at)) != len(at):
            return False
        tasks[task.tenant] += 1
    return all(
        _within(tasks[q.tenant], q.minimum, q.maximum)
        for q in instance.rules.quotas
        if q.unit == "tasks"
    )


def _within(value: float, minimum: float | None, maximum: float | None) -> bool:
    return (minimum is None or at_least(value, minimum)) and (
        maximum is None or at_most(value, maximum)
    )


def _values(instance: Instance, groups: list[tuple[list[One], set[Held]]]) -> Iterator[float]:
    """Objective of every choice of knobs on all GPUs that keeps the quotas of shares."""
    by_share = [q for q in instance.rules.quotas if q.unit == "gpu_share"]
    if not by_share:
        groups = [
            (here, {Held(h.paces, (0,) * len(h.paces)) for h in held}) for here, held in groups
        ]
    placed = [one for here, _ in groups for one in here]
    for chosen in itertools.product(*(held for _, held in groups)):
        paces = [p for held in chosen for p in held.paces]
        percent: Counter[str] = Counter()
        slowest: dict[tuple[str, int], float] = {}
        batches: dict[tuple[str, int], set[int]] = {}
        shares = [q for held in chosen for q in held.shares]
        for one, (batch, rate), share in zip(placed, paces, shares, strict=True):
            if one.task is not None:
                percent[one.workload.entry.tenant] += share
                slowest[one.task] = min(rate, slowest.get(one.task, math.inf))
                batches.setdefault(one.task, set()).add(batch)
        if any(len(trained) > 1 for trained in batches.values()):
            continue
        if all(_within(percent[q.tenant] / 100, q.minimum, q.maximum) for q in by_share):
            used = len(chosen) if instance.objective.name == "active_gpus" else 0
            yield used + _objective(instance, placed, slowest)


def _objective(
    instance: Instance, placed: list[One], slowest: dict[tuple[str, int], float]
) -> float:
    total = 0.0
    for s in instance.iter_services():
        here = sum(one.workload.id == s.id for one in placed)
        total -= _sign(instance) * (s.missing_price or 0.0) * (s.replicas - here)
    for t in instance.iter_tasks():
        for i in range(t.count):
            total += _worth(instance, t, slowest.get((t.id, i)))
    return total


def _worth(instance: Instance, task: Task, rate: float | None) -> float:
    if instance.objective.name == "throughput":
        if rate is None:
            return 0.0
        return task.weight * task.gang_size * rate / reference_rate(instance, task)
    params = {k: v for k, v in instance.objective.params.items() if isinstance(v, float | int)}
    reference = reference_rate(instance, task)
    if instance.objective.name == "iteration_time":
        return task.weight * (params["unplaced_s"] if rate is None else task.batch / rate)
    if instance.objective.name == "degradation":
        return task.weight * (params["unplaced"] if rate is None else reference / rate)
    served = rate is not None and at_least(rate / reference, params["least_rate"])
    return 0.0 if served else task.weight * params["unserved_gpus"]
