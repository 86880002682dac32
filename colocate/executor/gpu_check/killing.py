"""Killing a training process of the plan, to see what that does to the service beside it."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from statistics import median
from typing import Any

from colocate.errors import ColocateError
from colocate.executor.gpu_check.applied import Applied, running
from colocate.executor.gpu_check.stages import NotPossibleError, Said
from colocate.executor.gpu_check.state import State
from colocate.executor.measure.intervals import quantile

__all__ = ["kill"]


def kill(state: State) -> Said:
    """Kill the training process, and watch what that does to the service."""
    applied = running(state)
    task, service = applied.unit("task"), applied.unit("service")
    if task is None or service is None:
        raise NotPossibleError("the plan has no service beside training")
    gpu = state.need_gpu().uuid
    pids = [c.pid for c in applied.daemons.observe(gpu).clients if c.unit == task.key]
    if not pids:
        raise NotPossibleError("the training process is not known to MPS")
    length = state.sizes.window_s
    timeline: list[dict[str, Any]] = []
    began = time.monotonic()
    killed_at: float | None = None
    back_at: float | None = None
    before_s = state.sizes.before_kill_s
    deadline = began + before_s + min(state.sizes.after_kill_s, max(5.0, state.course.left_s - 10))
    while time.monotonic() < deadline:
        at = time.monotonic() - began
        if killed_at is None and at > before_s:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            killed_at = at
        time.sleep(length)
        applied.listen(0.0)
        moment = {"at_s": at, **_moment(applied, service.workload), "server": _server(applied, gpu)}
        training = applied.window(task.workload)
        moment["training_rate"] = None if training is None else training["rate"]
        timeline.append(moment)
        if killed_at is not None and back_at is None and training is not None and training["rate"]:
            back_at = at
            deadline = min(deadline, time.monotonic() + 10 * length)
    assert killed_at is not None
    after = [m for m in timeline if m["at_s"] > killed_at]
    silent = [m for m in after if not m["service_rate"]]
    states = {s.unit.key: s for s in applied.processes.observe()}
    restarts = {u.workload: states[u.key].restarts for u in applied.units if u.key in states}
    survived = restarts.get(service.workload, 0) == 0 and not silent
    before_p99 = [m["p99_ms"] for m in timeline if m["at_s"] < killed_at and m["p99_ms"]]
    after_p99 = [m["p99_ms"] for m in after if m["p99_ms"]]
    servers = sorted({m["server"] for m in after})
    facts = {
        "timeline": timeline,
        "killed_at_s": killed_at,
        "pids": pids,
        "service_survived": survived,
        "service_silent_s": len(silent) * length,
        "training_back_after_s": None if back_at is None else back_at - killed_at,
        "restarts": restarts,
        "server_states": servers,
        "p99_ms_before": median(before_p99) if before_p99 else None,
        "p99_ms_after": max(after_p99) if after_p99 else None,
    }
    serves = bool(after) and bool(after[-1]["service_rate"])
    words = (
        "the service went on"
        if survived
        else (
            f"the service was silent for {facts['service_silent_s']:.1f} s and started "
            f"{restarts.get(service.workload, 0)} times anew"
        )
    )
    words += f"; server states: {', '.join(servers)}"
    if back_at is not None:
        words += f"; training was back after {back_at - killed_at:.1f} s"
    return Said(serves, words, facts)


def _moment(applied: Applied, service: str) -> dict[str, Any]:
    window = applied.window(service)
    if window is None:
        return {"service_rate": None, "p99_ms": None, "waiting": None}
    latencies = window["latencies_ms"]
    return {
        "service_rate": window["rate"],
        "p99_ms": quantile(latencies, 0.99) if latencies else None,
        "waiting": window["waiting"],
    }


def _server(applied: Applied, gpu: str) -> str:
    try:
        return applied.daemons.observe(gpu).server
    except ColocateError as failed:
        return f"no answer: {failed.message[:100]}"
