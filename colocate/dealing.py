"""Who is where, in runs of GPUs that follow each other, hold one column and name the same entries.

The GPUs of a class take its columns in the order of the columns. A stretch of GPUs of one pool that
follow each other and hold the same column takes its individuals place by place: a workload of the
column gets as many of its class as the stretch is long, one after the other, then the next workload
does. Individuals go by entry and ordinal, stretches by pool and ordinal.

    a column that holds a class twice, on GPUs 5-7:   first workload 0-2, second workload 3-5

So everything is an interval, whatever a column holds: a million GPUs with a few hundred columns are
some hundred runs, and single ids are only written where somebody asks for them.

    run i     GPUs first ... first + length - 1 of a pool, all with one column
    slot of   GPU j of the run holds individual number + j of an entry
    a run
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from colocate.classes import Classes
from colocate.gangs import Gangs, Slots, form_gangs
from colocate.problem import Problem

__all__ = ["Dealt", "deal"]

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Dealt:
    """Runs of GPUs in canonical order, and slots, those of a run together."""

    pool: Ints
    """Number of the pool, as the instance lists them."""
    first: Ints
    length: Ints
    column: Ints
    start: Ints
    """Slots of run i are start[i] ... start[i + 1] - 1."""
    workload: Ints
    """Per slot: index into the workloads of the problem's columns."""
    entry: Ints
    """Per slot; -1 for workers of gangs that are not formed."""
    number: Ints
    """Per slot: the individual on the first GPU of the run. Of tasks, the worker."""
    gangs: Gangs

    def gpus(self) -> tuple[Ints, Ints]:
        """Return pool and ordinal of every used GPU."""
        return np.repeat(self.pool, self.length), self._ramp(self.first)

    def individuals(self, place: int) -> tuple[Ints, Ints]:
        """Return entry and number at one place of every used GPU; -1 where it holds fewer."""
        slot = self.start[:-1] + place
        there = slot < self.start[1:]
        slot = np.where(there, slot, 0)
        entry = np.where(there, self.entry[slot], -1) if self.entry.size else self.pool
        number = self._ramp(self.number[slot] if self.entry.size else self.pool)
        nobody = entry < 0
        entry = np.repeat(entry, self.length)
        if nobody.any():
            number[entry < 0] = -1
        return entry, number

    def _ramp(self, first: Ints) -> Ints:
        """Return first + j for GPU j of each run."""
        found = np.arange(int(self.length.sum()))
        found += np.repeat(first - (np.cumsum(self.length) - self.length), self.length)
        return found


def deal(problem: Problem, counts: Ints, gangs: Ints | None = None) -> Dealt:
    """Return which GPU holds which column, replica and worker.

    Parameters
    ----------
    problem
        The problem that is solved.
    counts
        How many GPUs hold each column.
    gangs
        How many gangs run at each level; without it none are formed.
    """
    pool, first, length, column = _used(problem, counts)
    start, workload = _slots(problem, column)
    run = np.repeat(np.arange(column.size), np.diff(start))
    line = _Line.of(problem.source.classes, problem.gang_size)
    slots = Slots.of(run, workload, length)
    formed = form_gangs(
        problem, slots, line.task_begin, np.zeros(0, dtype=np.int64) if gangs is None else gangs
    )
    pieces = _pieces(problem, slots, line, formed.at, formed.place)
    # Cut every run where one of its slots passes from one interval, or one entry, to the next.
    inside, after = line.cuts(pieces.place, pieces.length)
    at = np.concatenate([pieces.at, pieces.at[inside] + after])
    slot = np.searchsorted(slots.begin, at, side="right") - 1
    begin = np.cumsum(length) - length
    cut = np.unique(np.concatenate([begin, begin[run[slot]] + at - slots.begin[slot]]))
    of = np.searchsorted(begin, cut, side="right") - 1
    offset = cut - begin[of]
    width = np.diff(start)[of]
    ends = np.cumsum(width)
    slot = np.repeat(start[of] - (ends - width), width) + np.arange(int(width.sum()))
    here = slots.begin[slot] + np.repeat(offset, width)
    piece = np.searchsorted(pieces.at, here, side="right") - 1
    entry, number = line.named(pieces.place[piece], here - pieces.at[piece])
    return Dealt(
        pool[of],
        first[of] + offset,
        np.diff(cut, append=int(length.sum())),
        column[of],
        np.concatenate([[0], ends]),
        workload[slot],
        entry,
        number,
        formed.gangs,
    )


def _used(problem: Problem, counts: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """Return pool, first ordinal, length and column of runs of GPUs, in canonical order."""
    names = {p.id: i for i, p in enumerate(problem.source.instance.gpu_pools)}
    none = np.zeros(0, dtype=np.int64)
    parts: list[tuple[Ints, Ints, Ints, Ints]] = [(none, none, none, none)]
    used = np.flatnonzero(counts)
    gpu_of_used = problem.columns.gpu[used]
    for g, gpu in enumerate(problem.source.classes.gpus):
        mine = used[gpu_of_used == g]
        if not mine.size:
            continue
        members = sorted(gpu.members, key=lambda m: names[m[0]])
        pool = np.concatenate([np.full(len(runs), names[name]) for name, runs in members])
        first, length = np.concatenate([runs for _, runs in members]).T
        here, there = np.cumsum(length) - length, np.cumsum(counts[mine]) - counts[mine]
        total = int(counts[mine].sum())
        at = np.unique(np.concatenate([here[here < total], there]))
        member = np.searchsorted(here, at, side="right") - 1
        column = mine[np.searchsorted(there, at, side="right") - 1]
        parts.append(
            (pool[member], first[member] + at - here[member], np.diff(at, append=total), column)
        )
    pool, first, length, column = (np.concatenate(x) for x in zip(*parts, strict=True))
    order = np.lexsort((first, pool))
    return pool[order], first[order], length[order], column[order]


def _slots(problem: Problem, column: Ints) -> tuple[Ints, Ints]:
    start = problem.columns.start
    width = start[column + 1] - start[column]
    ends = np.cumsum(width)
    workload = np.repeat(start[column] - (ends - width), width) + np.arange(int(width.sum()))
    return np.concatenate([[0], ends]), workload


@dataclass(frozen=True, slots=True)
class _Pieces:
    """Intervals of slots that take an interval of the line; they cover all slots, end to end."""

    at: Ints
    place: Ints
    """Where in the line the piece begins; -1: it takes nobody."""
    length: Ints


def _pieces(problem: Problem, slots: Slots, line: _Line, at: Ints, place: Ints) -> _Pieces:
    """Return what every slot takes, with what workers of gangs take, which is known already."""
    columns = problem.columns
    level, is_task = columns.level[slots.workload], columns.is_task[slots.workload]
    kind = columns.cls[slots.workload] + np.where(is_task, problem.service_count.size, 0)
    single = np.flatnonzero(level < 0)
    single = single[np.argsort(kind[single], kind="stable")]
    kind, length = kind[single], slots.length[single]
    ahead = np.cumsum(length) - length
    heads = np.flatnonzero(np.diff(kind, prepend=-1))
    ahead -= np.repeat(ahead[heads], np.diff(heads, append=kind.size))
    waiting = np.setdiff1d(slots.begin[level >= 0], at)
    everywhere = np.concatenate([slots.begin[single], at, waiting])
    taken = np.concatenate([line.class_begin[kind] + ahead, place, np.full(waiting.size, -1)])
    order = np.argsort(everywhere, kind="stable")
    everywhere = everywhere[order]
    total = int(slots.length.sum())
    return _Pieces(everywhere, taken[order], np.diff(everywhere, append=total))


@dataclass(frozen=True, slots=True)
class _Line:
    """All replicas and all workers in a line: by class, services first, then by entry."""

    entry: Ints
    """Entries in the order of the line, of services and then of tasks."""
    begin: Ints
    """Where each of them begins."""
    class_begin: Ints
    """Where each class begins, service classes first."""
    task_begin: Ints
    """The same for task classes alone."""

    @classmethod
    def of(cls, classes: Classes, gang_size: Ints) -> _Line:
        services, tasks = classes.services, classes.tasks
        first, then = (np.argsort(side.entry_class, kind="stable") for side in (services, tasks))
        workers = (tasks.entry_count * gang_size[tasks.entry_class])[then]
        lengths = np.concatenate([services.entry_count[first], workers])
        of_class = np.concatenate([services.count, tasks.count * gang_size])
        class_begin = np.cumsum(of_class) - of_class
        return cls(
            np.concatenate([first, then]),
            np.cumsum(lengths) - lengths,
            class_begin,
            class_begin[services.size :],
        )

    def cuts(self, place: Ints, length: Ints) -> tuple[Ints, Ints]:
        """Return where pieces pass from one entry to the next: (piece, GPUs of it before that)."""
        low = np.searchsorted(self.begin, place, side="right")
        high = np.searchsorted(self.begin, place + length - 1, side="right")
        many = np.where(place >= 0, high - low, 0)
        inside = np.repeat(np.arange(place.size), many)
        which = np.arange(inside.size) - np.repeat(np.cumsum(many) - many, many) + low[inside]
        return inside, self.begin[which] - place[inside]

    def named(self, place: Ints, further: Ints) -> tuple[Ints, Ints]:
        """Return entry and number of the individuals so much further than these places."""
        at = np.searchsorted(self.begin, place + further, side="right") - 1
        somebody = place >= 0
        entry = np.where(somebody, self.entry[at], -1) if self.entry.size else place
        number = np.where(somebody, place + further - self.begin[at], -1) if at.size else place
        return entry, number
