"""Bringing the units of one GPU to other settings: by single changes, or as an apply.

Both start a second process for a service whose share changes, and let it take over when it is
ready. The order keeps shares and memory free for what comes: training that goes or changes stops
first, and starts again last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from colocate.errors import ColocateError
from colocate.executor.apply.actions import SetBatch
from colocate.executor.apply.perform import Ports, perform
from colocate.executor.guard.hands import replace_unit, start_unit, stop_unit
from colocate.executor.unit import Unit

__all__ = ["Change", "SingleChanges"]


class Change(Protocol):
    """Brings the units of one GPU to what is wanted; those that are as wanted are not touched."""

    def __call__(self, gpu: str, wanted: Sequence[Unit]) -> None:
        """Do it, or raise a `ColocateError`; services that served before still do."""
        ...


class SingleChanges:
    """Changes units one by one through the ports, for simulations and for programs of one's own.

    There is no journal: what fails half way is put back as far as that goes. The command line makes
    its changes through the engine of `apply`.
    """

    def __init__(
        self, ports: Ports, exclusive: Callable[[], AbstractContextManager[object]] = nullcontext
    ) -> None:
        self.ports = ports
        self.exclusive = exclusive

    def __call__(self, gpu: str, wanted: Sequence[Unit]) -> None:
        """Bring the units of a GPU to what is wanted."""
        with self.exclusive():
            states = [s for s in self.ports.processes.observe() if s.unit.gpu == gpu]
            now = {s.unit.place: s.unit for s in states}
            then = {u.place: u for u in wanted}
            for place, old in now.items():
                new = then.get(place)
                if new is not None and new.key == old.key and new.batch != old.batch:
                    perform(SetBatch(unit=old, batch=new.batch), self.ports)
            leaving = [
                old
                for place, old in now.items()
                if old.role == "task" and (place not in then or then[place].key != old.key)
            ]
            for old in leaving:
                stop_unit(self.ports, old)
            failed: ColocateError | None = None
            for place, new in then.items():
                before = now.get(place)
                if new.role == "service" and before is not None and before.key != new.key:
                    failed = self._try(before, new) or failed
            if failed is not None:
                # The services are as they were: so is the training that was to make room.
                for old in leaving:
                    start_unit(self.ports, old)
                raise failed
            for place, new in then.items():
                before = now.get(place)
                if before is None or (new.role == "task" and before.key != new.key):
                    start_unit(self.ports, new)

    def _try(self, old: Unit, new: Unit) -> ColocateError | None:
        try:
            replace_unit(self.ports, old, new)
        except ColocateError as failed:
            return failed
        return None
