"""Locked GPUs: taken out of the question, and put back into the answer.

A locked GPU keeps what `current` has on it. So it, its replicas and its tasks are no part of what
is to be decided; what is left is an instance like any other,

    pools less locked GPUs, services less replicas that stay, tasks less those that stay,
    quotas less what they take,

and the objective of the whole is that of the rest plus what the locked GPUs add (of a worst case,
the worse of the two). Both the front door and the judge go this way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from colocate.errors import InstanceError, UnsupportedError
from colocate.instance import AntiAffinity, GpuPool, GpuRef, Instance, Quota, Service
from colocate.objectives._worst import is_worst, worst_placed
from colocate.objectives.base import reads_work
from colocate.placement import PlacedService, PlacedTask, PlacementGroup
from colocate.runs import format_ids, ids_of
from colocate.schema import TOLERANCE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from colocate.objectives.base import Objective
    from colocate.plan import Plan

    Ints = NDArray[np.int64]

__all__ = ["Freed", "back", "bound_of_whole", "free", "locked_gpus", "on_gpus"]


@dataclass(frozen=True)
class Freed:
    """What is left of a question, and the way back."""

    instance: Instance
    """The question without its locked GPUs and what stays on them."""
    held: tuple[PlacementGroup, ...]
    """What the locked GPUs hold, without predictions."""
    impossible: str = ""
    """Why there can be no plan, whatever the rest holds; else empty."""
    pools: Mapping[str, str] = field(default_factory=dict)
    """Pool of the rest to pool of the whole, where the names differ."""
    replicas: Mapping[str, Ints] = field(default_factory=dict)
    """Ordinals of the replicas that are left, by service, where some are locked."""
    tasks: Mapping[str, Ints] = field(default_factory=dict)
    """Ordinals of the tasks that are left, by entry, where some are locked."""


def free(instance: Instance) -> Freed:
    """Take the locked GPUs out of an instance.

    Raises
    ------
    InstanceError
        When `current` contradicts the instance on a locked GPU.
    UnsupportedError
        When a locked GPU holds a part of a gang, or a row of a table, or when a rule or objective
        of the instance cannot be said of the rest alone.
    """
    import numpy as np

    _refuse(instance)
    locked = locked_gpus(instance)
    held = tuple(on_gpus(instance.current or (), locked))
    replicas, tasks = _individuals(instance, held)
    pools, pieces = _pools(instance, locked)
    reasons: list[str] = []
    services = [
        s
        for stated in instance.services
        if (s := _service(stated, replicas.get(stated.id), locked, pieces, reasons)) is not None
    ]
    left_of_task = {t.id: t.count - len(tasks.get(t.id, ())) for t in instance.tasks}
    rest = [
        t if left_of_task[t.id] == t.count else t.model_copy(update={"count": left_of_task[t.id]})
        for t in instance.tasks
        if left_of_task[t.id]
    ]
    known = {s.id for s in services} | {t.id for t in rest}
    tenants = {t.tenant for t in rest}
    if instance.task_table is not None:
        owners = instance.task_table.tenant
        tenants |= {owners} if isinstance(owners, str) else set(owners)
    rules = instance.rules.model_copy(
        update={
            "locked": (),
            "moves": None,
            "quotas": tuple(_quotas(instance, held, tenants, reasons)),
            "anti_affinity": tuple(_anti_affinity(instance, known)),
        }
    )
    question = instance.replace(
        gpu_pools=tuple(pools),
        services=tuple(services),
        tasks=tuple(rest),
        rules=rules,
        current=None,
    )
    return Freed(
        question,
        held,
        "; ".join(reasons),
        {name: pool for name, (pool, _) in pieces.items()},
        {
            s.id: np.setdiff1d(np.arange(s.replicas), replicas[s.id])
            for s in instance.services
            if s.id in replicas
        },
        {
            t.id: np.setdiff1d(np.arange(t.count), tasks[t.id])
            for t in instance.tasks
            if t.id in tasks
        },
    )


def _refuse(instance: Instance) -> None:
    for used, what in (
        (instance.rules.moves is not None, "move prices or budgets"),
        (instance.rules.blast_radius is not None, "a blast radius"),
        (bool(instance.constraints), "constraints from plug-ins"),
        (reads_work(instance.objective), f"the objective {instance.objective.name!r}"),
    ):
        if used:
            raise UnsupportedError(
                f"locked GPUs do not go together with {what} in this version",
                path="$.rules.locked",
                advice="leave one of them out.",
            )


def locked_gpus(instance: Instance) -> dict[str, Ints]:
    """Return the ordinals of the locked GPUs, by pool."""
    import numpy as np

    locked: dict[str, Ints] = {}
    for ref in instance.rules.locked:
        before = locked.get(ref.pool, np.zeros(0, dtype=np.int64))
        locked[ref.pool] = np.union1d(before, ids_of(ref.gpus))
    return locked


def on_gpus(groups: Iterable[PlacementGroup], gpus: Mapping[str, Ints]) -> list[PlacementGroup]:
    """Return what of some groups is on some GPUs."""
    import numpy as np

    found = []
    for group in groups:
        ids = ids_of(group.gpus)
        here = np.isin(ids, gpus.get(group.pool, np.zeros(0, dtype=np.int64)))
        if here.all():
            found.append(group)
        elif here.any():
            services = tuple(
                s.model_copy(update={"replicas": format_ids(ids_of(s.replicas)[here])})
                for s in group.services
            )
            tasks = tuple(
                t.model_copy(update={"workers": format_ids(ids_of(t.workers)[here])})
                for t in group.tasks
            )
            update = {"gpus": format_ids(ids[here]), "services": services, "tasks": tasks}
            found.append(group.model_copy(update=update))
    return found


def _individuals(
    instance: Instance, held: tuple[PlacementGroup, ...]
) -> tuple[dict[str, Ints], dict[str, Ints]]:
    """Return which replicas and which tasks stay, by entry; only whole gangs may."""
    import numpy as np

    services = {s.id: s for s in instance.services}
    tasks = {t.id: t for t in instance.tasks}
    replicas: dict[str, list[Ints]] = {}
    workers: dict[str, list[Ints]] = {}
    for group in held:
        where = f"{group.pool}/{group.gpus[:40]}"
        for s in group.services:
            _known(instance, s.service, s.service in services, where)
            replicas.setdefault(s.service, []).append(ids_of(s.replicas))
        for t in group.tasks:
            _known(instance, t.task, t.task in tasks, where)
            workers.setdefault(t.task, []).append(ids_of(t.workers))
    kept = {
        name: _distinct(name, np.concatenate(ids), services[name].replicas, "replica")
        for name, ids in replicas.items()
    }
    whole = {}
    for name, ids in workers.items():
        task = tasks[name]
        all_workers = _distinct(name, np.concatenate(ids), task.count * task.gang_size, "worker")
        gangs, size = np.unique(all_workers // task.gang_size, return_counts=True)
        if (size < task.gang_size).any():
            raise UnsupportedError(
                f"locked GPUs hold {int(size.min())} of the {task.gang_size} workers of task "
                f"{name!r}",
                path="$.rules.locked",
                advice="lock all GPUs of a gang, or none.",
            )
        whole[name] = gangs
    return kept, whole


def _known(instance: Instance, name: str, is_listed: bool, where: str) -> None:
    if is_listed:
        return
    for table in (instance.service_table, instance.task_table):
        if table is not None and name.startswith(table.id_prefix):
            raise UnsupportedError(
                f"locked GPUs {where} hold {name!r}, a row of a table",
                path="$.rules.locked",
                advice="list what is to stay as a service or task of its own.",
            )
    raise InstanceError(
        f"locked GPUs {where} hold {name!r}, which is not in the instance",
        path="$.current",
        advice="add it to the instance, or unlock these GPUs.",
    )


def _distinct(name: str, ids: Ints, most: int, word: str) -> Ints:
    import numpy as np

    found = np.unique(ids)
    if found.size < ids.size or found[-1] >= most:
        what = "twice" if found.size < ids.size else f"that does not exist: there are {most}"
        raise InstanceError(
            f"locked GPUs hold a {word} of {name!r} {what}",
            path="$.current",
            advice="correct the ordinals in `current`.",
        )
    return found


def _ordinals(pool: GpuPool) -> Ints:
    import numpy as np

    return np.arange(pool.first, pool.first + pool.size, dtype=np.int64)


def _pools(
    instance: Instance, locked: Mapping[str, Ints]
) -> tuple[list[GpuPool], dict[str, tuple[str, Ints]]]:
    """Cut the locked GPUs out of their pools; ordinals stay as they are.

    Returns the pools, and of each that is a piece of another one the name and the ordinals there.
    """
    import numpy as np

    taken = {pool.id for pool in instance.gpu_pools}
    pools: list[GpuPool] = []
    pieces: dict[str, tuple[str, Ints]] = {}
    for pool in instance.gpu_pools:
        if pool.id not in locked:
            pools.append(pool)
            continue
        left = np.setdiff1d(_ordinals(pool), locked[pool.id])
        for piece in np.split(left, np.flatnonzero(np.diff(left) > 1) + 1) if left.size else []:
            name = next(
                n for i in range(len(taken) + 1) if (n := f"{pool.id[:40]}.rest{i}") not in taken
            )
            taken.add(name)
            pieces[name] = pool.id, piece
            first, size = int(piece[0]), int(piece.size)
            change: dict[str, Any] = {"id": name, "first": first}
            if pool.uuids is None:
                change["count"] = size
            else:
                change["uuids"] = pool.uuids[first - pool.first : first - pool.first + size]
            pools.append(pool.model_copy(update=change))
    return pools, pieces


def _service(
    service: Service,
    kept: Ints | None,
    locked: Mapping[str, Ints],
    pieces: Mapping[str, tuple[str, Ints]],
    reasons: list[str],
) -> Service | None:
    """Return what is left of a service; None when nothing is."""
    import numpy as np

    left = service.replicas - (0 if kept is None else int(kept.size))
    if service.pinned is None:
        if left == service.replicas:
            return service
        return service.model_copy(update={"replicas": left}) if left else None
    pinned: list[GpuRef] = []
    for ref in service.pinned:
        if ref.pool not in locked:
            pinned.append(ref)
            continue
        for name, (pool, piece) in pieces.items():
            here = np.intersect1d(ids_of(ref.gpus), piece)
            if pool == ref.pool and here.size:
                pinned.append(GpuRef(pool=name, gpus=format_ids(here)))
    n = sum(len(ids_of(ref.gpus)) for ref in pinned)
    if n < left and service.required:
        reasons.append(f"service {service.id!r} is pinned to a locked GPU that does not hold it")
    if not n:
        return None
    return service.model_copy(update={"replicas": n, "pinned": tuple(pinned)})


def _quotas(
    instance: Instance, held: tuple[PlacementGroup, ...], tenants: set[str], reasons: list[str]
) -> Iterator[Quota]:
    """Yield the quotas less what the locked GPUs hold of each tenant."""
    tasks = {t.id: t for t in instance.tasks}
    for quota in instance.rules.quotas:
        used = 0.0
        for group in held:
            for placed in group.tasks:
                task = tasks[placed.task]
                if task.tenant == quota.tenant:
                    used += (
                        group.count / task.gang_size
                        if quota.unit == "tasks"
                        else group.count * placed.share_pct / 100
                    )
        sides = {
            "maximum": None if quota.maximum is None else quota.maximum - used,
            "minimum": None if quota.minimum is None else max(0.0, quota.minimum - used) or None,
        }
        most = sides["maximum"]
        if most is not None and most < 0:
            if most < -TOLERANCE * max(1.0, abs(quota.maximum or 0.0)):
                reasons.append(f"what is locked exceeds the quota of tenant {quota.tenant!r}")
            sides["maximum"] = 0.0
        if quota.tenant not in tenants:
            if sides["minimum"] is not None and sides["minimum"] > TOLERANCE:
                reasons.append(f"tenant {quota.tenant!r} has nothing left to meet its floor with")
            continue
        if sides["maximum"] is not None or sides["minimum"] is not None:
            yield quota.model_copy(update=sides)


def _anti_affinity(instance: Instance, known: set[str]) -> Iterator[AntiAffinity]:
    prefixes = tuple(
        t.id_prefix for t in (instance.service_table, instance.task_table) if t is not None
    )
    for rule in instance.rules.anti_affinity:
        left, right = (
            tuple(n for n in side if n in known or (prefixes and n.startswith(prefixes)))
            for side in (rule.left, rule.right)
        )
        if left and right:
            yield rule.model_copy(update={"left": left, "right": right})


def back(freed: Freed, groups: Iterable[PlacementGroup]) -> list[PlacementGroup]:
    """Return groups of the rest in the names and ordinals of the whole."""
    sizes = {t.id: t.gang_size for t in freed.instance.tasks}

    def replicas(s: PlacedService) -> PlacedService:
        if s.service not in freed.replicas:
            return s
        ids = freed.replicas[s.service][ids_of(s.replicas)]
        return s.model_copy(update={"replicas": format_ids(ids)})

    def workers(t: PlacedTask) -> PlacedTask:
        if t.task not in freed.tasks:
            return t
        ids, k = ids_of(t.workers), sizes[t.task]
        mine = freed.tasks[t.task][ids // k] * k + ids % k
        return t.model_copy(update={"workers": format_ids(mine)})

    return [
        group.model_copy(
            update={
                "pool": freed.pools.get(group.pool, group.pool),
                "services": tuple(map(replicas, group.services)),
                "tasks": tuple(map(workers, group.tasks)),
            }
        )
        for group in groups
    ]


def bound_of_whole(
    instance: Instance, freed: Freed, objective: Objective, held: Plan, bound: float
) -> float:
    """Return the bound on the whole that a bound on the rest gives.

    `held` is a plan of the whole that places nothing but what is locked.
    """
    if is_worst(objective):
        return max(bound, worst_placed(objective, instance, held))
    nothing = held.model_copy(update={"placements": ()})
    alone, without = objective.score(instance, held), objective.score(freed.instance, nothing)
    return bound + alone - without
