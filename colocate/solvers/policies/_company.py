"""What policies may ask about a GPU: who may share it, and how fast everyone is at which knobs.

Nothing here optimises. Shares are looked at many at a time: `grid` is [workload, choice], an index
into the share grid of the GPU class, with -1 where there is no share left.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from colocate.columns import admitted
from colocate.configure.settings import limit_of
from colocate.configure.speeds import ServiceSpeed
from colocate.constraints.base import constraints_of
from colocate.instance import Service, Task
from colocate.objectives.base import used_gpu_worth
from colocate.problem import Problem
from colocate.task_facts import facts_at

__all__ = ["NO_SERVICE", "Company", "Held", "Setting", "Speeds"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

NO_SERVICE = -1
BISECTIONS = 60
SHORTEST_S, LONGEST_S = 1e-9, 1e9
FULL = 0.95
"""Part of the full rate at which a workload counts as having all the multiprocessors it can use."""


class Held(NamedTuple):
    """What a GPU of a class holds."""

    gpu: int
    service: int = NO_SERVICE
    tasks: tuple[int, ...] = ()
    """Task classes, ascending."""

    @property
    def n_services(self) -> int:
        """0 or 1."""
        return int(self.service != NO_SERVICE)

    @property
    def classes(self) -> tuple[int, ...]:
        """Classes of the workloads, the service first."""
        return (self.service, *self.tasks) if self.n_services else self.tasks

    def joined_by(self, task: int) -> Held:
        """Return the same with one task more."""
        return self._replace(tasks=tuple(sorted((*self.tasks, task))))


class Setting(NamedTuple):
    """What a GPU holds and at which knobs; a column of the problem or one of the policy's own."""

    held: Held
    batch: tuple[int, ...] = ()
    grid: tuple[int, ...] = ()
    column: int = -1
    """The problem's column; -1 for a setting of the policy's own, and for an empty GPU."""


class Speeds(NamedTuple):
    """How choices of shares turn out; the last axis runs over the choices."""

    allowed: Bools
    """Keeps to every rule, the SLO at the instance's confidence included."""
    value: Floats
    """In maximised form."""
    batch_s: Floats
    """Mean time of a batch of the service."""
    latency_hi_ms: Floats
    """Of the service, at the instance's confidence."""
    progress: Floats
    """[task, choice]: mean."""


class Company:
    """Answers for one problem, and keeps some of them."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.at = problem.source.configurators
        self._constraints = constraints_of(problem.source.instance)
        self._admitted: dict[Held, bool] = {}
        self._constant: dict[Held, tuple[Floats, Floats] | None] = {}
        """Slowdowns that do not depend on the knobs."""

    def service(self, cls: int) -> Service:
        """Return a service of a class."""
        found: Service = self.problem.source.classes.services.representative[cls]
        return found

    def task(self, cls: int) -> Task:
        """Return a task of a class."""
        found: Task = self.problem.source.classes.tasks.representative[cls]
        return found

    def admits(self, held: Held) -> bool:
        """Return whether the rules let these workloads share a GPU, whatever their knobs."""
        if held not in self._admitted:
            at, source = self.at[held.gpu], self.problem.source
            fits = all(at.trains(t) is not None for t in held.tasks)
            fits &= not held.n_services or at.services[held.service] is not None
            sets = np.array([held.classes], dtype=np.int64)
            self._admitted[held] = fits and bool(
                admitted(
                    source.instance,
                    source.classes,
                    at.gpu,
                    self._constraints,
                    sets,
                    held.n_services,
                )[0]
            )
        return self._admitted[held]

    # -- shares --------------------------------------------------------------------------------

    def percentages(self, gpu: int) -> Ints:
        """Return the percentages of the share grid."""
        return self.at[gpu].gpu.grid.share_pct

    def at_least(self, gpu: int, share_pct: float) -> int:
        """Return the smallest share of at least this percentage, else the largest there is."""
        share = self.percentages(gpu)
        enough = np.flatnonzero(share >= share_pct - 1e-9)
        if enough.size:
            return int(enough[share[enough].argmin()])
        return int(share.argmax())

    def within(self, gpu: int, multiprocessors: Ints) -> Ints:
        """Return the largest share that takes at most so many multiprocessors; -1 if none."""
        return np.searchsorted(self.at[gpu].gpu.grid.hi, multiprocessors, side="right") - 1

    def with_rest(self, held: Held, service_grid: Ints) -> Ints:
        """Return shares of everyone: the service's as given, the rest in equal parts to tasks."""
        gpu = self.at[held.gpu].gpu
        if not held.n_services:
            rest = np.array([gpu.sm_count], dtype=np.int64)
            return np.repeat(
                self.within(held.gpu, rest // len(held.tasks))[None, :], len(held.tasks), axis=0
            )
        rest = gpu.sm_count - gpu.grid.hi[service_grid]
        each = self.within(held.gpu, rest // max(1, len(held.tasks)))
        return np.stack([service_grid, *([each] * len(held.tasks))])

    def divided(self, held: Held, parts: Floats) -> Ints:
        """Return shares in proportion to these parts, each rounded down to what fits."""
        sms = np.floor(self.at[held.gpu].gpu.sm_count * parts / parts.sum() + 1e-9)
        return self.within(held.gpu, sms.astype(np.int64))[:, None]

    # -- speeds --------------------------------------------------------------------------------

    def own_batches(self, held: Held) -> tuple[int, ...]:
        """Return the batch of each task's own, or the nearest one that it may train at."""
        found = []
        for t in held.tasks:
            task = self.task(t)
            known = sorted(task.batches or (task.batch,))
            found.append(min(known, key=lambda b: (abs(b - task.batch), b)))
        return tuple(found)

    def speed(self, held: Held) -> ServiceSpeed:
        """Return what the service does alone on this GPU."""
        found = self.at[held.gpu].services[held.service]
        assert found is not None
        return found

    def look(self, held: Held, batch: tuple[int, ...], grid: Ints) -> Speeds:
        """Return how these workloads do at these batches, for each choice of shares."""
        n = held.n_services
        found = self.look_at_all(held, list(batch[:n]), batch[n:], grid)
        return Speeds(*(array[0] for array in found))

    def look_at_all(
        self, held: Held, batches: list[int], tasks: tuple[int, ...], grid: Ints
    ) -> Speeds:
        """Return the same for several batches of the service: the first axis runs over them.

        Without a service there is one row.
        """
        at, share = self.at[held.gpu], self.at[held.gpu].gpu.grid
        enough = (grid >= 0).all(axis=0)
        grid = np.maximum(grid, 0)
        mean, high, variants = self._slowdowns(held, batches, tasks, grid)
        allowed = enough & np.isfinite(mean).all(axis=1)
        allowed = allowed & (share.hi[grid].sum(axis=0) <= at.gpu.sm_count)
        memory = np.zeros(1)
        value = np.full(grid.shape[1], used_gpu_worth(at.value))
        batch_s = latency_hi = np.zeros((1, grid.shape[1]))
        if held.n_services:
            row, speed = self.service(held.service), self.speed(held)
            b = np.searchsorted(speed.batch, batches)
            memory = memory + speed.memory_gib[b]
            rate, slo_ms = np.asarray(row.rate_rps), np.asarray(row.slo_ms)
            size = speed.batch[b].astype(float)[:, None]
            with np.errstate(divide="ignore", invalid="ignore"):
                batch_s = size * mean[:, 0] / speed.rate[b][:, grid[0]]
                tau = size * high[:, 0] / speed.rate_lo[b][:, grid[0]]
                latency_hi = at.slo.latency_ms(size, tau, rate, row.slo_percentile)
                holds = at.slo.allowed(size, tau, rate, slo_ms, row.slo_percentile)
            allowed = allowed & holds & np.isfinite(tau)
            value = value + (row.missing_price or 0.0)
        value = np.broadcast_to(value, (len(mean), grid.shape[1])).copy()
        progress = np.zeros((len(mean), len(held.tasks), grid.shape[1]))
        for i, variant in enumerate(variants):
            task = at.tasks[variant]
            assert task is not None
            memory = memory + task.memory_gib
            w = held.n_services + i
            progress[:, i] = task.rate[grid[w]] / mean[:, w]
            runs = progress[:, i] > 0
            allowed = allowed & runs
            facts = facts_at(self.problem.source.facts, np.array([held.tasks[i]]))
            value[runs] += at.value.placed_value(facts, progress[:, i][runs])
        allowed = allowed & (memory <= limit_of(at.gpu.memory_gib))[:, None]
        full = (max(1, len(batches)), grid.shape[1])
        return Speeds(
            allowed=np.broadcast_to(allowed, full),
            value=np.broadcast_to(value, full),
            batch_s=np.broadcast_to(batch_s, full),
            latency_hi_ms=np.broadcast_to(latency_hi, full),
            progress=np.broadcast_to(progress, (full[0], len(held.tasks), full[1])),
        )

    def _slowdowns(
        self, held: Held, batches: list[int], tasks: tuple[int, ...], grid: Ints
    ) -> tuple[Floats, Floats, list[int]]:
        """Return slowdown and bound, [batch, workload, choice], and the variants of the tasks.

        Where nothing depends on the knobs there is one batch and one choice.
        """
        at, n = self.at[held.gpu], held.n_services
        cls = np.array(held.classes, dtype=np.int64)
        members = at.members(cls, n, np.array([0] * n + list(tasks), dtype=np.int64))
        variants = members[n:].tolist()
        if held not in self._constant:
            known: tuple[Floats, Floats] | None = None
            if not at.coupled(members[None, :], n)[0]:
                mean, high = at.slowdowns(members[None, :], n)
                known = mean[:, :, None], high[:, :, None]
            self._constant[held] = known
        constant = self._constant[held]
        if constant is not None:
            return *constant, variants
        each = [
            at.slowdowns_at(members, n, np.array([*b, *tasks], dtype=np.int64), grid)
            for b in ([[b] for b in batches] if n else [[]])
        ]
        return np.stack([m for m, _ in each]), np.stack([h for _, h in each]), variants

    def rate_alone(self, held: Held, which: int, batch: int) -> Floats:
        """Return the mean rate of one of the tasks alone, at each share."""
        at = self.at[held.gpu]
        task = at.tasks[at.variants.at(held.tasks[which], batch)]
        return np.zeros(at.gpu.grid.size) if task is None else task.rate

    def busy_with(self, gpu: int, rate: Floats) -> float:
        """Return the percentage beyond which more multiprocessors hardly make it faster."""
        share = self.percentages(gpu)
        if not rate.max(initial=0.0) > 0:
            return 100.0
        return float(share[rate >= FULL * rate.max()].min())

    def longest_ms(self, held: Held, batch: int) -> float:
        """Return the longest time of a batch at which the service keeps its SLO; 0 if none."""
        slo, row = self.at[held.gpu].slo, self.service(held.service)
        size = np.array([float(batch)])
        rate, slo_ms = np.asarray(row.rate_rps), np.asarray(row.slo_ms)

        def keeps(seconds: float) -> bool:
            tau = np.array([seconds])
            return bool(slo.allowed(size, tau, rate, slo_ms, row.slo_percentile)[0])

        low, high = SHORTEST_S, LONGEST_S
        if not keeps(low):
            return 0.0
        for _ in range(BISECTIONS):
            middle = (low * high) ** 0.5
            low, high = (middle, high) if keeps(middle) else (low, middle)
        return 1000.0 * low

    def best_batch(self, held: Held, tasks: tuple[int, ...], grid: Ints) -> tuple[int, ...] | None:
        """Return the batches with the service's of lowest latency bound; None if none is allowed.

        `grid` is one choice of shares.
        """
        if not held.n_services:
            return tasks if self.look(held, tasks, grid).allowed[0] else None
        batches = self.speed(held).batch.tolist()
        seen = self.look_at_all(held, batches, tasks, grid)
        latency = np.where(seen.allowed[:, 0], seen.latency_hi_ms[:, 0], np.inf)
        if not seen.allowed[:, 0].any():
            return None
        return (batches[int(latency.argmin())], *tasks)
