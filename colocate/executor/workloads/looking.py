"""What is so of a unit, from what its keeper wrote and what the kernel says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from colocate.executor.workloads.keeper import procs
from colocate.executor.workloads.keeper.status import Status, Wanted, mark

__all__ = ["FINAL", "call_seconds", "phase_of", "pids_of", "stop_seconds"]

FINAL = frozenset({"stopped", "failed"})
SLACK = 20.0
"""Seconds on top of the deadlines that a keeper has itself."""


def pids_of(
    folder: Path, status: Status | None, keeper: int | None, table: dict[int, procs.Process]
) -> tuple[int, ...]:
    """Return the processes of a unit that run: known ones, what they started, and orphans."""
    found: set[int] = set()
    if status is not None and status.boot == procs.boot_id():
        found |= {one.pid for one in procs.members(status.main, status.known, table)}
    if keeper is None:
        # killed before it could write down what it had started, or the file is damaged
        found |= {one.pid for one in procs.marked(mark(folder), table)}
    elif keeper:
        found |= {p.pid for p in procs.below([keeper], table)}
    return tuple(sorted(found))


def phase_of(
    status: Status | None, wanted: Wanted, keeper: int | None, pids: tuple[int, ...]
) -> tuple[str, str]:
    """Return what to call the state of a unit, and why."""
    if keeper is not None:
        if status is None:
            return "starting", ""
        if wanted.state == "stopped" and status.phase not in FINAL:
            return "draining", status.error or status.detail
        return status.phase, status.error or status.detail
    if status is None and not pids:
        return "lost", "it was never started"
    if status is not None and status.boot != procs.boot_id():
        return "lost", "the machine has been started anew"
    if status is not None and status.phase in FINAL and not pids:
        return status.phase, status.detail
    if pids:
        return "lost", "its keeper is gone; its processes run on"
    return "lost", "its keeper and its processes are gone"


def stop_seconds(spec: Mapping[str, Any]) -> float:
    """Return how long a keeper may take to end a unit, however much of it goes wrong."""
    stop, checkpoint = spec["stop"], spec["checkpoint"]
    saving = 0.0 if checkpoint is None else checkpoint["deadline_s"]
    return float(stop["drain_s"] + 2 * stop["grace_s"] + saving + call_seconds(spec))


def call_seconds(spec: Mapping[str, Any]) -> float:
    """Return how long a keeper may be busy with a probe or a change of the batch size."""
    setting = 0.0 if spec["batch"] is None else 4 * spec["batch"]["timeout_s"]
    return float(spec["ready"]["timeout_s"] + setting + SLACK)
