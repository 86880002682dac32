"""The first stage and the last: what is here, and whether it is the same afterwards."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

from colocate.errors import ColocateError
from colocate.executor.gpu_check.stages import NotPossibleError, Said
from colocate.executor.gpu_check.state import Found, State
from colocate.executor.measure.bench import GpuAbout
from colocate.executor.measure.here import chosen_gpu, gpu_type_of
from colocate.executor.ports import GpuFacts

__all__ = ["as_found", "prepare"]

MEMORY_SLACK_MIB = 256.0
"""By so much may the memory in use differ: the driver keeps some of what it once had."""


def prepare(state: State, uuid: str | None) -> Said:
    """Look at the software and the GPU, and remember how the GPU was."""
    software = dict(state.world.software())
    gpu = chosen_gpu(state.world.gpus.facts(), uuid)
    state.gpu = gpu
    state.before = _found(state, gpu)
    state.about = GpuAbout(
        gpu_type=gpu_type_of(gpu), name=gpu.name, uuid=gpu.uuid, driver=gpu.driver
    )
    missing = [name for name, version in software.items() if version is None]
    facts = {
        "software": software,
        "missing": missing,
        "gpu": asdict(gpu),
        "found": _facts(state.before),
        "user": os.geteuid(),
        "cpus": os.cpu_count(),
        "kernel": os.uname().release,
    }
    without = f"; missing: {', '.join(missing)}" if missing else ""
    summary = f"{gpu.name}, {gpu.memory_mib} MiB, driver {gpu.driver}{without}"
    return Said("torch" not in missing, summary, facts)


def as_found(state: State) -> Said:
    """Compare the GPU with what it was before anything was done."""
    gpu, before = state.need_gpu(), state.before
    if before is None:
        raise NotPossibleError("nobody knows how the GPU was before")
    after = _found(state, gpu)
    wrong = []
    for name in ("compute_mode", "mig"):
        was, now = getattr(before.facts, name), getattr(after.facts, name)
        if was != now:
            wrong.append(f"{name} was {was} and is {now}")
    if after.daemon_alive and not before.daemon_alive:
        wrong.append("an MPS daemon runs that was not there")
    if after.clients > before.clients:
        wrong.append(f"there are {after.clients - before.clients} MPS clients more than before")
    was_mib, is_mib = before.reading.memory_used_mib, after.reading.memory_used_mib
    if was_mib is not None and is_mib is not None and is_mib > was_mib + MEMORY_SLACK_MIB:
        wrong.append(f"{is_mib - was_mib:.0f} MiB more are in use")
    forced = [] if state.bench is None else state.bench.forced
    facts = {"before": _facts(before), "after": _facts(after), "forced_to_end": forced}
    if wrong:
        return Said(False, "; ".join(wrong), facts)
    return Said(True, "the GPU is as it was found", facts)


def _found(state: State, gpu: GpuFacts) -> Found:
    now = next((f for f in state.world.gpus.facts() if f.uuid == gpu.uuid), gpu)
    alive, clients = False, 0
    try:
        daemon = state.world.daemons(state.world.root, dict, None).observe(gpu.uuid)
        alive, clients = daemon.alive, len(daemon.clients)
    except ColocateError:
        pass  # without the control program there is no daemon; the next stage says so
    return Found(
        facts=now,
        reading=state.world.gpus.read(gpu.uuid),
        daemon_alive=alive,
        clients=clients,
        mps_pids=tuple(state.world.gpus.mps_pids(gpu.uuid)),
    )


def _facts(found: Found) -> dict[str, Any]:
    return {
        "compute_mode": found.facts.compute_mode,
        "mig": found.facts.mig,
        "daemon": found.daemon_alive,
        "clients": found.clients,
        "mps_pids": list(found.mps_pids),
        "memory_used_mib": found.reading.memory_used_mib,
        "sm_clock_mhz": found.reading.sm_clock_mhz,
        "temperature_c": found.reading.temperature_c,
        "power_w": found.reading.power_w,
    }
