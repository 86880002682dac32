"""What each group of a plan holds, looked up in the instance; for the judge's face.

Groups are alike that differ in nothing but the GPUs, replicas and workers they name, and in which
of several equal entries these belong to. A plan with a hundred thousand distinct placements may
have a few hundred that are not alike. Rules that look at no names look at one of each kind, and at
the others only where that one breaks them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from typing import NamedTuple

from colocate.entries import Entries, service_entries, task_entries
from colocate.instance import GpuPool, Instance, Service, Task
from colocate.placement import PlacementGroup
from colocate.plan import Plan
from colocate.violation import Violation

__all__ = ["Holding", "Reading", "Resident", "each_group", "gpus_text", "holdings", "reading"]

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


class Reading:
    """A plan beside its instance. Groups that name something unknown are left to the judge."""

    def __init__(self, instance: Instance, plan: Plan) -> None:
        self.instance = instance
        self.plan = plan
        self.services: Entries[Service] = service_entries(instance)
        self.tasks: Entries[Task] = task_entries(instance)
        self.pools = {pool.id: pool for pool in instance.gpu_pools}
        self.groups: list[PlacementGroup] = []
        """Those that name known things only."""
        self.kind: list[int] = []
        """Per group: the same for groups that are alike."""
        self.first: list[int] = []
        """Per kind: the first group of it."""
        known: dict[Hashable, int] = {}
        for group in plan.placements:
            key = self._key(group)
            if key is None:
                continue
            kind = known.setdefault(key, len(known))
            if kind == len(self.first):
                self.first.append(len(self.groups))
            self.groups.append(group)
            self.kind.append(kind)

    @cached_property
    def one_of_each(self) -> list[Holding]:
        """What the first group of each kind holds."""
        return [self.holding(at) for at in self.first]

    def _key(self, group: PlacementGroup) -> Hashable | None:
        """Return what groups that are alike have in common; None where something is unknown."""
        if group.pool not in self.pools:
            return None
        found: list[Hashable] = [group.pool]
        for s in group.services:
            position = self.services.find(s.service)
            if position is None:
                return None
            entry = self.services.alike(position)
            found.append((entry, s.batch, s.share_pct, s.sms, s.predicted))
        found.append("tasks")
        for t in group.tasks:
            position = self.tasks.find(t.task)
            if position is None:
                return None
            entry = self.tasks.alike(position)
            found.append((entry, t.batch, t.share_pct, t.sms, t.predicted))
        return tuple(found)

    def entries(self, group: PlacementGroup) -> tuple[list[Service], list[Task]]:
        """Return the services and tasks that a group with known names holds."""
        held = [self.services.get(_known(self.services.find(s.service))) for s in group.services]
        trained = [self.tasks.get(_known(self.tasks.find(t.task))) for t in group.tasks]
        return held, trained

    def holding(self, at: int) -> Holding:
        """Return what a group holds."""
        group = self.groups[at]
        held, trained = self.entries(group)
        return Holding(
            self.pools[group.pool],
            gpus_text(group),
            tuple(
                Resident(entry, f"service {entry.id}", s.batch, s.share_pct)
                for entry, s in zip(held, group.services, strict=True)
            ),
            tuple(
                Resident(entry, f"task {entry.id}", t.batch, t.share_pct)
                for entry, t in zip(trained, group.tasks, strict=True)
            ),
        )


def _known(position: int | None) -> int:
    assert position is not None
    return position


_READ: ContextVar[Reading | None] = ContextVar("colocate_read_plan", default=None)


@contextmanager
def reading(found: Reading) -> Iterator[None]:
    """Give all rules that are asked meanwhile the plan as it was read."""
    token = _READ.set(found)
    try:
        yield
    finally:
        _READ.reset(token)


def _read(instance: Instance, plan: Plan) -> Reading:
    found = _READ.get()
    if found is None or found.instance is not instance or found.plan is not plan:
        found = Reading(instance, plan)
    return found


def holdings(
    instance: Instance, plan: Plan, naming: Collection[str] | None = None
) -> Iterator[Holding]:
    """Yield what each group holds, or only groups that name one of these services and tasks."""
    found = _read(instance, plan)
    for at, group in enumerate(found.groups):
        if (
            naming is None
            or any(s.service in naming for s in group.services)
            or any(t.task in naming for t in group.tasks)
        ):
            yield found.holding(at)


def each_group(
    instance: Instance, plan: Plan, rule: Callable[[Holding], Iterable[Violation]]
) -> Iterator[Violation]:
    """Yield what every group breaks of a rule that looks at no ids."""
    found = _read(instance, plan)
    broken = {kind for kind, held in enumerate(found.one_of_each) if any(rule(held))}
    if broken:
        for at, kind in enumerate(found.kind):
            if kind in broken:
                yield from rule(found.holding(at))
