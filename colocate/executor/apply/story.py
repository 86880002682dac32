"""What the journal tells: which change came last, how far it got, and who gets the requests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from colocate.executor.apply.actions import Action, Switch, words
from colocate.executor.apply.records import (
    Committed,
    Done,
    Entry,
    Intent,
    NeedsAttention,
    Prepared,
    RolledBack,
    RollingBack,
    Undo,
    Undone,
)
from colocate.executor.apply.serving import Serving

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from colocate.executor.apply.applied import Applied

__all__ = ["Change", "Story", "story_of"]

Phase = Literal["acting", "rolling_back", "committed", "rolled_back", "needs_attention"]


@dataclass(slots=True)
class Change:
    """One change, as far as it got."""

    number: int
    prepared: Prepared
    at: str
    phase: Phase = "acting"
    begun: list[Intent] = field(default_factory=list)
    """Steps that were begun, done or not."""
    done: set[int] = field(default_factory=set)
    undone: set[tuple[int, int]] = field(default_factory=set)
    """(step, part) of what was taken back."""
    detail: str = ""

    @property
    def finished(self) -> bool:
        """Whether it came to its end, one way or the other."""
        return self.phase in ("committed", "rolled_back")

    def words(self) -> str:
        """Say how far it got."""
        total = len(self.prepared.steps)
        verb = self.prepared.verb
        if self.phase == "acting":
            if not self.begun:
                return f"{verb}: prepared, none of its {total} steps begun"
            last = self.begun[-1]
            how = "done" if last.step in self.done else "begun, and not known to be done"
            return f"{verb}: step {last.step + 1} of {total} ({words(last.action)}) was {how}"
        told = {
            "committed": "committed",
            "rolled_back": "rolled back",
            "rolling_back": "rolling back",
            "needs_attention": "could not be rolled back",
        }[self.phase]
        return f"{verb}: {told}" + (f": {self.detail}" if self.detail else "")


@dataclass(frozen=True, slots=True)
class Story:
    """All that the journal tells."""

    last: Change | None
    serving: Serving
    """Which units requests are sent to."""
    committed: tuple[tuple[int, Prepared], ...]
    """Changes that were committed, oldest first."""

    @property
    def unfinished(self) -> Change | None:
        """The last change, when it did not come to its end."""
        return None if self.last is None or self.last.finished else self.last


def story_of(entries: Iterable[Entry], applied: Applied | None) -> Story:
    """Read the journal from its beginning."""
    serving = Serving.of(() if applied is None else applied.target.services)
    last: Change | None = None
    committed: list[tuple[int, Prepared]] = []
    actions: dict[tuple[int, int], Action] = {}
    for entry in entries:
        record = entry.record
        if isinstance(record, Prepared):
            last = Change(entry.change, record, entry.at)
            continue
        if last is None or entry.change != last.number:
            continue  # its beginning was rotated away: it has ended
        match record:
            case Intent(step=step, action=action):
                last.begun.append(record)
                actions[step, -1] = action
                serving.begin(action)
            case Done(step=step):
                last.done.add(step)
                serving.end(actions[step, -1])
            case Undo(step=step, part=part, action=action):
                actions[step, part] = action
                serving.begin(action)
            case Undone(step=step, part=part):
                last.undone.add((step, part))
                serving.end(actions[step, part])
            case RollingBack(detail=detail):
                last.phase, last.detail = "rolling_back", detail
            case NeedsAttention(detail=detail):
                last.phase, last.detail = "needs_attention", detail
            case Committed():
                actions.clear()
                last.phase = "committed"
                committed.append((last.number, last.prepared))
                serving = Serving.of(last.prepared.target.services)
            case RolledBack():
                actions.clear()
                last.phase = "rolled_back"
                serving = Serving.of(last.prepared.before.services)
    if last is not None and not last.finished:
        # What was taken back when the journal could not be written is not told: switch again.
        serving.doubt(_switched(actions.values()))
        serving.maybe |= last.prepared.before.services | last.prepared.target.services
    return Story(last, serving, tuple(committed))


def _switched(actions: Iterable[Action]) -> Iterator[str]:
    """Return the keys of the units that requests were sent to, or no more."""
    for action in actions:
        if isinstance(action, Switch):
            yield from (unit.key for unit in (action.old, action.new) if unit is not None)
