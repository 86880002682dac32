"""Thresholds that a new score stays below with a stated confidence, by split-conformal ranks.

A score s_i is larger the worse a prediction turned out (see `error_bounds`). A threshold t covers a
score when s <= t. What a threshold promises depends on what may be taken for exchangeable:

`by_cell`  The new cell is one more draw from where the n cells came from, such as another share of
    a workload that the scores hold already.

        t = s_(k),  the k-th smallest,  k = ceil(level * (n + 1));   infinite for k > n
        P(s_new <= t) >= level, and <= level + 1 / (n + 1) where no two scores are equal

`by_new_unit`  The new cell belongs to a unit (a workload, in one of its roles) that is not in the
    scores. Units are exchangeable, cells within a unit are alike and may depend on each other. With
    F_u the share of the unit's own scores up to t, units count alike, however many cells they have:

        t(beta) = min {t : (1/K) * sum_u F_u(t) >= beta}                        (pooled shares)
        c(beta) = (1/K) * sum_u F_u(t_{-u}(beta)),  t_{-u} pooled without u     (rehearsal)
        t = t(beta),  beta = min {beta >= level : c(beta) >= level};  infinite where there is none

    A prediction of a pair involves two workloads, and is made without one of them or both. A unit
    owns the scores of predictions made without it; t_{-u} also leaves out all that involve u.
    Pooling alone covers too little with few units. The rehearsal leaves every unit out once and
    widens beta until those that were left out would have been covered on average. This holds on
    average over units to within O(1/K^2), not exactly. There have to be at least 3 units, and
    K (1 - level) >= 0.08; where even the worst score of the others
    does not cover enough of those left out, the level is out of reach, and the threshold infinite.

`by_new_unit_surely`  The same with an exact promise for any K (hierarchical conformal prediction:
    Dunn, Wasserman and Ramdas 2022; Lee, Barber and Willett 2023), which needs many units:

        t = min {t : (1/(K+1)) * sum_u F_u(t) >= level};   infinite for K / (K + 1) < level
        P(s_new <= t) >= level

All three promise an average: over cells, or over new units and their cells. A single unusual unit
may be covered far less often.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from colocate.errors import InputError

__all__ = ["MIN_UNITS", "by_cell", "by_new_unit", "by_new_unit_surely", "fewest_units"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Labels = NDArray[Any]

MIN_UNITS = 3
"""Units that a rehearsal needs: two others to pool, and one that is left out."""
ROOM = 0.08
"""Part of one unit's cells that a level has to let go uncovered. A level that leaves less room
would be decided by a few cells of one unit; in simulation it then covers a point or more too
little wherever it is finite."""
STEPS = 64
"""Parts into which a search for beta divides its interval, `ROUNDS` times over."""
ROUNDS = 3
SLACK = 1e-9
"""Rounding error of a sum of weights."""


def by_cell(scores: Floats, level: float) -> float:
    """Return the threshold for one more cell like these; infinite where they are too few."""
    ordered = np.sort(_checked(scores, level))
    rank = math.ceil(level * (ordered.size + 1) - SLACK)
    return math.inf if rank > ordered.size else float(ordered[rank - 1])


def by_new_unit(
    scores: Floats, units: Labels, level: float, *, involved: Sequence[Labels] = ()
) -> float:
    """Return the threshold for the cells of a unit that is not among these, by rehearsal.

    Parameters
    ----------
    scores
        One for each held-out cell.
    units
        Of each score the unit without which the prediction was made, "a+b" for several. A unit
        owns these scores.
    level
        Share of the new unit's cells that is to be covered, on average over new units.
    involved
        Further labels of each score, such as victim and neighbour; "" for nobody. A rehearsal
        without a unit leaves out its own scores and all in which it is involved.

    Returns
    -------
    float
        Infinite where there are too few units or scores for the level.
    """
    scores = _checked(scores, level)
    owners = _owners(scores, units, involved)
    if owners.units < fewest_units(level) or math.isinf(by_cell(scores, level)):
        return math.inf
    beta = _rehearsed(owners, level)
    return math.inf if beta is None else float(_pooled(owners, np.array([beta]))[0])


def fewest_units(level: float) -> int:
    """Return the units without which `by_new_unit` says nothing: 3 up to 0.97, 8 for 0.99."""
    return max(MIN_UNITS, math.ceil(ROOM / (1 - level) - SLACK))


def by_new_unit_surely(scores: Floats, units: Labels, level: float) -> float:
    """Return the threshold for the cells of a new unit that holds for any number of units.

    It is for units in one role: in pairs, cells of the new unit share their other half with known
    ones, and the promise would not be exact.
    """
    scores = _checked(scores, level)
    owners = _owners(scores, units, ())
    beta = level * (owners.units + 1) / owners.units if owners.units else math.inf
    return math.inf if beta > 1 + SLACK else float(_pooled(owners, np.array([min(beta, 1.0)]))[0])


class _Owners(NamedTuple):
    """Which unit owns which score. Scores are in ascending order."""

    scores: Floats
    row: Ints
    """Of each (score, unit) that belong together; every pair once, by unit."""
    unit: Ints
    units: int
    """How many units there are."""
    left_out: list[Ints]
    """The scores that go with each unit when it is left out."""


def _checked(scores: Floats, level: float) -> Floats:
    if not 0 < level < 1:
        raise InputError(f"level {level!r} is not between 0 and 1", advice="use 0.95.")
    if np.isnan(scores).any():
        raise InputError(
            f"{int(np.isnan(scores).sum())} of {scores.size} scores are not numbers",
            advice="leave out cells without a prediction or a measurement.",
        )
    return np.asarray(scores, dtype=np.float64)


def _owners(scores: Floats, units: Labels, involved: Sequence[Labels]) -> _Owners:
    order = np.argsort(scores, kind="stable")
    rows, names = _parts(units, order)
    known, index = np.unique(names, return_inverse=True)
    if np.unique(rows).size < scores.size:
        raise InputError(
            "some scores belong to no unit", advice="name the workload of every score."
        )
    owned = np.unique(np.stack([index, rows]), axis=1)
    together = [owned]
    for labels in involved:
        rows, names = _parts(labels, order)
        at = np.minimum(np.searchsorted(known, names), known.size - 1)
        there = known[at] == names if known.size else at < 0
        together.append(np.stack([at[there], rows[there]]))
    left_out = np.unique(np.concatenate(together, axis=1), axis=1)
    ends = np.cumsum(np.bincount(left_out[0], minlength=known.size))
    return _Owners(scores[order], owned[1], owned[0], known.size, np.split(left_out[1], ends[:-1]))


def _parts(labels: Labels, order: Ints) -> tuple[Ints, NDArray[np.str_]]:
    """Return the names in each label, with the place of its score."""
    if len(labels) != order.size:
        raise InputError(
            f"{len(labels)} labels for {order.size} scores", advice="give one to each score."
        )
    code: dict[str, int] = {}
    of = np.array([code.setdefault(str(text), len(code)) for text in labels], dtype=np.int64)[order]
    # There are many scores and few labels: each is cut once.
    names = [[name for name in text.split("+") if name] for text in code]
    sizes = np.array([len(parts) for parts in names], dtype=np.int64)
    flat = np.array([name for parts in names for name in parts], dtype=str)
    rows = np.repeat(np.arange(order.size), sizes[of])
    within = np.arange(rows.size) - np.repeat(np.cumsum(sizes[of]) - sizes[of], sizes[of])
    starts = np.cumsum(sizes) - sizes
    return rows, flat[starts[of[rows]] + within]


def _pooled(owners: _Owners, beta: Floats, left_out: Ints | None = None) -> Floats:
    """Return t(beta), ascending, without the scores of some rows; infinite where none is left."""
    kept = np.ones(owners.scores.size, dtype=bool)
    if left_out is not None:
        kept[left_out] = False
    there = kept[owners.row]
    row, unit = owners.row[there], owners.unit[there]
    if not row.size:
        return np.full(beta.shape, np.inf)
    sizes = np.bincount(unit, minlength=owners.units)
    weights = np.bincount(row, weights=1.0 / sizes[unit], minlength=owners.scores.size)
    shares = np.cumsum(weights) / np.count_nonzero(sizes)
    at = np.searchsorted(shares, np.minimum(beta, 1.0) - SLACK)
    found: Floats = owners.scores[np.minimum(at, np.flatnonzero(kept)[-1])]
    return found


def _covered(owners: _Owners, beta: Floats) -> Floats:
    """Return c(beta): how much of a unit the others' threshold covers, averaged over units."""
    total = np.zeros(beta.shape)
    ends = np.cumsum(np.bincount(owners.unit, minlength=owners.units))
    for own, left_out in zip(np.split(owners.row, ends[:-1]), owners.left_out, strict=True):
        threshold = _pooled(owners, beta, left_out)
        # A unit without which nothing is left cannot be rehearsed: nobody says it was covered.
        inside = np.searchsorted(owners.scores[own], threshold, side="right")
        total += np.where(np.isinf(threshold), 0.0, inside / own.size)
    found: Floats = total / owners.units
    return found


def _rehearsed(owners: _Owners, level: float) -> float | None:
    """Return the least beta of at least `level` whose rehearsal reaches the level.

    The numbers tried are the same for all levels, so that beta never falls as the level grows.
    """
    low, width = 0.0, 1.0
    for _ in range(ROUNDS):
        tried = low + width * np.arange(1, STEPS + 1) / STEPS
        enough = (tried >= level - SLACK) & (_covered(owners, tried) >= level - SLACK)
        if not enough.any():
            return None
        width /= STEPS
        low = float(tried[enough.argmax()]) - width
    return low + width
