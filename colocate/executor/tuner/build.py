"""Tuners for the GPUs of a node, put together from an instance, sources and the node."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from colocate.errors import InputError
from colocate.executor.apply.perform import Ports
from colocate.executor.guard.build import HOLDS
from colocate.executor.guard.holds import Holds
from colocate.executor.guard.records import Recorder
from colocate.executor.tuner.carrying import Respec
from colocate.executor.tuner.change import Change
from colocate.executor.tuner.company import OneGpu, Tenant
from colocate.executor.tuner.loop import Tuner
from colocate.executor.tuner.settings import TunerSettings
from colocate.executor.tuner.sources import Source
from colocate.executor.unit import Unit
from colocate.executor.workloads.units import gpu_uuids, key_of
from colocate.instance import Instance

if TYPE_CHECKING:
    from colocate.launch import LaunchFile

__all__ = ["pools_by_uuid", "respec_tenant", "tuners_of"]


def pools_by_uuid(instance: Instance) -> dict[str, str]:
    """Return the pool of each GPU that the instance lists by UUID."""
    return {uuid: pool for (pool, _), uuid in gpu_uuids(instance).items()}


def tuners_of(
    ports: Ports,
    root: Path,
    gpus: Sequence[str],
    instance: Instance,
    settings: TunerSettings,
    sources: Mapping[tuple[str, int], Source],
    *,
    change: Change,
    launches: Sequence[LaunchFile],
    recorder: Recorder,
    clock: Callable[[], float],
    dry_run: bool = False,
) -> list[Tuner]:
    """Return a tuner for each GPU.

    Raises
    ------
    InputError
        When a GPU is not in the instance, or a service on it has no source.
    """
    pools = pools_by_uuid(instance)
    models: dict[str, OneGpu] = {}
    holds = Holds(root / HOLDS)
    found = []
    for gpu in gpus:
        if gpu not in pools:
            raise InputError(
                f"GPU {gpu} is in no pool of the instance",
                path="$.gpu_pools",
                advice="list the UUIDs of the pool (`uuids`).",
            )
        model = models.setdefault(pools[gpu], OneGpu(instance, pools[gpu]))
        mine: dict[str, Source] = {}
        for state in ports.processes.observe():
            unit = state.unit
            if unit.gpu == gpu and unit.place in sources:
                mine[unit.workload] = sources[unit.place]
            elif unit.gpu == gpu and unit.role == "service":
                raise InputError(
                    f"service {unit.workload!r} replica {unit.ordinal} has no source",
                    path="$.sources",
                    advice="say where it tells its rate and latency.",
                )
        found.append(
            Tuner(
                gpu,
                ports,
                model,
                mine,
                change=change,
                respec=respec_tenant(launches),
                settings=settings,
                planned_rps={
                    name: model.service(name).rate_rps
                    for name in mine
                    if any(s.id == name for s in instance.iter_services())
                },
                holds=holds,
                recorder=recorder,
                dry_run=dry_run,
                clock=clock,
            )
        )
    return found


def respec_tenant(launches: Sequence[LaunchFile]) -> Respec:
    """Return what gives a unit other knobs, with the key that goes with them.

    A limit of its memory grows with what it is expected to take, and does not shrink.
    """

    def respec(unit: Unit, tenant: Tenant, memory_gib: float | None) -> Unit:
        memory = unit.memory_gib if memory_gib is None else memory_gib
        limit = unit.memory_limit_mib
        if limit is not None and memory > unit.memory_gib > 0:
            limit = math.ceil(limit * memory / unit.memory_gib)
        other = replace(
            unit,
            batch=tenant.batch,
            share_pct=tenant.share_pct,
            memory_gib=memory,
            memory_limit_mib=limit,
        )
        for launch in launches:
            try:
                program = launch.program(unit.launch)
            except KeyError:
                continue
            if key_of(unit, program) == unit.key:
                return replace(other, key=key_of(other, program))
        raise InputError(
            f"the launch file of unit {unit.key} is not at hand",
            advice="apply the plan again with its launch file.",
        )

    return respec
