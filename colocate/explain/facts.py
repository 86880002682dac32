"""What the workloads of an instance need at least, on each kind of GPU: numbers for the words."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from colocate.classes import Classes, GpuClass, classify
from colocate.configure import Configurator
from colocate.explain.draft import TABLE
from colocate.instance import Instance, Service
from colocate.models.slo import slo_model
from colocate.objectives.base import objective
from colocate.task_facts import task_facts

__all__ = ["Facts", "Need"]


@dataclass(frozen=True, slots=True)
class Need:
    """What one workload needs of one kind of GPU when it is alone there."""

    gpu_type: str
    share_pct: int | None = None
    """Least share; None when no share is enough."""
    memory_gib: float | None = None
    """Least memory of all its processes together; None without a profile."""
    latency_ms: float | None = None
    """Of a service that no share is enough for: its least latency, with the error bound."""
    is_bounded: bool = True
    """Whether its rate has an error bound at the instance's confidence."""


class Facts:
    """Looks needs up in what the compiler knows."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance

    @cached_property
    def _classes(self) -> Classes:
        # A pool that is not schedulable has no class, but its GPUs have facts all the same.
        pools = [p.model_copy(update={"schedulable": True}) for p in self.instance.gpu_pools]
        return classify(self.instance.replace(gpu_pools=tuple(pools)))

    @cached_property
    def _at(self) -> list[Configurator]:
        """One configurator for each kind of GPU."""
        instance, classes = self.instance, self._classes
        facts = task_facts(instance, classes.tasks.representative)
        seen: dict[tuple[object, ...], GpuClass] = {}
        for gpu in classes.gpus:
            seen.setdefault((gpu.gpu_type, gpu.memory_gib, gpu.sm_count), gpu)
        slo, worth = slo_model(instance.slo_model), objective(instance.objective)
        return [Configurator(instance, classes, g, slo, worth, facts) for g in seen.values()]

    def service(self, name: str) -> list[Need]:
        """Return what a service needs, on each kind of GPU."""
        cls = self._class(name, services=True)
        if cls is None:
            return []
        row: Service = self._classes.services.representative[cls]
        return _each_type([self._service(at, cls, row) for at in self._at])

    def task(self, name: str) -> list[Need]:
        """Return what a task needs, on each kind of GPU."""
        cls = self._class(name, services=False)
        if cls is None:
            return []
        return _each_type([self._task(at, cls) for at in self._at])

    def _service(self, at: Configurator, cls: int, row: Service) -> Need:
        speed, gpu = at.services[cls], at.gpu
        if speed is None:
            return Need(gpu.gpu_type)
        memory = float(speed.memory_gib.min())
        if not (speed.rate_lo > 0).any():
            return Need(gpu.gpu_type, memory_gib=memory, is_bounded=bool(not speed.rate.any()))
        least = at.least_share(cls, np.ones(1))[0]
        if (least >= 0).any():
            share = int(gpu.grid.share_pct[least[least >= 0]].min())
            return Need(gpu.gpu_type, share, memory)
        batch = speed.batch.astype(float)[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            tau = batch / speed.rate_lo
            rate = np.asarray(row.rate_rps)
            latency = at.slo.latency_ms(batch, tau, rate, row.slo_percentile)
        best = float(np.nanmin(latency))
        return Need(gpu.gpu_type, None, memory, best if np.isfinite(best) else None)

    def _task(self, at: Configurator, cls: int) -> Need:
        speed = at.trains(cls)
        if speed is None:
            return Need(at.gpu.gpu_type)
        runs = at.gpu.grid.share_pct[speed.rate > 0]
        share = int(runs.min()) if runs.size else None
        return Need(at.gpu.gpu_type, share, float(speed.memory_gib))

    def _class(self, name: str, *, services: bool) -> int | None:
        instance = self.instance
        entries = self._classes.services if services else self._classes.tasks
        name_of = instance.service_name if services else instance.task_name
        if name.endswith(TABLE):
            return None
        for e in range(entries.entry_class.size):
            if name_of(e) == name:
                return int(entries.entry_class[e])
        return None


def _each_type(needs: list[Need]) -> list[Need]:
    """Return the least need on each GPU type, where pools of one type differ in memory."""
    best: dict[str, Need] = {}
    for need in needs:
        old = best.get(need.gpu_type)
        if old is None or (old.share_pct is None and need.share_pct is not None):
            best[need.gpu_type] = need
    return list(best.values())
