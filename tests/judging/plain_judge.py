"""Whether placements are legal, read plainly from the formulation, one GPU at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from colocate.instance import GpuPool, Instance, Task
from colocate.runs import ids_of
from colocate.testing._company import Company
from colocate.testing._plain_model import Workload, at_least, at_most, choices_of, may_share


@dataclass(frozen=True)
class Held:
    """One workload on one GPU."""

    workload: Workload
    ordinal: int
    batch: int
    share_pct: int


Placements = dict[tuple[str, int], list[Held]]
"""What each GPU holds, by pool and ordinal."""


def is_legal(instance: Instance, placements: Placements) -> bool:
    """Return whether these placements are a valid plan for the instance."""
    return (
        all(_gpu_is_legal(instance, instance.pool(p), held) for (p, _), held in placements.items())
        and _services_are_complete(instance, placements)
        and _gangs_are_whole(instance, placements)
        and _quotas_hold(instance, placements)
    )


def _gpu_is_legal(instance: Instance, pool: GpuPool, held: Sequence[Held]) -> bool:
    company = [h.workload for h in held]
    if not pool.schedulable or not may_share(instance, pool, company):
        return False
    choices = []
    for h in held:
        fitting = [
            c
            for c in choices_of(instance, pool, h.workload)
            if c.batch == h.batch and c.knob.first <= h.share_pct <= c.knob.last
        ]
        if not fitting:
            return False
        choices.append(fitting[0])
    memory = sum(c.memory_gib for c in choices)
    taken = sum(c.knob.taken for c in choices)
    return (
        taken <= pool.sm_count
        and at_most(memory, pool.memory_gib - pool.reserve_gib)
        and Company(instance, pool, company).settings(choices) is not None
    )


def _services_are_complete(instance: Instance, placements: Placements) -> bool:
    at: dict[str, list[tuple[str, int]]] = {}
    for gpu, held in placements.items():
        for h in held:
            at.setdefault(h.workload.id, []).append(gpu)
    for s in instance.iter_services():
        found = at.get(s.id, [])
        if s.required and len(found) < s.replicas:
            return False
        if s.pinned is not None:
            pins = {(ref.pool, int(i)) for ref in s.pinned for i in ids_of(ref.gpus)}
            if not set(found) <= pins or len(set(found)) < len(found):
                return False
    return True


def workers_of(placements: Placements) -> dict[str, dict[int, tuple[str, int]]]:
    """Return where each worker of each task entry is."""
    found: dict[str, dict[int, tuple[str, int]]] = {}
    for gpu, held in placements.items():
        for h in held:
            if isinstance(h.workload.entry, Task):
                found.setdefault(h.workload.id, {})[h.ordinal] = gpu
    return found


def _gangs_are_whole(instance: Instance, placements: Placements) -> bool:
    for name, workers in workers_of(placements).items():
        k = instance.task(name).gang_size
        for gang in {w // k for w in workers}:
            gpus = {workers.get(w) for w in range(gang * k, gang * k + k)}
            if None in gpus or len(gpus) < k:
                return False
    return True


def _quotas_hold(instance: Instance, placements: Placements) -> bool:
    for quota in instance.rules.quotas:
        amount = 0.0
        for held in placements.values():
            for h in held:
                entry = h.workload.entry
                if isinstance(entry, Task) and entry.tenant == quota.tenant:
                    amount += 1 / entry.gang_size if quota.unit == "tasks" else h.share_pct / 100
        # Whole gangs make whole numbers; adding up their parts may not.
        amount = round(amount, 9)
        if quota.maximum is not None and not at_most(amount, quota.maximum):
            return False
        if quota.minimum is not None and not at_least(amount, quota.minimum):
            return False
    return True
