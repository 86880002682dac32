"""What an instance states, part by part, and what it is like without each.

A part is a statement that can be relaxed until it says nothing: an SLO of 10^15 ms at almost no
load, a pool with more GPUs than there is work, a floor that is not there. Relaxing never forbids
what was allowed, so a set of parts that conflict still does when parts are added.

Two kinds are demands: without any of them the empty plan would do.

    demands   required services, floors of tenants, and the task that is to be placed as well
    supply    GPUs, memory, clients, whether a pool may be used
    needs     SLO and load, batches, least share, pins, gangs, how many tasks there are
    rules     limits on one GPU, users, anti-affinity, quotas, confidence, plug-ins
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from colocate.explain.changes import Change
from colocate.explain.draft import TABLE, Draft, names_row
from colocate.instance import Instance, Quota, Service, ServiceTable, Task, TaskTable

__all__ = ["Kind", "Part", "parts_of", "without"]

Kind = Literal[
    "required",
    "floor",
    "placed",
    "gpus",
    "memory",
    "clients",
    "unschedulable",
    "slo",
    "batches",
    "least_share",
    "pin",
    "gang",
    "task_count",
    "services_per_gpu",
    "tasks_per_gpu",
    "workloads_per_gpu",
    "tenants_per_gpu",
    "users",
    "anti_affinity",
    "quota",
    "confidence",
    "constraint",
    "blast_radius",
    "move_budget",
    "locked",
]

DEMANDS = ("required", "floor", "placed")

_ORDER: tuple[Kind, ...] = (
    "constraint",
    "locked",
    "move_budget",
    "blast_radius",
    "confidence",
    "users",
    "tenants_per_gpu",
    "workloads_per_gpu",
    "anti_affinity",
    "batches",
    "least_share",
    "clients",
    "gang",
    "quota",
    "task_count",
    "unschedulable",
    "pin",
    "tasks_per_gpu",
    "services_per_gpu",
    "memory",
    "slo",
    "gpus",
    "placed",
    "floor",
    "required",
)
"""From what an operator would rather not read about to what is asked for."""

MOST_TOGETHER = 16
MOST_CLIENTS = 1000
MOST_GPUS = 1_000_000
ANY_LATENCY_MS = 1e15
HARDLY_ANY_LOAD_RPS = 1e-6
ANY_MEMORY_GIB = 1e12
MEAN = 0.5


@dataclass(frozen=True, slots=True)
class Part:
    """One statement of an instance."""

    kind: Kind
    name: str = ""
    """The pool, service, task or tenant that it is about; `prefix*` for a table."""
    unit: str = ""
    """Of a quota or floor: `tasks` or `gpu_share`."""
    index: int = 0
    """Of an anti-affinity rule or a further constraint, in the order of the instance."""

    @property
    def is_demand(self) -> bool:
        """Whether it asks for something to be placed."""
        return self.kind in DEMANDS


def parts_of(instance: Instance, wanted: Sequence[str] = ()) -> list[Part]:
    """Return all parts that may matter to whether there is a plan, the least telling first.

    `wanted` names entries that are alike, of which a task is to be placed as well.
    """
    found = [*_supply(instance), *_of_services(instance), *_of_tasks(instance, wanted)]
    found += _rules(instance)
    if wanted:
        found.append(Part("placed", wanted[0]))
    return sorted(found, key=lambda p: (_ORDER.index(p.kind), p.name, p.unit, p.index))


def _supply(instance: Instance) -> Iterator[Part]:
    for pool in instance.gpu_pools:
        yield Part("gpus", pool.id)
        yield Part("memory", pool.id)
        if pool.max_clients < MOST_CLIENTS:
            yield Part("clients", pool.id)
        if not pool.schedulable:
            yield Part("unschedulable", pool.id)


def _of_services(instance: Instance) -> Iterator[Part]:
    rows: list[tuple[str, Service | ServiceTable]] = [(s.id, s) for s in instance.services]
    if instance.service_table is not None:
        rows.append((instance.service_table.id_prefix + TABLE, instance.service_table))
    for name, row in rows:
        if not row.required:
            continue
        yield Part("required", name)
        yield Part("slo", name)
        if row.batches is not None:
            yield Part("batches", name)
        if row.min_share_pct > 1:
            yield Part("least_share", name)
        if isinstance(row, Service) and row.pinned is not None:
            yield Part("pin", name)


def _of_tasks(instance: Instance, wanted: Sequence[str]) -> Iterator[Part]:
    floors = {q.tenant for q in instance.rules.quotas if q.minimum}
    yield from (Part("task_count", tenant) for tenant in sorted(floors))
    rows: list[tuple[str, Task | TaskTable]] = [(t.id, t) for t in instance.tasks]
    if instance.task_table is not None:
        rows.append((instance.task_table.id_prefix + TABLE, instance.task_table))
    for name, row in rows:
        owners = set(row.tenant) if isinstance(row.tenant, tuple) else {row.tenant}
        if isinstance(row, Task):
            is_wanted = name in wanted
        else:
            is_wanted = any(names_row(row, n) is not None for n in wanted)
        if row.gang_size > 1 and (owners & floors or is_wanted):
            yield Part("gang", name)


def _rules(instance: Instance) -> Iterator[Part]:
    rules = instance.rules
    for quota in rules.quotas:
        if quota.minimum:
            yield Part("floor", quota.tenant, quota.unit)
        if quota.maximum is not None:
            yield Part("quota", quota.tenant, quota.unit)
    yield Part("services_per_gpu")
    yield Part("tasks_per_gpu")
    if rules.workloads_per_gpu is not None:
        yield Part("workloads_per_gpu")
    if rules.tenants_per_gpu is not None:
        yield Part("tenants_per_gpu")
    users = {s.user_id for s in instance.services} | {t.user_id for t in instance.tasks}
    if instance.service_table is not None:
        users.add(instance.service_table.user_id)
    if instance.task_table is not None:
        users.add(instance.task_table.user_id)
    if len(users) > 1:
        yield Part("users")
    yield from (Part("anti_affinity", index=i) for i in range(len(rules.anti_affinity)))
    if instance.confidence > MEAN:
        yield Part("confidence")
    yield from (Part("constraint", c.name, index=i) for i, c in enumerate(instance.constraints))
    if rules.blast_radius is not None:
        yield Part("blast_radius")
    if rules.moves is not None and rules.moves.budget is not None:
        yield Part("move_budget")
    if rules.locked:
        yield Part("locked")


# -- what the instance is like without a part ------------------------------------------------------


def without(instance: Instance, parts: Iterable[Part], changes: Iterable[Change] = ()) -> Draft:
    """Return an instance with these changes made, then these parts taken out."""
    draft = Draft(instance)
    for change in changes:
        change.apply(draft)
    # What is not asked for any more needs no GPUs and no room.
    for part in sorted(parts, key=lambda p: not p.is_demand):
        _relax(draft, part)
    return draft


def _relax(draft: Draft, part: Part) -> None:
    name, rules = part.name, draft.source.rules
    match part.kind:
        case "required":
            draft.service(name, required=False, missing_price=0.0)
        case "slo":
            draft.service(name, slo_ms=ANY_LATENCY_MS, rate_rps=HARDLY_ANY_LOAD_RPS)
        case "batches":
            draft.service(name, batches=None)
        case "least_share":
            draft.service(name, min_share_pct=1)
        case "pin":
            draft.service(name, pinned=None)
        case "gang":
            _single(draft, name)
        case "task_count":
            _more_tasks(draft, name)
        case "gpus":
            more = draft.pools[name].size + gpus_enough(draft)
            draft.pool(name, count=min(more, MOST_GPUS), uuids=None)
        case "memory":
            draft.pool(name, memory_gib=ANY_MEMORY_GIB)
        case "clients":
            draft.pool(name, max_clients=MOST_CLIENTS)
        case "unschedulable":
            draft.pool(name, schedulable=True)
        case "services_per_gpu":
            most = min(MOST_TOGETHER, replicas_due(draft))
            _at_least(draft, part.kind, most)
        case "tasks_per_gpu":
            most = min(MOST_TOGETHER, workers_due(draft))
            _at_least(draft, part.kind, most)
        case "workloads_per_gpu" | "tenants_per_gpu" | "blast_radius":
            draft.limits[part.kind] = None
        case "users":
            for service in draft.services:
                draft.service(service, user_id=None)
            for task in draft.tasks:
                draft.task(task, user_id=None)
            if draft.service_table is not None:
                draft.service(draft.service_table.id_prefix + TABLE, user_id=None)
            if draft.task_table is not None:
                draft.task(draft.task_table.id_prefix + TABLE, user_id=None)
        case "anti_affinity":
            draft.apart.pop(part.index, None)
        case "floor":
            _unbound(draft, part, "minimum")
        case "quota":
            _unbound(draft, part, "maximum")
        case "confidence":
            draft.fields["confidence"] = MEAN
        case "constraint":
            draft.constraints.pop(part.index, None)
        case "move_budget":
            assert rules.moves is not None
            draft.limits["moves"] = rules.moves.model_copy(update={"budget": None})
        case "locked":
            draft.limits["locked"] = ()
        case "placed":
            pass  # a row of the problem, not a field of the instance


def _at_least(draft: Draft, name: str, most: int) -> None:
    now: int = draft.limits.get(name, getattr(draft.source.rules, name))
    draft.limits[name] = max(now, most)


def _single(draft: Draft, name: str) -> None:
    row = draft.tasks.get(name) or draft.task_table
    if row is None:
        return
    k = row.gang_size
    # Shares are counted by the worker, so as many workers have to remain.
    count = tuple(n * k for n in row.count) if isinstance(row.count, tuple) else row.count * k
    draft.task(name, gang_size=1, count=count)


def _unbound(draft: Draft, part: Part, side: str) -> None:
    key = (part.name, part.unit)
    quota = draft.quotas.get(key)
    if quota is None:
        return
    other = quota.maximum if side == "minimum" else quota.minimum
    if other is None:
        del draft.quotas[key]
    else:
        draft.quotas[key] = quota.model_copy(update={side: None})


def _more_tasks(draft: Draft, tenant: str) -> None:
    more = max(
        (math.ceil(q.minimum or 0.0) for q in draft.source.rules.quotas if q.tenant == tenant),
        default=0,
    )
    for task in draft.tasks.values():
        if task.tenant == tenant:
            draft.task(task.id, count=task.count + more)
    table = draft.task_table
    if table is not None and (table.tenant == tenant or tenant in table.tenant):
        count = table.count
        grown = tuple(n + more for n in count) if isinstance(count, tuple) else count + more
        draft.task(table.id_prefix + TABLE, count=grown)


# -- how much is ever of use -----------------------------------------------------------------------


def replicas_due(draft: Draft) -> int:
    """Return how many replicas every plan must hold."""
    due = sum(s.replicas for s in draft.services.values() if s.required)
    table = draft.service_table
    if table is not None and table.required:
        replicas = table.replicas
        due += sum(replicas) if isinstance(replicas, tuple) else replicas * table.rows
    return due


def workers_due(draft: Draft) -> int:
    """Return how many workers meet all floors of tenants, and one task more."""
    rows: list[Task | TaskTable] = list(draft.tasks.values())
    if draft.task_table is not None:
        rows.append(draft.task_table)
    largest = max((row.gang_size for row in rows), default=1)
    return sum(_tasks_due(q) for q in draft.quotas.values()) * largest + largest


def _tasks_due(quota: Quota) -> int:
    return math.ceil(quota.minimum or 0.0)


def gpus_enough(draft: Draft) -> int:
    """Return how many GPUs would do for all that is due, each alone."""
    return min(MOST_GPUS, max(1, replicas_due(draft) + workers_due(draft)))
