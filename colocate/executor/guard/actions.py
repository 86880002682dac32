"""What the guard does, decided as plain data: what is true goes in, what to do comes out.

The service is never halted, evicted or shrunk. It is started anew only where the MPS server went
into FAULT and its clients with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from colocate.executor.guard.evidence import Evidence
from colocate.executor.guard.machine import GuardState
from colocate.executor.guard.thresholds import Level, Policy
from colocate.executor.ports import UnitState
from colocate.executor.unit import Unit

__all__ = ["HOLDER", "Action", "Kind", "Owed", "decide", "outcome"]

HOLDER = "guard"
DOWN = ("failed", "backing_off", "lost", "stopped")
Kind = Literal[
    "stop_admitting",
    "admit",
    "shrink",
    "grow",
    "pause",
    "resume",
    "evict",
    "restore",
    "reset_server",
    "restart",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One thing to do, and what became of it."""

    kind: Kind
    gpu: str
    unit: str | None = None
    """Key of the unit."""
    value: int | None = None
    """The batch that it is brought to, or the share with which it is to come back."""
    why: str = ""
    done: bool = False
    error: str = ""
    """Why it could not be done."""

    def record(self) -> dict[str, Any]:
        """Return it as plain data."""
        found: dict[str, Any] = {"action": self.kind, "unit": self.unit, "done": self.done}
        if self.value is not None:
            found["value"] = self.value
        if self.error:
            found["error"] = self.error
        return found


@dataclass(slots=True)
class Owed:
    """What the guard has taken away on one GPU, and must give back."""

    evicted: dict[str, Unit] = field(default_factory=dict)
    """Training that was stopped, as it is to come back, by the key that it had."""
    services: dict[str, Unit] = field(default_factory=dict)
    """Services that went down with the MPS server, until they are ready again."""
    batches: dict[str, int] = field(default_factory=dict)
    """Batches as they were before shrinking, by key."""
    cannot_pause: set[str] = field(default_factory=set)
    """Units that could not be halted."""
    cannot_shrink: set[str] = field(default_factory=set)
    """Units whose batch could not be set."""

    def forget(self, units: Sequence[UnitState]) -> None:
        """Drop what is settled: the same place holds a unit again.

        A start of our own may have got half way; it still has to get ready, and be asked.
        """
        phases = {s.unit.key: s.phase for s in units}
        places = {s.unit.place: s.unit.key for s in units}
        for key, unit in list(self.evicted.items()):
            there = places.get(unit.place)
            if there is not None and (there != unit.key or phases[there] in ("ready", "paused")):
                self.evicted.pop(key)
        for key, unit in list(self.services.items()):
            there = places.get(unit.place)
            if there is not None and there != unit.key:
                self.services.pop(key)
        for key in [k for k in self.batches if k not in phases]:
            self.batches.pop(key)


def decide(
    gpu: str,
    state: GuardState,
    evidence: Evidence,
    units: Sequence[UnitState],
    owed: Owed,
    paused: Sequence[str],
    policy: Policy,
    can_set_batch: Callable[[Unit], bool],
) -> tuple[Action, ...]:
    """Return what is to be done now on one GPU.

    Parameters
    ----------
    gpu
        Its UUID.
    state, evidence
        After the machine's step.
    units
        Every unit of this GPU.
    owed
        What was taken away before.
    paused
        Keys that stand still in the guard's name.
    policy, can_set_batch
        Choices, and which units can change their batch as they run.
    """
    tasks = [s for s in units if s.unit.role == "task"]
    found = _reset(gpu, evidence, policy)
    if not found:
        found += [Action(kind="restart", gpu=gpu, unit=key, why="owed") for key in owed.services]
    if state.holds:
        held = [_hold(gpu, s, state, owed, policy) for s in tasks if s.unit.key not in paused]
        return (*found, *(action for action in held if action is not None))
    if state.phase == "init":
        return tuple(found)
    why = state.phase
    found += [Action(kind="resume", gpu=gpu, unit=key, why=why) for key in paused]
    if not owed.services:
        found += [
            Action(kind="restore", gpu=gpu, unit=key, value=unit.share_pct, why=why)
            for key, unit in owed.evicted.items()
        ]
    if state.phase == "unhealthy" and policy.shrink_batch:
        found += [
            Action(kind="shrink", gpu=gpu, unit=s.unit.key, value=s.unit.batch // 2, why=why)
            for s in tasks
            if _can_shrink(s.unit, owed) and s.phase == "ready" and can_set_batch(s.unit)
        ]
    if state.phase == "healthy":
        there = {s.unit.key for s in tasks}
        found += [
            Action(kind="grow", gpu=gpu, unit=key, value=batch, why=why)
            for key, batch in owed.batches.items()
            if key in there
        ]
    return tuple(found)


def _can_shrink(unit: Unit, owed: Owed) -> bool:
    return unit.batch > 1 and unit.key not in owed.batches and unit.key not in owed.cannot_shrink


def _hold(
    gpu: str, unit: UnitState, state: GuardState, owed: Owed, policy: Policy
) -> Action | None:
    """Return how one unit of training is held back; None while there is nothing to hold yet."""
    key = unit.unit.key
    # Halting a process frees no memory, and one that is down would be restarted by its keeper.
    full = dict(state.levels).get("memory_used_pct") is Level.OVER
    down = unit.phase in DOWN
    must = policy.over == "evict" or state.phase == "disabled" or full
    if not must and unit.phase in ("starting", "draining"):
        return None  # halted once it is at work; on its way out it may write a checkpoint
    if not (must or down or key in owed.cannot_pause):
        return Action(kind="pause", gpu=gpu, unit=key, why=state.phase)
    share = unit.unit.share_pct
    if not down:  # what broke by itself comes back as it was
        least = min(policy.least_share_pct, share)
        share = max(least, int(share * policy.shrink_share))
    return Action(kind="evict", gpu=gpu, unit=key, value=share, why=state.phase)


def _reset(gpu: str, evidence: Evidence, policy: Policy) -> list[Action]:
    broken = [f for f in evidence.faults if f.severity == "reset"]
    if not broken or not policy.reset_server:
        return []
    return [Action(kind="reset_server", gpu=gpu, why=broken[0].detail)]


def outcome(action: Action, error: Exception | None) -> Action:
    """Return an action with what became of it."""
    if error is None:
        return replace(action, done=True)
    return replace(action, error=str(error).split("\n", 1)[0][:300])
