"""The best column of one kind of GPU at given prices: every set of co-tenants, every knob.

Where the slowdowns depend on who is together and not on the knobs, a set is priced workload by
workload: each service takes the smallest share at which its SLO holds, for each way to choose
batches that fit into the memory; the tasks divide what is left by their values. All sets of one
shape are priced together, as rows of arrays.

Where a slowdown is a table over the knobs, its smallest value is taken first. What such a set then
promises is too much or right, so sets are priced exactly (`coupled`) from the most promising on
until none promises more than the best found; the formulation says what happens beyond the cap.

Where a limit and a number differ by rounding only, the column is taken as allowed: the result is a
bound and must never be too low.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import isqrt, prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from colocate.instance import Rules
from colocate.judge.boxes import EVERYTHING, Box, ChargedSets, Pace
from colocate.judge.candidates import Candidates, Evaluations, GpuKind
from colocate.judge.classes import ServiceClass, TaskClass
from colocate.judge.coupled import CoupledSets
from colocate.judge.speeds import ROUNDING, Speeds
from colocate.judge.worth import worth_of_task
from colocate.objectives.base import Objective, used_gpu_worth

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = ["Pricer"]

CELLS_AT_ONCE = 1_000_000


class _Promise(NamedTuple):
    """What a set can be worth at most."""

    value: float
    members: list[int]
    """Services, then tasks; tasks are numbered after all services."""


@dataclass(frozen=True)
class Pricer:
    """Prices columns."""

    speeds: Speeds
    objective: Objective
    rules: Rules
    evaluations: Evaluations
    box: Box = EVERYTHING

    def best(
        self, kind: GpuKind, services: Sequence[ServiceClass], tasks: Sequence[TaskClass]
    ) -> float:
        """Return the largest reduced value of a column, or minus infinity when there is none.

        A GPU to which required services are pinned holds them all; any other may be empty.
        """
        rules = self.rules
        table = Candidates(self.speeds, rules, self.evaluations, kind, services, tasks)
        must = [s for s in kind.pinned if s.required]
        if not all(s in table.services for s in must):
            return -np.inf
        most = rules.workloads_per_gpu or rules.services_per_gpu + rules.tasks_per_gpu
        trained = [table.task_sets(m) for m in range(min(most, rules.tasks_per_gpu) + 1)]
        charged = ChargedSets(self.box, table)
        together = CoupledSets(self.speeds, self.objective, table, charged, self.box.by_share)
        # A GPU that need not hold anything may be empty, for nothing.
        best = -np.inf if must else 0.0
        promises: list[_Promise] = []
        for a in range(min(most, rules.services_per_gpu) + 1):
            held = table.service_sets(a)
            for s in must:
                held = held[(held == table.services.index(s)).sum(axis=1) == s.copies]
            for m in range(min(most - a, rules.tasks_per_gpu) + 1):
                if a + m > 0 and held.shape[0] and trained[m].shape[0]:
                    found = self._shape(table, together, held, trained[m], promises)
                    best = max(best, found)
        return self._kept(together, promises, best)

    def _kept(self, together: CoupledSets, promises: list[_Promise], best: float) -> float:
        """Return the best value, with that of the sets that have only promised one so far."""
        for promise in sorted(promises, key=lambda promise: promise.value, reverse=True):
            if promise.value <= best:
                break
            points = together.points(promise.members)
            if not self.evaluations.spend_together(prod(p.batch.size for p in points)):
                return promise.value
            best = max(best, together.best(promise.members, points))
        return best

    def _shape(
        self,
        table: Candidates,
        together: CoupledSets,
        held: Ints,
        trained: Ints,
        promises: list[_Promise],
    ) -> float:
        """Price all sets of one shape: every row of `held` with every row of `trained`.

        Sets whose slowdowns depend on knobs are added to the promises.
        """
        n = held.shape[0] * trained.shape[0]
        self.evaluations.spend(n * table.cost(held.shape[1], trained.shape[1]))
        best = -np.inf
        for services, tasks in _blocks(held, trained, table.kind.grid.sm_count + 1):
            coupled = together.coupled(services, tasks)
            charged = together.charged
            sets, values = self._price(_Sets(table, services, tasks).only(~coupled), charged)
            best = max(best, float(values.max(initial=-np.inf)))
            if coupled.any():
                sets, values = self._price(_Sets(table, services, tasks).only(coupled), charged)
                promises += map(_Promise, values.tolist(), sets.everyone.tolist())
        return best

    def _price(self, sets: _Sets, charged: ChargedSets) -> tuple[_Sets, Floats]:
        """Return the sets that are possible, and the largest reduced value in each."""
        table, n_tasks = sets.table, sets.tasks.shape[1]
        sets = sets.only(sets.admitted())
        left = table.kind.grid.sm_count - sets.taken_by_services()
        least = table.task_least[sets.tasks].sum(axis=1)
        sets, left = sets.only(left >= least), left[left >= least]
        base = table.service_worth[sets.services].sum(axis=1) + used_gpu_worth(self.objective)
        base = base - charged.charge(sets.everyone)
        if n_tasks == 0 or sets.services.shape[0] == 0:
            return sets, base
        found = np.full(left.size, -np.inf)
        for rows, ways in charged.paces(sets.everyone):
            part = sets.only(rows)
            for way in ways:
                paces = way[sets.services.shape[1] :]
                values = [self._task_values(part, j, charged, p) for j, p in enumerate(paces)]
                found[rows] = np.maximum(found[rows], _split(values, left[rows]))
        return sets, base + found

    def _task_values(self, sets: _Sets, j: int, charged: ChargedSets, pace: Pace) -> Floats:
        """Return the best reduced value of the j-th task with at most h multiprocessors."""
        table, grid = sets.table, sets.table.kind.grid
        most = np.array(grid.most)
        percent = np.array(grid.percent, dtype=np.float64)
        firsts = np.flatnonzero(np.diff(most, prepend=-1))
        slower = sets.slowdown_of_task(j)
        by_share = charged.of_worker(sets.everyone, sets.services.shape[1] + j)
        found = np.full((slower.size, grid.sm_count + 1), -np.inf)
        for t, rows in _groups(sets.tasks[:, j]):
            task, alone = table.tasks[t], table.alone[t]
            runs = alone > 0
            rate = alone[runs][None, :] / slower[rows][:, None]
            worth = worth_of_task(self.objective, task, np.minimum(rate, pace.cap))
            worth = np.where(rate > pace.above, worth, -np.inf)
            at_percent = np.full((rows.size, percent.size), -np.inf)
            at_percent[:, runs] = worth - task.share_price * percent[runs] / 100
            for where, (share_from, charge) in by_share:
                at_percent[np.ix_(where[rows], percent >= share_from)] -= charge
            found[np.ix_(rows, most[firsts])] = np.maximum.reduceat(at_percent, firsts, axis=1)
        return np.maximum.accumulate(found, axis=1)


class _Sets:
    """Sets of co-tenants of one shape, a row each, by their numbers among the candidates."""

    def __init__(self, table: Candidates, services: Ints, tasks: Ints) -> None:
        self.table = table
        self.services = services
        self.tasks = tasks

    @property
    def everyone(self) -> Ints:
        """Services, then tasks, which are numbered after all services."""
        return np.concatenate([self.services, self.tasks + self.table.n_services], axis=1)

    def only(self, rows: Bools | Ints) -> _Sets:
        """Return some of the sets."""
        return _Sets(self.table, self.services[rows], self.tasks[rows])

    def admitted(self) -> Bools:
        """Return which sets keep the rules that hold whatever the knobs."""
        table, rules = self.table, self.table.rules
        everyone = self.everyone
        allowed = table.processes[everyone].sum(axis=1) <= table.kind.max_clients
        for i, j in product(range(self.services.shape[1]), range(self.tasks.shape[1])):
            allowed &= table.friends[False, True][self.services[:, i], self.tasks[:, j]]
        if rules.tenants_per_gpu is not None:
            owners = np.sort(table.owner[everyone], axis=1)
            allowed &= 1 + (np.diff(owners, axis=1) != 0).sum(axis=1) <= rules.tenants_per_gpu
        return np.asarray(allowed)

    def _slowdown(self, is_task: bool, j: int, bound: bool) -> Floats:
        """Return the product of the slowdowns of one member by all others."""
        me = (self.tasks if is_task else self.services)[:, j]
        found = np.ones(me.size)
        for other_is_task, others in ((False, self.services), (True, self.tasks)):
            for i in range(others.shape[1]):
                if (is_task, j) != (other_is_task, i):
                    found *= self.table.beside[is_task, other_is_task][bound][me, others[:, i]]
        return found

    def slowdown_of_task(self, j: int) -> Floats:
        """Return the slowdown of the j-th task of each set."""
        return self._slowdown(True, j, False)

    def taken_by_services(self) -> Ints:
        """Return the fewest multiprocessors with which all services of each set meet their SLOs.

        The batches must fit into the memory together; more than there are means that none do.
        """
        table = self.table
        n, width = self.services.shape
        none = table.kind.grid.sm_count + 1
        sms = np.full((width, table.most_batches, n), none, dtype=np.int64)
        for i in range(width):
            slower = self._slowdown(False, i, True) * (1 - ROUNDING)
            for s, rows in _groups(self.services[:, i]):
                for b, step in enumerate(table.steps[s]):
                    sms[i, b, rows] = np.searchsorted(step.tolerated, slower[rows])
        trained = table.task_memory[self.tasks].sum(axis=1)
        best = np.full(n, none, dtype=np.int64)
        for batches in product(range(table.most_batches), repeat=width):
            gib, taken = trained.copy(), np.zeros(n, dtype=np.int64)
            for i, b in enumerate(batches):
                gib += table.service_memory[self.services[:, i], b]
                taken += sms[i, b]
            np.minimum(best, taken, out=best, where=gib <= table.room)
        return best


def _blocks(held: Ints, trained: Ints, width: int) -> Iterator[tuple[Ints, Ints]]:
    """Yield every row of `held` with every row of `trained`, so many that the cells fit.

    A block has few different ones of either, which are looked at one by one.
    """
    at_once = max(1, CELLS_AT_ONCE // width)
    few = max(isqrt(at_once), at_once // trained.shape[0])
    many = max(1, at_once // min(few, held.shape[0]))
    for i in range(0, held.shape[0], few):
        for j in range(0, trained.shape[0], many):
            services, tasks = held[i : i + few], trained[j : j + many]
            yield np.tile(services, (len(tasks), 1)), np.repeat(tasks, len(services), axis=0)


def _groups(numbers: Ints) -> Iterator[tuple[int, Ints]]:
    """Yield each distinct number and where it stands."""
    if not numbers.size:
        return
    order = np.argsort(numbers, kind="stable")
    starts = np.flatnonzero(np.diff(numbers[order], prepend=-1))
    for rows in np.split(order, starts[1:]):
        yield int(numbers[rows[0]]), rows


def _split(values: list[Floats], left: Ints) -> Floats:
    """Return the best sum of all values when `left` multiprocessors are divided among them."""
    rows = np.arange(left.size)
    if len(values) == 1:
        return np.asarray(values[0][rows, left])
    width = values[0].shape[1]
    first = values[0]
    for second in values[1:-1]:
        joined = np.full(first.shape, -np.inf)
        for h in range(width):
            np.maximum(joined[:, h:], first[:, : width - h] + second[:, h, None], out=joined[:, h:])
        first = joined
    rest = left[:, None] - np.arange(width)[None, :]
    last = np.where(rest >= 0, np.take_along_axis(values[-1], np.maximum(rest, 0), axis=1), -np.inf)
    return np.asarray((first + last).max(axis=1))
