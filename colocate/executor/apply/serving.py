"""Which units requests are sent to: nobody can be asked, so it is kept in mind."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from colocate.executor.apply.actions import Action, StartUnit, StopUnit, Switch

__all__ = ["Serving"]


@dataclass(slots=True)
class Serving:
    """Keys of units. A crash in the middle of a switch leaves it open whether it was made."""

    sure: set[str] = field(default_factory=set)
    """Requests are sent to these."""
    maybe: set[str] = field(default_factory=set)
    """Requests may be sent to these; holds all that are sure."""

    @classmethod
    def of(cls, keys: Iterable[str]) -> Serving:
        """Return what is sure."""
        known = set(keys)
        return cls(known, set(known))

    def copy(self) -> Serving:
        """Return the same, to be changed by itself."""
        return Serving(set(self.sure), set(self.maybe))

    def begin(self, action: Action) -> None:
        """Note what an action leaves open while it is done."""
        if isinstance(action, Switch):
            if action.old is not None:
                self.sure.discard(action.old.key)
            if action.new is not None:
                self.sure.discard(action.new.key)
                self.maybe.add(action.new.key)
        if isinstance(action, StartUnit | StopUnit):
            self.sure.discard(action.unit.key)

    def doubt(self, keys: Iterable[str]) -> None:
        """Note that it is open whether requests are sent to these."""
        for key in keys:
            self.sure.discard(key)
            self.maybe.add(key)

    def end(self, action: Action) -> None:
        """Note what is true once an action was done."""
        if isinstance(action, StopUnit):
            self.maybe.discard(action.unit.key)
        if isinstance(action, Switch):
            if action.old is not None:
                self.sure.discard(action.old.key)
                self.maybe.discard(action.old.key)
            if action.new is not None:
                self.sure.add(action.new.key)
                self.maybe.add(action.new.key)
