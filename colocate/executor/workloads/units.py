"""From a plan and a launch file to units: what is to run on which GPU, by name."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Literal

from colocate.errors import InputError, UnsupportedError
from colocate.executor.unit import Unit
from colocate.instance import Instance, Service, Task
from colocate.launch import BatchFixed, BatchVariable, FixedLimit, LaunchFile, Program
from colocate.models.memory import memory_per_process
from colocate.placement import PlacedService, PlacedTask
from colocate.plan import Plan

__all__ = ["gpu_uuids", "key_of", "keyed", "units_of"]

MIB_PER_GIB = 1024


def gpu_uuids(instance: Instance) -> dict[tuple[str, int], str]:
    """Return the UUID of each GPU (pool, ordinal) whose pool lists UUIDs."""
    return {
        (pool.id, pool.first + i): uuid
        for pool in instance.gpu_pools
        for i, uuid in enumerate(pool.uuids or ())
    }


def units_of(
    instance: Instance,
    plan: Plan,
    launches: LaunchFile,
    uuids: Mapping[tuple[str, int], str],
    *,
    any_user: bool = False,
) -> tuple[Unit, ...]:
    """Return what a plan runs, by key.

    Parameters
    ----------
    instance, plan, launches
        What was asked, the answer, and how each workload is started.
    uuids
        UUID of each GPU, by pool and ordinal.
    any_user
        Whether units of other Unix users than this process's are fine: for files that are written
        for somebody else to use.

    Raises
    ------
    InputError
        When a workload has no entry in the launch file, a GPU no UUID, or the launch file cannot do
        what the plan wants.
    """
    found: list[Unit] = []
    for pool, gpu, kind, entry, ordinal in _placed(plan):
        uuid = uuids.get((pool, gpu))
        if uuid is None:
            raise InputError(
                f"GPU {pool}/{gpu} has no UUID",
                path="$.gpu_pools",
                advice=f"list the UUIDs of pool {pool!r} in the instance (`uuids`); "
                "`nvidia-smi -L` prints them.",
            )
        found.append(_unit(instance, launches, kind, entry, ordinal, uuid, any_user=any_user))
    return tuple(sorted(found, key=lambda u: u.key))


def keyed(unit: Unit, launches: LaunchFile) -> Unit:
    """Return a unit whose share, batch or GPU was changed, with the key that belongs to it."""
    return replace(unit, key=key_of(unit, launches.program(unit.launch)))


def key_of(unit: Unit, program: Program) -> str:
    """Return the key of a unit: it changes with all that needs a new process."""
    batch, ports = program.batch, program.ports
    facts = {
        "argv": program.argv,
        "batch": None if program.sets_batch_live else unit.batch,
        "batch_variable": batch.variable if isinstance(batch, BatchVariable) else None,
        "directory": program.directory,
        "env": dict(sorted(program.env.items())),
        "gpu": unit.gpu,
        "memory_limit_mib": unit.memory_limit_mib,
        "pass_env": sorted(program.pass_env),
        "ports": None if ports is None else [ports.first, ports.last],
        "share_pct": unit.share_pct,
    }
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    digits = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{unit.workload}.{unit.ordinal}.{digits}"


def _placed(
    plan: Plan,
) -> Iterator[tuple[str, int, Literal["service", "task"], PlacedService | PlacedTask, int]]:
    for placement in plan.iter_placements():
        for replica, service in placement.services:
            yield placement.pool, placement.gpu, "service", service, replica
        for worker, task in placement.tasks:
            yield placement.pool, placement.gpu, "task", task, worker


def _unit(
    instance: Instance,
    launches: LaunchFile,
    role: Literal["service", "task"],
    placed: PlacedService | PlacedTask,
    ordinal: int,
    uuid: str,
    *,
    any_user: bool,
) -> Unit:
    workload = placed.service if isinstance(placed, PlacedService) else placed.task
    try:
        entry = instance.service(workload) if role == "service" else instance.task(workload)
    except KeyError:
        raise InputError(
            f"the plan places {role} {workload!r}, which the instance does not have",
            path="$.placements",
            advice="give the instance that the plan was made for.",
        ) from None
    program = launches.starting(workload)
    if program is None:
        raise InputError(
            f"{role} {workload!r} has no entry in the launch file",
            path="$.programs",
            advice=f"add a program with the id {workload!r}, or name it in `workloads`.",
        )
    if entry.user_id is not None and entry.user_id != os.geteuid() and not any_user:
        raise UnsupportedError(
            f"{role} {workload!r} belongs to Unix user {entry.user_id}, this is user "
            f"{os.geteuid()}",
            advice="apply the plan as that user: processes run as who starts them.",
        )
    if isinstance(program.batch, BatchFixed) and program.batch.batch != placed.batch:
        raise InputError(
            f"the plan runs {role} {workload!r} at batch {placed.batch}, program "
            f"{program.id!r} is fixed at {program.batch.batch}",
            path="$.programs",
            advice="let the instance choose that batch alone (`batches`), or say how it is set.",
        )
    memory_gib = _memory_gib(instance, role, entry, placed)
    unit = Unit(
        key="",
        role=role,
        workload=workload,
        ordinal=ordinal,
        gpu=uuid,
        share_pct=placed.share_pct,
        batch=placed.batch,
        memory_gib=memory_gib,
        memory_limit_mib=_limit_mib(program, memory_gib / entry.processes),
        launch=program.id,
    )
    return replace(unit, key=key_of(unit, program))


def _memory_gib(
    instance: Instance, role: str, entry: Service | Task, placed: PlacedService | PlacedTask
) -> float:
    """Return what all processes of a unit take: as predicted, else as profiled."""
    if placed.predicted is not None:
        return placed.predicted.memory_gib
    each = entry.memory_gib if isinstance(entry, Task) else None
    if each is None:
        known = [
            found
            for pool in instance.gpu_pools
            if (profile := instance.profile(entry.profile, pool.gpu_type)) is not None
            and (found := memory_per_process(profile, placed.batch)) is not None
        ]
        each = max(known, default=None)
    if each is None:
        raise InputError(
            f"the memory of {role} {entry.id!r} at batch {placed.batch} is not known",
            path="$.profiles",
            advice="give the memory of its profile at that batch.",
        )
    return each * entry.processes


def _limit_mib(program: Program, each_gib: float) -> int | None:
    limit = program.memory_limit
    if limit is None:
        return None
    if isinstance(limit, FixedLimit):
        return limit.mib
    return max(1, math.ceil(each_gib * MIB_PER_GIB * (1 + limit.headroom_pct / 100)))
