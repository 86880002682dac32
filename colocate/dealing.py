"""Who is where, in runs of GPUs that follow each other, hold one column and name the same entries.

Individuals are dealt in canonical order: the GPUs of a class take its columns in the order of the
columns, and the individuals of a workload class go to the GPUs in the order of pools and ordinals.
All of that are intervals, so a million GPUs with a few hundred columns are some hundred runs, and
single ids are only written where somebody asks for them.

    run i     GPUs first ... first + length - 1 of a pool, all with one column
    slot of   GPU j of the run holds individual number + j * stride of an entry; the stride is how
    a run     often the column holds the class

Gangs are formed elsewhere: slots of their workers are left without an entry (-1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from colocate.classes import Entries
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
    """Per slot."""
    number: Ints
    """Per slot: the individual on the first GPU of the run."""
    stride: Ints

    def gpus(self) -> tuple[Ints, Ints]:
        """Return pool and ordinal of every used GPU."""
        return np.repeat(self.pool, self.length), self._ramp(self.first, 1)

    def individuals(self, place: int) -> tuple[Ints, Ints]:
        """Return entry and number at one place of every used GPU; -1 where it holds fewer."""
        slot = self.start[:-1] + place
        there = slot < self.start[1:]
        slot = np.where(there, slot, 0)
        entry = np.where(there, self.entry[slot], -1)
        number = np.where(entry >= 0, self.number[slot], -1)
        stride = np.where(entry >= 0, self.stride[slot], 0)
        return np.repeat(entry, self.length), self._ramp(number, stride)

    def _ramp(self, first: Ints, stride: Ints | int) -> Ints:
        """Return first + j * stride for GPU j of each run."""
        begin = np.cumsum(self.length) - self.length
        found = np.arange(int(self.length.sum()))
        if np.any(np.not_equal(stride, 1)):
            step = np.broadcast_to(np.asarray(stride, dtype=np.int64), self.length.shape)
            found *= np.repeat(step, self.length)
            begin = begin * step
        found += np.repeat(first - begin, self.length)
        return found


def deal(problem: Problem, counts: Ints) -> Dealt:
    """Return which GPU holds which column, replica and task."""
    pool, first, length, column = _used(problem, counts)
    start, workload = _slots(problem, column)
    run = np.repeat(np.arange(column.size), np.diff(start))
    classes, columns = problem.source.classes, problem.columns
    position = np.full(workload.size, -1, dtype=np.int64)
    stride = np.ones(workload.size, dtype=np.int64)
    sides = [
        (_Line.of(classes.services), np.flatnonzero(~columns.is_task[workload])),
        (
            _Line.of(classes.tasks),
            np.flatnonzero(columns.is_task[workload] & (columns.level[workload] < 0)),
        ),
    ]
    begin = np.cumsum(length) - length
    cuts = [begin]
    for line, mine in sides:
        position[mine], stride[mine] = line.places(
            run[mine], columns.cls[workload[mine]], length[run[mine]]
        )
        on, after = line.cuts(position[mine], stride[mine], length[run[mine]])
        cuts.append(begin[run[mine][on]] + after)
    at = np.unique(np.concatenate(cuts))
    of = np.searchsorted(begin, at, side="right") - 1
    offset = at - begin[of]
    total = int(length.sum())
    width = np.diff(start)[of]
    slot = np.repeat(start[of] - (np.cumsum(width) - width), width) + np.arange(int(width.sum()))
    entry, number = np.full((2, slot.size), -1, dtype=np.int64)
    place: Ints = position[slot] + np.repeat(offset, width).astype(np.int64) * stride[slot]
    is_task = columns.is_task[workload[slot]]
    for (line, _), side in zip(sides, (~is_task, is_task), strict=True):
        named = np.flatnonzero(side & (position[slot] >= 0))
        entry[named], number[named] = line.named(place[named])
    return Dealt(
        pool[of],
        first[of] + offset,
        np.diff(at, append=total),
        column[of],
        np.concatenate([[0], np.cumsum(width)]),
        workload[slot],
        entry,
        number,
        stride[slot],
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
        pools, firsts, lengths = [], [], []
        for name, ids in sorted(gpu.members, key=lambda m: names[m[0]]):
            begins = np.array([0], dtype=np.int64)
            if ids[-1] - ids[0] + 1 != ids.size:
                begins = np.flatnonzero(np.diff(ids, prepend=ids[0] - 2) != 1)
            pools.append(np.full(begins.size, names[name]))
            firsts.append(ids[begins])
            lengths.append(np.diff(begins, append=ids.size))
        pool, first, length = (np.concatenate(x) for x in (pools, firsts, lengths))
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
class _Line:
    """All individuals of one kind in a line: by class, then by entry."""

    entry: Ints
    """Entries in the order of the line."""
    begin: Ints
    """Where each of them begins."""
    class_begin: Ints

    @classmethod
    def of(cls, entries: Entries) -> _Line:
        order = np.argsort(entries.entry_class, kind="stable")
        counts = entries.entry_count[order]
        return cls(
            order,
            np.cumsum(counts) - counts,
            np.cumsum(entries.count) - entries.count,
        )

    def places(self, run: Ints, cls: Ints, length: Ints) -> tuple[Ints, Ints]:
        """Return the place in the line of each slot's first individual, and the strides."""
        order = np.lexsort((run, cls))
        run, cls, length = run[order], cls[order], length[order]
        same = np.zeros(run.size, dtype=bool)
        same[1:] = (run[1:] == run[:-1]) & (cls[1:] == cls[:-1])
        group = np.cumsum(~same) - 1
        heads = np.flatnonzero(~same)
        often = np.diff(heads, append=run.size)
        taken = length[heads] * often
        before = np.cumsum(taken) - taken
        new_class = np.ones(heads.size, dtype=bool)
        new_class[1:] = cls[heads][1:] != cls[heads][:-1]
        of_class = before[np.flatnonzero(new_class)[np.cumsum(new_class) - 1]]
        rank = np.arange(run.size) - heads[group]
        place = np.empty(run.size, dtype=np.int64)
        stride = np.empty(run.size, dtype=np.int64)
        place[order] = self.class_begin[cls] + (before - of_class)[group] + rank
        stride[order] = often[group]
        return place, stride

    def cuts(self, place: Ints, stride: Ints, length: Ints) -> tuple[Ints, Ints]:
        """Return where slots pass from one entry to the next: (slot, GPUs of the run before it)."""
        low = np.searchsorted(self.begin, place, side="right")
        high = np.searchsorted(self.begin, place + stride * (length - 1), side="right")
        many = high - low
        on = np.repeat(np.arange(place.size), many)
        which = np.arange(on.size) - np.repeat(np.cumsum(many) - many, many) + low[on]
        return on, -(-(self.begin[which] - place[on]) // stride[on])

    def named(self, place: Ints) -> tuple[Ints, Ints]:
        """Return entry and number of the individuals at these places."""
        at = np.searchsorted(self.begin, place, side="right") - 1
        return self.entry[at], place - self.begin[at]
