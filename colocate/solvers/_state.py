"""Bookkeeping of a constructive solver: which column how many GPUs hold, and what is left.

What a GPU holds is its *content*: its class and the items on it. An item is a service class, a task
class, or a gang's worker at a level.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from colocate.problem import Problem
from colocate.schema import TOLERANCE
from colocate.solvers._order import column_rank

__all__ = ["Change", "Content", "Item", "Kind", "State"]


class Kind(IntEnum):
    """What an item is."""

    SERVICE = 0
    TASK = 1
    WORKER = 2


Item = tuple[Kind, int]
"""Kind, and service class, task class or gang level."""
Content = tuple[int, tuple[Item, ...]]
"""GPU class, and its items in order."""


@dataclass(frozen=True, slots=True)
class Change:
    """GPUs that hold `source` (None: nothing) come to hold `target`, which has one item more."""

    source: int | None
    target: int
    item: Item


class State:
    """A partial solution over the columns of a problem."""

    def __init__(self, problem: Problem) -> None:
        columns = problem.columns
        self.problem = problem
        self.value: list[float] = columns.value.tolist()
        self.rank: list[int] = column_rank(problem).tolist()
        self.counts = [0] * columns.size
        self.gangs = [0] * problem.levels.size
        self.empty: list[int] = problem.gpu_count.tolist()
        self.services: list[int] = problem.service_count.tolist()
        self.tasks: list[int] = problem.task_count.tolist()
        self.level_task: list[int] = problem.levels.task.tolist()
        self.content = _contents(problem)
        self.larger: dict[Content, list[tuple[int, Item]]] = defaultdict(list)
        """What a content can become by one item more: (column, item)."""
        self.smaller: dict[Item, list[tuple[Content, int]]] = defaultdict(list)
        """Where an item can be added: (content without it, column with it)."""
        self.holders: dict[Content, list[int]] = defaultdict(list)
        """Columns of this content: several where quotas count shares."""
        for c, (gpu, items) in enumerate(self.content):
            self.holders[gpu, items].append(c)
            for i, item in enumerate(items):
                if i and items[i - 1] == item:
                    continue
                rest = (gpu, items[:i] + items[i + 1 :])
                self.larger[rest].append((c, item))
                if item[0] is not Kind.WORKER or not self._twice(items, item):
                    self.smaller[item].append((rest, c))
        quota = [i for i, label in enumerate(problem.rows.labels) if label.kind == "quota"]
        self.quota_left = [float(problem.rows.upper[row]) for row in quota]
        self.floor_over = [-float(problem.rows.lower[row]) for row in quota]
        """By how much each row exceeds its lower side; negative while a floor is not met."""
        self.quota_of: list[dict[int, float]] = []
        for row in quota:
            mine = problem.rows.row == row
            amounts = problem.rows.variable[mine].tolist(), problem.rows.coefficient[mine].tolist()
            self.quota_of.append(dict(zip(*amounts, strict=True)))

    def _twice(self, items: tuple[Item, ...], worker: Item) -> bool:
        """Return whether another worker of the same task class is among the items."""
        task = self.level_task[worker[1]]
        others = Counter(self.level_task[i] for kind, i in items if kind is Kind.WORKER)
        return others[task] > 1

    # -- reading -------------------------------------------------------------------------------

    def units(self, change: Change) -> int:
        """Return how many GPUs hold what the change starts from."""
        if change.source is None:
            return self.empty[self.content[change.target][0]]
        return self.counts[change.source]

    def room(self, item: Item) -> int:
        """Return how many of an item are not placed yet; of a worker, how many gangs."""
        kind, index = item
        if kind is Kind.SERVICE:
            return self.services[index]
        return self.tasks[self.level_task[index] if kind is Kind.WORKER else index]

    def gain(self, change: Change) -> float:
        """Return what one GPU's change is worth, without the worth of a gang."""
        return self.value[change.target] - (
            0.0 if change.source is None else self.value[change.source]
        )

    def sources(self, content: Content) -> Iterator[int | None]:
        """Yield the columns of this content that GPUs hold; None stands for empty GPUs."""
        if not content[1]:
            if self.empty[content[0]]:
                yield None
            return
        for c in self.holders[content]:
            if self.counts[c]:
                yield c

    def held(self) -> list[tuple[int | None, Content]]:
        """Return every column that some GPU holds, and the empty GPUs of each class."""
        empty: list[tuple[int | None, Content]] = [
            (None, (g, ())) for g, n in enumerate(self.empty) if n
        ]
        return empty + [(c, self.content[c]) for c, n in enumerate(self.counts) if n]

    def within_quotas(self, most: int, used: dict[int, int]) -> int:
        """Return how often, up to `most`, variables can change by these amounts."""
        for i, (left, over) in enumerate(zip(self.quota_left, self.floor_over, strict=True)):
            more = self.quota_use(i, used)
            if more > 0 and math.isfinite(left):
                most = min(most, max(0, int((left + TOLERANCE * max(1.0, abs(left))) / more)))
            elif more < 0 and math.isfinite(over):
                # A floor that is met stays met: a new neighbour may take share from a worker.
                most = min(most, max(0, int((over + TOLERANCE * max(1.0, abs(over))) / -more)))
        return most

    def quota_use(self, quota: int, used: dict[int, int]) -> float:
        """Return by how much a quota's row grows when variables change by these amounts."""
        of = self.quota_of[quota]
        return sum(of.get(variable, 0.0) * n for variable, n in used.items())

    def uses(self, changes: Counter[Change], level: int | None = None) -> dict[int, int]:
        """Return by how much each variable of the problem moves."""
        used: Counter[int] = Counter()
        for change, n in changes.items():
            used[change.target] += n
            if change.source is not None:
                used[change.source] -= n
        if level is not None:
            used[self.problem.columns.size + level] += 1
        return dict(used)

    # -- changing ------------------------------------------------------------------------------

    def apply(self, changes: Counter[Change], times: int, level: int | None = None) -> None:
        """Make the changes; with a level they place whole gangs."""
        used = self.uses(changes, level)
        for i in range(len(self.quota_of)):
            more = self.quota_use(i, used) * times
            self.quota_left[i] -= more
            self.floor_over[i] += more
        for change, n in changes.items():
            if change.source is None:
                self.empty[self.content[change.target][0]] -= n * times
            else:
                self.counts[change.source] -= n * times
            self.counts[change.target] += n * times
            kind, index = change.item
            if kind is Kind.SERVICE:
                self.services[index] -= n * times
            elif kind is Kind.TASK:
                self.tasks[index] -= n * times
        if level is not None:
            self.gangs[level] += times
            self.tasks[self.level_task[level]] -= times

    def solution(self) -> tuple[np.ndarray, np.ndarray]:
        """Return counts of columns and of gangs."""
        return np.array(self.counts, dtype=np.int64), np.array(self.gangs, dtype=np.int64)


def _contents(problem: Problem) -> list[Content]:
    columns = problem.columns
    start, cls = columns.start.tolist(), columns.cls.tolist()
    level, is_task = columns.level.tolist(), columns.is_task.tolist()
    items: list[Item] = [
        (Kind.SERVICE, cls[w])
        if not is_task[w]
        else (Kind.TASK, cls[w])
        if level[w] < 0
        else (Kind.WORKER, level[w])
        for w in range(len(cls))
    ]
    return [
        (gpu, tuple(sorted(items[start[c] : start[c + 1]])))
        for c, gpu in enumerate(columns.gpu.tolist())
    ]
