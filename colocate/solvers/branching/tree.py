"""Growing a tree of boxes until the weakest of them proves enough, or a budget is spent.

The box with the weakest bound is split next. Of the numbers that its relaxation has as fractions,
some are tried, and the one is taken whose two parts have the best bounds. The budget counts
relaxations and boxes, not seconds, so that the tree is the same on every machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from colocate.boxes import Boxes, BoxLeaf, BoxTree, Cut, Side
from colocate.certificate import MAX_DEPTH, MAX_LEAVES
from colocate.problem import Problem
from colocate.solvers.branching.cuts import Candidates
from colocate.solvers.branching.program import BoxProgram, Relax, Solved

__all__ = ["Budget", "Grown", "grown"]

Floats = NDArray[np.float64]

GOOD_ENOUGH = 0.3
"""Score from which on no other cut is tried; 1 closes both parts."""
LEAST_GAIN = 1e-4


@dataclass(frozen=True, slots=True)
class Budget:
    """After how much work a tree is left as it is."""

    relaxations: int = 1000
    leaves: int = 200
    work: int = 3_000_000
    """Entries of the rows of all relaxations together, and a part of those that were left out."""


@dataclass(frozen=True, slots=True)
class Grown:
    """A tree and what it proves."""

    tree: BoxTree
    bound: float
    """No plan is worth more, in maximised form."""
    relaxations: int
    closed: bool


@dataclass(slots=True)
class _Node:
    sides: tuple[Side, ...]
    solved: Solved
    cut: tuple[Cut, int] | None = None
    parts: tuple[_Node, ...] = field(default_factory=tuple)


def grown(
    problem: Problem,
    prices: Floats,
    value: float,
    enough: Callable[[float], bool],
    relax: Relax,
    budget: Budget,
    stop: Callable[[], bool] = lambda: False,
) -> Grown | None:
    """Return a tree of boxes.

    Parameters
    ----------
    problem
        The problem.
    prices
        Of its rows: those of the relaxation.
    value
        Worth of the best plan, in maximised form.
    enough
        Whether a bound, in maximised form, is close enough.
    relax
        Solves a relaxation.
    budget
        When to stop.
    stop
        Asked between relaxations.

    Returns
    -------
    Grown or None
        None where nothing could be split.
    """
    return _Growth(problem, value, enough, relax, budget, stop, prices).run(prices)


class _Growth:
    def __init__(
        self,
        problem: Problem,
        value: float,
        enough: Callable[[float], bool],
        relax: Relax,
        budget: Budget,
        stop: Callable[[], bool],
        prices: Floats,
    ) -> None:
        self.problem = problem
        self.value = value
        self.enough = enough
        self.budget = budget
        self.stop = stop
        self.boxes = Boxes(problem)
        self.program = BoxProgram(problem, self.boxes, relax, self._hopeful(prices))
        self.candidates = Candidates(problem, self.boxes)

    def _hopeful(self, prices: Floats) -> NDArray[np.bool_]:
        """Return the columns that a plan better than the best may use."""
        leaf, columns = BoxLeaf(prices, ()), self.problem.columns
        reduced = self.boxes.reduced(leaf, ())[: columns.size]
        best = np.zeros(self.problem.gpu_count.size)
        np.maximum.at(best, columns.gpu, reduced)
        lost = reduced - best[columns.gpu]
        slack = 1e-9 * max(abs(self.value), self.problem.scale)
        return self.boxes.bound(leaf, ()) + lost >= self.value - slack

    def run(self, prices: Floats) -> Grown | None:
        """Grow from the box of all plans."""
        leaf = BoxLeaf(prices, ())
        bound = self.boxes.bound(leaf, ())
        solved = self.program.solve((), leaf, bound, self.value)
        if solved is None or solved.point is None:
            return None
        top = _Node((), solved)
        open_, leaves = [top], 1
        given_up: list[_Node] = []
        while open_ and leaves < min(self.budget.leaves, MAX_LEAVES) and self._may_go_on():
            node = max(open_, key=lambda n: n.solved.bound)
            if self.enough(node.solved.bound):
                break
            open_.remove(node)
            if not self._split(node):
                given_up.append(node)
                break  # the others cannot lower the bound below that of this one
            leaves += 1
            open_ += node.parts
        if not top.parts:
            return None
        tree = tuple(_in_order(top))
        weakest = max(n.solved.bound for n in [*open_, *given_up])
        return Grown(tree, weakest, self.program.solved, self.enough(weakest))

    def _may_go_on(self) -> bool:
        program, budget = self.program, self.budget
        within = program.solved < budget.relaxations and program.work < budget.work
        return within and not self.stop()

    def _split(self, node: _Node) -> bool:
        """Cut a box in two, by the number that raises the weaker bound most."""
        if node.solved.point is None or len(node.sides) >= MAX_DEPTH:
            return False
        best: tuple[float, tuple[Cut, int], list[Solved]] | None = None
        for cut, at_most in self.candidates.of(node.solved.point):
            parts = self._parts(node, cut, at_most)
            if parts is None:
                if not self._may_go_on():
                    break
                continue
            score = self._score(node, parts)
            if best is None or score > best[0] * (1 + 1e-6):
                best = score, (cut, at_most), parts
            if score > GOOD_ENOUGH or not self._may_go_on():
                break
        if best is None:
            return False
        _, (cut, at_most), parts = best
        node.cut = cut, at_most
        node.parts = tuple(
            _Node((*node.sides, Side(cut, above, at_most)), part)
            for above, part in zip((False, True), parts, strict=True)
        )
        return True

    def _parts(self, node: _Node, cut: Cut, at_most: int) -> list[Solved] | None:
        parts = []
        for above in (False, True):
            sides = (*node.sides, Side(cut, above, at_most))
            part = self.program.solve(sides, node.solved.leaf, node.solved.bound, self.value)
            if part is None:
                return None
            parts.append(part)
        return parts

    def _score(self, node: _Node, parts: list[Solved]) -> float:
        """Return how much two parts gain; beyond closing a part there is nothing to gain."""
        whole = max(node.solved.bound - self.value, 1e-12)
        gains = [min(node.solved.bound - part.bound, whole) / whole for part in parts]
        return float(np.prod([max(gain, LEAST_GAIN) for gain in gains]))


def _in_order(node: _Node) -> list[tuple[Cut, int] | BoxLeaf]:
    """Return a tree from the top, in one list."""
    found: list[tuple[Cut, int] | BoxLeaf] = []
    todo = [node]
    while todo:
        node = todo.pop()
        if node.cut is None:
            found.append(node.solved.leaf)
        else:
            found.append(node.cut)
            todo += reversed(node.parts)
    return found
