"""Doing what was decided, through the ports, with each outcome told apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace

from colocate.errors import ColocateError
from colocate.executor.apply.perform import Ports
from colocate.executor.errors import ForeignError
from colocate.executor.guard.actions import HOLDER, Action, Owed, outcome
from colocate.executor.guard.hands import start_unit, stop_unit
from colocate.executor.guard.holds import Holds
from colocate.executor.unit import Unit

__all__ = ["Doer", "Respec"]

Respec = Callable[[Unit, int], Unit]
"""A unit and another share: the unit as it would be then, with the key that belongs to it."""


class Doer:
    """Performs actions on one GPU, and keeps what is owed up to date."""

    def __init__(
        self,
        gpu: str,
        ports: Ports,
        holds: Holds,
        owed: Owed,
        respec: Respec | None,
        exclusive: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self.gpu = gpu
        self.ports = ports
        self.holds = holds
        self.owed = owed
        self.respec = respec
        self.exclusive = exclusive

    def perform(self, action: Action, units: Mapping[str, Unit]) -> Action:
        """Do one thing and return it with its outcome; nothing is raised."""
        try:
            self._do(action, units)
        except ColocateError as failed:
            if action.kind == "pause" and action.unit is not None:
                self.owed.cannot_pause.add(action.unit)
                self.holds.drop(HOLDER, action.unit)
            if action.kind == "shrink" and action.unit is not None:
                self.owed.cannot_shrink.add(action.unit)
            return outcome(action, failed)
        return outcome(action, None)

    def _do(self, action: Action, units: Mapping[str, Unit]) -> None:
        key = action.unit or ""
        match action.kind:
            case "pause":
                with self.holds.alone():
                    self.holds.put(HOLDER, key)
                    self.ports.processes.pause(key)
            case "resume":
                with self.holds.alone():
                    self.holds.drop(HOLDER, key)
                    if not self.holds.holders(key):
                        self.ports.processes.resume(key)
            case "evict":
                with self.exclusive():
                    self._evict(units[key], action.value)
            case "restore":
                with self.exclusive():
                    start_unit(self.ports, self.owed.evicted[key])
                del self.owed.evicted[key]
            case "shrink" | "grow":
                assert action.value is not None
                self.ports.processes.set_batch(key, action.value)
                if action.kind == "shrink":
                    self.owed.batches[key] = units[key].batch
                else:
                    del self.owed.batches[key]
            case "reset_server":
                with self.exclusive():
                    self._reset_server(units)
            case "restart":
                with self.exclusive():
                    start_unit(self.ports, self.owed.services[key])
                del self.owed.services[key]
            case "admit" | "stop_admitting":
                pass  # admission is read from the state

    def _evict(self, unit: Unit, share_pct: int | None) -> None:
        """Stop training, and owe it; whatever fails on the way, it is not forgotten."""
        if unit.key not in self.owed.evicted:  # else it is owed as it was the first time
            back = replace(unit, batch=self.owed.batches.get(unit.key, unit.batch))
            if self.respec is not None and share_pct is not None and share_pct != unit.share_pct:
                back = self.respec(back, share_pct)
            self.owed.evicted[unit.key] = back
        stop_unit(self.ports, unit)
        self.holds.drop(HOLDER, unit.key)

    def _reset_server(self, units: Mapping[str, Unit]) -> None:
        """Shut the server down: training goes, and services are owed until they are back.

        The server stays in FAULT until all clients that were told of it are gone.
        """
        foreign = [c for c in self.ports.daemons.observe(self.gpu).clients if c.unit is None]
        if foreign:
            raise ForeignError(
                f"the MPS server of {self.gpu} serves {len(foreign)} processes that are not ours, "
                f"such as pid {foreign[0].pid}",
                advice="end them, or reset the server by hand.",
            )
        for unit in units.values():
            if unit.role == "task":
                self._evict(unit, None)
        for unit in units.values():
            if unit.role == "service":
                self.owed.services[unit.key] = unit
                self.ports.processes.switch(unit.key, None)
                self.ports.processes.stop(unit.key)
        if self.ports.daemons.observe(self.gpu).alive:
            self.ports.daemons.reset(self.gpu)
        for key, unit in list(self.owed.services.items()):
            start_unit(self.ports, unit)
            del self.owed.services[key]
