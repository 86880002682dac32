"""Whole gangs out of the workers at a level, no two of one gang on one GPU.

Workers at a level stand in a line, stretch by stretch of GPUs with one column, and in a stretch
place by place. Gang i takes the workers i * k ... i * k + k - 1 of the line. Where a stretch holds
several workers on each GPU, those of one GPU are as far from each other as the stretch is long, so
this parts them if it has at least k GPUs.

Stretches that are shorter are dealt by themselves: with their workers, and as many from the end of
the line as make whole gangs, n gangs are formed by dealing in turn, worker i to gang i modulo n.
Workers of one GPU follow each other there, and n is at least what any GPU holds. What is dealt in
turn is no interval, but there is little of it: it does not grow with the number of GPUs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from colocate.problem import Problem

__all__ = ["Formed", "Gangs", "Slots", "form_gangs"]

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Slots:
    """Workloads of stretches of GPUs, those of a stretch together; the arrays run in parallel."""

    run: Ints
    """Stretch."""
    workload: Ints
    """Index into the workloads of the problem's columns."""
    length: Ints
    """GPUs of the stretch."""
    begin: Ints
    """Where the slot begins when all slots lie end to end."""
    gpu: Ints
    """Number of the first GPU of the stretch among the used ones."""

    @classmethod
    def of(cls, run: Ints, workload: Ints, length: Ints) -> Slots:
        """Return the slots; `length` is that of the runs."""
        mine = length[run]
        return cls(run, workload, mine, np.cumsum(mine) - mine, (np.cumsum(length) - length)[run])


@dataclass(frozen=True, slots=True)
class Gangs:
    """Gangs whose workers are in the same slots, counted."""

    task: Ints
    """Task class."""
    times: Ints
    """How many such gangs there are."""
    member_of: Ints
    """Per slot with workers of such a gang, one or several: index into the above."""
    workload: Ints


@dataclass(frozen=True, slots=True)
class Formed:
    """What the workers of gangs take of the line of all individuals, and the gangs."""

    at: Ints
    """Where an interval of slots begins, among all slots laid end to end."""
    place: Ints
    """Where in the line of all individuals it begins."""
    gangs: Gangs


def form_gangs(problem: Problem, slots: Slots, class_begin: Ints, gangs: Ints) -> Formed:
    """Form the gangs of every level.

    Parameters
    ----------
    problem
        The problem that is solved.
    slots
        Who is placed where.
    class_begin
        Where the workers of each task class begin in the line of all individuals.
    gangs
        How many gangs run at each level; empty: none are formed.
    """
    none = np.zeros(0, dtype=np.int64)
    parts = [(none, none)]
    found = [(none, none, none, none)]
    level = problem.columns.level[slots.workload]
    levels = np.flatnonzero(gangs)
    workers = np.flatnonzero(level >= 0) if levels.size else none
    workers = workers[np.argsort(level[workers], kind="stable")]
    bounds = np.searchsorted(level[workers], np.stack([levels, levels + 1]))
    formed = np.zeros(problem.task_count.size, dtype=np.int64)
    kinds = 0
    for at, low, high in zip(levels.tolist(), *bounds.tolist(), strict=True):
        task, n = int(problem.levels.task[at]), int(gangs[at])
        k = int(problem.gang_size[task])
        one = _OneLevel(slots, workers[low:high], k, n)
        begin, place = one.places()
        parts.append((begin, class_begin[task] + formed[task] * k + place))
        times, member_of, workload = one.alike()
        found.append((np.full(times.size, task), times, kinds + member_of, workload))
        kinds += times.size
        formed[task] += n
    begins, places = (np.concatenate(x) for x in zip(*parts, strict=True))
    return Formed(begins, places, Gangs(*(np.concatenate(x) for x in zip(*found, strict=True))))


class _OneLevel:
    """The workers at one level, and the gangs they make."""

    def __init__(self, slots: Slots, mine: Ints, size: int, n: int) -> None:
        self.slots = slots
        self.size = size
        heads = np.flatnonzero(np.diff(slots.run[mine], prepend=-1))
        held = np.diff(heads, append=mine.size)
        short = (np.repeat(held, held) > 1) & (slots.length[mine] < size)
        self.long, self.short = mine[~short], mine[short]
        few = int(slots.length[self.short].sum())
        in_turn = max(int(held.max()), -(-few // size)) if few else 0
        self.in_turn = min(in_turn, n)
        """Gangs that are formed by dealing in turn."""
        self.in_line = n - self.in_turn
        length = slots.length[self.long]
        self.begin = np.cumsum(length) - length
        """Where each slot begins in the line of this level."""

    def places(self) -> tuple[Ints, Ints]:
        """Return where intervals of slots begin, and the number of their first worker."""
        if not self.in_turn:
            return self.slots.begin[self.long], self.begin
        end = self.in_line * self.size
        inside = self.begin < end
        slot, offset, order = self._turns()
        place = np.empty(slot.size, dtype=np.int64)
        turn = np.arange(slot.size)
        gang, member = self.in_line + turn % self.in_turn, turn // self.in_turn
        place[order] = gang * self.size + member
        return (
            np.concatenate([self.slots.begin[self.long[inside]], self.slots.begin[slot] + offset]),
            np.concatenate([self.begin[inside], place]),
        )

    def _turns(self) -> tuple[Ints, Ints, Ints]:
        """Return slot and offset of each worker dealt in turn, and them in the order of GPUs."""
        end = self.in_line * self.size
        past = np.concatenate([np.maximum(0, end - self.begin), np.zeros_like(self.short)])
        slot = np.concatenate([self.long, self.short])
        many = np.maximum(0, self.slots.length[slot] - past)
        offset = np.arange(int(many.sum())) + np.repeat(past - (np.cumsum(many) - many), many)
        slot = np.repeat(slot, many)
        return slot, offset, np.lexsort((slot, self.slots.gpu[slot] + offset))

    def alike(self) -> tuple[Ints, Ints, Ints]:
        """Return how often each make-up of a gang occurs, and of each make-up the workloads."""
        # Gangs change where a slot begins in the line: there, and after the gang it begins in.
        n = self.in_line
        first = np.unique(np.concatenate([self.begin // self.size, -(-self.begin // self.size)]))
        first = first[first < n]
        low = np.searchsorted(self.begin, first * self.size, side="right") - 1
        high = np.searchsorted(self.begin, (first + 1) * self.size, side="left")
        many = high - low
        of = np.repeat(np.arange(first.size), many)
        member = np.arange(of.size) + np.repeat(low - (np.cumsum(many) - many), many)
        times, workload = np.diff(first, append=n), self.slots.workload[self.long[member]]
        if not self.in_turn:
            return times, of, workload
        slot, _, order = self._turns()
        turn = first.size + np.arange(slot.size) % self.in_turn
        return (
            np.concatenate([times, np.ones(self.in_turn, dtype=np.int64)]),
            np.concatenate([of, turn]),
            np.concatenate([workload, self.slots.workload[slot[order]]]),
        )
