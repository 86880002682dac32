"""Why there is no plan for an instance, and what would help.

A conflict is a set of statements that no plan meets together, and from which none can be left out:
without any one of them there is a plan for what is left. Both are proved by solving.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from colocate.explain.changes import Change, apply_changes
from colocate.explain.core import Core, Group, find_core
from colocate.explain.facts import Facts
from colocate.explain.feasible import Answer, Checker, refuse_unknown
from colocate.explain.fixes import Fix, find_fixes
from colocate.explain.parts import Part, parts_of
from colocate.explain.statements import Statement, statements, unknown_company
from colocate.instance import Instance
from colocate.result import Limits

__all__ = ["Conflict", "Explanation", "Suggestion", "conflicts_and_fixes", "explain"]

MOST_STATEMENTS = 9
"""Beyond so many, statements about one thing are put together."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """Statements that no plan meets together."""

    statements: tuple[Statement, ...]
    irreducible: bool
    """Whether leaving out any one was shown to allow a plan; else some may not be needed."""
    notes: tuple[str, ...] = ()
    """What is behind it and cannot be relaxed: slowdowns that are not known."""

    @property
    def relaxed(self) -> tuple[str, ...]:
        """The statements in words."""
        return tuple(s.text for s in self.statements)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Changes with which there is a plan: that was checked by solving the changed instance."""

    text: str
    changes: tuple[Change, ...]

    def apply(self, instance: Instance) -> Instance:
        """Return the changed instance."""
        return apply_changes(instance, self.changes).instance


Status = Literal["feasible", "infeasible", "unknown"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why there is no plan."""

    status: Status
    """`unknown` when no exact solver could decide within the limits."""
    conflicts: tuple[Conflict, ...] = ()
    """The first is what was found first; further ones only where no single change helps."""
    suggestions: tuple[Suggestion, ...] = ()
    checks: int = field(default=0, compare=False)
    """How many instances were solved."""


def explain(instance: Instance, *, limits: Limits | None = None) -> Explanation:
    """Say why there is no plan for an instance.

    Parameters
    ----------
    instance
        The question.
    limits
        `time_s` ends the search. What was not decided by then is not claimed.

    Returns
    -------
    Explanation
        Conflicts of statements, and changes that would help. Where there is a plan, its status is
        `feasible` and it holds nothing else.

    Raises
    ------
    UnsupportedError
        When the instance uses what no exact solver supports.
    """
    refuse_unknown(instance)
    checker = Checker(instance, limits=limits or Limits())
    answer = checker.without(())
    if answer is not Answer.NO:
        status: Status = "feasible" if answer is Answer.YES else "unknown"
        return Explanation(status, checks=checker.checks)
    conflicts, suggestions = conflicts_and_fixes(checker, parts_of(instance))
    return Explanation("infeasible", conflicts, suggestions, checker.checks)


def conflicts_and_fixes(
    checker: Checker, parts: Sequence[Part]
) -> tuple[tuple[Conflict, ...], tuple[Suggestion, ...]]:
    """Return what conflicts, and what would help, where it is known that something conflicts."""
    groups = _groups(checker, parts)
    core = find_core(groups, checker.without)
    fixes, further = find_fixes(checker, groups, core)
    facts = Facts(checker.instance)
    conflicts = []
    for found in (core, *further):
        short = _shortened(checker, parts, found)
        said = statements(checker.instance, short.groups, facts, checker.wanted)
        notes = _notes(checker, short)
        conflicts.append(Conflict(said, short.irreducible, notes))
    return tuple(conflicts), tuple(_suggestion(checker.instance, f) for f in fixes)


def _notes(checker: Checker, core: Core) -> tuple[str, ...]:
    # Who may not share is of interest where room is short.
    if not any(p.kind == "gpus" for p in core.parts):
        return ()
    return unknown_company(checker.instance, core.groups, checker.wanted)


def _groups(checker: Checker, parts: Sequence[Part]) -> list[Group]:
    """Return each part by itself, but the gangs of entries that are alike together."""
    names = () if checker.wanted is None else checker.wanted.tasks
    alike = tuple(p for p in parts if p.kind == "gang" and p.name in names)
    return [(p,) for p in parts if p not in alike] + ([alike] if alike else [])


def _suggestion(instance: Instance, fix: Fix) -> Suggestion:
    return Suggestion(" and ".join(c.words(instance) for c in fix.changes), fix.changes)


def _shortened(checker: Checker, parts: Sequence[Part], core: Core) -> Core:
    """Put statements about one thing together, then those of one kind, until they are few."""
    beyond = [p for p in parts if p not in core.parts]
    for key in (_thing, _sort):
        if len(core.groups) <= MOST_STATEMENTS:
            break
        merged: dict[tuple[str, ...], list[Part]] = {}
        for part in core.parts:
            merged.setdefault(key(part), []).append(part)
        core = find_core([tuple(g) for g in merged.values()], checker.without, beyond)
    return core


_POOL = ("gpus", "memory", "clients", "unschedulable")
_SERVICE = ("required", "slo", "batches", "least_share", "pin")


def _thing(part: Part) -> tuple[str, ...]:
    """Return what a part is about."""
    if part.kind in _POOL:
        return "pool", part.name
    if part.kind in _SERVICE:
        return "service", part.name
    if part.kind in ("floor", "quota", "task_count"):
        return "tenant", part.name
    return part.kind, part.name, part.unit, str(part.index)


def _sort(part: Part) -> tuple[str, ...]:
    """Return the sort of thing that a part is about."""
    return (_thing(part)[0],)
