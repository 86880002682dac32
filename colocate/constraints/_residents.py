"""What each group of a plan holds, looked up in the instance; for the judge's face."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from colocate.entries import Entries, service_entries, task_entries
from colocate.instance import GpuPool, Instance, Service, Task
from colocate.placement import PlacementGroup
from colocate.plan import Plan

__all__ = ["Holding", "Resident", "gpus_text", "holdings"]

SHOWN_RUNS = 40


class Resident(NamedTuple):
    """One workload on each GPU of a group."""

    entry: Service | Task
    name: str
    """`service bert` or `task resnet`."""
    batch: int
    share_pct: int


class Holding(NamedTuple):
    """The workloads on each GPU of a group."""

    pool: GpuPool
    where: str
    """Such as `a100/0-3`."""
    services: tuple[Resident, ...]
    tasks: tuple[Resident, ...]

    @property
    def residents(self) -> tuple[Resident, ...]:
        """Services and tasks together."""
        return self.services + self.tasks


def gpus_text(group: PlacementGroup) -> str:
    """Return `pool/runs`, cut short where there are many runs."""
    runs = group.gpus
    shown = runs if len(runs) <= SHOWN_RUNS else f"{runs[:SHOWN_RUNS].rpartition(',')[0]},..."
    return f"{group.pool}/{shown}"


class _Lookup:
    def __init__(self, instance: Instance) -> None:
        self.services: Entries[Service] = service_entries(instance)
        self.tasks: Entries[Task] = task_entries(instance)
        self.known: dict[str, Service | Task | None] = {}

    def entry(self, kind: Entries[Service] | Entries[Task], entry_id: str) -> Service | Task | None:
        key = f"{kind.word} {entry_id}"
        if key not in self.known:
            position = kind.find(entry_id)
            self.known[key] = None if position is None else kind.get(position)
        return self.known[key]


def holdings(instance: Instance, plan: Plan) -> Iterator[Holding]:
    """Yield what each group holds. Groups that name something unknown are left to the judge."""
    lookup = _Lookup(instance)
    pools = {pool.id: pool for pool in instance.gpu_pools}
    for group in plan.placements:
        pool = pools.get(group.pool)
        services = [(lookup.entry(lookup.services, s.service), s) for s in group.services]
        tasks = [(lookup.entry(lookup.tasks, t.task), t) for t in group.tasks]
        if pool is None or any(entry is None for entry, _ in [*services, *tasks]):
            continue
        yield Holding(
            pool,
            gpus_text(group),
            tuple(
                Resident(entry, f"service {entry.id}", s.batch, s.share_pct)
                for entry, s in services
                if entry is not None
            ),
            tuple(
                Resident(entry, f"task {entry.id}", t.batch, t.share_pct)
                for entry, t in tasks
                if entry is not None
            ),
        )
