"""One small instance for each thing that an instance may need of a solver."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colocate.capability import Capability
from colocate.instance import Instance

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["instances_that_need"]

_HERE = [{"pool": "a", "gpus": "0"}]
_NOTHING_ELSE: dict[str, Any] = {
    "services": [
        {"id": "web", "profile": "net", "rate_rps": 10.0, "slo_ms": 500.0, "pinned": _HERE}
    ],
    "tasks": [{"id": "job", "profile": "train", "batch": 8}],
}
_CHANGES: dict[Capability, dict[str, Any]] = {
    Capability.SEVERAL_TASKS: {"rules": {"tasks_per_gpu": 2}},
    Capability.SEVERAL_SERVICES: {"rules": {"services_per_gpu": 2}},
    Capability.FREE_SERVICES: {"services": [{"pinned": None}]},
    Capability.PINNED_SERVICES: {},
    Capability.OPTIONAL_SERVICES: {"services": [{"required": False, "missing_price": 1.0}]},
    Capability.GANGS: {"tasks": [{"gang_size": 2}]},
    Capability.QUOTAS: {"rules": {"quotas": [{"tenant": "default", "maximum": 1.0}]}},
    Capability.FLOORS: {"rules": {"quotas": [{"tenant": "default", "minimum": 1.0}]}},
    Capability.GPU_TYPES: {},
    Capability.EXTRA_CONSTRAINTS: {"constraints": [{"name": "memory"}]},
    Capability.MOVES: {"rules": {"moves": {"price": 1.0}}},
    Capability.BLAST_RADIUS: {"rules": {"blast_radius": {"max_replicas_per_node": 1}}},
}
_ABOUT_ANSWERS = {
    Capability.EXACT,
    Capability.BOUND,
    Capability.TIME_LIMIT,
    Capability.INTERRUPT,
}


def instances_that_need() -> Iterator[tuple[Capability, Instance]]:
    """Yield each capability about input, with an instance that needs it and little else."""
    for capability in Capability:
        if capability not in _ABOUT_ANSWERS:
            yield capability, _instance(capability)


def _instance(capability: Capability) -> Instance:
    changes = _CHANGES[capability]
    types = ("A", "B") if capability is Capability.GPU_TYPES else ("A",)
    spec: dict[str, Any] = {
        "name": "needs",
        "slo_model": {"name": "fill"},
        "confidence": 0.5,
        "objective": {"name": "throughput"},
        "gpu_pools": [
            {"id": t.lower(), "gpu_type": t, "count": 2, "memory_gib": 16.0, "sm_count": 4}
            for t in types
        ],
        "profiles": [
            _profile(workload, role, batch, gpu_type)
            for workload, role, batch in (("net", "inference", 1), ("train", "training", 8))
            for gpu_type in types
        ],
        "interference": {"default_slowdown": 1.0},
        "rules": changes.get("rules", {}),
        "constraints": changes.get("constraints", []),
    }
    if capability is Capability.MOVES:
        spec["current"] = []
    for part, (base,) in _NOTHING_ELSE.items():
        merged = {**base, **changes.get(part, [{}])[0]}
        spec[part] = [{k: v for k, v in merged.items() if v is not None}]
    return Instance.model_validate(spec)


def _profile(workload: str, role: str, batch: int, gpu_type: str) -> dict[str, Any]:
    points = [{"share_pct": 25.0 * i, "rate": 20.0 * i} for i in (1, 2, 3, 4)]
    return {
        "workload": workload,
        "gpu_type": gpu_type,
        "role": role,
        "curve": {"family": "tabulated", "batches": [{"batch": batch, "points": points}]},
        "memory": [{"batch": batch, "memory_gib": 2.0}],
    }
