"""What every co-tenant does alone on one kind of GPU, and how pairs slow each other down.

A task stands here in its variants, one for each batch; a number of a task is that of a variant.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from colocate.classes import Classes, GpuClass
from colocate.configure.variants import variants_of
from colocate.instance import Instance, Service, Task
from colocate.models.bounds import relative_error
from colocate.models.curves import batches_of, rates_alone
from colocate.models.interference import PairTable, pair_table
from colocate.models.memory import memory_per_process
from colocate.models.slo import SloModel
from colocate.models.slowdown_table import read_many
from colocate.objectives.base import Objective, TaskFacts
from colocate.profile import Profile
from colocate.task_facts import facts_at

__all__ = ["ServiceSpeed", "Speeds", "TaskSpeed"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ServiceSpeed:
    """One service class alone on one kind of GPU, over batches and percentages."""

    batch: Ints
    rate: Floats
    """[batch, percentage]."""
    rate_lo: Floats
    memory_gib: Floats
    """All processes of a replica, by batch."""
    pair_index: int


@dataclass(frozen=True, slots=True)
class TaskSpeed:
    """One variant of a task class alone on one kind of GPU, over percentages."""

    rate: Floats
    """Progress."""
    rate_lo: Floats
    memory_gib: float
    best_within: Ints
    """[multiprocessors]: the percentage that is fastest among those that fit; -1 if none."""
    worth_trying: Bools
    """[percentage]: faster than every one that takes less."""
    pair_index: int


class Speeds:
    """The classes of an instance on one GPU class."""

    def __init__(
        self,
        instance: Instance,
        classes: Classes,
        gpu: GpuClass,
        slo: SloModel,
        value: Objective,
        facts: TaskFacts,
    ) -> None:
        self.gpu = gpu
        self.slo = slo
        self.value = value
        self.classes = classes
        by_share = [q for q in instance.rules.quotas if q.unit == "gpu_share"]
        self.share_floor = any(q.minimum is not None for q in by_share)
        self.counted_tenants = np.array(
            sorted(classes.tenants.index(q.tenant) for q in by_share), dtype=np.int64
        )
        service_rows: tuple[Service, ...] = classes.services.representative
        task_rows: tuple[Task, ...] = classes.tasks.representative
        workloads = sorted({s.profile for s in service_rows} | {t.profile for t in task_rows})
        index = {w: i for i, w in enumerate(workloads)}
        self.pairs: PairTable = pair_table(
            instance.interference, gpu.gpu_type, workloads, instance.confidence
        )
        self._alone: dict[tuple[str, int], Floats | None] = {}
        self.services = [self._service(instance, s, index[s.profile]) for s in service_rows]
        held = [np.zeros(0, dtype=np.int64) if s is None else s.batch for s in self.services]
        self.first_batch = np.cumsum([0, *(b.size for b in held)])
        """Where the batches of each service class begin in `service_batch`."""
        self.service_batch = np.concatenate([np.zeros(0, dtype=np.int64), *held])
        self.service_rate = np.concatenate(
            [np.zeros((0, gpu.grid.size)), *(s.rate for s in self.services if s is not None)]
        )
        """[batch of a service class, percentage]."""
        self.variants = variants_of(task_rows)
        self.tasks = [
            self._task(instance, task_rows[t], b, e, index[task_rows[t].profile])
            for t, b, e in zip(
                self.variants.task.tolist(),
                self.variants.batch.tolist(),
                self.variants.efficiency.tolist(),
                strict=True,
            )
        ]
        self.facts = facts_at(facts, self.variants.task)
        self.task_tenant = classes.tasks.tenant[self.variants.task]
        self.share_counts = np.isin(self.task_tenant, self.counted_tenants)
        self.is_gang = np.asarray(self.facts.gang_size) > 1
        size, budgets = gpu.grid.size, gpu.sm_count + 1
        none = TaskSpeed(
            np.zeros(size),
            np.zeros(size),
            np.inf,
            np.full(budgets, -1),
            np.zeros(size, dtype=bool),
            -1,
        )
        speeds = [t or none for t in self.tasks]
        # Stated in full, because there may be no task at all.
        shape = (len(speeds), size)
        self.task_rate = np.array([t.rate for t in speeds]).reshape(shape)
        self.task_memory = np.array([t.memory_gib for t in speeds])
        self.task_batch = self.variants.batch
        self.best_within = np.array([t.best_within for t in speeds], dtype=np.int64).reshape(
            len(speeds), budgets
        )
        self.worth_trying = np.array([t.worth_trying for t in speeds], dtype=bool).reshape(shape)

    # -- alone ---------------------------------------------------------------------------------

    def _service(self, instance: Instance, s: Service, pair_index: int) -> ServiceSpeed | None:
        profile = instance.profile(s.profile, self.gpu.gpu_type)
        if profile is None:
            return None
        shares = 100.0 * self.gpu.grid.lo / self.gpu.sm_count
        kept = max(0.0, 1.0 - relative_error(profile.rate_error, instance.confidence))
        batches, rate, memory = [], [], []
        for b in batches_of(profile):
            per_process = memory_per_process(profile, b)
            found = self._rates(profile, b, shares)
            if (
                (s.batches is None or b in s.batches)
                and per_process is not None
                and found is not None
            ):
                batches.append(b)
                rate.append(np.where(self.gpu.grid.share_pct >= s.min_share_pct, found, 0.0))
                memory.append(s.processes * per_process)
        if not batches:
            return None
        rates = np.stack(rate)
        return ServiceSpeed(np.array(batches), rates, rates * kept, np.array(memory), pair_index)

    def _rates(self, profile: Profile, batch: int, shares: Floats) -> Floats | None:
        """Return the rates alone; services and tasks that differ otherwise share them."""
        key = profile.workload, batch
        if key not in self._alone:
            self._alone[key] = rates_alone(profile, batch, shares)
        return self._alone[key]

    def _task(
        self, instance: Instance, t: Task, batch: int, efficiency: float, pair_index: int
    ) -> TaskSpeed | None:
        profile = instance.profile(t.profile, self.gpu.gpu_type)
        if profile is None:
            return None
        samples = self._rates(profile, batch, 100.0 * self.gpu.grid.lo / self.gpu.sm_count)
        per_process = t.memory_gib or memory_per_process(profile, batch)
        if samples is None or per_process is None:
            return None
        rate = samples * efficiency
        kept = max(0.0, 1.0 - relative_error(profile.rate_error, instance.confidence))
        faster = (
            rate > np.maximum.accumulate(np.concatenate(([0.0], rate[:-1])))
            if rate.size
            else rate > 0
        )
        # The grid ascends in hi, so what is fastest so far is the last improvement that fits.
        improvements = np.flatnonzero(faster)
        budget = np.arange(self.gpu.sm_count + 1)
        at = np.searchsorted(self.gpu.grid.hi[improvements], budget, side="right")
        best = np.concatenate(([-1], improvements))[at]
        return TaskSpeed(
            rate,
            rate * kept,
            t.processes * per_process,
            best,
            rate > 0 if self.share_floor else (rate > 0) & ~self._beaten(rate),
            pair_index,
        )

    def _beaten(self, rate: Floats) -> Bools:
        """Return which percentages another one beats that is no larger and takes no more."""
        share = self.gpu.grid.share_pct
        if (share[1:] >= share[:-1]).all():
            before = np.maximum.accumulate(np.concatenate(([-np.inf], rate)))[: rate.size]
            return np.asarray(before >= rate)
        as_good = (rate[None, :] >= rate[:, None]) & (share[None, :] <= share[:, None])
        # The grid ascends in hi. A larger percentage may have been measured to take less.
        return np.asarray(np.tril(as_good, -1).any(axis=1))

    # -- in company ----------------------------------------------------------------------------

    def pair_index(self, sets: Ints, n_services: int) -> Ints:
        """Return the place of each workload in the pair table, [set, workload]."""
        index = np.empty_like(sets)
        for column in range(sets.shape[1]):
            speeds = self.services if column < n_services else self.tasks
            table = np.array([-1 if s is None else s.pair_index for s in speeds], dtype=np.int64)
            index[:, column] = table[sets[:, column]]
        return index

    def coupled(self, sets: Ints, n_services: int) -> Bools:
        """Return in which sets some slowdown depends on the knobs."""
        found = np.zeros(len(sets), dtype=bool)
        if self.pairs.tables:
            index = self.pair_index(sets, n_services)
            depends = np.zeros(self.pairs.mean.shape, dtype=bool)
            depends[tuple(np.array(list(self.pairs.tables)).T)] = True
            for a, b in itertools.permutations(range(sets.shape[1]), 2):
                found |= depends[index[:, a], index[:, b]]
        return found

    def slowdowns(self, sets: Ints, n_services: int) -> tuple[Floats, Floats]:
        """Return mean slowdown and its bound, [set, workload]; nan where a pair is unknown.

        Where a slowdown depends on the knobs, its smallest value counts.
        """
        index = self.pair_index(sets, n_services)
        mean = np.ones(sets.shape)
        high = np.ones(sets.shape)
        for a, b in itertools.permutations(range(sets.shape[1]), 2):
            mean[:, a] *= self.pairs.mean[index[:, a], index[:, b]]
            high[:, a] *= self.pairs.high[index[:, a], index[:, b]]
        return mean, high

    def slowdowns_at(
        self, members: Ints, n_services: int, batch: Ints, grid: Ints
    ) -> tuple[Floats, Floats]:
        """Return mean slowdown and its bound for each workload of one set at its knobs.

        `grid` is [workload], or [workload, choice] to look at several choices of shares at once.
        """
        index = self.pair_index(members[None, :], n_services)[0].tolist()
        sure = 100.0 * self.gpu.grid.lo[grid] / self.gpu.sm_count
        most = 100.0 * self.gpu.grid.hi[grid] / self.gpu.sm_count
        mean = np.ones(grid.shape)
        high = np.ones(grid.shape)
        for a, b in itertools.permutations(range(members.size), 2):
            known = self.pairs.tables.get((index[a], index[b]))
            if known is None:
                mean[a] *= self.pairs.mean[index[a], index[b]]
                high[a] *= self.pairs.high[index[a], index[b]]
            else:
                found = read_many(known.table, batch[a], batch[b], sure[a], most[b])
                mean[a] *= found
                high[a] *= found * known.wider
        return mean, high
