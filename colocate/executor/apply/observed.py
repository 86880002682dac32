"""What is true of the node now, as far as `apply` needs to know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from colocate.executor.apply.checks import check_uuid

if TYPE_CHECKING:
    from collections.abc import Iterable

    from colocate.executor.ports import (
        Client,
        Daemons,
        DaemonState,
        GpuFacts,
        Gpus,
        Processes,
        UnitState,
    )

__all__ = ["Observed", "SeenUnit", "is_finished", "observe"]

LIVE = frozenset({"starting", "ready", "paused", "backing_off"})
"""Phases of a unit that is on its way, or there. One that drains is on its way out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenUnit:
    """A unit of ours, and whether it runs as it should."""

    state: UnitState
    member: bool
    """Whether the daemon of its GPU lists it as a client."""
    server_fault: bool
    """Whether the MPS server that it depends on is in FAULT."""

    @property
    def live(self) -> bool:
        """Whether it runs, or will by itself."""
        return self.state.phase in LIVE

    @property
    def finished(self) -> bool:
        """Whether it is a task that has done all its work."""
        return is_finished(self.state)

    @property
    def there(self) -> bool:
        """Whether something of it runs, in whichever state."""
        return self.live or bool(self.state.pids)

    @property
    def beside_mps(self) -> bool:
        """Whether it is at work without being a client: no limit holds for it."""
        return self.state.phase == "ready" and not self.member

    @property
    def broken(self) -> bool:
        """Whether only another process helps."""
        if self.finished:
            return False
        return not self.live or self.server_fault or self.beside_mps

    @property
    def memory_gib(self) -> float:
        """Device memory that it may take now."""
        gone = self.state.phase in ("stopped", "failed", "lost") and not self.state.pids
        return 0.0 if gone else self.state.unit.memory_gib


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What is true now."""

    facts: dict[str, GpuFacts]
    """The GPUs of this node, by UUID."""
    daemons: dict[str, DaemonState]
    """By UUID, for all GPUs of this node."""
    units: dict[str, SeenUnit]
    """Every unit of ours, by key."""
    others_gib: dict[str, float]
    """Device memory that others take, on GPUs that have clients which are not ours."""

    def daemon(self, gpu: str) -> DaemonState:
        """Return the daemon of a GPU of this node."""
        return self.daemons[gpu]

    def foreign(self, gpu: str) -> tuple[Client, ...]:
        """Return the clients of a GPU that are not ours."""
        return tuple(c for c in self.daemons[gpu].clients if c.unit is None)

    def units_on(self, gpu: str) -> tuple[SeenUnit, ...]:
        """Return our units on a GPU, by key."""
        return tuple(seen for _, seen in sorted(self.units.items()) if seen.state.unit.gpu == gpu)


def is_finished(state: UnitState) -> bool:
    """Tell whether a unit is a task that ended by itself, and well."""
    return (
        state.unit.role == "task"
        and state.phase == "stopped"
        and state.detail == "ended with code 0"
        and not state.pids
    )


def observe(daemons: Daemons, processes: Processes, gpus: Gpus) -> Observed:
    """Look at everything once."""
    facts = {check_uuid(f.uuid): f for f in sorted(gpus.facts(), key=lambda f: f.uuid)}
    states = {gpu: daemons.observe(gpu) for gpu in facts}
    units = {
        state.unit.key: _seen(state, states.get(state.unit.gpu))
        for state in sorted(processes.observe(), key=lambda s: s.unit.key)
    }
    return Observed(
        facts=facts,
        daemons=states,
        units=units,
        others_gib={
            gpu: _others(gpus, gpu, units.values())
            for gpu, state in states.items()
            if any(c.unit is None for c in state.clients)
        },
    )


def _seen(state: UnitState, daemon: DaemonState | None) -> SeenUnit:
    clients = () if daemon is None else daemon.clients
    return SeenUnit(
        state=state,
        member=any(client.unit == state.unit.key for client in clients),
        server_fault=daemon is not None and daemon.server == "fault",
    )


def _others(gpus: Gpus, gpu: str, units: Iterable[SeenUnit]) -> float:
    used = gpus.read(gpu).memory_used_mib or 0.0
    ours = sum(seen.memory_gib for seen in units if seen.state.unit.gpu == gpu)
    return max(0.0, used / 1024 - ours)
