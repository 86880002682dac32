"""A unit: one process that runs one replica of a service, or one worker of a training task.

Its share is fixed when its process starts, so whatever needs another process to change is part of
the unit's key. Two units with the same key are the same; a changed share gives another key, and
both may run side by side while one takes over from the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Unit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """What is to run, and where; plain values, so that it can be written down and compared."""

    key: str
    """``<workload>.<ordinal>.<8 hex digits>``: the digits are a hash of all that needs a new
    process when it changes. Letters, digits, dots, dashes and underscores only."""
    role: Literal["service", "task"]
    workload: str
    """Id of the service or task entry."""
    ordinal: int
    """Which replica or worker."""
    gpu: str
    """UUID of the GPU."""
    share_pct: int
    """MPS active thread percentage."""
    batch: int
    memory_gib: float
    """What all its processes together are expected to take."""
    memory_limit_mib: int | None
    """Limit for each of its processes, or None for none."""
    launch: str
    """Name of its entry in the launch file."""

    @property
    def place(self) -> tuple[str, int]:
        """What it is, whichever way it runs: workload and ordinal."""
        return (self.workload, self.ordinal)
