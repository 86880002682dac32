"""The knobs worth considering for each set of co-tenants on one kind of GPU.

For a set of services s and tasks t on a GPU with S multiprocessors:

    choose batches b_s and percentages q_s, q_t so that
      every service meets its SLO at (b_s, q_s) in this company, at the stated confidence
      sum of memory <= memory of the GPU                             (memory)
      sum of hi(q)  <= S                                             (share)
    and keep every choice that no other one beats in value and in all row coefficients.

Slowdowns depend on who the neighbours are and not on their knobs, so the co-tenants only meet in
memory and share. Then it is enough to give each service the least share that holds its SLO, for
the combination of batches that takes least, and to divide the rest among the tasks. Nothing here
assumes that rates rise with the share: `best_within` looks for the best share that fits.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from colocate.classes import Classes, GpuClass
from colocate.errors import TooLargeError
from colocate.instance import Instance, Service, Task
from colocate.models.bounds import relative_error
from colocate.models.curves import batches_of, rates_alone
from colocate.models.interference import PairTable, pair_table
from colocate.models.memory import memory_per_process
from colocate.models.slo import SloModel
from colocate.objectives.base import Objective, TaskFacts
from colocate.schema import TOLERANCE
from colocate.task_facts import facts_at

__all__ = ["Configurator", "Settings"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

BLOCK = 1_500_000
"""Numbers in one intermediate array; keeps the working set in cache and memory small."""
MAX_WORK = 2_000_000_000
"""Settings that are looked at on one GPU class before giving up."""


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
    """One task class alone on one kind of GPU, over percentages."""

    rate: Floats
    rate_lo: Floats
    memory_gib: float
    best_within: Ints
    """[multiprocessors]: the percentage that is fastest among those that fit; -1 if none."""
    worth_trying: Bools
    """[percentage]: faster than every one that takes less."""
    pair_index: int


@dataclass(frozen=True, slots=True)
class Settings:
    """Chosen knobs: row i configures the set `set_index[i]`."""

    set_index: Ints
    batch: Ints
    """[setting, workload], services first."""
    grid: Ints
    """[setting, workload]: index into the GPU class's share grid."""
    rate: Floats
    """[setting, workload] in company."""

    @property
    def size(self) -> int:
        """Number of settings."""
        return int(self.set_index.size)


class Configurator:
    """Finds the settings of sets of co-tenants on one GPU class."""

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
        self.share_counts = np.isin(
            classes.tasks.tenant, [classes.tenants.index(q.tenant) for q in by_share]
        )
        self.is_gang = np.array([t.gang_size > 1 for t in classes.tasks.representative], dtype=bool)
        service_rows: tuple[Service, ...] = classes.services.representative
        task_rows: tuple[Task, ...] = classes.tasks.representative
        workloads = sorted({s.profile for s in service_rows} | {t.profile for t in task_rows})
        index = {w: i for i, w in enumerate(workloads)}
        self.pairs: PairTable = pair_table(
            instance.interference, gpu.gpu_type, workloads, instance.confidence
        )
        self.services = [self._service(instance, s, index[s.profile]) for s in service_rows]
        self.tasks = [self._task(instance, t, index[t.profile]) for t in task_rows]
        self.facts = facts
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
        self.task_batch = np.array([t.batch for t in task_rows], dtype=np.int64)
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
            found = rates_alone(profile, b, shares)
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

    def _task(self, instance: Instance, t: Task, pair_index: int) -> TaskSpeed | None:
        profile = instance.profile(t.profile, self.gpu.gpu_type)
        if profile is None:
            return None
        rate = rates_alone(profile, t.batch, 100.0 * self.gpu.grid.lo / self.gpu.sm_count)
        per_process = t.memory_gib or memory_per_process(profile, t.batch)
        if rate is None or per_process is None:
            return None
        kept = max(0.0, 1.0 - relative_error(profile.rate_error, instance.confidence))
        faster = (
            rate > np.maximum.accumulate(np.concatenate(([0.0], rate[:-1])))
            if rate.size
            else rate > 0
        )
        best = np.full(self.gpu.sm_count + 1, -1, dtype=np.int64)
        for i in np.flatnonzero(faster):
            # The grid ascends in hi, so a later improvement overwrites the larger budgets.
            best[self.gpu.grid.hi[i] :] = i
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
        as_good = (rate[None, :] >= rate[:, None]) & (share[None, :] <= share[:, None])
        # The grid ascends in hi. A larger percentage may have been measured to take less.
        return np.asarray(np.tril(as_good, -1).any(axis=1))

    # -- in company ----------------------------------------------------------------------------

    def slowdowns(self, sets: Ints, n_services: int) -> tuple[Floats, Floats]:
        """Return mean slowdown and its bound, [set, workload]; nan where a pair is unknown."""
        index = np.empty_like(sets)
        for column in range(sets.shape[1]):
            speeds = self.services if column < n_services else self.tasks
            table = np.array([-1 if s is None else s.pair_index for s in speeds], dtype=np.int64)
            index[:, column] = table[sets[:, column]]
        mean = np.ones(sets.shape)
        high = np.ones(sets.shape)
        for a, b in itertools.permutations(range(sets.shape[1]), 2):
            mean[:, a] *= self.pairs.mean[index[:, a], index[:, b]]
            high[:, a] *= self.pairs.high[index[:, a], index[:, b]]
        return mean, high

    def least_share(self, service: int, slowdown_hi: Floats) -> Ints:
        """Return, [set, batch], the least percentage that meets the SLO; -1 if none."""
        speed = self.services[service]
        row: Service = self.classes.services.representative[service]
        assert speed is not None
        batch = speed.batch.astype(np.float64)[None, :, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            tau_hi = batch * slowdown_hi[:, None, None] / speed.rate_lo[None, :, :]
        allowed = self.slo.allowed(batch, tau_hi, np.asarray(row.rate_rps), np.asarray(row.slo_ms))
        allowed &= np.isfinite(tau_hi)
        least = allowed.argmax(axis=2)
        return np.where(allowed.any(axis=2), least, -1)

    def settings(self, sets: Ints, n_services: int) -> Settings:
        """Return the settings worth considering for sets of one shape, services first.

        Sets that cannot be configured have no setting.
        """
        # A task whose share is counted by a quota has more than one undominated share.
        counted = np.asarray(self.share_counts[sets[:, n_services:]].any(axis=1))
        blocks = []
        for by_share in (False, True):
            rows = np.flatnonzero(counted == by_share)
            free = self._free(sets.shape[1] - n_services, by_share=by_share)
            step = max(1, BLOCK // self._work(len(rows), sets.shape[1], n_services, free))
            for i in range(0, len(rows), step):
                part = rows[i : i + step]
                found = self._block(sets[part], n_services, free)
                blocks.append(replace(found, set_index=part[found.set_index]))
        if not blocks:
            none = np.zeros((0, sets.shape[1]), dtype=np.int64)
            return Settings(none[:, 0], none, none, none.astype(float))
        return Settings(
            *(np.concatenate([getattr(b, f.name) for b in blocks]) for f in fields(Settings))
        )

    def _free(self, n_tasks: int, *, by_share: bool) -> int:
        """Return how many tasks go through the grid; the last takes the best of the rest."""
        return n_tasks if by_share else max(0, n_tasks - 1)

    def _work(self, n: int, width: int, n_services: int, free: int) -> int:
        """Return the numbers held for one set, or refuse a task too large to finish."""
        batches = max([s.batch.size for s in self.services if s is not None], default=1)
        per_set = max(
            batches * self.gpu.grid.size, batches**n_services, self.gpu.grid.size**free, 1
        )
        if n * per_set > MAX_WORK:
            raise TooLargeError(
                f"{n} sets of {width} co-tenants on {self.gpu.gpu_type!r}, "
                f"with {per_set} settings each",
                path="$.rules",
                advice="lower tasks_per_gpu or services_per_gpu, or split the instance.",
            )
        return int(per_set)

    def _block(self, sets: Ints, n_services: int, free: int) -> Settings:
        mean, high = self.slowdowns(sets, n_services)
        n_tasks = sets.shape[1] - n_services
        task_memory = self.task_memory[sets[:, n_services:]].sum(axis=1)
        usable = np.isfinite(task_memory) & np.isfinite(mean).all(axis=1)
        chosen, taken = self._services(sets, n_services, high, task_memory, alone=n_tasks == 0)
        usable &= taken >= 0
        keep = np.flatnonzero(usable)
        sets, mean, chosen = sets[keep], mean[keep], chosen[:, keep]
        rest = self.gpu.sm_count - taken[keep]
        rows, task_grid = self._tasks(sets[:, n_services:], mean[:, n_services:], rest, free)
        sets, mean, chosen = sets[rows], mean[rows], chosen[:, rows]
        batch = np.empty(sets.shape, dtype=np.int64)
        grid = np.empty(sets.shape, dtype=np.int64)
        rate = np.empty(sets.shape)
        for c in range(n_services):
            batch_index, grid[:, c] = chosen[c, :, 0], chosen[c, :, 1]
            for s in np.unique(sets[:, c]):
                speed, at = self.services[s], sets[:, c] == s
                assert speed is not None
                batch[at, c] = speed.batch[batch_index[at]]
                rate[at, c] = speed.rate[batch_index[at], grid[at, c]]
        tasks = sets[:, n_services:]
        grid[:, n_services:] = task_grid
        batch[:, n_services:] = self.task_batch[tasks]
        rate[:, n_services:] = self.task_rate[tasks, task_grid]
        return Settings(keep[rows], batch, grid, rate / mean)

    def _services(
        self, sets: Ints, n_services: int, high: Floats, task_memory: Floats, *, alone: bool
    ) -> tuple[Ints, Ints]:
        """Choose batches and least shares of the services that together take least.

        Returns
        -------
        chosen
            [service, set, (batch index, grid index)].
        taken
            Multiprocessors taken by all services of the set; -1 where none can be chosen.
        """
        n = len(sets)
        chosen = np.zeros((n_services, n, 2), dtype=np.int64)
        if n_services == 0:
            fits = task_memory <= _limit(self.gpu.memory_gib)
            return chosen, np.where(fits, 0, -1)
        options = []  # per service: (grid index, multiprocessors, memory), each [set, batch]
        for c in range(n_services):
            n_batches = max(s.batch.size for s in self.services if s is not None)
            least = np.full((n, n_batches), -1, dtype=np.int64)
            memory = np.full((n, n_batches), np.inf)
            for s in np.unique(sets[:, c]):
                speed, at = self.services[s], sets[:, c] == s
                if speed is not None:
                    found = self.least_share(int(s), high[at, c])
                    least[at, : found.shape[1]] = found
                    memory[at, : found.shape[1]] = speed.memory_gib
            taken = np.where(least >= 0, self.gpu.grid.hi[least], self.gpu.sm_count + 1)
            options.append((least, taken, memory))
        best = np.full(n, -1, dtype=np.int64)
        for combination in itertools.product(range(options[0][0].shape[1]), repeat=n_services):
            total = sum(options[c][1][:, b] for c, b in enumerate(combination))
            memory = task_memory + sum(options[c][2][:, b] for c, b in enumerate(combination))
            better = (memory <= _limit(self.gpu.memory_gib)) & (total <= self.gpu.sm_count)
            better &= (best < 0) | (total < best)
            best[better] = np.asarray(total)[better]
            for c, b in enumerate(combination):
                chosen[c, better, 0] = b
                chosen[c, better, 1] = options[c][0][better, b]
        if alone and n_services == 1:
            self._whole_gpu(sets, best, chosen)
        return chosen, best

    def _whole_gpu(self, sets: Ints, best: Ints, chosen: Ints) -> None:
        """Give a service that is alone the share at which its latency bound is lowest."""
        for s in np.unique(sets[:, 0]):
            speed, at = self.services[s], (sets[:, 0] == s) & (best >= 0)
            if speed is None or not at.any():
                continue
            row: Service = self.classes.services.representative[s]
            batch = speed.batch.astype(np.float64)[:, None]
            with np.errstate(divide="ignore"):
                tau_hi = batch / speed.rate_lo
            rate, slo_ms = np.asarray(row.rate_rps), np.asarray(row.slo_ms)
            latency = self.slo.latency_ms(batch, tau_hi, rate)
            allowed = self.slo.allowed(batch, tau_hi, rate, slo_ms)
            allowed &= (speed.memory_gib <= _limit(self.gpu.memory_gib))[:, None]
            latency = np.where(allowed, latency, np.inf)
            b, q = np.unravel_index(int(latency.argmin()), latency.shape)
            chosen[0, at, 0], chosen[0, at, 1] = b, q

    # -- dividing the rest among the tasks -----------------------------------------------------

    def _tasks(self, tasks: Ints, mean: Floats, rest: Ints, free: int) -> tuple[Ints, Ints]:
        """Return (row of `tasks`, grid index of each task) of every setting worth keeping."""
        n_tasks = tasks.shape[1]
        if n_tasks == 0:
            return np.arange(len(tasks)), np.zeros((len(tasks), 0), dtype=np.int64)
        axes = np.indices((self.gpu.grid.size,) * free).reshape(free, self.gpu.grid.size**free)
        used = self.gpu.grid.hi[axes].sum(axis=0) if free else np.zeros(1, dtype=np.int64)
        left = rest[:, None] - used[None, :]
        valid = left >= 0
        for k in range(free):
            valid &= self.worth_trying[tasks[:, k][:, None], axes[k][None, :]]
        if free < n_tasks:
            last = self.best_within[tasks[:, -1][:, None], np.maximum(left, 0)]
            valid &= last >= 0
        rows, split = np.nonzero(valid)
        grid = np.empty((rows.size, n_tasks), dtype=np.int64)
        for k in range(free):
            grid[:, k] = axes[k][split]
        if free < n_tasks:
            grid[:, -1] = last[rows, split]
        # Only the value of a gang-free, quota-free set matters: one best setting is enough.
        several: Bools = np.asarray((self.is_gang | self.share_counts)[tasks].any(axis=1))
        kept = np.sort(
            np.concatenate(
                [np.flatnonzero(several[rows]), self._best(tasks, mean, rows, grid, ~several)]
            )
        )
        return rows[kept], grid[kept]

    def _best(self, tasks: Ints, mean: Floats, rows: Ints, grid: Ints, wanted: Bools) -> Ints:
        """Return the first setting of highest value for each wanted row."""
        at = np.flatnonzero(wanted[rows])
        rows, grid = rows[at], grid[at]
        total = np.zeros(rows.size)
        for k in range(tasks.shape[1]):
            task = tasks[rows, k]
            rate = self.task_rate[task, grid[:, k]] / mean[rows, k]
            total += self.value.placed_value(facts_at(self.facts, task), rate)
        order = np.lexsort((-total, rows))
        first = np.ones(rows.size, dtype=bool)
        first[1:] = rows[order][1:] != rows[order][:-1]
        return at[order[first]]


def _limit(limit: float) -> float:
    return limit + TOLERANCE * max(1.0, abs(limit))
