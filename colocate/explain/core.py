"""Which statements conflict: a set from which none can be left out, by deletion.

    K := all statements                      (there is no plan)
    for parts of K, large ones first:        K := K without the part, where there is still no plan
    for every statement k of K:              there is a plan for K without k

The last line is checked again for the final K: that is what makes it irreducible. Where an exact
solver cannot decide within the limits a statement stays, and the set is not called irreducible.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from colocate.explain.feasible import Answer
from colocate.explain.parts import Part

__all__ = ["Core", "Group", "find_core"]

Group = tuple[Part, ...]
"""Statements that are relaxed together."""
Check = Callable[[Iterable[Part]], Answer]
"""Whether there is a plan when these parts are relaxed."""


@dataclass(frozen=True, slots=True)
class Core:
    """Statements that no plan meets together."""

    groups: tuple[Group, ...]
    irreducible: bool
    """Whether leaving out any one of them was shown to allow a plan."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """All statements."""
        return tuple(p for g in self.groups for p in g)


def find_core(groups: Sequence[Group], check: Check, beyond: Iterable[Part] = ()) -> Core:
    """Return a core of statements that are known to conflict.

    Parameters
    ----------
    groups
        All statements; those that come first are left out if possible.
    check
        Decides.
    beyond
        Statements that are relaxed throughout.
    """
    return _Search(groups, check, tuple(beyond)).run()


class _Search:
    def __init__(self, groups: Sequence[Group], check: Check, beyond: Group) -> None:
        self.groups = groups
        self.check = check
        self.beyond = beyond
        self.kept = set(range(len(groups)))

    def run(self) -> Core:
        # Without demands there is less to place, and every further check is quicker.
        demands = [i for i, g in enumerate(self.groups) if any(p.is_demand for p in g)]
        others = [i for i in range(len(self.groups)) if i not in set(demands)]
        for order in (demands, others):
            for chunk in _halves(order):
                self._delete(chunk)
        while True:
            answers = {i: self._answer(self.kept - {i}) for i in sorted(self.kept)}
            useless = [i for i, a in answers.items() if a is Answer.NO]
            if not useless:
                break
            self.kept.discard(useless[0])
        return Core(
            tuple(self.groups[i] for i in sorted(self.kept)),
            all(a is Answer.YES for a in answers.values()),
        )

    def _delete(self, chunk: Sequence[int]) -> bool:
        """Leave out as much of these as possible; return whether all of them went."""
        if not chunk:
            return True
        if self._answer(self.kept - set(chunk)) is Answer.NO:
            self.kept -= set(chunk)
            return True
        if len(chunk) > 1:
            first, second = _halves(chunk)
            if self._delete(first) and len(second) == 1:
                return False  # that one was what the whole needed
            self._delete(second)
        return False

    def _answer(self, kept: set[int]) -> Answer:
        gone = [g for i, g in enumerate(self.groups) if i not in kept]
        return self.check([*self.beyond, *(p for g in gone for p in g)])


def _halves(items: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
    middle = (len(items) + 1) // 2
    return items[:middle], items[middle:]
