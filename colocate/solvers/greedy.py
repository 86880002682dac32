"""Lazy greedy: always the change that gains most, as many times as it can be made.

State: how many GPUs hold each column. A change adds one workload to the GPUs that hold a column:

    gain(a -> b) = v_b - v_a     where b holds what a holds and one workload more

1. Every required replica is placed first, the services with the fewest possible GPUs before the
   others, each where it spoils least: where  best value with it - best value without it  is highest.
2. Then the change with the largest positive gain is made on as many GPUs as (C1) gpu, (C2) service,
   (C3) task and (C4) quota allow, until none is left. A change that is not possible now is looked at
   again when GPUs come to hold its left side.

No bound comes from this; the prices of the linear relaxation are added where it is small enough.
Ties are broken by what the columns are worth and hold, never by names.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from typing import ClassVar

import numpy as np

from colocate.prices import linear_prices
from colocate.problem import Problem
from colocate.result import Limit, Reason
from colocate.schema import TOLERANCE
from colocate.solvers._order import column_rank
from colocate.solvers.base import Availability, Capability, Clock, Context, RawSolution

__all__ = ["GreedySolver"]

Content = tuple[int, tuple[int, ...], tuple[int, ...]]
"""GPU class, service classes, task classes."""

SMALLEST_GAIN = 1e-12
CHECK_EVERY = 256


class GreedySolver:
    """Largest marginal gain first."""

    name: ClassVar[str] = "greedy"
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {
            Capability.TIME_LIMIT,
            Capability.INTERRUPT,
            Capability.SEVERAL_TASKS,
            Capability.SEVERAL_SERVICES,
            Capability.FREE_SERVICES,
            Capability.PINNED_SERVICES,
            Capability.OPTIONAL_SERVICES,
            Capability.QUOTAS,
            Capability.GPU_TYPES,
        }
    )

    @classmethod
    def availability(cls) -> Availability:
        """It needs nothing but NumPy; SciPy gives the prices."""
        return Availability(True)

    def solve(self, problem: Problem, context: Context) -> RawSolution:
        """Run both phases."""
        clock = Clock(context)
        state = _State(problem)
        unplaced = _place_required(state)
        if unplaced:
            return RawSolution(
                Reason.NO_SOLUTION_FOUND,
                detail=f"greedy found no GPU for {unplaced} required replicas; "
                "another solver may find one",
                history=tuple(clock.history),
            )
        limit = _improve(state, clock)
        counts = np.array(state.counts, dtype=np.int64)
        gangs = np.zeros(problem.levels.size, dtype=np.int64)
        clock.report(problem.objective_of(problem.value_of(counts, gangs)), None, "greedy")
        return RawSolution(
            Reason.FEASIBLE,
            counts=counts,
            gangs=gangs,
            limit=limit,
            prices=None if limit is not Limit.NONE else linear_prices(problem),
            history=tuple(clock.history),
        )


class _State:
    """How many GPUs hold each column, and what is left of everything."""

    def __init__(self, problem: Problem) -> None:
        columns = problem.columns
        self.problem = problem
        self.value = columns.value.tolist()
        self.rank = column_rank(problem).tolist()
        self.counts = [0] * columns.size
        self.empty = problem.gpu_count.tolist()
        self.services = problem.service_count.tolist()
        self.tasks = problem.task_count.tolist()
        start, cls, is_task = columns.start.tolist(), columns.cls.tolist(), columns.is_task.tolist()
        self.content: list[Content] = []
        for c, gpu in enumerate(columns.gpu.tolist()):
            span = range(start[c], start[c + 1])
            self.content.append(
                (
                    gpu,
                    tuple(sorted(cls[w] for w in span if not is_task[w])),
                    tuple(sorted(cls[w] for w in span if is_task[w])),
                )
            )
        self.larger: dict[Content, list[tuple[int, bool, int]]] = defaultdict(list)
        """What a content can become: (column, whether a task is added, class added)."""
        for c, (gpu, services, tasks) in enumerate(self.content):
            for i, s in enumerate(services):
                if i == 0 or services[i - 1] != s:
                    self.larger[gpu, services[:i] + services[i + 1 :], tasks].append((c, False, s))
            for i, t in enumerate(tasks):
                if i == 0 or tasks[i - 1] != t:
                    self.larger[gpu, services, tasks[:i] + tasks[i + 1 :]].append((c, True, t))
        self._quotas(problem)

    def _quotas(self, problem: Problem) -> None:
        quota = [i for i, label in enumerate(problem.rows.labels) if label.kind == "quota"]
        self.quota_left = [float(problem.rows.upper[row]) for row in quota]
        self.quota_of: list[dict[int, float]] = []
        for row in quota:
            mine = problem.rows.row == row
            self.quota_of.append(
                dict(
                    zip(
                        problem.rows.variable[mine].tolist(),
                        problem.rows.coefficient[mine].tolist(),
                        strict=True,
                    )
                )
            )

    def units(self, source: int | None, gpu: int) -> int:
        """Return how many GPUs hold the column, or hold nothing."""
        return self.empty[gpu] if source is None else self.counts[source]

    def most(self, source: int | None, target: int, *, is_task: bool, cls: int) -> int:
        """Return on how many GPUs the change can be made now."""
        n: int = min(
            self.units(source, self.content[target][0]),
            (self.tasks if is_task else self.services)[cls],
        )
        for left, of in zip(self.quota_left, self.quota_of, strict=True):
            more = of.get(target, 0.0) - (of.get(source, 0.0) if source is not None else 0.0)
            if more > 0 and np.isfinite(left):
                n = min(n, max(0, int((left + TOLERANCE * max(1.0, abs(left))) / more)))
        return n

    def apply(self, source: int | None, target: int, n: int, *, is_task: bool, cls: int) -> None:
        """Make the change on n GPUs."""
        if source is None:
            self.empty[self.content[target][0]] -= n
        else:
            self.counts[source] -= n
        self.counts[target] += n
        (self.tasks if is_task else self.services)[cls] -= n
        for i, of in enumerate(self.quota_of):
            more = of.get(target, 0.0) - (of.get(source, 0.0) if source is not None else 0.0)
            self.quota_left[i] -= more * n

    def held(self) -> list[tuple[int | None, Content]]:
        """Return every column that some GPU holds, and the empty GPUs of each class."""
        empty = [(None, (g, (), ())) for g, n in enumerate(self.empty) if n]
        return empty + [(c, self.content[c]) for c, n in enumerate(self.counts) if n]


def _place_required(state: _State) -> int:
    """Place all required replicas; return how many could not be placed."""
    problem = state.problem
    best: dict[tuple[int, tuple[int, ...]], float] = defaultdict(float)
    possible: dict[int, set[int]] = defaultdict(set)
    for c, (gpu, services, _) in enumerate(state.content):
        best[gpu, services] = max(best[gpu, services], state.value[c])
        for s in services:
            possible[s].add(gpu)
    required = [s for s in range(len(state.services)) if problem.service_required[s]]
    room = {s: sum(state.empty[g] for g in possible[s]) for s in required}
    missing = 0
    for s in sorted(required, key=lambda s: (room[s] - state.services[s], -_potential(best, s), s)):
        while state.services[s]:
            options = []
            for source, content in state.held():
                gpu, services, _ = content
                for target, is_task, cls in state.larger[content]:
                    if not is_task and cls == s:
                        spoils = best[gpu, tuple(sorted((*services, s)))] - best[gpu, services]
                        options.append((-spoils, len(services), state.rank[target], source, target))
            options.sort(key=lambda o: o[:3])
            for *_, source, target in options:
                n = state.most(source, target, is_task=False, cls=s)
                if n:
                    state.apply(source, target, n, is_task=False, cls=s)
                    break
            else:
                missing += state.services[s]
                break
    return missing


def _potential(best: dict[tuple[int, tuple[int, ...]], float], service: int) -> float:
    return max((v for (_, services), v in best.items() if service in services), default=0.0)


def _improve(state: _State, clock: Clock) -> Limit:
    """Make the change that gains most, as often as possible, until none gains."""
    heap: list[tuple[float, int, int, int, bool, int]] = []

    def offer(source: int | None, content: Content) -> None:
        base = 0.0 if source is None else state.value[source]
        for target, is_task, cls in state.larger[content]:
            gain = state.value[target] - base
            if gain > SMALLEST_GAIN and (state.tasks if is_task else state.services)[cls]:
                rank = state.rank[target]
                heapq.heappush(
                    heap, (-gain, rank, -1 if source is None else source, target, is_task, cls)
                )

    for source, content in state.held():
        offer(source, content)
    steps = 0
    while heap:
        steps += 1
        if steps % CHECK_EVERY == 0:
            limit = clock.hit()
            if limit is not Limit.NONE:
                return limit
        _, _, held_by, target, is_task, cls = heapq.heappop(heap)
        source = None if held_by < 0 else held_by
        n = state.most(source, target, is_task=is_task, cls=cls)
        if n == 0:
            continue
        was_there = state.counts[target] > 0
        state.apply(source, target, n, is_task=is_task, cls=cls)
        if not was_there:
            offer(target, state.content[target])
    return Limit.NONE
