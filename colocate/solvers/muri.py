"""Up to four tasks on a GPU by repeated matching, as Muri groups them: quick, and without a proof.

Start with every task by itself. In each round, parts (tasks, and groups that were found before) are
joined two by two, or kept, or left out:

    max  sum over joins y of v(y) y
    (C1) gpu   per GPU class:  sum of y on it          <= n_g
    (C3) part  per part p:     sum of y that use p     <= how many there are of p

A join is one part or two, on a GPU class where a column holds just their tasks. After a round the
parts are the groups that were chosen and the tasks that were not. The rounds end when one gains
nothing: the groups of the last can be chosen again, so no round loses.

The first round is the best pairing there is. What is lost is in the others: the best groups of
three or four need not contain the best pairs. Muri joins groups of equal size until GPUs are full,
and weighs an edge by how well resources interleave; here it is the worth of the column.
"""

from __future__ import annotations

from collections import Counter
from itertools import combinations_with_replacement
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from colocate.errors import UnsupportedError
from colocate.prices import linear_prices
from colocate.problem import Problem
from colocate.result import Limit, Reason
from colocate.solvers._pairs import Program, best_columns, by_program
from colocate.solvers.base import Availability, Capability, Clock, Context, RawSolution
from colocate.solvers.pairing import mixed

__all__ = ["MuriSolver"]

Ints = NDArray[np.int64]
Part = tuple[int, ...]
"""Ascending task classes."""

LARGEST = 4
GAIN = 1e-9
"""Relative gain that is worth another round."""


class _Join(NamedTuple):
    """One part, or two, on a GPU."""

    column: int
    parts: tuple[Part, ...]


class MuriSolver:
    """Repeated matching of groups."""

    name: ClassVar[str] = "muri"
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {
            Capability.BOUND,
            Capability.TIME_LIMIT,
            Capability.SEVERAL_TASKS,
            Capability.GPU_TYPES,
        }
    )

    @classmethod
    def availability(cls) -> Availability:
        """Return yes: SciPy is a core dependency."""
        return Availability(True)

    def solve(self, problem: Problem, context: Context) -> RawSolution:
        """Join parts until nothing is gained."""
        clock = Clock(context)
        columns = problem.columns
        most = int(np.bincount(columns.owner[columns.is_task], minlength=1).max(initial=0))
        why = mixed(problem)
        if why is None and most > LARGEST:
            why = f"up to {most} tasks share a GPU, and groups are of {LARGEST} at most"
        if why is not None:
            raise UnsupportedError(
                f"solver 'muri' cannot answer this: {why}", path="$.rules", advice="use 'milp'."
            )
        counts, limit = _rounds(problem, context.limits.time_s, clock)
        if counts is None:
            return RawSolution(Reason.NO_SOLUTION_FOUND, limit=limit)
        return RawSolution(
            Reason.FEASIBLE,
            counts=counts,
            gangs=np.zeros(0, dtype=np.int64),
            limit=limit,
            prices=linear_prices(problem),
            history=tuple(clock.history),
        )


def _rounds(problem: Problem, time_s: float | None, clock: Clock) -> tuple[Ints | None, Limit]:
    """Return counts of columns and the limit that was reached."""
    held = best_columns(problem)
    parts: Counter[Part] = Counter()
    for t, n in enumerate(problem.task_count.tolist()):
        parts[(t,)] = n
    parts += Counter()
    counts: Ints | None = None
    value = -np.inf
    while True:
        limit = clock.hit()
        if limit is not Limit.NONE:
            return counts, limit
        joins = _joins(held, parts)
        left = None if time_s is None else time_s - clock.elapsed_s
        answer = by_program(_program(problem, joins, parts), left)
        if answer.x is None or not answer.complete:
            return counts, Limit.TIME
        found = np.zeros(problem.columns.size, dtype=np.int64)
        groups: Counter[Part] = Counter()
        rest = parts.copy()
        for join, times in zip(joins, answer.x.tolist(), strict=True):
            if times:
                found[join.column] += times
                groups[tuple(sorted(sum(join.parts, ())))] += times
                for part in join.parts:
                    rest[part] -= times
        worth = problem.value_of(found, np.zeros(0, dtype=np.int64))
        if counts is not None and worth <= value + GAIN * max(abs(value), problem.scale):
            return counts, Limit.NONE
        counts, value = found, worth
        clock.report(problem.objective_of(value), None, "round")
        # What was not chosen goes back to single tasks.
        for part, n in rest.items():
            for t in part:
                groups[(t,)] += n
        parts = Counter({p: n for p, n in groups.items() if n})


def _joins(held: dict[tuple[int, Part], int], parts: Counter[Part]) -> list[_Join]:
    """Return every way to put one part or two on a GPU."""
    classes = sorted({gpu for gpu, _ in held})
    ways: list[tuple[Part, ...]] = [(p,) for p in sorted(parts)]
    ways += [
        (a, b)
        for a, b in combinations_with_replacement(sorted(parts), 2)
        if len(a) + len(b) <= LARGEST and (a != b or parts[a] > 1)
    ]
    found = []
    for way in ways:
        tasks = tuple(sorted(sum(way, ())))
        found += [_Join(held[g, tasks], way) for g in classes if (g, tasks) in held]
    return found


def _program(problem: Problem, joins: list[_Join], parts: Counter[Part]) -> Program:
    """Return the program of one round."""
    n_gpu = problem.gpu_count.size
    number = {p: n_gpu + i for i, p in enumerate(parts)}
    column = np.array([j.column for j in joins], dtype=np.int64)
    used = [number[p] for j in joins for p in j.parts]
    row = np.concatenate([problem.columns.gpu[column], np.array(used, dtype=np.int64)])
    by = [i for i, j in enumerate(joins) for _ in j.parts]
    upper = np.concatenate([problem.gpu_count, np.array(list(parts.values()), dtype=np.int64)])
    return Program(
        problem.columns.value[column],
        row,
        np.concatenate([np.arange(len(joins)), np.array(by, dtype=np.int64)]),
        np.ones(row.size),
        np.full(upper.size, -np.inf),
        upper.astype(float),
    )
