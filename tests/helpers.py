"""Small instances that several test files start from."""

from __future__ import annotations

from typing import Any

from colocate.instance import Instance

SEEDS = 400
"""Of how many drawn instances of each kind a normal run makes its examples."""


def curve(*rates: float) -> dict[float, float]:
    """Points at equal distances up to the whole GPU."""
    return {100.0 * (i + 1) / len(rates): r for i, r in enumerate(rates)}


def instance(**changes: Any) -> Instance:
    """One pool of two GPUs with 4 multiprocessors, one service, one kind of task."""
    base: dict[str, Any] = {
        "name": "small",
        "slo_model": {"name": "fill"},
        "confidence": 0.5,
        "objective": {"name": "throughput"},
        "gpu_pools": [{"id": "a", "gpu_type": "A", "count": 2, "memory_gib": 16.0, "sm_count": 4}],
        "services": [{"id": "web", "profile": "net", "rate_rps": 10.0, "slo_ms": 300.0}],
        "tasks": [{"id": "job", "profile": "train", "batch": 8, "count": 3}],
        "profiles": [
            profile("net", "A", "inference", {1: [8.0, 16.0, 24.0, 32.0]}, {1: 2.0}),
            profile("train", "A", "training", {8: [10.0, 20.0, 30.0, 40.0]}, {8: 4.0}),
        ],
        "interference": {"default_slowdown": 1.0},
    }
    base.update(changes)
    return Instance.model_validate(base)


def profile(
    workload: str,
    gpu_type: str,
    role: str,
    rates: dict[int, list[float]],
    memory: dict[int, float],
    **rest: Any,
) -> dict[str, Any]:
    """A tabulated profile; each list holds rates at equal distances up to the whole GPU."""
    return {
        "workload": workload,
        "gpu_type": gpu_type,
        "role": role,
        "curve": {
            "family": "tabulated",
            "batches": [
                {
                    "batch": b,
                    "points": [{"share_pct": s, "rate": r} for s, r in curve(*row).items()],
                }
                for b, row in rates.items()
            ],
        },
        "memory": [{"batch": b, "memory_gib": m} for b, m in memory.items()],
        **rest,
    }
