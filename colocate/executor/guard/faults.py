"""What broke, and how far it may reach: mixed error handling, as MuxFlow calls it.

MPS reports a fatal fault to all clients of a GPU without naming the one that caused it, and a
client that is killed before it has synchronised may leave the server and its other clients
undefined (NVIDIA MPS documentation, on error containment and on limits of termination). So what is
seen at one unit is judged for the whole GPU:

    note      the keeper restarts it; nobody else is touched
    contain   training is held back while things settle
    reset     the MPS server is shut down, and the survivors are started anew
    disable   the GPU itself is at fault: no training until a person has looked

What an XID calls for is from NVIDIA's catalogue (docs.nvidia.com/deploy/xid-errors): those that it
answers with restarting the application are contained, those with a reset of the GPU or the node
disable it. One that is not listed here is contained.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field

from colocate.errors import clean_text
from colocate.executor.guard.evidence import Fault, ServiceReading
from colocate.executor.guard.thresholds import Policy
from colocate.executor.ports import DaemonState, GpuReading, UnitState

__all__ = ["HARDWARE_XIDS", "HARMLESS_XIDS", "FaultMemory", "classify", "ended_by", "xid_severity"]

HARDWARE_XIDS = frozenset({46, 48, 62, 64, 74, 79, 95, 109, 110, 119, 120, 136, 140, 143, 155, 156})
"""GPU or link at fault: a reset of the GPU, or of the node, is due."""
HARMLESS_XIDS = frozenset({63, 92})
"""Corrected, or recorded for the next reset: the GPU goes on."""
FATAL_SIGNALS = frozenset({signal.SIGKILL, signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT})
"""Ends of a client that leave no time to synchronise."""
DOWN = ("failed", "backing_off", "lost")
CRASH_LOOP = 3
"""So many ends within `LOOP_S` seconds are a loop."""
LOOP_S = 300.0
AGAIN_S = 30.0
"""A server that is still in FAULT after so long is reset again."""
_SIGNAL = re.compile(r"signal[ :=]+(\d{1,2})\b|\bSIG([A-Z]{2,6})\b|exit(?:ed)?[a-z ]* -(\d{1,2})\b")
_OOM = re.compile(r"out of memory|\boom\b|cuda_error_out_of_memory", re.IGNORECASE)


@dataclass(slots=True)
class FaultMemory:
    """What was seen last, so that each fault is reported once."""

    restarts: dict[str, int] = field(default_factory=dict)
    down: set[str] = field(default_factory=set)
    ends: dict[str, list[float]] = field(default_factory=dict)
    server_fault_at: float | None = None
    silent_from: dict[str, float] = field(default_factory=dict)
    reported: set[str] = field(default_factory=set)


def xid_severity(xid: int) -> str:
    """Return how far an XID reaches."""
    if xid in HARDWARE_XIDS:
        return "disable"
    return "note" if xid in HARMLESS_XIDS else "contain"


def ended_by(state: UnitState) -> tuple[str, int | None]:
    """Return how a unit ended (`oom`, `signal`, `lost` or `exit`), and the signal, if any."""
    if _OOM.search(state.detail):
        return "oom", None
    found = _SIGNAL.search(state.detail)
    if found is not None:
        number = _number(found[1] or found[3], found[2])
        if number is not None:
            return "signal", number
    return ("lost" if state.phase == "lost" else "exit"), None


def _number(digits: str | None, name: str | None) -> int | None:
    if digits is not None:
        return int(digits)
    try:
        return int(signal.Signals[f"SIG{name}"])
    except KeyError:
        return None


def classify(
    memory: FaultMemory,
    gpu: str,
    now: float,
    *,
    daemon: DaemonState | None,
    units: Sequence[UnitState],
    reading: GpuReading | None,
    services: Sequence[ServiceReading] = (),
    policy: Policy,
) -> tuple[Fault, ...]:
    """Return what broke since the last look; `daemon` is None when it did not answer."""
    found: list[Fault] = []
    if reading is not None:
        found += [
            _fault("xid", gpu, None, f"XID {x}", xid_severity(x))
            for x in dict.fromkeys(reading.xids[:100])
        ]
    found += _of_server(memory, gpu, now, daemon, units, policy)
    for state in units:
        found += _of_unit(memory, gpu, now, state)
    found += _of_silence(memory, gpu, now, daemon, units, services, policy)
    known = {s.unit.key for s in units}
    for key in [k for k in memory.restarts if k not in known]:
        memory.restarts.pop(key)
        memory.down.discard(key)
    return tuple(found)


def _of_server(
    memory: FaultMemory,
    gpu: str,
    now: float,
    daemon: DaemonState | None,
    units: Sequence[UnitState],
    policy: Policy,
) -> list[Fault]:
    if daemon is None:
        return []
    if not daemon.alive:
        # Nothing of ours is there to be served: a daemon that is not started yet is no fault.
        if not units or "daemon" in memory.reported:
            return []
        memory.reported.add("daemon")
        severity = "reset" if policy.reset_server else "contain"
        return [_fault("lost", gpu, None, "the MPS daemon is gone", severity)]
    memory.reported.discard("daemon")
    if daemon.server != "fault":
        memory.server_fault_at = None
        return []
    if memory.server_fault_at is not None and now - memory.server_fault_at < AGAIN_S:
        return []
    memory.server_fault_at = now
    severity = "reset" if policy.reset_server else "contain"
    return [_fault("server_fault", gpu, None, "the MPS server is in FAULT", severity)]


def _of_unit(memory: FaultMemory, gpu: str, now: float, state: UnitState) -> list[Fault]:
    key = state.unit.key
    before = memory.restarts.get(key, state.restarts)
    memory.restarts[key] = state.restarts
    is_down = state.phase in DOWN
    new = state.restarts > before or (is_down and key not in memory.down)
    (memory.down.add if is_down else memory.down.discard)(key)
    if not new:
        return []
    ends = [t for t in memory.ends.get(state.unit.workload, []) if now - t < LOOP_S]
    memory.ends[state.unit.workload] = [*ends, now][-100:]
    kind, number = ended_by(state)
    detail = f"{state.unit.workload} {state.unit.ordinal} ended: {state.detail or kind}"
    loop = len(ends) + 1 >= CRASH_LOOP
    if loop:
        detail += f"; {len(ends) + 1} times within {LOOP_S:g} s"
    # A service that starts anew gets a quiet GPU to do so.
    grave = kind in ("oom", "lost") or number in FATAL_SIGNALS or loop
    contain = state.unit.role == "service" or grave
    return [_fault(kind, gpu, key, detail, "contain" if contain else "note")]


def _of_silence(
    memory: FaultMemory,
    gpu: str,
    now: float,
    daemon: DaemonState | None,
    units: Sequence[UnitState],
    services: Sequence[ServiceReading],
    policy: Policy,
) -> list[Fault]:
    """Return what has not answered for too long."""
    ready = {s.unit.workload for s in units if s.unit.role == "service" and s.phase == "ready"}
    silent = {"the MPS daemon"} if daemon is None and units else set()
    silent |= {f"service {s.service}" for s in services if s.p99_ms is None and s.service in ready}
    # A service that nobody asks anything has no latency, and does not hang.
    silent -= {f"service {s.service}" for s in services if s.rate_rps == 0}
    for name in [n for n in memory.silent_from if n not in silent]:
        memory.silent_from.pop(name)
        memory.reported.discard(name)
    found = []
    for name in sorted(silent):
        begin = memory.silent_from.setdefault(name, now)
        if now - begin >= policy.hang_s and name not in memory.reported:
            memory.reported.add(name)
            detail = f"{name} has not answered for {now - begin:.0f} s"
            found.append(_fault("hang", gpu, None, detail, "contain"))
    return found


def _fault(kind: str, gpu: str, unit: str | None, detail: str, severity: str) -> Fault:
    return Fault(kind=kind, gpu=gpu, unit=unit, detail=clean_text(detail, 300), severity=severity)
