"""What is known about one GPU at one moment: the ground of every decision, kept with it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from colocate.executor.guard.thresholds import Signal, Thresholds
from colocate.executor.ports import GpuReading

__all__ = ["Evidence", "Fault", "ServiceReading", "evidence_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something broke."""

    kind: str
    """`signal`, `exit`, `oom`, `xid`, `server_fault`, `hang` or `lost`."""
    gpu: str
    unit: str | None
    """Key of the unit that it was seen at. MPS does not name the one that caused it."""
    detail: str
    severity: str
    """`note`: the keeper sees to it; `contain`: training is held back; `reset`: the MPS server must
    go; `disable`: a person must look at the GPU."""

    def record(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "kind": self.kind,
            "unit": self.unit,
            "severity": self.severity,
            "detail": self.detail,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceReading:
    """How one service does."""

    service: str
    slo_ms: float
    p99_ms: float | None
    """None where it does not tell."""
    rate_rps: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was seen of one GPU."""

    seconds: float
    values: tuple[tuple[Signal, float], ...]
    """Every signal that is known."""
    blind: bool = False
    """The GPU did not answer."""
    faults: tuple[Fault, ...] = ()

    def value(self, signal: Signal) -> float | None:
        """Return one signal, or None where it is not known."""
        return dict(self.values).get(signal)

    def record(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "seconds": round(self.seconds, 3),
            **{name: round(value, 3) for name, value in self.values},
            **({"blind": True} if self.blind else {}),
            **({"faults": [f.record() for f in self.faults]} if self.faults else {}),
        }


def evidence_of(
    seconds: float,
    reading: GpuReading | None,
    services: Sequence[ServiceReading],
    thresholds: Thresholds,
    faults: Sequence[Fault] = (),
) -> Evidence:
    """Put together what was read; numbers that are none are left out."""
    found: dict[Signal, float | None] = {}
    if reading is not None:
        found["gpu_util_pct"] = reading.gpu_util_pct
        found["sm_active_pct"] = reading.sm_active_pct
        found["memory_used_pct"] = _part(reading.memory_used_mib, reading.memory_total_mib)
        found["temperature_c"] = reading.temperature_c
        if reading.gpu_util_pct is not None and reading.gpu_util_pct >= thresholds.busy_from_pct:
            found["clock_pct"] = _part(reading.sm_clock_mhz, reading.max_sm_clock_mhz)
    found["latency_pct"] = _worst(services)
    return Evidence(
        seconds=seconds,
        values=_known(found),
        blind=reading is None,
        faults=tuple(faults),
    )


def _part(some: float | None, whole: float | None) -> float | None:
    if some is None or whole is None or not whole > 0:
        return None
    return 100.0 * some / whole


def _worst(services: Sequence[ServiceReading]) -> float | None:
    parts = [_part(s.p99_ms, s.slo_ms) for s in services]
    return max((p for p in parts if p is not None and not math.isnan(p)), default=None)


def _known(found: Mapping[Signal, float | None]) -> tuple[tuple[Signal, float], ...]:
    # An endless latency is beyond every bound; a number that is none says nothing.
    return tuple(
        (name, min(value, 1e9))
        for name, value in found.items()
        if value is not None and not math.isnan(value)
    )
