"""The canonical order of an instance: the order in a file changes nothing, not even the hash."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from colocate.instance.fields import InstanceFields
    from colocate.instance.parts import (
        GpuPool,
        GpuRef,
        Rules,
        Service,
        ServiceTable,
        Task,
        TaskTable,
    )
    from colocate.placement import PlacementGroup

    Batched = TypeVar("Batched", Service, ServiceTable, Task, TaskTable)

__all__ = ["canonical_order"]


def canonical_order(instance: InstanceFields) -> dict[str, Any]:
    """Return the fields of a checked instance, each list in its canonical order."""
    table, task_table = instance.service_table, instance.task_table
    made: dict[str, Any] = {
        "gpu_pools": tuple(sorted(map(_pool, instance.gpu_pools), key=lambda p: p.id)),
        "services": tuple(sorted(map(_service, instance.services), key=lambda s: s.id)),
        "tasks": tuple(sorted(map(_batches, instance.tasks), key=lambda t: t.id)),
        "service_table": None if table is None else _batches(table),
        "task_table": None if task_table is None else _batches(task_table),
        "profiles": tuple(sorted(instance.profiles, key=lambda p: (p.workload, p.gpu_type))),
        "rules": _rules(instance.rules),
        "constraints": tuple(
            sorted(instance.constraints, key=lambda c: (c.name, repr(sorted(c.params.items()))))
        ),
    }
    if instance.current is not None:
        groups = map(_group, instance.current)
        made["current"] = tuple(sorted(groups, key=lambda g: (g.pool, _first(g.gpus))))
    return made


def _first(runs: str) -> int:
    return int(runs.partition(",")[0].partition("-")[0])


def _refs(refs: tuple[GpuRef, ...]) -> tuple[GpuRef, ...]:
    return tuple(sorted(refs, key=lambda r: (r.pool, _first(r.gpus), r.gpus)))


def _group(group: PlacementGroup) -> PlacementGroup:
    services = tuple(sorted(group.services, key=lambda s: (s.service, _first(s.replicas))))
    tasks = tuple(sorted(group.tasks, key=lambda t: (t.task, _first(t.workers))))
    if services == group.services and tasks == group.tasks:
        return group
    return group.model_copy(update={"services": services, "tasks": tasks})


def _pool(pool: GpuPool) -> GpuPool:
    if pool.measured_sms is None:
        return pool
    ordered = tuple(sorted(pool.measured_sms, key=lambda m: m.share_pct))
    return (
        pool if ordered == pool.measured_sms else pool.model_copy(update={"measured_sms": ordered})
    )


def _batches(row: Batched) -> Batched:
    if row.batches is None or (ordered := tuple(sorted(row.batches))) == row.batches:
        return row
    return row.model_copy(update={"batches": ordered})


def _service(service: Service) -> Service:
    service = _batches(service)
    if service.pinned is None or (ordered := _refs(service.pinned)) == service.pinned:
        return service
    return service.model_copy(update={"pinned": ordered})


def _rules(rules: Rules) -> Rules:
    apart = [
        rule.model_copy(
            update={"left": tuple(sorted(rule.left)), "right": tuple(sorted(rule.right))}
        )
        for rule in rules.anti_affinity
    ]
    return rules.model_copy(
        update={
            "quotas": tuple(sorted(rules.quotas, key=lambda q: (q.tenant, q.unit))),
            "anti_affinity": tuple(sorted(apart, key=lambda a: (a.left, a.right))),
            "locked": _refs(rules.locked),
        }
    )
