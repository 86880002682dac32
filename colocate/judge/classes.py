"""Prices of a certificate, and the services and tasks of an instance by what they are worth.

Entries that the model cannot tell apart and that have the same price are one class. Of classes that
differ in the price alone, only as many of the best are kept as one GPU can hold.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any, NamedTuple, TypeVar

import numpy as np

from colocate.entries import Entries, service_entries, task_entries
from colocate.instance import Instance, Service, Task
from colocate.judge.boxes import EVERYTHING, Box, LevelCharges
from colocate.judge.findings import Findings
from colocate.judge.worth import value_of_task
from colocate.models.efficiency import efficiency_at
from colocate.objectives._gangs import reference_rate
from colocate.objectives.base import Objective, TaskFacts, fair_gpus, reads_work
from colocate.plan import Certificate

__all__ = [
    "Levels",
    "Prices",
    "ServiceClass",
    "TaskClass",
    "best_of_each_kind",
    "service_classes",
    "task_classes",
]

Levels = tuple[tuple[float, float], ...]
"""(progress, price) of one gang task at one batch, by progress."""


@dataclass(frozen=True)
class Prices:
    """The prices of a certificate by name, clipped to their legal signs."""

    services: dict[str, float] = field(default_factory=dict)
    tasks: dict[str, float] = field(default_factory=dict)
    levels: dict[str, tuple[tuple[int, Levels], ...]] = field(default_factory=dict)
    """By task, then by batch."""
    quotas: dict[tuple[str, str], float] = field(default_factory=dict)
    """Price of the upper side less price of the lower side, by tenant and unit."""
    quota_worth: float = 0.0
    """Sum over quotas of price times limit, with the lower side's turned."""
    quota_reach: float = 0.0
    """The same with every term positive."""

    @property
    def largest(self) -> float:
        """The largest price, without its sign."""
        listed = [*self.services.values(), *self.tasks.values(), *self.quotas.values()]
        of_levels = [
            price
            for by_batch in self.levels.values()
            for _, found in by_batch
            for _, price in found
        ]
        return max(map(abs, [*listed, *of_levels]), default=0.0)

    @classmethod
    def of(cls, instance: Instance, certificate: Certificate, findings: Findings) -> Prices:
        """Read the prices; names that the instance does not have, or twice, are written down."""
        services, tasks = service_entries(instance), task_entries(instance)
        for what, ids in (
            ("service", [p.id for p in certificate.services]),
            ("task", [p.id for p in certificate.tasks]),
            ("level of task", [p.task for p in certificate.levels]),
        ):
            entries: Entries[Service] | Entries[Task] = services if what == "service" else tasks
            _unknown(what, [name for name in ids if entries.find(name) is None], findings)
        levels: dict[str, dict[int, list[tuple[float, float]]]] = {}
        for level in certificate.levels:
            of_task = levels.setdefault(level.task, {})
            of_task.setdefault(level.batch, []).append((level.rate, level.price))
        stated = {(q.tenant, q.unit): q for q in instance.rules.quotas}
        quota_names = [q.tenant for q in certificate.quotas if (q.tenant, q.unit) not in stated]
        _unknown("quota of tenant", quota_names, findings)
        _twice(
            [f"service {p.id}" for p in certificate.services]
            + [f"task {p.id}" for p in certificate.tasks]
            + [f"{q.unit} {q.side} of tenant {q.tenant}" for q in certificate.quotas],
            findings,
        )
        quotas: dict[tuple[str, str], float] = {}
        worth = reach = 0.0
        for q in certificate.quotas:
            quota = stated.get((q.tenant, q.unit))
            limit = None if quota is None else getattr(quota, q.side)
            if limit is None:
                continue
            signed = max(0.0, q.price) * (1 if q.side == "maximum" else -1)
            quotas[q.tenant, q.unit] = quotas.get((q.tenant, q.unit), 0.0) + signed
            worth += signed * limit
            reach += abs(signed * limit)
        return cls(
            services={p.id: p.price for p in certificate.services},
            tasks={p.id: max(0.0, p.price) for p in certificate.tasks},
            levels={
                name: tuple((batch, _rising(found)) for batch, found in sorted(by_batch.items()))
                for name, by_batch in levels.items()
            },
            quotas=quotas,
            quota_worth=worth,
            quota_reach=reach,
        )


def _unknown(what: str, names: list[str], findings: Findings) -> None:
    for name in dict.fromkeys(names):
        message = f"prices the {what} {name!r}, which the instance does not have"
        findings.add("certificate", "certificate", message)


def _rising(levels: list[tuple[float, float]]) -> Levels:
    """Return the levels by rate, each with the largest price up to it."""
    levels = sorted(levels)
    running = accumulate((price for _, price in levels), max)
    # Of equal rates the last one stands, which has the largest price.
    return tuple(dict(zip((rate for rate, _ in levels), running, strict=True)).items())


def _twice(names: list[str], findings: Findings) -> None:
    if len(set(names)) == len(names):
        return
    seen = set()
    for name in names:
        if name in seen:
            findings.add("certificate", "certificate", f"prices {name} twice")
        seen.add(name)


class _Rules(NamedTuple):
    """Which anti-affinity rules name an entry on which side."""

    left: frozenset[int]
    right: frozenset[int]


def _sides(instance: Instance) -> Callable[[str], _Rules]:
    found: dict[str, tuple[set[int], set[int]]] = {}
    for i, rule in enumerate(instance.rules.anti_affinity):
        for side, names in enumerate((rule.left, rule.right)):
            for name in names:
                found.setdefault(name, (set(), set()))[side].add(i)
    nobody = _Rules(frozenset(), frozenset())
    known = {name: _Rules(frozenset(a), frozenset(b)) for name, (a, b) in found.items()}
    return lambda name: known.get(name, nobody)


@dataclass(frozen=True)
class ServiceClass:
    """Services that cannot be told apart on a GPU."""

    workload: str
    rate_rps: float
    slo_ms: float
    slo_percentile: float
    batches: tuple[int, ...] | None
    min_share_pct: int
    processes: int
    user_id: int | None
    tenant: str | None
    """Owner, where the number of owners on a GPU is limited."""
    rules: _Rules
    pinned: bool
    required: bool
    worth: float
    """What a placed replica is worth, less its price."""
    marks: frozenset[int] = frozenset()
    """Lists of the box that name it."""
    copies: int = 0
    """How many replicas there are."""

    def without_price(self) -> ServiceClass:
        """Return what it shares with all that differ from it in the price alone."""
        return replace(self, worth=0.0, copies=0)

    def bare(self) -> ServiceClass:
        """Return what decides how it runs, whatever the prices."""
        return replace(self, worth=0.0, copies=0, marks=frozenset())


@dataclass(frozen=True)
class TaskClass:
    """Tasks that cannot be told apart on a GPU, at one of the batches that they may train at."""

    workload: str
    batch: int
    own_batch: int
    """The batch that progress is counted in."""
    efficiency: float
    """Progress for each sample."""
    kin: int
    """The same for all batches of the same tasks; -1 where there is no choice."""
    weight: float
    gang_size: int
    memory_gib: float | None
    processes: int
    user_id: int | None
    tenant: str | None
    rules: _Rules
    share_price: float
    """Price of a whole GPU's share under the tenant's quota."""
    task_price: float
    """Price of one placed task, its own and its tenant's quota; 0 for gangs."""
    gang_price: float
    """Price of one placed gang, omega, and its tenant's quota; 0 for single tasks."""
    levels: Levels
    """What a gang pays its workers, by rate; the running maximum of the listed prices."""
    reference_rate: float
    marks: frozenset[int] = frozenset()
    """Lists of the box that name it."""
    charges: LevelCharges = ()
    """What the box charges a task by its progress."""
    remaining_samples: float = math.inf
    attained_gpu_s: float = 0.0
    fair_gpus: float = 1.0
    copies: int = 0
    """How many of its workers one GPU could hold: tasks, each on GPUs of its own."""

    def without_price(self) -> TaskClass:
        """Return what it shares with all that differ from it in the price alone."""
        return replace(self, task_price=0.0, copies=0, kin=-1)

    @property
    def facts(self) -> TaskFacts:
        """What the objective may know."""
        return TaskFacts(
            self.weight,
            self.gang_size,
            self.own_batch,
            self.reference_rate,
            self.remaining_samples,
            self.attained_gpu_s,
            self.fair_gpus,
        )


Class = TypeVar("Class", ServiceClass, TaskClass)


def service_classes(
    instance: Instance, prices: Prices, box: Box = EVERYTHING
) -> tuple[dict[ServiceClass, int], dict[str, ServiceClass], float]:
    """Group the services.

    Returns
    -------
    classes
        Free services with the number of their replicas.
    pinned
        Class of each pinned service.
    constant
        The part of the bound that services add whatever the plan.
    """
    entries = service_entries(instance)
    sides = _sides(instance)
    owners_matter = instance.rules.tenants_per_gpu is not None
    columns = [entries.values(name) for name in _SERVICE_COLUMNS]
    counts: dict[tuple[Any, ...], int] = {}
    pinned: dict[str, ServiceClass] = {}
    for i, (replicas, tenant, pins, *row) in enumerate(zip(*columns, strict=True)):
        entry_id = entries.id(i)
        owner = tenant if owners_matter else None
        marks = box.marks(entry_id)
        price = prices.services.get(entry_id, 0.0)
        key = (*row, owner, sides(entry_id), price, pins is not None, marks)
        counts[key] = counts.get(key, 0) + replicas
        if pins is not None:
            pinned[entry_id] = replace(_service_class(key, box), copies=1)
    free: dict[ServiceClass, int] = {}
    constant = 0.0
    for key, replicas in counts.items():
        # worth is the missing price less sigma: what the constant takes back for every replica.
        constant -= replicas * _service_class(key, EVERYTHING).worth
        found = _service_class(key, box)
        if not found.pinned:
            free[found] = free.get(found, 0) + replicas
    return free, pinned, constant


_SERVICE_COLUMNS = (
    *("replicas", "tenant", "pinned", "required", "missing_price"),
    *("profile", "rate_rps", "slo_ms", "slo_percentile", "batches", "min_share_pct"),
    *("processes", "user_id"),
)
_TASK_COLUMNS = (
    *("count", "tenant"),
    *("profile", "batch", "batches", "noise_scale", "weight", "gang_size", "memory_gib"),
    *("processes", "user_id"),
)


def _service_class(key: tuple[Any, ...], box: Box) -> ServiceClass:
    required, missing, workload, rate, slo, percentile, batches, share, processes, user = key[:10]
    owner, rules, price, pinned, marks = key[10:]
    # The price of a service that may be missing has a sign.
    worth = -price if required else missing - max(0.0, price)
    return ServiceClass(
        workload=workload,
        rate_rps=rate,
        slo_ms=slo,
        slo_percentile=percentile,
        batches=batches,
        min_share_pct=share,
        processes=processes,
        user_id=user,
        tenant=owner,
        rules=rules,
        pinned=pinned,
        required=required,
        worth=worth - box.price("replicas", marks),
        marks=marks,
    )


def task_classes(
    instance: Instance, objective: Objective, prices: Prices, box: Box = EVERYTHING
) -> tuple[dict[TaskClass, int], float]:
    """Group the tasks; return the classes with the number of their tasks, and the constant part."""
    entries = task_entries(instance)
    sides = _sides(instance)
    owners_matter = instance.rules.tenants_per_gpu is not None
    sign = 1.0 if objective.sense == "max" else -1.0
    columns = [entries.values(name) for name in _TASK_COLUMNS]
    if reads_work(instance.objective):
        work = [entries.values(name) for name in ("remaining_samples", "attained_gpu_s")]
        columns.append(list(zip(*work, strict=True)))
    else:
        columns.append([(None, None)] * len(entries))
    even = fair_gpus(instance)
    counts: dict[tuple[Any, ...], int] = {}
    for i, (count, tenant, *row) in enumerate(zip(*columns, strict=True)):
        entry_id = entries.id(i)
        owner = tenant if owners_matter else None
        own = prices.tasks.get(entry_id, 0.0)
        key = (
            *(*row, owner, sides(entry_id), own, prices.levels.get(entry_id, ())),
            prices.quotas.get((tenant, "gpu_share"), 0.0),
            prices.quotas.get((tenant, "tasks"), 0.0),
            box.marks(entry_id),
        )
        counts[key] = counts.get(key, 0) + count
    references: dict[tuple[str, int], float] = {}
    classes: dict[TaskClass, int] = {}
    constant: float = 0.0
    for kin, (key, n) in enumerate(counts.items()):
        *row, owner, rules, own, levels, share_price, quota_price, marks = key
        quota_price += box.price("tasks", marks)
        workload, batch, batches, noise_scale, weight, gang_size, memory, processes, user = row[:-1]
        remaining, attained = row[-1]
        if (workload, batch) not in references:
            references[workload, batch] = reference_rate(instance, workload, batch)
        single = gang_size == 1
        found = TaskClass(
            workload=workload,
            batch=batch,
            own_batch=batch,
            efficiency=1.0,
            kin=-1 if batches is None else kin,
            weight=weight,
            gang_size=gang_size,
            memory_gib=memory,
            processes=processes,
            user_id=user,
            tenant=owner,
            rules=rules,
            share_price=share_price,
            task_price=quota_price + own if single else 0.0,
            gang_price=0.0,
            levels=(),
            reference_rate=references[workload, batch],
            marks=marks,
            remaining_samples=math.inf if remaining is None else remaining,
            attained_gpu_s=attained or 0.0,
            fair_gpus=even,
        )
        variants = [
            replace(
                found,
                batch=m,
                efficiency=_efficiency(m, batch, gang_size, noise_scale),
                levels=() if single else dict(levels).get(m, ()),
                charges=box.level_charges(marks, m),
            )
            for m in ((batch,) if batches is None else batches)
        ]
        omega = 0.0 if single else max(_price_of_gang(objective, v, quota_price) for v in variants)
        constant += n * omega
        for variant in variants:
            priced = replace(variant, gang_price=0.0 if single else omega + quota_price)
            classes[priced] = classes.get(priced, 0) + n
        constant += n * (own if single else 0.0)
        constant += float(sign * n * objective.unplaced_worth(found.facts))
    return classes, constant


def _efficiency(batch: int, own_batch: int, gang_size: int, noise_scale: float | None) -> float:
    if noise_scale is None:
        return 1.0
    return efficiency_at(gang_size * batch, gang_size * own_batch, noise_scale)


def _price_of_gang(objective: Objective, gang: TaskClass, quota_price: float) -> float:
    """Return omega: the most that a gang at a listed level is worth beyond what it pays."""
    levels = [(rate, price) for rate, price in gang.levels if rate > 0]
    if not levels:
        return 0.0
    rates, prices = np.array(levels).T
    value = value_of_task(objective, gang, rates)
    surplus = value - quota_price - gang.gang_size * prices
    return max(0.0, float(surplus.max()))


def best_of_each_kind(
    classes: dict[Class, int], worth: Callable[[Class], float], at_most: int
) -> list[Class]:
    """Return the classes with their copies, without those that better ones always displace."""
    alike: dict[Class, list[Class]] = {}
    for found, n in classes.items():
        counted = replace(found, copies=n)
        alike.setdefault(found.without_price(), []).append(counted)
    kept: list[Class] = []
    for rivals in alike.values():
        held = 0
        for found in sorted(rivals, key=worth, reverse=True):
            if held < at_most:
                kept.append(found)
            held += found.copies
    return kept
