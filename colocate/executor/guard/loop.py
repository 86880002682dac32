"""The guard of one GPU: read, decide, act, record, again and again.

One tick asks the GPU, its daemon, its units and its services, takes one step of the machine, and
does what follows. A part that does not answer is evidence too; nothing that goes wrong here ends
the guard.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TypeVar

from colocate.errors import ColocateError
from colocate.executor.apply.perform import Ports
from colocate.executor.guard.actions import HOLDER, Action, Owed, decide
from colocate.executor.guard.doing import Doer, Respec
from colocate.executor.guard.evidence import Evidence, Fault, ServiceReading, evidence_of
from colocate.executor.guard.faults import FaultMemory, classify
from colocate.executor.guard.holds import Holds
from colocate.executor.guard.machine import GuardState, Transition, enable, step
from colocate.executor.guard.records import MemoryLines, Recorder
from colocate.executor.guard.thresholds import GuardSettings
from colocate.executor.ports import UnitState

__all__ = ["Guard", "Tick"]

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """What one look saw and did."""

    evidence: Evidence
    transition: Transition | None
    actions: tuple[Action, ...]


class Guard:
    """Watches one GPU."""

    def __init__(
        self,
        gpu: str,
        ports: Ports,
        *,
        settings: GuardSettings | None = None,
        services: Callable[[], Sequence[ServiceReading]] = tuple,
        holds: Holds | None = None,
        recorder: Recorder | None = None,
        respec: Respec | None = None,
        exclusive: Callable[[], AbstractContextManager[object]] = nullcontext,
        dry_run: bool = False,
        state: GuardState | None = None,
        owed: Owed | None = None,
    ) -> None:
        """Watch one GPU.

        Parameters
        ----------
        gpu
            Its UUID.
        ports
            The node.
        settings
            Bounds, times and choices.
        services
            Asked at each look how the services of this GPU do.
        holds
            Who wants which unit to stand still; shared with the tuner.
        recorder
            Where records go.
        respec
            Makes a unit with another share; without it training comes back with the share it had.
        exclusive
            The node's lock, taken for whatever starts or stops a unit; raises `HeldError` while an
            apply holds it.
        dry_run
            Decide and record, and do nothing.
        state, owed
            Where an earlier guard of this GPU left off.
        """
        self.gpu = gpu
        self.ports = ports
        self.settings = settings or GuardSettings()
        self.services = services
        self.holds = holds or Holds()
        self.recorder: Recorder = recorder or MemoryLines()
        self.dry_run = dry_run
        self.state = state or GuardState()
        self.owed = owed or Owed()
        self.faults = FaultMemory()
        self._doer = Doer(gpu, ports, self.holds, self.owed, respec, exclusive)
        self._told: set[tuple[str, str | None, str]] = set()
        self._starting: frozenset[str] = frozenset()
        """Units that were starting at the last look: whoever started them still waits for them."""

    def tick(self, now: float) -> Tick:
        """Look once, at a time on a clock that only goes forward, and do what follows."""
        reading = _asked(lambda: self.ports.gpus.read(self.gpu))
        daemon = _asked(lambda: self.ports.daemons.observe(self.gpu))
        everything = _asked(self.ports.processes.observe)
        services = _asked(lambda: tuple(self.services())) or ()
        units = tuple(s for s in everything or () if s.unit.gpu == self.gpu)
        faults: tuple[Fault, ...] = ()
        settings = self.settings
        if everything is not None:
            self.owed.forget(units)
            self._forget_holds(everything)
            faults = classify(
                self.faults,
                self.gpu,
                now,
                daemon=daemon,
                units=units,
                reading=reading,
                services=services,
                policy=settings.policy,
            )
        evidence = evidence_of(now, reading, services, settings.thresholds, faults)
        self.state, change = step(self.state, evidence, now, settings.thresholds, settings.patience)
        for fault in faults:
            self._record(now, "fault", **fault.record())
        if change is not None:
            self._record_change(now, change)
        actions = () if everything is None else self._act(now, evidence, units, change)
        return Tick(evidence=evidence, transition=change, actions=actions)

    def release(self, now: float) -> tuple[Action, ...]:
        """Let everything go that the guard holds back: for its own end, so that nothing starves."""
        units = tuple(s for s in self.ports.processes.observe() if s.unit.gpu == self.gpu)
        why = "the guard ends"
        wanted = [
            Action(kind="restart", gpu=self.gpu, unit=key, why=why) for key in self.owed.services
        ]
        wanted += [
            Action(kind="resume", gpu=self.gpu, unit=key, why=why) for key in self._held(units)
        ]
        if self.state.phase != "disabled":
            wanted += [
                Action(kind="restore", gpu=self.gpu, unit=key, why=why) for key in self.owed.evicted
            ]
        return self._do(now, wanted, units, news=True)

    def enable(self, now: float) -> None:
        """Let training back on a GPU that was disabled: a person says so."""
        if self.state.phase == "disabled":
            self._record(now, "state", before="disabled", after="init", why="enabled", evidence=[])
        self.state = enable(self.state, now)

    # -- acting --------------------------------------------------------------------------------

    def _act(
        self,
        now: float,
        evidence: Evidence,
        units: tuple[UnitState, ...],
        change: Transition | None,
    ) -> tuple[Action, ...]:
        held = self._held(units)
        if self.state.holds:
            # What somebody else let go although we hold it must be halted again.
            phases = {s.unit.key: s.phase for s in units}
            held = tuple(key for key in held if phases[key] == "paused")
        wanted: list[Action] = []
        if change is not None and change.after in ("unhealthy", "overlimit", "disabled"):
            wanted.append(Action(kind="stop_admitting", gpu=self.gpu, why=change.why))
        if change is not None and change.after == "healthy":
            wanted.append(Action(kind="admit", gpu=self.gpu, why=change.why))
        policy, can = self.settings.policy, self.ports.processes.can_set_batch
        settled = [s for s in units if s.phase != "ready" or s.unit.key not in self._starting]
        self._starting = frozenset(s.unit.key for s in units if s.phase == "starting")
        wanted += decide(self.gpu, self.state, evidence, settled, self.owed, held, policy, can)
        return self._do(now, wanted, units, news=change is not None)

    def _do(
        self, now: float, wanted: Sequence[Action], units: Sequence[UnitState], *, news: bool
    ) -> tuple[Action, ...]:
        """Do things in turn; what cannot be halted is evicted instead."""
        by_key = {s.unit.key: s.unit for s in units}
        todo, done = list(wanted), []
        while todo:
            action = todo.pop(0)
            result = action if self.dry_run else self._doer.perform(action, by_key)
            done.append(result)
            if result.kind == "pause" and result.error:
                unit = by_key[action.unit or ""]
                todo.insert(0, replace(action, kind="evict", value=unit.share_pct))
            # The same thing again, with the same outcome, is no news.
            told = (result.kind, result.unit, result.error)
            if news or result.done or told not in self._told:
                self._record(now, "action", why=result.why, **result.record())
            self._told.add(told)
        if news:
            self._told = {(a.kind, a.unit, a.error) for a in done}
        return tuple(done)

    def _held(self, units: Sequence[UnitState]) -> tuple[str, ...]:
        """Return the units of this GPU that we want to stand still."""
        there = {s.unit.key for s in units}
        return tuple(key for key in self.holds.of(HOLDER) if key in there)

    def _forget_holds(self, everything: Sequence[UnitState]) -> None:
        """Drop our markers of units that are gone."""
        there = {s.unit.key for s in everything}
        for key in self.holds.of(HOLDER):
            if key not in there and not self.dry_run:
                self.holds.drop(HOLDER, key)

    # -- records -------------------------------------------------------------------------------

    def _record_change(self, now: float, change: Transition) -> None:
        self._record(
            now,
            "state",
            before=change.before,
            after=change.after,
            why=change.why,
            offences=self.state.offences,
            evidence=[e.record() for e in change.evidence],
        )

    def _record(self, now: float, event: str, **values: object) -> None:
        record = {"event": event, "seconds": round(now, 3), "gpu": self.gpu, **values}
        self.recorder.write({**record, "dry_run": True} if self.dry_run else record)


def _asked(question: Callable[[], Found]) -> Found | None:
    """Return the answer, or None when there is none: that too is evidence."""
    try:
        return question()
    except ColocateError:
        return None
