"""Ending the processes of a unit: a signal, a grace period, and force where that is allowed."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from typing import Any

from colocate.executor.workloads.keeper import procs
from colocate.executor.workloads.keeper.workload import Workload, collect

__all__ = ["end", "exit_words"]

KILLED_WITHIN = 5.0
POLL = 0.025


def end(workload: Workload, stop: Mapping[str, Any]) -> tuple[bool, bool]:
    """Have all processes end; return whether they did, and whether by force.

    Parameters
    ----------
    workload
        The processes.
    stop
        Name of the `signal`, `grace_s`, and whether `hard_kill` is allowed.
    """
    number = getattr(signal, stop["signal"])
    until = time.monotonic() + stop["grace_s"]
    asked: set[procs.Identity] = set()
    left = workload.look()
    while left and time.monotonic() < until:
        # the main process first; then, each of them once, those that outlive it
        for one in [workload.main] if workload.main_runs() else left:
            if one not in asked:
                procs.send(one, number)
                asked.add(one)
        left = _left(workload)
    by_force = bool(left) and stop["hard_kill"]
    if by_force:
        until = time.monotonic() + KILLED_WITHIN
        while left and time.monotonic() < until:
            workload.signal_all(signal.SIGKILL)
            left = _left(workload)
    workload.main_runs()  # collects it
    return not left, by_force


def _left(workload: Workload) -> list[procs.Identity]:
    time.sleep(POLL)
    workload.main_runs()
    collect({workload.main.pid})
    return workload.look()


def exit_words(code: int | None) -> str:
    """Return how a process ended, in words."""
    if code is None:
        return "ended, its exit code is not known"
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
