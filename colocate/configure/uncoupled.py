"""Sets of co-tenants whose slowdowns do not depend on the knobs.

Such co-tenants only meet in memory and share. Then it is enough to give each service the least
share that holds its SLO, for the combination of batches that takes least, and to divide the rest
among the tasks. Nothing here assumes that rates rise with the share: `best_within` looks for the
best share that fits.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from colocate.configure.least import LeastShares
from colocate.configure.settings import (
    BLOCK,
    MAX_WORK,
    Settings,
    joined,
    limit_of,
    none_of,
    too_much_work,
)
from colocate.configure.speeds import Speeds
from colocate.instance import Service
from colocate.task_facts import facts_at

__all__ = ["Uncoupled"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Uncoupled:
    """Finds the settings of sets in which no slowdown depends on the knobs."""

    def __init__(self, speeds: Speeds) -> None:
        self.speeds = speeds
        self.gpu = speeds.gpu
        self.least = LeastShares(speeds)

    def settings(self, sets: Ints, n_services: int) -> Settings:
        """Return the settings worth considering for sets of one shape, services first."""
        # A task whose share is counted by a quota has more than one undominated share.
        counted = np.asarray(self.speeds.share_counts[sets[:, n_services:]].any(axis=1))
        blocks = []
        for by_share in (False, True):
            rows = np.flatnonzero(counted == by_share)
            if not rows.size:
                continue
            free = self._free(sets.shape[1] - n_services, by_share=by_share)
            step = max(1, BLOCK // self._work(len(rows), sets.shape[1], n_services, free))
            for i in range(0, len(rows), step):
                part = rows[i : i + step]
                found = self._block(sets[part], n_services, free)
                blocks.append(replace(found, set_index=part[found.set_index]))
        if not blocks:
            return none_of(sets.shape[1])
        return joined(blocks)

    def _free(self, n_tasks: int, *, by_share: bool) -> int:
        """Return how many tasks go through the grid; the last takes the best of the rest."""
        return n_tasks if by_share else max(0, n_tasks - 1)

    def _work(self, n: int, width: int, n_services: int, free: int) -> int:
        """Return the numbers held for one set, or refuse a task too large to finish."""
        batches = max([s.batch.size for s in self.speeds.services if s is not None], default=1)
        combinations = batches**n_services if n_services > 1 else 1
        per_set = max(combinations, self.gpu.grid.size**free, width)
        if n * per_set > MAX_WORK:
            raise too_much_work(n, width, self.gpu.gpu_type, per_set)
        return int(per_set)

    def _block(self, sets: Ints, n_services: int, free: int) -> Settings:
        mean, high = self.speeds.slowdowns(sets, n_services)
        n_tasks = sets.shape[1] - n_services
        task_memory = self.speeds.task_memory[sets[:, n_services:]].sum(axis=1)
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
            at = self.speeds.first_batch[sets[:, c]] + batch_index
            batch[:, c] = self.speeds.service_batch[at]
            rate[:, c] = self.speeds.service_rate[at, grid[:, c]]
        tasks = sets[:, n_services:]
        grid[:, n_services:] = task_grid
        batch[:, n_services:] = self.speeds.task_batch[tasks]
        rate[:, n_services:] = self.speeds.task_rate[tasks, task_grid]
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
            fits = task_memory <= limit_of(self.gpu.memory_gib)
            return chosen, np.where(fits, 0, -1)
        if n_services == 1:
            taken = np.full(n, -1, dtype=np.int64)
            for s, at in _groups(sets[:, 0]):
                if self.speeds.services[s] is not None:
                    found = self.least.beside(s, high[at, 0], task_memory[at])
                    chosen[0, at, 0], chosen[0, at, 1], taken[at] = found
            if alone:
                self._whole_gpu(sets, taken, chosen)
            return chosen, taken
        options = []  # per service: (grid index, multiprocessors, memory), each [set, batch]
        n_batches = max(s.batch.size for s in self.speeds.services if s is not None)
        for c in range(n_services):
            least = np.full((n, n_batches), -1, dtype=np.int64)
            memory = np.full((n, n_batches), np.inf)
            for s, at in _groups(sets[:, c]):
                speed = self.speeds.services[s]
                if speed is not None:
                    least[at, : speed.batch.size] = self.least.by_batch(s, high[at, c])
                    memory[at, : speed.batch.size] = speed.memory_gib
            taken = np.where(least >= 0, self.gpu.grid.hi[least], self.gpu.sm_count + 1)
            options.append((least, taken, memory))
        best = np.full(n, -1, dtype=np.int64)
        for combination in itertools.product(range(n_batches), repeat=n_services):
            total = sum(options[c][1][:, b] for c, b in enumerate(combination))
            memory = task_memory + sum(options[c][2][:, b] for c, b in enumerate(combination))
            better = (memory <= limit_of(self.gpu.memory_gib)) & (total <= self.gpu.sm_count)
            better &= (best < 0) | (total < best)
            best[better] = np.asarray(total)[better]
            for c, b in enumerate(combination):
                chosen[c, better, 0] = b
                chosen[c, better, 1] = options[c][0][better, b]
        return chosen, best

    def _whole_gpu(self, sets: Ints, best: Ints, chosen: Ints) -> None:
        """Give a service that is alone the share at which its latency bound is lowest."""
        for s, at in _groups(np.where(best >= 0, sets[:, 0], -1)):
            speed = self.speeds.services[s] if s >= 0 else None
            if speed is None:
                continue
            row: Service = self.speeds.classes.services.representative[s]
            batch = speed.batch.astype(np.float64)[:, None]
            with np.errstate(divide="ignore"):
                tau_hi = batch / speed.rate_lo
            rate, slo_ms = np.asarray(row.rate_rps), np.asarray(row.slo_ms)
            latency = self.speeds.slo.latency_ms(batch, tau_hi, rate, row.slo_percentile)
            allowed = self.speeds.slo.allowed(batch, tau_hi, rate, slo_ms, row.slo_percentile)
            allowed &= (speed.memory_gib <= limit_of(self.gpu.memory_gib))[:, None]
            latency = np.where(allowed, latency, np.inf)
            b, q = np.unravel_index(int(latency.argmin()), latency.shape)
            chosen[0, at, 0], chosen[0, at, 1] = b, q

    # -- dividing the rest among the tasks -----------------------------------------------------

    def _tasks(self, tasks: Ints, mean: Floats, rest: Ints, free: int) -> tuple[Ints, Ints]:
        """Return (row of `tasks`, grid index of each task) of every setting worth keeping."""
        n_tasks = tasks.shape[1]
        if n_tasks == 0:
            return np.arange(len(tasks)), np.zeros((len(tasks), 0), dtype=np.int64)
        if n_tasks == 1 and not free:
            last = self.speeds.best_within[tasks[:, 0], rest]
            rows = np.flatnonzero(last >= 0)
            return rows, last[rows, None]
        axes = np.indices((self.gpu.grid.size,) * free).reshape(free, self.gpu.grid.size**free)
        used = self.gpu.grid.hi[axes].sum(axis=0) if free else np.zeros(1, dtype=np.int64)
        left = rest[:, None] - used[None, :]
        valid = left >= 0
        for k in range(free):
            valid &= self.speeds.worth_trying[tasks[:, k][:, None], axes[k][None, :]]
        if free < n_tasks:
            last = self.speeds.best_within[tasks[:, -1][:, None], np.maximum(left, 0)]
            valid &= last >= 0
        rows, split = np.nonzero(valid)
        grid = np.empty((rows.size, n_tasks), dtype=np.int64)
        for k in range(free):
            grid[:, k] = axes[k][split]
        if free < n_tasks:
            grid[:, -1] = last[rows, split]
        # Only the value of a gang-free, quota-free set matters: one best setting is enough.
        several: Bools = np.asarray(
            (self.speeds.is_gang | self.speeds.share_counts)[tasks].any(axis=1)
        )
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
            rate = self.speeds.task_rate[task, grid[:, k]] / mean[rows, k]
            total += self.speeds.value.placed_value(facts_at(self.speeds.facts, task), rate)
        order = np.lexsort((-total, rows))
        first = np.ones(rows.size, dtype=bool)
        first[1:] = rows[order][1:] != rows[order][:-1]
        return at[order[first]]


def _groups(numbers: Ints) -> Iterator[tuple[int, Ints | slice]]:
    """Yield each distinct number and where it stands."""
    if not numbers.size:
        return
    if (numbers[1:] >= numbers[:-1]).all():
        starts = np.flatnonzero(np.diff(numbers, prepend=numbers[0] - 1))
        for start, end in pairwise([*starts.tolist(), numbers.size]):
            yield int(numbers[start]), slice(start, end)
        return
    order = np.argsort(numbers, kind="stable")
    starts = np.flatnonzero(np.diff(numbers[order], prepend=numbers[order[0]] - 1))
    for rows in np.split(order, starts[1:]):
        yield int(numbers[rows[0]]), rows
