"""A small instance with round numbers, and a valid plan for it."""

from __future__ import annotations

from typing import Any

from colocate.instance import Instance
from colocate.plan import Plan
from tests.judging.plans import On, hand_made


def toy_spec() -> dict[str, Any]:
    """Return the instance as plain data, for tests to change.

    On an a100 (100 multiprocessors, 40 GiB) `bert` serves 20 samples/s for each percent at batch 8
    and 40 at batch 16, `resnet` trains 10 for each percent and `gpt` 4. Together, everything is
    1.25 times slower. An h100 is twice as fast.
    """
    return {
        "name": "toy",
        "slo_model": {"name": "fill"},
        "confidence": 0.9,
        "objective": {"name": "throughput"},
        "gpu_pools": [
            _pool("a100", "A", 4),
            _pool("h100", "H", 2),
            {**_pool("old", "A", 2), "schedulable": False},
        ],
        "services": [
            {
                "id": "bert",
                "profile": "bert",
                "replicas": 3,
                "rate_rps": 200.0,
                "slo_ms": 100.0,
                "batches": [8, 16],
                "min_share_pct": 5,
                "tenant": "serving",
            },
            {
                "id": "yolo",
                "profile": "bert",
                "replicas": 2,
                "rate_rps": 100.0,
                "slo_ms": 200.0,
                "required": False,
                "missing_price": 0.5,
                "processes": 2,
                "tenant": "vision",
            },
        ],
        "tasks": [
            {
                "id": "resnet",
                "profile": "resnet",
                "count": 3,
                "batch": 64,
                "weight": 2.0,
                "tenant": "vision",
            },
            {
                "id": "gpt",
                "profile": "gpt",
                "count": 2,
                "batch": 4,
                "gang_size": 2,
                "memory_gib": 20.0,
                "tenant": "text",
            },
        ],
        "profiles": [
            profile
            for gpu_type, speed in (("A", 1.0), ("H", 2.0))
            for profile in (
                _profile("bert", "inference", gpu_type, {8: 20 * speed, 16: 40 * speed}, 0.1),
                _profile("resnet", "training", gpu_type, {64: 10 * speed}, 0.05),
                _profile("gpt", "training", gpu_type, {4: 4 * speed}, 0.0),
            )
        ],
        "interference": {
            "default_slowdown": 1.25,
            "default_error": [{"confidence": 0.95, "relative": 0.2}],
            "pairs": [
                {
                    "gpu_type": "A",
                    "victim": "bert",
                    "neighbour": "resnet",
                    "slowdown": 1.1,
                    "error": [{"confidence": 0.9, "relative": 0.05}],
                    "evidence": "regressed",
                }
            ],
        },
        "rules": {"services_per_gpu": 2, "tasks_per_gpu": 2},
    }


def _pool(pool_id: str, gpu_type: str, count: int) -> dict[str, Any]:
    return {
        "id": pool_id,
        "gpu_type": gpu_type,
        "count": count,
        "memory_gib": 40.0,
        "reserve_gib": 1.0,
        "sm_count": 100,
        "max_clients": 4,
    }


def _profile(
    workload: str, role: str, gpu_type: str, per_percent: dict[int, float], error: float
) -> dict[str, Any]:
    return {
        "workload": workload,
        "gpu_type": gpu_type,
        "role": role,
        "curve": {
            "family": "tabulated",
            "batches": [
                {
                    "batch": batch,
                    "points": [
                        {"share_pct": 5.0, "rate": 5 * rate},
                        {"share_pct": 100.0, "rate": 100 * rate},
                    ],
                }
                for batch, rate in per_percent.items()
            ],
        },
        "rate_error": [{"confidence": 0.9, "relative": error}],
        "memory": [{"batch": batch, "memory_gib": 2.0 + batch / 8} for batch in per_percent],
    }


def toy() -> Instance:
    """Return the instance."""
    return Instance.model_validate(toy_spec())


TOY_GROUPS = (
    On("a100", "0-1", [("bert", "0-1", 8, 40)], [("resnet", "0-1", 64, 60)]),
    On("a100", "2", [("yolo", "1", 16, 50)], [("gpt", "2", 4, 50)]),
    On("h100", "1,0", (), [("gpt", "0,3", 4, 50)]),
    On("a100", "3", [("bert", "2", 8, 40)], [("gpt", "1", 4, 50)]),
)


def toy_plan(instance: Instance | None = None, *groups: On) -> Plan:
    """Return a valid plan: GPU h100/1 holds worker 0 of `gpt`, h100/0 worker 3."""
    return hand_made(instance or toy(), groups or TOY_GROUPS)
