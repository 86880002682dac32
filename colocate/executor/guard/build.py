"""Guards for the GPUs of a node, put together from its ports, its state folder and settings."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from colocate.errors import ColocateError, InputError
from colocate.executor.apply.lock import Lock
from colocate.executor.apply.perform import Ports
from colocate.executor.guard.doing import Respec
from colocate.executor.guard.evidence import ServiceReading
from colocate.executor.guard.holds import Holds
from colocate.executor.guard.keeping import keep, recall
from colocate.executor.guard.loop import Guard, Tick
from colocate.executor.guard.records import Recorder
from colocate.executor.guard.thresholds import GuardSettings
from colocate.executor.unit import Unit
from colocate.executor.workloads.units import key_of

if TYPE_CHECKING:
    from colocate.executor.tuner.sources import Source
    from colocate.launch import LaunchFile

__all__ = ["KeptGuard", "gpus_in_use", "guards_of", "respec_share", "with_share"]

STATES = "guard"
HOLDS = "holds"


class KeptGuard:
    """A guard whose debts are kept in the state folder."""

    def __init__(self, guard: Guard, folder: Path) -> None:
        self.guard = guard
        self.folder = folder
        self._last = ""

    def tick(self, now: float) -> Tick:
        """Look once, and keep what is owed."""
        found = self.guard.tick(now)
        self.keep()
        return found

    def keep(self) -> None:
        """Write what must not be forgotten, if it has changed."""
        if not self.guard.dry_run:
            state, owed = self.guard.state, self.guard.owed
            self._last = keep(self.folder, self.guard.gpu, state, owed, self._last)


def gpus_in_use(ports: Ports, wanted: Collection[str] = ()) -> tuple[str, ...]:
    """Return the GPUs that hold units of ours, or those wanted.

    Raises
    ------
    InputError
        When a wanted one is not on this node.
    """
    here = {facts.uuid for facts in ports.gpus.facts()}
    for gpu in wanted:
        if gpu not in here:
            raise InputError(
                f"GPU {gpu} is not on this node", advice="compare with 'nvidia-smi -L'."
            )
    if wanted:
        return tuple(sorted(set(wanted)))
    used = {state.unit.gpu for state in ports.processes.observe()}
    return tuple(sorted(used & here))


def guards_of(
    ports: Ports,
    root: Path,
    gpus: Sequence[str],
    settings: GuardSettings,
    *,
    recorder: Recorder,
    now: float,
    launches: Sequence[LaunchFile] = (),
    sources: Mapping[tuple[str, int], Source] | None = None,
    slo_ms: Mapping[str, float] | None = None,
    clock: Callable[[], float],
    dry_run: bool = False,
) -> list[KeptGuard]:
    """Return a guard for each GPU, where the one before it left off.

    Parameters
    ----------
    ports, root
        The node and its state folder.
    gpus
        UUIDs.
    settings
        Bounds, times and choices.
    recorder
        Where records go.
    now, clock
        The time, and what tells it.
    launches
        Launch files, for units that come back with another share.
    sources, slo_ms
        How services tell how they do, by id and replica, and their SLOs by id.
    dry_run
        Decide and record, and do nothing.
    """
    found = []
    holds = Holds(root / HOLDS)
    for gpu in gpus:
        state, owed = recall(root / STATES, gpu, now)
        guard = Guard(
            gpu,
            ports,
            settings=settings,
            services=_readings(ports, gpu, sources or {}, slo_ms or {}, clock),
            holds=holds,
            recorder=recorder,
            respec=respec_share(launches),
            exclusive=_lock(root),
            dry_run=dry_run,
            state=state,
            owed=owed,
        )
        found.append(KeptGuard(guard, root / STATES))
    return found


def _lock(root: Path) -> Callable[[], AbstractContextManager[object]]:
    return lambda: Lock(root, "guard")


def _readings(
    ports: Ports,
    gpu: str,
    sources: Mapping[tuple[str, int], Source],
    slo_ms: Mapping[str, float],
    clock: Callable[[], float],
) -> Callable[[], Sequence[ServiceReading]]:
    """Return what asks the services of one GPU how they do."""

    def read() -> list[ServiceReading]:
        found = []
        for state in ports.processes.observe():
            unit = state.unit
            source = sources.get(unit.place)
            if unit.gpu != gpu or unit.role != "service" or source is None:
                continue
            slo = slo_ms.get(unit.workload)
            if slo is None:
                continue
            try:
                signal = source.read(clock())
            except ColocateError:
                found.append(ServiceReading(service=unit.workload, slo_ms=slo, p99_ms=None))
                continue
            found.append(
                ServiceReading(
                    service=unit.workload,
                    slo_ms=slo,
                    p99_ms=signal.p99_ms,
                    rate_rps=signal.rate_rps,
                )
            )
        return found

    return read


def with_share(unit: Unit, share_pct: int, launches: Sequence[LaunchFile]) -> Unit | None:
    """Return a unit with another share and the key that goes with it; None without its program."""
    for launch in launches:
        try:
            program = launch.program(unit.launch)
        except KeyError:
            continue
        if key_of(unit, program) == unit.key:
            other = replace(unit, share_pct=share_pct)
            return replace(other, key=key_of(other, program))
    return None


def respec_share(launches: Sequence[LaunchFile]) -> Respec:
    """Return what gives a unit another share; without its launch file it stays as it is."""

    def respec(unit: Unit, share_pct: int) -> Unit:
        return with_share(unit, share_pct, launches) or unit

    return respec
