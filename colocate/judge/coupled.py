"""Sets of co-tenants whose slowdowns depend on their knobs, priced exactly.

The knobs of every member are an axis of one array. A slowdown table is brought to the points of two
members by weights of its nodes, a matrix [point, node] for each axis:

    s[v, n] = sum over i, j, k, l of table[i, j, k, l] * W_i[v] * W_k[v] * W_j[n] * W_l[n]

Where a limit and a number differ by rounding only, the setting is taken as allowed, as elsewhere in
the bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from colocate.judge.boxes import ChargedSets
from colocate.judge.candidates import Candidates
from colocate.judge.speeds import ROUNDING, Speeds
from colocate.judge.worth import worth_of_task
from colocate.objectives.base import Objective, used_gpu_worth
from colocate.profile import SlowdownTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = ["CoupledSets", "Points"]

CELLS_AT_ONCE = 1_000_000


class Points(NamedTuple):
    """Where one member may stand; the arrays run in parallel."""

    batch: Floats
    sure_pct: Floats
    most_pct: Floats
    most: Ints
    """Multiprocessors that it may take."""
    memory_gib: Floats
    rate: Floats
    """Alone; of tasks."""
    bears: Floats
    """Slowdown up to which the SLO holds; infinite for tasks."""
    share_cost: Floats
    """Price of its share; of tasks."""
    share_pct: Floats

    def only(self, rows: Bools | slice) -> Points:
        """Return some of the points."""
        return Points(
            self.batch[rows],
            self.sure_pct[rows],
            self.most_pct[rows],
            self.most[rows],
            self.memory_gib[rows],
            self.rate[rows],
            self.bears[rows],
            self.share_cost[rows],
            self.share_pct[rows],
        )


class CoupledSets:
    """Prices sets of one kind of GPU."""

    def __init__(
        self,
        speeds: Speeds,
        objective: Objective,
        table: Candidates,
        charged: ChargedSets,
        by_share: bool,
    ) -> None:
        self.speeds = speeds
        self.objective = objective
        self.table = table
        self.charged = charged
        self.by_share = by_share
        """Whether percentages that give and take the same may be charged differently."""
        self.grid = table.kind.grid
        self._points: dict[int, Points] = {}
        listed = speeds.tables.get(table.kind.gpu_type, {})
        tabulated = {name: i for i, name in enumerate({name for pair in listed for name in pair})}
        # Workloads in no table share the last row and column, in which nothing depends.
        self._depends = np.zeros((len(tabulated) + 1, len(tabulated) + 1), dtype=bool)
        for victim, neighbour in listed:
            self._depends[tabulated[victim], tabulated[neighbour]] = True
        self._workload = np.array([tabulated.get(name, -1) for name in table.names], dtype=np.int64)

    def coupled(self, services: Ints, tasks: Ints) -> Bools:
        """Return in which sets, a row each, some slowdown depends on knobs."""
        found = np.zeros(services.shape[0], dtype=bool)
        if self._depends.any():
            everyone = np.concatenate([services, tasks + self.table.n_services], axis=1)
            workload = self._workload[everyone]
            for i in range(everyone.shape[1]):
                for j in range(everyone.shape[1]):
                    if i != j:
                        found |= self._depends[workload[:, i], workload[:, j]]
        return found

    def points(self, members: Sequence[int]) -> list[Points]:
        """Return where the members of a set may stand; tasks are numbered after services.

        What no company could make possible is left out: too little patience for the least
        slowdowns, more multiprocessors than the least of the others leave.
        """
        n = self.table.n_services
        found = []
        for v, member in enumerate(members):
            p = self._of(member)
            if member < n:
                others = [*members[:v], *members[v + 1 :]]
                least = prod(self._least(member, other) for other in others)
                p = p.only(p.bears >= least * (1 - ROUNDING))
            found.append(p)
        least_taken = [int(p.most.min(initial=self.grid.sm_count + 1)) for p in found]
        room = self.grid.sm_count - sum(least_taken)
        return [p.only(p.most - own <= room) for p, own in zip(found, least_taken, strict=True)]

    def _least(self, victim: int, neighbour: int) -> float:
        """Return the smallest slowdown bound of a service beside another member."""
        n = self.table.n_services
        bounds = self.table.beside[False, neighbour >= n][1]
        return float(bounds[victim, neighbour - n if neighbour >= n else neighbour])

    def best(self, members: Sequence[int], points: Sequence[Points]) -> float:
        """Return the largest reduced value of a set at these points, if any fits."""
        beside = {
            (v, n): self._slowdown(members[v], members[n], points[v], points[n])
            for v in range(len(members))
            for n in range(len(members))
            if v != n
        }
        rest = prod(p.batch.size for p in points[1:])
        step = max(1, CELLS_AT_ONCE // max(1, rest))
        found = -np.inf
        for start in range(0, points[0].batch.size, step):
            part = slice(start, start + step)
            block = [points[0].only(part), *points[1:]]
            near = {
                (v, n): (tuple(a[part] if v == 0 else a[:, part] if n == 0 else a for a in pair))
                for (v, n), pair in beside.items()
            }
            found = max(found, self._block(members, block, near))
        return found

    def _block(
        self,
        members: Sequence[int],
        points: Sequence[Points],
        beside: dict[tuple[int, int], tuple[Floats, ...]],
    ) -> float:
        width = len(points)

        def spread(values: NDArray[np.float64], *axes: int) -> Floats:
            """Put the axes of an array where those of these members are."""
            if len(axes) == 2 and axes[0] > axes[1]:
                values, axes = values.T, (axes[1], axes[0])
            shape = [1] * width
            for axis, n in zip(axes, values.shape, strict=True):
                shape[axis] = n
            return values.reshape(shape)

        taken: Floats = np.zeros((1,) * width)
        memory: Floats = np.zeros((1,) * width)
        for i, p in enumerate(points):
            taken = taken + spread(p.most.astype(np.float64), i)
            memory = memory + spread(p.memory_gib, i)
        allowed = (taken <= self.grid.sm_count) & (memory <= self.table.room)
        everyone = np.array([members], dtype=np.int64)
        value: Floats = np.full(
            (1,) * width, used_gpu_worth(self.objective) - self.charged.charge(everyone)[0]
        )
        trains: list[tuple[int, Floats]] = []
        for v, p in enumerate(points):
            slower: Floats = np.ones((1,) * width)
            for n in range(width):
                if n != v:
                    is_task = members[v] >= self.table.n_services
                    slower = slower * spread(beside[v, n][0 if is_task else 1], v, n)
            if members[v] < self.table.n_services:
                allowed = allowed & (slower * (1 - ROUNDING) <= spread(p.bears, v))
                value = value + self.table.service_worth[members[v]]
                continue
            trains.append((v, spread(p.rate, v) / slower))
            value = value - spread(p.share_cost, v)
            for where, (share_from, charge) in self.charged.of_worker(everyone, v):
                if where[0]:
                    value = value - spread(np.where(p.share_pct >= share_from, charge, 0.0), v)
        best = -np.inf
        ((_, ways),) = self.charged.paces(everyone)
        for way in ways:
            paid, possible = value, allowed
            for v, rate in trains:
                task = self.table.tasks[members[v] - self.table.n_services]
                paid = paid + worth_of_task(self.objective, task, np.minimum(rate, way[v].cap))
                possible = possible & (rate > way[v].above)
            best = max(best, float(np.where(possible, paid, -np.inf).max(initial=-np.inf)))
        return best

    # -- one member, two members ---------------------------------------------------------------

    def _of(self, member: int) -> Points:
        if member not in self._points:
            n = self.table.n_services
            found = self._service(member) if member < n else self._task(member - n)
            self._points[member] = found
        return self._points[member]

    def _service(self, i: int) -> Points:
        parts = []
        for step in self.table.steps[i]:
            at = self._distinct(step.bears > 0, largest=False)
            parts.append(self._at(at, step.batch, step.memory_gib, np.zeros(at.size)))
            parts[-1] = parts[-1]._replace(bears=step.bears[at])
        return Points(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    def _task(self, i: int) -> Points:
        task, alone = self.table.tasks[i], self.table.alone[i]
        # Of percentages that give and take the same, the price of shares likes one end best.
        offered = alone > 0
        at = self._distinct(offered, largest=task.share_price < 0)
        if self.by_share:
            at = np.flatnonzero(offered)
        found = self._at(at, task.batch, float(self.table.task_memory[i]), alone[at])
        percent = np.array(self.grid.percent, dtype=np.float64)[at]
        return found._replace(share_cost=task.share_price * percent / 100)

    def _distinct(self, offered: Bools, *, largest: bool) -> Ints:
        """Return percentages that differ in what they give or take; equal ones are neighbours."""
        at = np.flatnonzero(offered)
        sure, most = np.array(self.grid.sure)[at], np.array(self.grid.most)[at]
        ends = np.flatnonzero((sure[1:] != sure[:-1]) | (most[1:] != most[:-1]))
        chosen = np.append(ends, at.size - 1) if largest else np.append(0, ends + 1)
        return np.asarray(at[chosen[: at.size]])

    def _at(self, at: Ints, batch: int, memory_gib: float, rate: Floats) -> Points:
        sure, most = np.array(self.grid.sure)[at], np.array(self.grid.most)[at]
        return Points(
            batch=np.full(at.size, float(batch)),
            sure_pct=100.0 * sure / self.grid.sm_count,
            most_pct=100.0 * most / self.grid.sm_count,
            most=most,
            memory_gib=np.full(at.size, memory_gib),
            rate=rate,
            bears=np.full(at.size, np.inf),
            share_cost=np.zeros(at.size),
            share_pct=np.array(self.grid.percent, dtype=np.float64)[at],
        )

    def _slowdown(
        self, victim: int, neighbour: int, mine: Points, other: Points
    ) -> tuple[Floats, Floats]:
        """Return slowdown and bound at all points of two members, [victim, neighbour]."""
        names, kind = self.table.names, self.table.kind
        pair = names[victim], names[neighbour]
        known = self.speeds.tables.get(kind.gpu_type, {}).get(pair)
        if known is None:
            mean, high = self.speeds.slowdowns(kind.gpu_type, pair[:1], pair[1:])
            shape = mine.batch.size, other.batch.size
            return np.broadcast_to(mean, shape), np.broadcast_to(high, shape)
        table, wider = known
        found = _at_points(table, mine, other)
        return found, found * wider


def _at_points(table: SlowdownTable, mine: Points, other: Points) -> Floats:
    """Return a slowdown table at all points of two members, [victim, neighbour]."""
    nodes = np.array(table.slowdown).reshape(table.shape)
    return np.asarray(
        np.einsum(
            "ijkl,vi,vk,nj,nl->vn",
            nodes,
            _weights(np.log2(table.victim_batch), np.log2(mine.batch)),
            _weights(np.array(table.victim_share_pct), mine.sure_pct),
            _weights(np.log2(table.neighbour_batch), np.log2(other.batch)),
            _weights(np.array(table.neighbour_share_pct), other.most_pct),
            optimize="optimal",
        )
    )


def _weights(nodes: Floats, at: Floats) -> Floats:
    """Return how much of each node there is at each point: hat functions, flat beyond the ends."""
    return np.stack([np.interp(at, nodes, only) for only in np.eye(nodes.size)], axis=1)
