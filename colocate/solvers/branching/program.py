"""The relaxation inside a box, and prices for boxes that hold no plan.

    max  c w   s.t.  lower <= A w <= upper,   a w <= k or >= k + 1 for each side,   w >= 0

over the columns that the prices of all plans do not rule out; others come in where the prices of a
box like them, since the bound of a box counts all columns.

A box that holds no plan has no prices of this kind. There

    min  sum of s   s.t.  the same rows, + s >= 0 in each row that asks for something

has an optimum v > 0, and its prices r say that the rows contradict each other: every multiple of
them lowers the bound by the same multiple of v.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from colocate.boxes import Boxes, BoxLeaf, Side
from colocate.problem import Problem
from colocate.solvers.backends.ask import Found
from colocate.solvers.backends.model import LARGEST_COUNT, IntegerModel, relaxation

__all__ = ["BoxProgram", "Relax", "Solved"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

Relax = Callable[[IntegerModel], Found | None]
"""Solves a relaxation; None when there is no answer."""
LARGEST_PRICE = 1e12
"""Beyond this a bound would drown in its own rounding."""
SAME = 1e-9
ROUNDS = 12
"""Times that further columns are let in."""
AT_ONCE = 300
"""Columns that are let in each time."""
LEFT_OUT = 20
"""Entries that are left out cost as much as one that is in: they are priced."""
CONTRADICTION = 1e-6
"""By how much rows must contradict each other to be taken at their word."""


@dataclass(frozen=True, slots=True)
class Solved:
    """What the relaxation of a box says."""

    leaf: BoxLeaf
    bound: float
    point: Floats | None
    """Where the relaxation is best, over columns and levels; None when the box is empty."""


class BoxProgram:
    """States and solves the relaxations of the boxes of one problem."""

    def __init__(self, problem: Problem, boxes: Boxes, relax: Relax, active: Bools) -> None:
        self.problem = problem
        self.boxes = boxes
        self._relax = relax
        self._whole = relaxation(problem)
        self._active = active.copy()
        """Columns that relaxations are solved over."""
        self.solved = 0
        """Relaxations so far."""
        self.work = 0
        """What they cost: entries of their rows."""

    def solve(
        self, sides: Sequence[Side], parent: BoxLeaf, parent_bound: float, enough: float
    ) -> Solved | None:
        """Return prices of a box, at worst its parent's; None when there is no answer.

        Where the box is empty, the prices prove less than `enough`.
        """
        inherited = BoxLeaf(parent.prices, (*parent.of_sides, 0.0)[: len(sides)])
        gone = self.boxes.gone(sides)
        for _ in range(ROUNDS):
            model, kept = self._model(sides, gone)
            found = self._ask(model)
            if found is None:
                return None
            if found.outcome == "infeasible":
                empty = self._empty(model, sides, inherited, enough)
                if empty is None or empty.bound < enough:
                    return empty
                if not self._let_in(empty.leaf, sides):
                    return None
                continue
            if found.prices is None or found.point is None or found.bound is None:
                return None
            leaf = self._leaf(found.prices, sides)
            bound = self.boxes.bound(leaf, sides)
            slack = SAME * max(abs(found.bound), self.problem.scale)
            if bound <= found.bound + slack or not self._let_in(leaf, sides):
                break
        else:
            return None
        point = np.zeros(self.problem.n_variables)
        point[kept] = found.point
        if not bound <= parent_bound:
            leaf, bound = inherited, self.boxes.bound(inherited, sides)
        return Solved(leaf, bound, point)

    def _ask(self, model: IntegerModel) -> Found | None:
        if not model.n_variables:
            return _without_variables(model)
        self.solved += 1
        self.work += model.coefficient.size + self._whole.coefficient.size // LEFT_OUT
        return self._relax(model)

    def _leaf(self, prices: Floats, sides: Sequence[Side]) -> BoxLeaf:
        n = self.problem.rows.size
        of_sides = [
            max(0.0, -price if side.above else price)
            for side, price in zip(sides, prices[n:].tolist(), strict=True)
        ]
        return BoxLeaf(prices[:n], tuple(of_sides))

    def _let_in(self, leaf: BoxLeaf, sides: Sequence[Side]) -> bool:
        """Let in columns that the prices like better than any that is in; return whether any is."""
        columns = self.problem.columns
        reduced = self.boxes.reduced(leaf, sides)[: columns.size]
        best = np.zeros(self.problem.gpu_count.size)
        np.maximum.at(best, columns.gpu[self._active], reduced[self._active])
        gain = np.where(self._active, -np.inf, reduced - best[columns.gpu])
        wanted = np.flatnonzero(gain > SAME * self.problem.scale)
        chosen = wanted[np.argsort(-gain[wanted], kind="stable")[:AT_ONCE]]
        self._active[chosen] = True
        return bool(chosen.size)

    def _model(self, sides: Sequence[Side], gone: Bools) -> tuple[IntegerModel, Ints]:
        """Return the relaxation with a further row for each side, and the variables it keeps."""
        whole = self._whole
        rows = [self.boxes.coefficients(side.cut) for side in sides]
        places = [np.flatnonzero(row) for row in rows]
        ends = whole.start[-1] + np.cumsum([p.size for p in places], dtype=np.int64)
        model = replace(
            whole,
            start=np.concatenate([whole.start, ends]),
            variable=np.concatenate([whole.variable, *places]),
            coefficient=np.concatenate(
                [whole.coefficient, *(r[p] for r, p in zip(rows, places, strict=True))]
            ),
            lower=np.append(whole.lower, [s.at_most + 1 if s.above else -np.inf for s in sides]),
            upper=np.append(whole.upper, [np.inf if s.above else s.at_most for s in sides]),
            whole=np.append(whole.whole, np.zeros(len(sides), dtype=bool)),
        )
        return model.without(gone | ~self._active)

    def _empty(
        self, model: IntegerModel, sides: Sequence[Side], inherited: BoxLeaf, enough: float
    ) -> Solved | None:
        """Return prices that prove that nothing in the box is worth `enough`.

        Where columns that are out would be worth more, the bound shows it.
        """
        asking = np.flatnonzero(model.lower > 0)
        if not asking.size:
            return None
        n, more = model.n_variables, asking.size
        per_row = np.diff(model.start)
        per_row[asking] += 1
        at = model.start[asking + 1]
        elastic = replace(
            model,
            worth=np.concatenate([np.zeros(n), -np.ones(more)]),
            most=np.append(model.most, np.full(more, LARGEST_COUNT, dtype=np.int64)),
            start=np.concatenate([[0], np.cumsum(per_row)]),
            variable=np.insert(model.variable, at, n + np.arange(more)),
            coefficient=np.insert(model.coefficient, at, 1.0),
            scale=1.0,
        )
        found = self._ask(elastic)
        if found is None or found.prices is None or found.bound is None:
            return None
        if found.bound > -CONTRADICTION:
            return None
        ray = self._leaf(found.prices, sides)
        base = self.boxes.bound(inherited, sides)
        times = 1.5 * max(SAME, base - enough) / -found.bound
        leaf = BoxLeaf(
            inherited.prices + times * ray.prices,
            tuple(a + times * b for a, b in zip(inherited.of_sides, ray.of_sides, strict=True)),
        )
        if max(np.abs(leaf.prices).max(initial=0.0), *leaf.of_sides, 0.0) > LARGEST_PRICE:
            return None
        return Solved(leaf, self.boxes.bound(leaf, sides), None)


def _without_variables(model: IntegerModel) -> Found:
    if (model.lower > 0).any() or (model.upper < 0).any():
        return Found("infeasible")
    return Found("optimal", prices=np.zeros(model.n_rows), point=np.zeros(0), bound=0.0)
