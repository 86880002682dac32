"""Instances made fit for a solver: without what it does not support, and otherwise as drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from colocate.capability import Capability
from colocate.testing._free import gpus_of

if TYPE_CHECKING:
    from colocate.testing._parts import Spec

__all__ = ["adapt"]


def adapt(spec: Spec, supported: frozenset[Capability]) -> Spec:
    """Take out of an instance what needs more than these capabilities."""
    rules = spec["rules"]
    if Capability.SEVERAL_TASKS not in supported:
        rules["tasks_per_gpu"] = min(1, rules.get("tasks_per_gpu", 1))
    if Capability.SEVERAL_SERVICES not in supported:
        rules["services_per_gpu"] = min(1, rules.get("services_per_gpu", 1))
    if Capability.GPU_TYPES not in supported:
        _one_type(spec)
    if Capability.PINNED_SERVICES not in supported:
        for service in spec["services"]:
            service.pop("pinned", None)
    if Capability.FREE_SERVICES not in supported:
        _pin_all(spec, keep=Capability.PINNED_SERVICES in supported)
    if Capability.OPTIONAL_SERVICES not in supported:
        for service in spec["services"]:
            service["required"] = True
            service.pop("missing_price", None)
    if Capability.GANGS not in supported:
        for task in spec["tasks"]:
            task["count"] = task.get("count", 1) * task.get("gang_size", 1)
            task["gang_size"] = 1
    for side, capability in (("maximum", Capability.QUOTAS), ("minimum", Capability.FLOORS)):
        if capability not in supported:
            for quota in rules.get("quotas", ()):
                quota.pop(side, None)
    rules["quotas"] = [q for q in rules.get("quotas", ()) if {"maximum", "minimum"} & q.keys()]
    return spec


def _one_type(spec: Spec) -> None:
    """Let GPUs of other types than the first usable one be out of service."""
    usable = [p["gpu_type"] for p in spec["gpu_pools"] if p.get("schedulable", True)]
    for pool in spec["gpu_pools"]:
        if usable and pool["gpu_type"] != usable[0]:
            pool["schedulable"] = False


def _pin_all(spec: Spec, *, keep: bool) -> None:
    """Give every replica a GPU of its own; where there are too few, take the service out."""
    gpus = gpus_of(spec["gpu_pools"])
    gone = set()
    for n, service in enumerate(list(spec["services"])):
        if service.get("pinned"):
            continue
        if not keep or service["replicas"] > len(gpus):
            spec["services"].remove(service)
            gone.add(service["id"])
            continue
        homes = [gpus[(n + i) % len(gpus)] for i in range(service["replicas"])]
        service["pinned"] = [{"pool": pool, "gpus": str(i)} for pool, i in homes]
    spec["rules"]["anti_affinity"] = [
        a for a in spec["rules"].get("anti_affinity", ()) if not gone & {*a["left"], *a["right"]}
    ]
