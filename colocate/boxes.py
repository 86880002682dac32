"""Boxes over classes: what branching splits by, the bound of a box, and the tree as a certificate.

A cut names a whole number that every plan has and a side k; a box is what is left of the plans on
one side of each of some cuts. With the coefficients of a cut as a further row,

    a w <= k   on the first side,     a w >= k + 1   on the second,

the prices of all rows bound the plans of the box as prices of the rows alone bound all plans. A
column that breaks a w <= k by itself is left out of the box. The judge says the same in terms of
the instance, by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from colocate.certificate import Among, Certificate, Leaf, Split
from colocate.prices import certificate, legal_prices, value_bound
from colocate.problem import Problem

__all__ = ["MAX_NAMES", "BoxLeaf", "BoxTree", "Boxes", "Cut", "Side", "tree_certificate"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

MAX_NAMES = 1000
"""Entries of one class that a split would name."""
MAX_NUMBERS = 200_000
"""Prices that one tree lists; beyond that a certificate would be larger than the plan is worth."""
JUST_ABOVE = 1 + 1e-12
"""Times the level before: where a level begins."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A split, in terms of classes."""

    counts: Literal["gpus", "workers", "tasks", "replicas"]
    cls: int = -1
    """Service class or task class that is counted; none where GPUs are."""
    gpus: tuple[int, ...] | None = None
    """Only on GPUs of these classes."""
    holding: tuple[tuple[bool, int, int], ...] = ()
    """(whether a task, class, how many) that a GPU must hold."""
    level: int = -1
    """Only gangs at this level and the higher ones of the same batch."""
    slow: bool = False
    """Instead, only gangs at this level and the lower ones of the same batch."""
    share_from: int = 1
    """Only workers with at least this percentage."""


class Side(NamedTuple):
    """One side of a cut."""

    cut: Cut
    above: bool
    """Whether the number is at least `at_most + 1`."""
    at_most: int


class BoxLeaf(NamedTuple):
    """A box that is not cut further."""

    prices: Floats
    """Of the rows of the problem."""
    of_sides: tuple[float, ...]
    """Of the cuts above it, from the top, at least 0."""


BoxTree = tuple["tuple[Cut, int] | BoxLeaf", ...]
"""From the top: each cut and its side, followed by the first part, then by the second."""


class Boxes:
    """The boxes of one problem."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self._owner = problem.columns.owner
        self._rows: dict[Cut, Floats] = {}
        self._held: dict[tuple[bool, int], Ints] = {}
        rows = problem.rows
        self._derived = np.array([x.kind in ("gpu", "gangs") for x in rows.labels], dtype=bool)
        self._worth = np.concatenate([problem.columns.value, problem.levels.value])

    def coefficients(self, cut: Cut) -> Floats:
        """Return what each column, and each gang at a level, adds to the number."""
        if cut not in self._rows:
            self._rows[cut] = self._row(cut)
        return self._rows[cut]

    def held(self, is_task: bool, cls: int) -> Ints:
        """Return how many of a class each column holds."""
        if (is_task, cls) not in self._held:
            columns = self.problem.columns
            mine = (columns.is_task == is_task) & (columns.cls == cls)
            held = np.bincount(self._owner[mine], minlength=columns.size)
            self._held[is_task, cls] = held
        return self._held[is_task, cls]

    def _row(self, cut: Cut) -> Floats:
        problem, columns, levels = self.problem, self.problem.columns, self.problem.levels
        row = np.zeros(problem.n_variables)
        n = columns.size
        if cut.counts in ("tasks", "replicas"):
            if cut.counts == "tasks" and problem.gang_size[cut.cls] > 1:
                mine = levels.task == cut.cls
                if cut.level >= 0:
                    mine &= self._at(cut)
                row[n:] = mine
            else:
                row[:n] = self.held(cut.counts == "tasks", cut.cls)
            return row
        counted = np.ones(n, dtype=bool)
        if cut.gpus is not None:
            counted &= np.isin(columns.gpu, cut.gpus)
        for is_task, cls, at_least in cut.holding:
            counted &= self.held(is_task, cls) >= at_least
        if cut.counts == "gpus":
            row[:n] = counted
        else:
            mine = (
                columns.is_task & (columns.cls == cut.cls) & (columns.share_pct >= cut.share_from)
            )
            row[:n] = np.bincount(self._owner[mine], minlength=n) * counted
        return row

    def _at(self, cut: Cut) -> Bools:
        """Return the levels that a cut counts."""
        levels, number = self.problem.levels, np.arange(self.problem.levels.size)
        there = number <= cut.level if cut.slow else number >= cut.level
        same = (levels.task == cut.cls) & (levels.batch == levels.batch[cut.level])
        return np.asarray(there & same)

    def gone(self, sides: Sequence[Side]) -> Bools:
        """Return the columns that break a side by themselves."""
        found = np.zeros(self.problem.columns.size, dtype=bool)
        for cut, above, at_most in sides:
            if above:
                continue
            if cut.counts == "gpus" and at_most == 0:
                found |= self.coefficients(cut)[: found.size] > 0
            elif cut.counts in ("tasks", "replicas") and cut.level < 0:
                found |= self.held(cut.counts == "tasks", cut.cls) > at_most
            elif cut.counts == "tasks":
                # Two workers on one GPU are in different gangs, so at this level there are two.
                columns = self.problem.columns
                mine = (columns.level >= 0) & self._at(cut)[columns.level]
                found |= np.bincount(self._owner[mine], minlength=found.size) > at_most
        return found

    def bound(self, leaf: BoxLeaf, sides: Sequence[Side]) -> float:
        """Return the bound on the maximised value that a leaf's prices prove in its box."""
        if not sides:
            return value_bound(self.problem, leaf.prices)
        problem, rows, n = self.problem, self.problem.rows, self.problem.columns.size
        legal = self._legal(leaf)
        side = np.where(legal > 0, rows.upper, np.where(legal < 0, rows.lower, 0.0))
        side[legal == 0] = 0.0
        total = float(legal @ side)
        for side_, price in zip(sides, leaf.of_sides, strict=True):
            total += _signed(side_, price) * (side_.at_most + side_.above)
        reduced = self.reduced(leaf, sides)
        best = np.zeros(problem.gpu_count.size)
        np.maximum.at(best, problem.columns.gpu, reduced[:n])
        gang = np.zeros(problem.task_count.size)
        np.maximum.at(gang, problem.levels.task, reduced[n:])
        return total + float(best @ problem.gpu_count) + float(gang @ problem.task_count)

    def reduced(self, leaf: BoxLeaf, sides: Sequence[Side]) -> Floats:
        """Return what columns, and gangs at levels, are worth beyond what they are charged.

        The prices of GPUs and of gangs are not charged: they follow from the others. Columns that
        no plan of the box has are worth minus infinity.
        """
        rows = self.problem.rows
        legal = self._legal(leaf)
        charged: Floats = np.zeros(self.problem.n_variables)
        np.add.at(charged, rows.variable, rows.coefficient * legal[rows.row])
        for side, price in zip(sides, leaf.of_sides, strict=True):
            charged = charged + _signed(side, price) * self.coefficients(side.cut)
        reduced = self._worth - charged
        reduced[: self.problem.columns.size][self.gone(sides)] = -np.inf
        return reduced

    def _legal(self, leaf: BoxLeaf) -> Floats:
        legal = legal_prices(self.problem, leaf.prices)
        legal[self._derived] = 0.0
        return legal

    # -- names ---------------------------------------------------------------------------------

    def split(self, cut: Cut, at_most: int) -> Split:
        """Say a cut in the instance's own words."""
        levels, of_tasks = self.problem.levels, cut.counts != "replicas"
        batch = faster = not_faster = None
        if cut.level >= 0:
            batch = int(levels.batch[cut.level])
            before = cut.level - 1
            if cut.slow:
                not_faster = float(levels.rate[cut.level]) * JUST_ABOVE
            elif before >= 0 and levels.task[before] == cut.cls and levels.batch[before] == batch:
                faster = float(levels.rate[before]) * JUST_ABOVE
        gpus = self.problem.source.classes.gpus
        pools = {pool for g in cut.gpus or () for pool, _ in gpus[g].members}
        return Split(
            counts=cut.counts,
            of=() if cut.cls < 0 else self._names(of_tasks, cut.cls),
            pools=tuple(sorted(pools)),
            holding=tuple(
                Among(ids=self._names(is_task, cls), at_least=at_least)
                for is_task, cls, at_least in cut.holding
            ),
            batch=batch,
            faster_than=faster,
            not_faster_than=not_faster,
            share_from=cut.share_from,
            at_most=at_most,
        )

    def _names(self, is_task: bool, cls: int) -> tuple[str, ...]:
        instance, classes = self.problem.source.instance, self.problem.source.classes
        entries = classes.tasks if is_task else classes.services
        name = instance.task_name if is_task else instance.service_name
        return tuple(name(e) for e in np.flatnonzero(entries.entry_class == cls).tolist())


def _signed(side: Side, price: float) -> float:
    """Return what one unit of a cut is charged on a side."""
    return -max(0.0, price) if side.above else max(0.0, price)


_LISTS = ("services", "tasks", "levels", "quotas")


def tree_certificate(problem: Problem, prices: Floats | None, tree: BoxTree) -> Certificate | None:
    """Say a tree of boxes in terms of the instance, with the bound it proves.

    None where prices alone cannot be said either, or where the tree is too large to keep.
    """
    if not tree:
        return None
    whole = certificate(problem, prices)
    if whole is None:
        return None
    boxes = Boxes(problem)
    weakest, numbers = -np.inf, 0
    said: list[Split | Leaf] = []
    path: list[Side] = []
    for node in tree:
        if not isinstance(node, BoxLeaf):
            cut, at_most = node
            said.append(boxes.split(cut, at_most))
            path.append(Side(cut, False, at_most))
            continue
        weakest = max(weakest, boxes.bound(node, path))
        own = certificate(problem, node.prices)
        if own is None:
            return None
        differ = {n for n in type(own).model_fields if getattr(own, n) != getattr(whole, n)}
        if not differ <= {"bound", *_LISTS}:
            return None  # prices that leaves do not have
        lists = {n: getattr(own, n) for n in _LISTS if n in differ}
        numbers += sum(map(len, lists.values())) + len(path)
        if numbers > MAX_NUMBERS:
            return None
        said.append(Leaf(splits=node.of_sides, **lists))
        while path and path[-1].above:
            path.pop()
        if path:
            path[-1] = path[-1]._replace(above=True)
    bound = problem.objective_of(weakest)
    if not np.isfinite(bound):
        return None
    return whole.model_copy(update={"kind": "tree", "bound": bound, "tree": tuple(said)})
