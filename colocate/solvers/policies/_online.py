"""What every policy does: deploy the services, take tasks as they arrive, say what came of it.

A policy says what a GPU looks like when one more task joins it, and how much it minds:

    join(setting, task) -> (score, setting) or None         the smallest score gets the task
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from colocate.columns import Columns
from colocate.problem import Problem
from colocate.result import Limit, Reason
from colocate.solvers.base import Availability, Capability, Clock, Context, RawSolution
from colocate.solvers.policies._assign import assigned
from colocate.solvers.policies._company import NO_SERVICE, Company, Held, Setting

__all__ = ["Joined", "Policy"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Joined = tuple[float, Setting] | None

CHECK_EVERY = 16


class Policy:
    """Base of all policies; the rule itself is in `join`."""

    name: ClassVar[str]
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {
            Capability.TIME_LIMIT,
            Capability.INTERRUPT,
            Capability.SEVERAL_TASKS,
            Capability.SEVERAL_SERVICES,
            Capability.FREE_SERVICES,
            Capability.PINNED_SERVICES,
            Capability.OPTIONAL_SERVICES,
            Capability.GPU_TYPES,
        }
    )
    most_tasks: ClassVar[int] = 1
    """Tasks that the system puts on one GPU, where the rules of the instance allow as many."""

    company: Company
    alone: dict[Held, Setting]

    @classmethod
    def availability(cls) -> Availability:
        """Return yes: it needs nothing but the core dependencies."""
        return Availability(True)

    def solve(self, problem: Problem, context: Context) -> RawSolution:
        """Deploy the services, then place tasks."""
        clock = Clock(context)
        self.company = Company(problem)
        self.alone = _alone(problem)
        gpus, missing = _deployed(problem, self.alone)
        if missing:
            return RawSolution(
                Reason.NO_SOLUTION_FOUND,
                detail=f"no GPU of its own for {missing} required replicas",
            )
        limit = self.place(problem, gpus, clock, np.random.default_rng(context.seed))
        return self._answer(problem, gpus, limit, clock)

    def place(
        self,
        problem: Problem,
        gpus: Counter[Setting],
        clock: Clock,
        chance: np.random.Generator,
    ) -> Limit:
        """Put tasks on GPUs, changing how many GPUs are set how."""
        arriving = np.repeat(np.arange(problem.task_count.size), problem.task_count)
        most = min(self.most_tasks, problem.source.instance.rules.tasks_per_gpu)
        known: dict[tuple[Setting, int], Joined] = {}
        taking = sorted(s for s, n in gpus.items() if n and len(s.held.tasks) < most)
        hopeless: set[int] = set()
        for n, task in enumerate(chance.permutation(arriving).tolist()):
            if n % CHECK_EVERY == 0:
                limit = clock.hit()
                if limit is not Limit.NONE:
                    return limit
            if task in hopeless:
                continue
            options: list[tuple[float, Setting, Setting]] = []
            for setting in taking:
                key = (setting, task)
                if key not in known:
                    known[key] = self._join(setting, task)
                joined = known[key]
                if joined is not None:
                    options.append((joined[0], setting, joined[1]))
            if not options:
                # GPUs only ever fill up.
                hopeless.add(task)
                continue
            least = min(score for score, _, _ in options)
            tied = [option for option in options if option[0] <= least + 1e-12 * abs(least)]
            weights = np.array([gpus[before] for _, before, _ in tied], dtype=float)
            chosen = int(chance.choice(len(tied), p=weights / weights.sum()))
            _, before, after = tied[chosen]
            gpus[before] -= 1
            gpus[after] += 1
            if not gpus[before]:
                taking.remove(before)
            if gpus[after] == 1 and len(after.held.tasks) < most:
                insort(taking, after)
        return Limit.NONE

    def _join(self, setting: Setting, task: int) -> Joined:
        held = setting.held.joined_by(task)
        return self.join(setting, held, task) if self.company.admits(held) else None

    def join(self, setting: Setting, held: Held, task: int) -> Joined:
        """Return how much the system minds the task joining, and the GPU's setting then.

        Parameters
        ----------
        setting
            The GPU as it is.
        held
            What it would hold.
        task
            Class of the task that joins.
        """
        raise NotImplementedError

    def task_alone(self, held: Held) -> Joined:
        """Return a task on a GPU of its own: it has all of it."""
        setting = self.alone.get(held)
        return None if setting is None else (0.0, setting)

    def raised(
        self,
        held: Held,
        tasks: tuple[int, ...],
        batches: list[int],
        from_pct: float,
        *,
        quickest: bool = False,
    ) -> Setting | None:
        """Return the setting at the least allowed share of the service from a percentage on.

        Of several batches that are allowed there, the first is taken, or the one of lowest latency
        bound.
        """
        share = self.company.percentages(held.gpu)
        grid = np.flatnonzero(share >= from_pct - 1e-9)
        shares = self.company.with_rest(held, grid)
        seen = self.company.look_at_all(held, batches, tasks, shares)
        if not seen.allowed.any():
            return None
        at = int(seen.allowed.any(axis=0).argmax())
        there = np.flatnonzero(seen.allowed[:, at]).tolist()
        if quickest:
            there.sort(key=lambda n: float(seen.latency_hi_ms[n, at]))
        return Setting(held, (batches[there[0]], *tasks), tuple(shares[:, at].tolist()))

    def _answer(
        self, problem: Problem, gpus: Counter[Setting], limit: Limit, clock: Clock
    ) -> RawSolution:
        used = sorted(s for s, n in gpus.items() if n and s.held.classes)
        own = [s for s in used if s.column < 0]
        counts = np.zeros(problem.columns.size + len(own), dtype=np.int64)
        for i, setting in enumerate(own):
            counts[problem.columns.size + i] = gpus[setting]
        for setting in used:
            if setting.column >= 0:
                counts[setting.column] += gpus[setting]
        further, value = self._columns(own)
        gangs = np.zeros(problem.levels.size, dtype=np.int64)
        total = float(np.concatenate([problem.columns.value, value]) @ counts)
        clock.report(problem.objective_of(total), None, self.name)
        return RawSolution(
            Reason.FEASIBLE,
            counts=counts,
            gangs=gangs,
            limit=limit,
            history=tuple(clock.history),
            further=further,
        )

    def _columns(self, own: list[Setting]) -> tuple[Columns, Floats]:
        """Return the policy's own settings as columns."""
        width = np.array([len(s.batch) for s in own], dtype=np.int64)
        value = np.zeros(len(own))
        share: list[int] = []
        for i, s in enumerate(own):
            grid = np.array(s.grid, dtype=np.int64)
            value[i] = self.company.look(s.held, s.batch, grid[:, None]).value[0]
            share += self.company.percentages(s.held.gpu)[grid].tolist()

        def flat(rows: list[tuple[int, ...]]) -> Ints:
            return np.array([x for row in rows for x in row], dtype=np.int64)

        is_task = [i >= s.held.n_services for s in own for i in range(len(s.batch))]
        columns = Columns(
            gpu=np.array([s.held.gpu for s in own], dtype=np.int64),
            value=value,
            start=np.concatenate([[0], np.cumsum(width)]).astype(np.int64),
            is_task=np.array(is_task, dtype=bool),
            cls=flat([s.held.classes for s in own]),
            level=np.full(int(width.sum()), -1, dtype=np.int64),
            batch=flat([s.batch for s in own]),
            grid=flat([s.grid for s in own]),
            share_pct=np.array(share, dtype=np.int64),
        )
        return columns, value


def _alone(problem: Problem) -> dict[Held, Setting]:
    """Return the best column of everything that can be on a GPU by itself."""
    columns = problem.columns
    single = np.flatnonzero(np.diff(columns.start) == 1)
    found: dict[Held, Setting] = {}
    for c in single[np.argsort(-columns.value[single], kind="stable")].tolist():
        w, gpu = int(columns.start[c]), int(columns.gpu[c])
        cls = int(columns.cls[w])
        held = Held(gpu, NO_SERVICE, (cls,)) if columns.is_task[w] else Held(gpu, cls)
        knobs = (int(columns.batch[w]),), (int(columns.grid[w]),)
        found.setdefault(held, Setting(held, *knobs, c))
    return found


def _deployed(problem: Problem, alone: dict[Held, Setting]) -> tuple[Counter[Setting], int]:
    """Put services on GPUs, one on each; also say how many required ones are missing."""
    prices = [s.missing_price or 0.0 for s in problem.source.classes.services.representative]
    top = max(prices, default=0.0) or 1.0
    worth = np.full((problem.service_count.size, problem.gpu_count.size), -1.0)
    for held in alone:
        if held.n_services:
            required = problem.service_required[held.service]
            worth[held.service, held.gpu] = 3.0 if required else 1.0 + prices[held.service] / top
    amount = assigned(worth, problem.service_count, problem.gpu_count)
    gpus: Counter[Setting] = Counter()
    for s, g in np.argwhere(amount > 0).tolist():
        gpus[alone[Held(g, s)]] += int(amount[s, g])
    for g, left in enumerate((problem.gpu_count - amount.sum(axis=0)).tolist()):
        gpus[Setting(Held(g))] += left
    short = problem.service_count - amount.sum(axis=1)
    return gpus, int(short[problem.service_required].sum())
