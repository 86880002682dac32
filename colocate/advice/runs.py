"""Runs that could be measured: who shares a GPU, at which batches and shares."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import permutations
from typing import NamedTuple

import numpy as np

from colocate.entries import Entries, service_entries, task_entries
from colocate.instance import Instance, Service, Task
from colocate.plan import Plan
from colocate.tables.table import ProfileTable

__all__ = [
    "Pair",
    "Run",
    "Tenant",
    "known_shares",
    "placed_runs",
    "possible_pairs",
    "queries",
    "was_measured",
]

Pair = tuple[str, str, str]
"""GPU type, victim, neighbour."""


class Tenant(NamedTuple):
    """One workload of a run, with its knobs."""

    workload: str
    role: str
    batch: int
    share_pct: int


class Run(NamedTuple):
    """One measurement: these workloads together on one GPU, each at its batch and share."""

    gpu_type: str
    tenants: tuple[Tenant, ...]

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Every victim with every neighbour."""
        return tuple(
            (self.gpu_type, a.workload, b.workload) for a, b in permutations(self.tenants, 2)
        )

    @property
    def what(self) -> tuple[str, ...]:
        """What the run tells about: who is in company; alone, the batch and share as well."""
        if len(self.tenants) > 1:
            return (self.gpu_type, *sorted(t.workload for t in self.tenants))
        one = self.tenants[0]
        return (self.gpu_type, one.workload, f"batch {one.batch}", f"{one.share_pct} %")

    def __str__(self) -> str:
        """Return it as one phrase."""
        each = (f"{t.workload} (batch {t.batch}, {t.share_pct} %)" for t in self.tenants)
        return f"{' beside '.join(each)} on {self.gpu_type}"


class _Names:
    """Workload and role of the entries that a plan names."""

    def __init__(self, instance: Instance) -> None:
        self.services = service_entries(instance)
        self.tasks = task_entries(instance)
        self.gpu_type = {pool.id: pool.gpu_type for pool in instance.gpu_pools}

    def workload(self, entries: Entries[Service] | Entries[Task], name: str) -> str:
        position = entries.find(name)
        assert position is not None
        return entries.get(position).profile


def placed_runs(instance: Instance, plan: Plan) -> list[tuple[Run, int]]:
    """Return what shares a GPU in a plan, with the number of GPUs, in the plan's order."""
    names = _Names(instance)
    found: dict[Run, int] = {}
    for group in plan.placements:
        tenants = [
            Tenant(names.workload(names.services, s.service), "inference", s.batch, s.share_pct)
            for s in group.services
        ] + [
            Tenant(names.workload(names.tasks, t.task), "training", t.batch, t.share_pct)
            for t in group.tasks
        ]
        run = Run(names.gpu_type[group.pool], tuple(sorted(tenants)))
        found[run] = found.get(run, 0) + group.count
    return list(found.items())


def possible_pairs(instance: Instance) -> list[Pair]:
    """Return the pairs of workloads that the rules let share a GPU of some type, sorted."""
    services = set(service_entries(instance).values("profile"))
    tasks = set(task_entries(instance).values("profile"))
    rules = instance.rules
    beside: set[tuple[str, str]] = set()
    if rules.services_per_gpu and rules.tasks_per_gpu:
        beside |= {(s, t) for s in services for t in tasks}
    if rules.services_per_gpu > 1:
        beside |= {(a, b) for a in services for b in services}
    if rules.tasks_per_gpu > 1:
        beside |= {(a, b) for a in tasks for b in tasks}
    types = {pool.gpu_type for pool in instance.gpu_pools}
    on = {g: {p.workload for p in instance.profiles if p.gpu_type == g} for g in types}
    return sorted(
        {
            (g, *pair)
            for g in types
            for a, b in beside
            if a in on[g] and b in on[g]
            for pair in ((a, b), (b, a))
        }
    )


def queries(runs: Iterable[Run]) -> ProfileTable:
    """Return the rows that the runs would fill: one for each tenant, without measured columns."""
    rows = [
        (run.gpu_type, tenant, run.tenants[:i] + run.tenants[i + 1 :])
        for run in runs
        for i, tenant in enumerate(run.tenants)
    ]
    return ProfileTable.of(
        workload=[t.workload for _, t, _ in rows],
        role=[t.role for _, t, _ in rows],
        gpu=[gpu for gpu, _, _ in rows],
        batch=[float(t.batch) for _, t, _ in rows],
        share_pct=[float(t.share_pct) for _, t, _ in rows],
        neighbour=["+".join(o.workload for o in others) for _, _, others in rows],
        neighbour_batch=["+".join(str(o.batch) for o in others) for _, _, others in rows],
        neighbour_share_pct=["+".join(str(o.share_pct) for o in others) for _, _, others in rows],
    )


def was_measured(table: ProfileTable, run: Run) -> bool:
    """Return whether a table holds this run: a row for each tenant. Unknown knobs fit any."""
    return all(
        any(_fits(table, row, run, i) for row in _rows(table, run.gpu_type, tenant))
        for i, tenant in enumerate(run.tenants)
    )


def known_shares(table: ProfileTable, gpu_type: str, workload: str, batch: int) -> list[float]:
    """Return the shares at which a workload was measured alone at a batch, ascending."""
    chosen = (table["gpu"] == gpu_type) & (table["workload"] == workload) & table.alone
    chosen &= np.isnan(table["batch"]) | (table["batch"] == batch)
    return sorted(set(table["share_pct"][chosen].tolist()))


def _rows(table: ProfileTable, gpu_type: str, tenant: Tenant) -> Iterator[int]:
    chosen = (table["gpu"] == gpu_type) & (table["workload"] == tenant.workload)
    chosen &= np.isnan(table["batch"]) | (table["batch"] == tenant.batch)
    yield from np.flatnonzero(chosen & (table["share_pct"] == tenant.share_pct)).tolist()


def _fits(table: ProfileTable, row: int, run: Run, victim: int) -> bool:
    beside = list(table.neighbours(row))
    for i, other in enumerate(run.tenants):
        if i == victim:
            continue
        for seen in beside:
            same_batch = math.isnan(seen.batch) or seen.batch == other.batch
            same_share = math.isnan(seen.share_pct) or seen.share_pct == other.share_pct
            if seen.workload == other.workload and same_batch and same_share:
                beside.remove(seen)
                break
        else:
            return False
    return not beside
