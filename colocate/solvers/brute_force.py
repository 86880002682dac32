"""Every way to fill the GPUs with columns, one by one: exact, for small problems.

    max  sum over GPUs of w_c     where w_c = v_c + sum over gang workers in c of V_l / k

subject to (C2) service, (C3) task, gang, gangs, distinct, (C4) quota. A gang's worth is split over
its k workers: z_l = (workers at level l) / k makes the sum the same.

GPUs of one class are interchangeable, so their columns are chosen in one order. With prices p of
the linear relaxation and reduced worth  w'_c = w_c - p (what c uses of each row)  every completion
of a partial filling is worth at most

    p (row sides) + sum of w' chosen so far + sum over the GPUs left of the best w' still allowed

whatever the prices are; a branch is cut where that cannot beat the incumbent, or where a row can no
longer be kept.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from colocate.errors import TooLargeError
from colocate.prices import legal_prices, linear_prices, value_bound
from colocate.problem import Problem
from colocate.result import Limit, Reason, relative_gap
from colocate.schema import TOLERANCE
from colocate.solvers.base import Availability, Capability, Clock, Context, RawSolution

__all__ = ["BruteForceSolver"]

MAX_NODES = 300_000
CHECK_EVERY = 2048
SAME = 1e-10
"""Difference below which a completion does not count as better, in the worth of all GPUs."""


class BruteForceSolver:
    """Enumerates columns; refuses what would take too long."""

    name: ClassVar[str] = "brute_force"
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {
            Capability.EXACT,
            Capability.BOUND,
            Capability.TIME_LIMIT,
            Capability.INTERRUPT,
            Capability.SEVERAL_TASKS,
            Capability.SEVERAL_SERVICES,
            Capability.FREE_SERVICES,
            Capability.PINNED_SERVICES,
            Capability.OPTIONAL_SERVICES,
            Capability.GANGS,
            Capability.QUOTAS,
            Capability.FLOORS,
            Capability.GPU_TYPES,
            Capability.BLAST_RADIUS,
            Capability.EXTRA_CONSTRAINTS,
        }
    )

    def __init__(self, max_nodes: int = MAX_NODES) -> None:
        self.max_nodes = max_nodes

    @classmethod
    def availability(cls) -> Availability:
        """Return yes: it needs nothing but the core dependencies."""
        return Availability(True)

    def solve(self, problem: Problem, context: Context) -> RawSolution:
        """Enumerate until done, or until a limit."""
        clock = Clock(context)
        search = _Search(problem, clock, self.max_nodes, context.limits.gap)
        limit = search.run()
        history = tuple(clock.history)
        if search.best_counts is None:
            if limit is not Limit.NONE:
                return RawSolution(Reason.NO_SOLUTION_FOUND, limit=limit, history=history)
            return RawSolution(
                Reason.INFEASIBLE,
                detail="no combination of columns meets all rows",
                history=history,
            )
        done = limit is Limit.NONE and not search.close_enough
        counts, gangs = search.best_counts, search.best_gangs
        return RawSolution(
            Reason.OPTIMAL if done else Reason.FEASIBLE,
            counts=counts,
            gangs=gangs,
            limit=limit,
            detail="within the gap that was asked for" if search.close_enough else "",
            prices=search.prices,
            value_claimed=problem.value_of(counts, gangs) if done else None,
            history=history,
        )


class _Search:
    """Depth-first search over the GPUs, with all bookkeeping in plain Python numbers."""

    def __init__(self, problem: Problem, clock: Clock, max_nodes: int, gap: float | None) -> None:
        self.problem = problem
        self.clock = clock
        self.max_nodes = max_nodes
        self.gap = gap
        self.close_enough = False
        self.nodes = 0
        self.best_value = -np.inf
        self.best_counts: NDArray[np.int64] | None = None
        self.best_gangs = np.zeros(problem.levels.size, dtype=np.int64)
        self.limit = Limit.NONE
        self.prices = linear_prices(problem)
        self.same = SAME * problem.scale * max(1, int(problem.gpu_count.sum()))
        self._prepare()

    def _prepare(self) -> None:
        problem, columns, levels = self.problem, self.problem.columns, self.problem.levels
        gang = problem.gang_size
        per_worker = levels.value / gang[levels.task] if levels.size else levels.value
        worth = columns.value.copy()
        at = np.flatnonzero(columns.level >= 0)
        np.add.at(worth, columns.owner[at], per_worker[columns.level[at]])
        quota = [i for i, label in enumerate(problem.rows.labels) if label.kind == "quota"]
        self.quota_upper = problem.rows.upper[quota].tolist()
        self.quota_lower = problem.rows.lower[quota].tolist()
        n = columns.size
        self.quota_column = np.zeros((len(quota), n))
        self.quota_level = np.zeros((len(quota), levels.size))
        for i, row in enumerate(quota):
            mine = problem.rows.row == row
            variable, value = problem.rows.variable[mine], problem.rows.coefficient[mine]
            x = variable < n
            self.quota_column[i, variable[x]] = value[x]
            self.quota_level[i, variable[~x] - n] = value[~x]
        self.worth = worth
        self.base, reduced = self._reduce(worth, quota)
        self.reduced = reduced.tolist()
        self.order = [
            sorted(np.flatnonzero(columns.gpu == g).tolist(), key=lambda c: (-self.reduced[c], c))
            for g in range(problem.gpu_count.size)
        ]
        # The best that all GPUs of the later classes could add.
        tail = [0.0]
        for g in reversed(range(len(self.order))):
            top = self.reduced[self.order[g][0]] if self.order[g] else 0.0
            tail.append(tail[-1] + max(0.0, top) * int(problem.gpu_count[g]))
        self.tail = tail[::-1]
        self.content = [
            [
                (bool(columns.is_task[w]), int(columns.cls[w]), int(columns.level[w]))
                for w in range(columns.start[c], columns.start[c + 1])
            ]
            for c in range(n)
        ]
        self.room_service = problem.service_count.tolist()
        self.room_task = (problem.task_count * gang).tolist()
        self.workers = [0] * levels.size
        self.chosen: list[int] = []

        # GPUs of class g and after that could hold a service, times how often.
        often = np.zeros((problem.service_count.size, len(self.order) + 1), dtype=np.int64)
        for g in reversed(range(len(self.order))):
            most = np.zeros(problem.service_count.size, dtype=np.int64)
            for c in self.order[g]:
                held = np.bincount(
                    [cls for is_task, cls, _ in self.content[c] if not is_task], minlength=most.size
                )
                most = np.maximum(most, held)
            often[:, g] = most
        self.often = often.tolist()
        # What a column uses of each quota, a gang's worker its part; amounts are never negative.
        uses = self.quota_column.copy()
        part = self.quota_level / gang[levels.task] if levels.size else self.quota_level
        for i in range(len(quota)):
            np.add.at(uses[i], columns.owner[at], part[i, columns.level[at]])
        self.quota_uses = uses.T.tolist()
        self.quota_now = [0.0] * len(quota)
        self.quota_most = [
            [max((self.quota_uses[c][i] for c in order), default=0.0) for order in self.order]
            for i in range(len(quota))
        ]
        self.required = np.flatnonzero(problem.service_required).tolist()

    def _reduce(
        self, worth: NDArray[np.float64], quota: list[int]
    ) -> tuple[float, NDArray[np.float64]]:
        """Charge the prices of services, tasks, gangs and quotas to the columns."""
        problem, columns, levels = self.problem, self.problem.columns, self.problem.levels
        if self.prices is None:
            return 0.0, worth
        legal = legal_prices(problem, self.prices)
        charge: dict[str, NDArray[np.float64]] = {
            kind: np.array(
                [p for p, x in zip(legal, problem.rows.labels, strict=True) if x.kind == kind]
            )
            for kind in ("service", "task", "gangs")
        }
        per_task = charge["task"] + charge["gangs"] / problem.gang_size
        reduced = worth.copy()
        tasks = columns.is_task
        np.subtract.at(reduced, columns.owner[~tasks], charge["service"][columns.cls[~tasks]])
        np.subtract.at(reduced, columns.owner[tasks], per_task[columns.cls[tasks]])
        base = charge["service"] @ problem.service_count + charge["task"] @ problem.task_count
        base += charge["gangs"] @ problem.task_count
        at = np.flatnonzero(columns.level >= 0)
        for i, row in enumerate(quota):
            price = legal[row]
            if price != 0:
                reduced -= price * self.quota_column[i]
                share = self.quota_level[i] / problem.gang_size[levels.task]
                np.subtract.at(reduced, columns.owner[at], price * share[columns.level[at]])
                base += price * (problem.rows.upper if price > 0 else problem.rows.lower)[row]
        return float(base), reduced

    def run(self) -> Limit:
        """Search everything."""
        self._fill(0, int(self.problem.gpu_count[0]) if self.order else 0, 0, self.base)
        return self.limit

    def _gap(self, value: float) -> float:
        """Return the gap that the prices alone prove."""
        bound = value_bound(self.problem, self.prices) if self.prices is not None else math.inf
        of = self.problem.objective_of
        return relative_gap(of(value), of(bound)) if math.isfinite(bound) else math.inf

    def _hopeless(self, gpu: int, left: int) -> bool:
        """Return whether the GPUs that are left cannot hold all required services, or a floor."""
        for s in self.required:
            if self.room_service[s]:
                room = left * self.often[s][gpu]
                for g in range(gpu + 1, len(self.order)):
                    room += int(self.problem.gpu_count[g]) * self.often[s][g]
                if room < self.room_service[s]:
                    return True
        for now, lower, most in zip(self.quota_now, self.quota_lower, self.quota_most, strict=True):
            reach = now + left * most[gpu]
            for g in range(gpu + 1, len(self.order)):
                reach += int(self.problem.gpu_count[g]) * most[g]
            if reach < lower - _slack(lower):
                return True
        return False

    def _fill(self, gpu: int, left: int, first: int, ahead: float) -> None:
        """Choose columns for `left` more GPUs of class `gpu`, from position `first` of its order.

        `ahead` is the sides of the rows at their prices, plus the reduced worth chosen so far.
        """
        self.nodes += 1
        if self.nodes > self.max_nodes:
            raise TooLargeError(
                f"brute_force gave up after {self.max_nodes} nodes "
                f"({self.problem.columns.size} columns, {int(self.problem.gpu_count.sum())} GPUs)",
                advice="use another solver for an instance of this size.",
            )
        if self.nodes % CHECK_EVERY == 1:
            self.limit = self.clock.hit()
        if self.limit is not Limit.NONE or self.close_enough:
            return
        if gpu == len(self.order):
            self._finish()
            return
        if self._hopeless(gpu, left):
            return
        order = self.order[gpu]
        for position in range(first, len(order)) if left else ():
            column = order[position]
            most = ahead + left * max(0.0, self.reduced[column]) + self.tail[gpu + 1]
            if most <= self.best_value + self.same:
                return
            if self._take(column):
                self._fill(gpu, left - 1, position, ahead + self.reduced[column])
                self._give_back(column)
        # The GPUs that are left stay empty.
        following = int(self.problem.gpu_count[gpu + 1]) if gpu + 1 < len(self.order) else 0
        self._fill(gpu + 1, following, 0, ahead)

    def _take(self, column: int) -> bool:
        for is_task, cls, level in self.content[column]:
            (self.room_task if is_task else self.room_service)[cls] -= 1
            if level >= 0:
                self.workers[level] += 1
        self.chosen.append(column)
        for i, amount in enumerate(self.quota_uses[column]):
            self.quota_now[i] += amount
        within = all(
            now <= upper + _slack(upper)
            for now, upper in zip(self.quota_now, self.quota_upper, strict=True)
        )
        if within and all(
            (self.room_task if is_task else self.room_service)[cls] >= 0
            for is_task, cls, _ in self.content[column]
        ):
            return True
        self._give_back(column)
        return False

    def _give_back(self, column: int) -> None:
        self.chosen.pop()
        for i, amount in enumerate(self.quota_uses[column]):
            self.quota_now[i] -= amount
        for is_task, cls, level in self.content[column]:
            (self.room_task if is_task else self.room_service)[cls] += 1
            if level >= 0:
                self.workers[level] -= 1

    def _finish(self) -> None:
        """Keep the filling if it is better and meets the rows that only show at the end."""
        value = float(self.worth[self.chosen].sum())
        if value <= self.best_value:
            return
        problem = self.problem
        for s, required in enumerate(problem.service_required.tolist()):
            if required and self.room_service[s] > 0:
                return
        gangs = np.zeros(problem.levels.size, dtype=np.int64)
        for level, workers in enumerate(self.workers):
            size = int(problem.gang_size[problem.levels.task[level]])
            if workers % size:
                return
            gangs[level] = workers // size
        counts = np.bincount(np.array(self.chosen, dtype=np.int64), minlength=problem.columns.size)
        distinct = problem.distinct
        used = counts[distinct.column] > 0
        if (gangs[distinct.level] < distinct.gangs)[used].any():
            return
        activity = self.quota_column @ counts + self.quota_level @ gangs
        for amount, lower, upper in zip(activity, self.quota_lower, self.quota_upper, strict=True):
            if amount < lower - _slack(lower) or amount > upper + _slack(upper):
                return
        self.best_value, self.best_counts, self.best_gangs = value, counts, gangs
        self.close_enough = self.gap is not None and self._gap(value) <= self.gap
        self.clock.report(problem.objective_of(problem.value_of(counts, gangs)), None, "enumerate")


def _slack(limit: float) -> float:
    return TOLERANCE * max(1.0, abs(limit)) if math.isfinite(limit) else 0.0
