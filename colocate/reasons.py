"""Cheap reasons for what is not in a plan, and for what cannot be in any."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from colocate.classes import GpuClass
from colocate.configure import Configurator
from colocate.instance import Service, Task
from colocate.plan import Reason
from colocate.problem import Problem
from colocate.schema import TOLERANCE

__all__ = ["Why", "impossible_services", "why_service", "why_task"]

_ORDER: tuple[Reason, ...] = (
    "no_profile",
    "clients",
    "memory",
    "no_bound",
    "slo",
    "no_room",
    "rules",
)
"""From far to near: of several GPU classes the one that came nearest gives the reason."""


@dataclass(frozen=True, slots=True)
class Why:
    """A reason and its values."""

    reason: Reason
    detail: str


def why_task(problem: Problem, cls: int) -> Why:
    """Say why tasks of this class are left out."""
    task: Task = problem.source.classes.tasks.representative[cls]
    columns = problem.columns
    if (columns.is_task & (columns.cls == cls)).any():
        return Why(
            "outbid", "every GPU that could hold it is worth more otherwise, or a quota is full"
        )
    return _nearest([_task_on(c, cls, task) for c in problem.source.configurators])


def why_service(problem: Problem, cls: int) -> Why:
    """Say why replicas of this class are left out."""
    service: Service = problem.source.classes.services.representative[cls]
    columns = problem.columns
    if (~columns.is_task & (columns.cls == cls)).any():
        return Why(
            "outbid", "every GPU that could hold it is worth more otherwise, or none is left"
        )
    return _nearest([_service_on(c, cls, service) for c in problem.source.configurators])


def impossible_services(problem: Problem) -> list[str]:
    """Return a sentence for every required service that fits on no GPU, even alone."""
    held = np.unique(problem.columns.cls[~problem.columns.is_task])
    found = []
    for cls, service in enumerate(problem.source.classes.services.representative):
        if service.required and cls not in held:
            why = why_service(problem, cls)
            found.append(f"service {service.id!r} fits on no GPU: {why.detail}")
    return found


def _nearest(found: list[Why]) -> Why:
    if not found:
        return Why("no_room", "no GPU is schedulable")
    return max(found, key=lambda why: _ORDER.index(why.reason))


def _fits(gpu: GpuClass, needs_gib: float) -> bool:
    return needs_gib <= gpu.memory_gib + TOLERANCE * max(1.0, gpu.memory_gib)


def _batches(task: Task) -> str:
    return " or ".join(str(b) for b in sorted(task.batches or (task.batch,)))


def _task_on(at: Configurator, cls: int, task: Task) -> Why:
    gpu, speed = at.gpu, at.trains(cls)
    if speed is None:
        return Why(
            "no_profile",
            f"{task.profile!r} has no profile at batch {_batches(task)} on {gpu.gpu_type!r}",
        )
    if task.processes > gpu.max_clients:
        return Why(
            "clients", f"{task.processes} processes; {gpu.gpu_type!r} takes {gpu.max_clients}"
        )
    if not _fits(gpu, speed.memory_gib):
        return Why(
            "memory",
            f"needs {speed.memory_gib:g} GiB; {gpu.gpu_type!r} offers {gpu.memory_gib:g} GiB",
        )
    return Why(
        "no_room", f"no set of co-tenants that the rules allow leaves room on {gpu.gpu_type!r}"
    )


def _service_on(at: Configurator, cls: int, service: Service) -> Why:
    gpu, speed = at.gpu, at.services[cls]
    if speed is None:
        return Why(
            "no_profile", f"{service.profile!r} has no profile at its batches on {gpu.gpu_type!r}"
        )
    if service.processes > gpu.max_clients:
        return Why(
            "clients", f"{service.processes} processes; {gpu.gpu_type!r} takes {gpu.max_clients}"
        )
    least = float(speed.memory_gib.min())
    if not _fits(gpu, least):
        return Why("memory", f"needs {least:g} GiB; {gpu.gpu_type!r} offers {gpu.memory_gib:g} GiB")
    if not (speed.rate_lo > 0).any():
        return Why(
            "no_bound", f"its rate on {gpu.gpu_type!r} has no error bound at this confidence"
        )
    alone = at.least_share(cls, np.ones(1))[0]
    if (alone < 0).all():
        batch = speed.batch.astype(float)[:, None]
        with np.errstate(divide="ignore"):
            tau = batch / speed.rate_lo
        arrivals = np.asarray(service.rate_rps)
        best = float(at.slo.latency_ms(batch, tau, arrivals, service.slo_percentile).min())
        return Why(
            "slo",
            f"alone on a {gpu.gpu_type!r} its latency bound is at best {best:.4g} ms, its SLO "
            f"{service.slo_ms:g} ms, its load {service.rate_rps:g} samples/s",
        )
    return Why("rules", f"a rule, or a pin, keeps it off {gpu.gpu_type!r}")
