"""Which whole numbers to split by: those that the relaxation's best point has as fractions."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from colocate.boxes import MAX_NAMES, Boxes, Cut
from colocate.problem import Problem

__all__ = ["Candidates"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

WHOLE = 1e-5
"""So close to a whole number is whole."""
OF_A_KIND = 2
"""Numbers of one kind that are tried."""


class Candidates:
    """Finds numbers to split by."""

    def __init__(self, problem: Problem, boxes: Boxes) -> None:
        self.problem = problem
        self.boxes = boxes
        classes = problem.source.classes
        self._few = {
            False: np.bincount(classes.services.entry_class, minlength=classes.services.size)
            <= MAX_NAMES,
            True: np.bincount(classes.tasks.entry_class, minlength=classes.tasks.size) <= MAX_NAMES,
        }
        self.places = _places(problem)
        # Where no quota counts a tenant's shares, columns have the best share alone.
        specs = [spec.quota for spec in problem.source.quota_rows if spec.quota is not None]
        tenants = {quota.tenant for quota in specs if quota.unit == "gpu_share"}
        self._shared = [t.tenant in tenants for t in classes.tasks.representative]

    def of(self, point: Floats) -> list[tuple[Cut, int]]:
        """Return cuts and sides that exclude a point, the most promising of each kind."""
        found: dict[Cut, None] = {}
        for kind in (self._totals(), self._levels(point), self._gpus(point), self._shares(point)):
            ranked: list[tuple[float, int, Cut]] = []
            for cut in kind:
                if cut in found or not self._nameable(cut):
                    continue
                value = float(self.boxes.coefficients(cut) @ point)
                part = value - np.floor(value)
                if WHOLE < part < 1 - WHOLE:
                    ranked.append((abs(part - 0.5), len(ranked), cut))
            ranked.sort(key=lambda r: (round(r[0], 6), r[1]))
            found |= dict.fromkeys(cut for _, _, cut in ranked[:OF_A_KIND])
        chosen = [(cut, int(np.floor(self.boxes.coefficients(cut) @ point))) for cut in found]
        apart = [a for a in self._apart(point) if a not in chosen and self._nameable(a[0])]
        return [*apart[:OF_A_KIND], *chosen]

    def _nameable(self, cut: Cut) -> bool:
        of_tasks = cut.counts != "replicas"
        return (cut.cls < 0 or bool(self._few[of_tasks][cut.cls])) and all(
            self._few[is_task][cls] for is_task, cls, _ in cut.holding
        )

    def _totals(self) -> Iterator[Cut]:
        """Yield how many tasks and replicas of each class are placed."""
        for t in range(self.problem.task_count.size):
            yield Cut("tasks", t)
        for s in np.flatnonzero(~self.problem.service_required).tolist():
            yield Cut("replicas", s)

    def _levels(self, point: Floats) -> Iterator[Cut]:
        """Yield how many gangs of a batch run at a level or faster."""
        levels = self.problem.levels
        used: list[int] = np.flatnonzero(point[self.problem.columns.size :] > WHOLE).tolist()
        for below, level in zip([-1, *used], used, strict=False):
            task, batch = int(levels.task[level]), int(levels.batch[level])
            if below >= 0 and (levels.task[below], levels.batch[below]) == (task, batch):
                # All cuts between two that are used cut off the same point; half way is fairest.
                yield Cut("tasks", task, level=(below + level + 1) // 2)
            yield Cut("tasks", task, level=level)

    def _gpus(self, point: Floats) -> Iterator[Cut]:
        """Yield how many GPUs hold something, one workload, two, or a whole set, and where."""
        for places in (None, *self.places):
            yield Cut("gpus", gpus=places)
        sets = [self._members(c) for c in self._used(point)]
        for size in (1, 2, 3):
            for members, gpu in sets:
                for part in dict.fromkeys(combinations(members, min(size, len(members)))):
                    for places in (None, self._place_of(gpu)):
                        yield Cut("gpus", gpus=places, holding=_counted(part))
        for members, gpu in sets:
            yield Cut("gpus", gpus=self._place_of(gpu), holding=_counted(members))

    def _shares(self, point: Floats) -> Iterator[Cut]:
        """Yield how many workers have so much of a GPU, beside whom."""
        columns = self.problem.columns
        for c in self._used(point):
            members, gpu = self._members(c)
            for w in range(int(columns.start[c]), int(columns.start[c + 1])):
                cls, share = int(columns.cls[w]), int(columns.share_pct[w])
                if columns.is_task[w] and self._shared[cls] and share > 1:
                    yield Cut("workers", cls, share_from=share)
                    whole = _counted(members)
                    yield Cut(
                        "workers", cls, gpus=self._place_of(gpu), holding=whole, share_from=share
                    )

    def _apart(self, point: Floats) -> Iterator[tuple[Cut, int]]:
        """Yield cuts where a GPU holds more workers at a level than there are gangs for them.

        On the first side no GPU holds so many, on the second there are gangs enough.
        """
        n, distinct = self.problem.columns.size, self.problem.distinct
        used = point[:n][distinct.column] > WHOLE
        for level in np.unique(distinct.level[used]).tolist():
            task = int(self.problem.levels.task[level])
            most = int(distinct.gangs[used & (distinct.level == level)].max())
            for cut in (
                Cut("tasks", task),
                Cut("tasks", task, level=level, slow=True),
                Cut("tasks", task, level=level),
            ):
                if float(self.boxes.coefficients(cut) @ point) < most - WHOLE:
                    yield cut, most - 1

    def _used(self, point: Floats) -> list[int]:
        x = point[: self.problem.columns.size]
        found: list[int] = np.flatnonzero((x > WHOLE) & (np.abs(x - np.rint(x)) > WHOLE)).tolist()
        return found

    def _members(self, c: int) -> tuple[tuple[tuple[bool, int], ...], int]:
        columns = self.problem.columns
        rows = range(int(columns.start[c]), int(columns.start[c + 1]))
        members = sorted((bool(columns.is_task[w]), int(columns.cls[w])) for w in rows)
        return tuple(members), int(columns.gpu[c])

    def _place_of(self, gpu: int) -> tuple[int, ...] | None:
        return next((place for place in self.places if gpu in place), None)


def _counted(members: tuple[tuple[bool, int], ...]) -> tuple[tuple[bool, int, int], ...]:
    return tuple((*m, members.count(m)) for m in dict.fromkeys(members))


def _places(problem: Problem) -> list[tuple[int, ...]]:
    """Return the smallest sets of GPU classes that are whole pools; none when that is all GPUs."""
    of_pool: dict[str, set[int]] = {}
    for g, gpu in enumerate(problem.source.classes.gpus):
        for pool, _ in gpu.members:
            of_pool.setdefault(pool, set()).add(g)
    places: list[set[int]] = []
    for together in of_pool.values():
        touching = [place for place in places if place & together]
        places = [place for place in places if not place & together]
        places.append(together.union(*touching))
    return [tuple(sorted(place)) for place in places] if len(places) > 1 else []
