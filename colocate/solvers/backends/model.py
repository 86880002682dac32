"""The master problem as one sparse integer program, for the solvers that hand it to a backend.

    max  c w    s.t.  lower <= A w <= upper,   0 <= w <= most,   w whole;   w = (x, z, y)

    x_c  gpu       GPUs that hold column c                most: what classes and counts leave
    z_l  gang      gangs at level l                       most: n_t
    y_d  distinct  1 where level l has at least a gangs   d = (l, a), for the columns that hold l
                                                          a >= 2 times

The rows are (C1) to (C4) of the problem, in its order, and then for `distinct`

    distinct gangs   z_l - a y_d >= 0                     y_d = 1 needs a gangs
    distinct use     x_c - most_c y_d <= 0                x_c >= 1 needs y_d = 1

Where a row's coefficients are whole numbers of a common unit (tasks; hundredths of a GPU), it is
stated in that unit with whole sides, so that a backend's tolerance cannot bend it.

Nothing here imports more than numpy: a worker process reads models without the rest of the library.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from colocate.errors import SolverError

if TYPE_CHECKING:
    from colocate.problem import Problem

__all__ = ["IntegerModel", "integer_model"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

TOLERANCE = 1e-9
"""Relative tolerance of every side; the one of the formulation."""
BACKEND_TOLERANCE = 1e-6
"""By which backends let rows be broken."""
UNITS = (1.0, 2.0, 10.0, 100.0, 1000.0, 10_000.0)
"""Parts of one that coefficients are tried as whole numbers of."""
LARGEST = 1e12
"""Beyond this, numbers are not told apart well enough by any backend."""
LARGEST_COUNT = 2**31
MAX_SWITCH = 500_000
"""A larger `most_c` in `distinct use` would be lost in the tolerances of backends."""


@dataclass(frozen=True, slots=True)
class _Entries:
    """Coordinates of a sparse matrix."""

    row: Ints
    variable: Ints
    coefficient: Floats


@dataclass(frozen=True)
class IntegerModel:
    """Arrays of one integer program, rows compressed."""

    worth: Floats
    """c: what one unit of each variable is worth, in maximised form."""
    most: Ints
    """Upper bound of each variable; the lower one is 0."""
    start: Ints
    """Row r has its entries at `start[r] <= e < start[r + 1]`."""
    variable: Ints
    coefficient: Floats
    lower: Floats
    upper: Floats
    whole: NDArray[np.bool_]
    """Rows whose coefficients and sides are all whole numbers."""
    switch_level: Ints
    """Level of each y."""
    switch_gangs: Ints
    """Gangs that it needs there."""
    n_columns: int
    n_levels: int
    constant: float
    """What is added to the worth before gaps are taken; see `integer_model`."""
    scale: float
    """The largest worth, which others are small against."""
    units: int
    """A solution has at most so many GPUs in use and gangs placed, together."""

    @property
    def n_variables(self) -> int:
        """Columns, levels and switches."""
        return int(self.worth.size)

    @property
    def n_rows(self) -> int:
        """Rows of the problem, then those of `distinct`."""
        return int(self.lower.size)

    @cached_property
    def row(self) -> Ints:
        """Row of each entry."""
        return np.repeat(np.arange(self.n_rows), np.diff(self.start))

    def activity(self, solution: NDArray[np.int64]) -> Floats:
        """Return the value of every row."""
        weights = self.coefficient * solution[self.variable]
        found = np.bincount(self.row, weights=weights, minlength=self.n_rows)
        return found.astype(np.float64)

    def broken(self, solution: Ints) -> int:
        """Return how many rows and bounds a solution does not keep."""
        activity = self.activity(solution)
        over = activity > self.upper + _slack(self.upper)
        under = activity < self.lower - _slack(self.lower)
        outside = (solution < 0) | (solution > self.most)
        return int((over | under).sum() + outside.sum())

    def value(self, solution: Ints) -> float:
        """Return the maximised value of a solution."""
        return float(self.worth @ solution)

    def tightened(self) -> IntegerModel:
        """Return the model with room for a backend's tolerance in rows that are not whole."""
        unequal = ~self.whole & (self.lower != self.upper)
        room = np.where(unequal, 2 * BACKEND_TOLERANCE, 0.0)
        return replace(self, lower=self.lower + room, upper=self.upper - room)

    def with_switches(self, counts: Ints, gangs: Ints) -> Ints:
        """Return columns and levels with the switches that follow from them."""
        on = gangs[self.switch_level] >= self.switch_gangs
        return np.concatenate([counts, gangs, on.astype(np.int64)])

    def without(self, gone: NDArray[np.bool_]) -> tuple[IntegerModel, Ints]:
        """Return the model without some columns, which are 0, and the indices of what is left."""
        kept = np.flatnonzero(~np.append(gone, np.zeros(self.n_variables - gone.size, dtype=bool)))
        new = np.full(self.n_variables, -1, dtype=np.int64)
        new[kept] = np.arange(kept.size)
        there = new[self.variable] >= 0
        row = self.row[there]
        smaller = replace(
            self,
            worth=self.worth[kept],
            most=self.most[kept],
            start=_starts(row, self.n_rows),
            variable=new[self.variable[there]],
            coefficient=self.coefficient[there],
            n_columns=self.n_columns - int(gone.sum()),
        )
        return smaller, kept


def integer_model(problem: Problem) -> IntegerModel:
    """State a problem as one integer program.

    `constant` is the objective when nothing is placed, turned to the maximised form: a relative gap
    is then the gap of the objective and not of the part that can be gained.

    Raises
    ------
    SolverError
        When a coefficient, a side or a worth is not a number that a backend can work with.
    """
    columns, levels = problem.columns, problem.levels
    _check(problem)
    most = np.concatenate([_most_columns(problem), problem.task_count[levels.task]])
    entries, lower, upper, whole = _in_whole_units(problem)
    parts, switch_level, switch_gangs = _distinct_rows(problem, most)
    switches = switch_level.size
    n_old = problem.rows.size
    row = np.concatenate([entries.row, parts.row + n_old])
    variable = np.concatenate([entries.variable, parts.variable])
    coefficient = np.concatenate([entries.coefficient, parts.coefficient])
    n_new = int(parts.row.max(initial=-1)) + 1
    # Rows in order, variables in order within them, one entry for each place.
    n = columns.size + levels.size + switches
    place, merged = np.unique(row * n + variable, return_inverse=True)
    row, variable = place // max(n, 1), place % max(n, 1)
    coefficient = np.bincount(merged, weights=coefficient, minlength=place.size).astype(np.float64)
    worth = np.concatenate([columns.value, levels.value, np.zeros(switches)])
    return IntegerModel(
        worth=worth,
        most=np.concatenate([most, np.ones(switches, dtype=np.int64)]),
        start=_starts(row, n_old + n_new),
        variable=variable,
        coefficient=coefficient,
        lower=np.concatenate([lower, _distinct_lower(n_new, switches)]),
        upper=np.concatenate([upper, _distinct_upper(n_new, switches)]),
        whole=np.concatenate([whole, np.ones(n_new, dtype=bool)]),
        switch_level=switch_level,
        switch_gangs=switch_gangs,
        n_columns=columns.size,
        n_levels=levels.size,
        constant=problem.sign * problem.offset,
        scale=problem.scale,
        units=int(problem.gpu_count.sum() + problem.task_count.sum()),
    )


def _distinct_lower(n_new: int, switches: int) -> Floats:
    """Return the lower sides of the rows of `distinct`: gangs first, then uses."""
    return np.concatenate([np.zeros(switches), np.full(n_new - switches, -np.inf)])


def _distinct_upper(n_new: int, switches: int) -> Floats:
    """Return the upper sides of the rows of `distinct`."""
    return np.concatenate([np.full(switches, np.inf), np.zeros(n_new - switches)])


def _starts(row: Ints, n: int) -> Ints:
    counts = np.bincount(row, minlength=n)
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _check(problem: Problem) -> None:
    """Refuse what is not a number, or too large to be told apart from its neighbours."""
    rows = problem.rows
    for what, values in (
        ("worth of a column", problem.columns.value),
        ("worth of a gang", problem.levels.value),
        ("coefficient", rows.coefficient),
    ):
        _refuse(what, values, ~np.isfinite(values) | (np.abs(values) > LARGEST), problem)
    for what, sides, endless in (
        ("lower side of a row", rows.lower, -np.inf),
        ("upper side of a row", rows.upper, np.inf),
    ):
        bad = (
            np.isnan(sides) | (sides == -endless) | (np.isfinite(sides) & (np.abs(sides) > LARGEST))
        )
        _refuse(what, sides, bad, problem)
    for what, counts in (
        ("number of GPUs", problem.gpu_count),
        ("number of tasks", problem.task_count * problem.gang_size),
        ("number of replicas", problem.service_count),
    ):
        _refuse(what, counts, (counts < 0) | (counts > LARGEST_COUNT), problem)
    if not math.isfinite(problem.offset):
        raise SolverError(f"the objective of an empty plan is {problem.offset}")


def _refuse(what: str, values: Floats | Ints, bad: NDArray[np.bool_], problem: Problem) -> None:
    if not bad.any():
        return
    first = int(np.flatnonzero(bad)[0])
    raise SolverError(
        f"{what} {first} is {values[first]}, which no backend can work with "
        f"({int(bad.sum())} such numbers; numbers up to {LARGEST:g} are fine)",
        path="$" if not problem.source.instance.constraints else "$.constraints",
        advice="check weights, prices and quotas, and the rows that constraints of plug-ins add.",
    )


def _most_columns(problem: Problem) -> Ints:
    """Return how many GPUs can hold each column: GPUs, replicas, tasks, and workers of gangs."""
    columns = problem.columns
    most = problem.gpu_count[columns.gpu].copy()
    owner = columns.owner
    # How often a column holds each class: services, then tasks.
    n_services = problem.service_count.size
    held = np.where(columns.is_task, columns.cls + n_services, columns.cls)
    n_held = n_services + problem.task_count.size
    place, often = np.unique(owner * max(n_held, 1) + held, return_counts=True)
    column, cls = place // max(n_held, 1), place % max(n_held, 1)
    there = np.concatenate([problem.service_count, problem.task_count * problem.gang_size])
    np.minimum.at(most, column, there[cls] // often)
    # Two workers of a level on one GPU need two gangs.
    d = problem.distinct
    lacking = problem.task_count[problem.levels.task[d.level]] < d.gangs
    most[d.column[lacking]] = 0
    return most


def _in_whole_units(problem: Problem) -> tuple[_Entries, Floats, Floats, NDArray[np.bool_]]:
    """State every row in the largest unit of which its coefficients are whole numbers.

    Sides are then whole numbers too: the largest and the smallest sum that keeps the row.
    """
    rows = problem.rows
    order = np.argsort(rows.row, kind="stable")
    row, coefficient = rows.row[order], rows.coefficient[order].copy()
    start = _starts(row, rows.size)
    lower, upper = rows.lower.copy(), rows.upper.copy()
    whole = np.zeros(rows.size, dtype=bool)
    plain = np.bincount(row, weights=coefficient != np.rint(coefficient), minlength=rows.size) == 0
    for r in range(rows.size) if not plain.all() else ():
        if plain[r]:
            continue
        mine = slice(int(start[r]), int(start[r + 1]))
        unit = _unit(coefficient[mine])
        if unit is None:
            # As large as its largest coefficient: the tolerances of backends are absolute.
            unit = 1.0 / float(np.abs(coefficient[mine]).max())
            coefficient[mine] *= unit
        else:
            coefficient[mine] = np.rint(coefficient[mine] * unit)
            whole[r] = True
        lower[r] *= unit
        upper[r] *= unit
    whole |= plain
    lower[whole] = np.ceil(lower[whole] - _slack(lower[whole]))
    upper[whole] = np.floor(upper[whole] + _slack(upper[whole]))
    return _Entries(row, rows.variable[order], coefficient), lower, upper, whole


def _slack(side: Floats) -> Floats:
    slack = TOLERANCE * np.maximum(1.0, np.abs(side))
    return np.where(np.isfinite(side), slack, 0.0)


def _unit(coefficients: Floats) -> float | None:
    """Return how many units make one, if the coefficients are whole numbers of a unit."""
    for unit in UNITS:
        scaled = coefficients * unit
        if (np.abs(scaled - np.rint(scaled)) <= 1e-9 * np.maximum(1.0, np.abs(scaled))).all():
            return unit
    return None


def _distinct_rows(problem: Problem, most: Ints) -> tuple[_Entries, Ints, Ints]:
    """Return the rows of `distinct`, numbered from 0, and level and gangs of each switch y."""
    d, n = problem.distinct, problem.columns.size
    possible = most[d.column] > 0
    column, level, gangs = d.column[possible], d.level[possible], d.gangs[possible]
    none = np.zeros(0, dtype=np.int64)
    if not column.size:
        return _Entries(none, none, np.zeros(0)), none, none
    pairs, which = np.unique(np.stack([level, gangs]), axis=1, return_inverse=True)
    which = which.reshape(-1)
    switches = pairs.shape[1]
    if int(most[column].max()) > MAX_SWITCH:
        raise SolverError(
            f"{int(most[column].max())} GPUs may hold two workers of one gang class; backends keep "
            f"such workers apart on at most {MAX_SWITCH} GPUs",
            advice="split the GPU pool or the gangs into parts, or use another solver.",
        )
    y = n + problem.levels.size + np.arange(switches)
    use = switches + np.arange(column.size)
    return (
        _Entries(
            row=np.concatenate([np.arange(switches), np.arange(switches), use, use]),
            variable=np.concatenate([n + pairs[0], y, column, y[which]]),
            coefficient=np.concatenate(
                [
                    np.ones(switches),
                    -pairs[1].astype(np.float64),
                    np.ones(column.size),
                    -most[column].astype(np.float64),
                ]
            ),
        ),
        pairs[0],
        pairs[1],
    )


def relaxation(problem: Problem) -> IntegerModel:
    """State a problem without whole numbers, `distinct` and bounds: what its prices belong to."""
    _check(problem)
    rows, n = problem.rows, problem.n_variables
    place, merged = np.unique(rows.row * max(n, 1) + rows.variable, return_inverse=True)
    weights = np.bincount(merged, weights=rows.coefficient, minlength=place.size)
    none = np.zeros(0, dtype=np.int64)
    return IntegerModel(
        worth=np.concatenate([problem.columns.value, problem.levels.value]),
        most=np.full(n, LARGEST_COUNT, dtype=np.int64),
        start=_starts(place // max(n, 1), rows.size),
        variable=place % max(n, 1),
        coefficient=weights.astype(np.float64),
        lower=rows.lower,
        upper=rows.upper,
        whole=np.zeros(rows.size, dtype=bool),
        switch_level=none,
        switch_gangs=none,
        n_columns=problem.columns.size,
        n_levels=problem.levels.size,
        constant=problem.sign * problem.offset,
        scale=problem.scale,
        units=int(problem.gpu_count.sum() + problem.task_count.sum()),
    )
