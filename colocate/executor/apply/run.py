"""A change while it is made, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from colocate.errors import ColocateError
from colocate.executor.apply.actions import Step
from colocate.executor.apply.applied import Applied
from colocate.executor.apply.records import Intent, Origin, Prepared, Verb
from colocate.executor.apply.serving import Serving

if TYPE_CHECKING:
    from colocate.executor.apply.journal import Journal
    from colocate.executor.apply.lock import Lock
    from colocate.executor.apply.target import Target

__all__ = ["MEND", "Expected", "Outcome", "Run", "reason_of", "same"]

MEND = -1
"""Number of the step under which the rest is mended after the undos."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a saved preview saw and wants to be done."""

    fingerprint: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it."""

    verb: Verb
    steps: tuple[Step, ...]
    """What was done; empty when everything was as asked for already."""
    applied: Applied | None
    took_over: bool = False
    """Whether it finished a change that had been cut off."""


@dataclass
class Run:
    """A change while it is made."""

    journal: Journal
    lock: Lock
    number: int
    prepared: Prepared
    serving: Serving
    begun: list[Intent] = field(default_factory=list)
    undone: set[tuple[int, int]] = field(default_factory=set)
    parts: int = 0


def same(applied: Applied | None, target: Target, origin: Origin | None) -> bool:
    """Tell whether the state folder says already what it would be made to say."""
    if applied is None:
        return False
    said = applied.target
    return (applied.origin, said.units, said.launch_sha256) == (
        origin,
        target.units,
        target.launch_sha256,
    )


def reason_of(error: BaseException) -> str:
    """Return why something failed, in one line or a few."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, ColocateError):
        return error.message
    return f"{type(error).__name__}: {error}"
