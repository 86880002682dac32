"""What the journal holds, record by record."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from colocate.executor.apply.actions import Action, Step
from colocate.executor.apply.target import Target
from colocate.schema import Frozen, Id, ListOf

__all__ = [
    "Committed",
    "Done",
    "Entry",
    "Intent",
    "NeedsAttention",
    "Origin",
    "Prepared",
    "Record",
    "RolledBack",
    "RollingBack",
    "Undo",
    "Undone",
    "Verb",
]

Verb = Literal["apply", "rollback"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, Field(max_length=20_000)]


class Origin(Frozen):
    """Which plan a state comes from."""

    plan_sha256: Sha256
    instance_name: Id
    instance_sha256: Sha256
    solver: Id


class Prepared(Frozen):
    """A change is about to begin: everything that is needed to finish it or to take it back."""

    kind: Literal["prepared"] = "prepared"
    verb: Verb
    origin: Origin | None
    target: Target
    before: Target
    """What is gone back to when the change fails."""
    before_origin: Origin | None
    steps: Annotated[tuple[Step, ...], ListOf]
    resumes: int | None = None
    """The unfinished change that this one takes over from."""


class Intent(Frozen):
    """A step is about to be done."""

    kind: Literal["intent"] = "intent"
    step: int
    action: Action
    undo: Annotated[tuple[Action, ...], ListOf]


class Done(Frozen):
    """A step was done and read back."""

    kind: Literal["done"] = "done"
    step: int


class Committed(Frozen):
    """Everything reads back as asked for."""

    kind: Literal["committed"] = "committed"


class RollingBack(Frozen):
    """Something failed; what was done is being taken back."""

    kind: Literal["rolling_back"] = "rolling_back"
    detail: Text


class Undo(Frozen):
    """An action that takes a step back is about to be done; step -1 mends what undoing left."""

    kind: Literal["undo"] = "undo"
    step: int
    part: int
    action: Action


class Undone(Frozen):
    """It was done and read back."""

    kind: Literal["undone"] = "undone"
    step: int
    part: int


class RolledBack(Frozen):
    """Everything is as it was before."""

    kind: Literal["rolled_back"] = "rolled_back"


class NeedsAttention(Frozen):
    """It could not be taken back."""

    kind: Literal["needs_attention"] = "needs_attention"
    detail: Text


Record = Annotated[
    Prepared
    | Intent
    | Done
    | Committed
    | RollingBack
    | Undo
    | Undone
    | RolledBack
    | NeedsAttention,
    Field(discriminator="kind"),
]


class Entry(Frozen):
    """One line of the journal."""

    v: Literal[1] = 1
    """Version of the format."""
    seq: Annotated[int, Field(ge=0)]
    """Counts from 0 in each file."""
    change: Annotated[int, Field(ge=1)]
    """Number of the change that the record is part of."""
    at: Annotated[str, Field(max_length=40)]
    """When, for people: nothing is decided by it."""
    record: Record
