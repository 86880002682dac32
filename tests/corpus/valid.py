"""Valid files that use every field: the bases that the corpus of bad inputs damages."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import dataclass, field
from typing import Any

from tests.corpus.launch import LAUNCH_FILE

Step = str | int
Steps = tuple[Step, ...]


@dataclass(frozen=True)
class Case:
    """Bytes that must be refused."""

    name: str
    kind: str
    """`instance`, `plan` or `profiles`."""
    data: bytes = field(repr=False)
    path: str
    """What the path of one of the problems must be."""
    words: str = ""
    """What the message must say."""


@dataclass(frozen=True)
class Raw:
    """JSON text that `json.dumps` would not write."""

    text: str


DROP = object()
"""Stands for a field that is to be left out."""

GPU_A = "GPU-00000000-0000-0000-0000-00000000000a"
GPU_B = "GPU-00000000-0000-0000-0000-00000000000b"

SERVICE_PREDICTION: dict[str, Any] = {
    "rate_rps": 100.0,
    "rate_lo_rps": 90.0,
    "latency_ms": 50.0,
    "latency_hi_ms": 60.0,
    "memory_gib": 2.0,
    "evidence": "measured",
}
TASK_PREDICTION: dict[str, Any] = {
    "rate": 100.0,
    "rate_lo": 90.0,
    "normalised_rate": 0.5,
    "memory_gib": 2.0,
    "evidence": "constant",
}
GROUP: dict[str, Any] = {
    "pool": "a",
    "gpus": "0-1",
    "services": [
        {
            "service": "s0",
            "replicas": "0-1",
            "batch": 16,
            "share_pct": 50,
            "sms": 50,
            "predicted": SERVICE_PREDICTION,
        }
    ],
    "tasks": [
        {
            "task": "t0",
            "workers": "0-1",
            "batch": 32,
            "share_pct": 40,
            "sms": 40,
            "predicted": TASK_PREDICTION,
        }
    ],
}
PROFILES: list[dict[str, Any]] = [
    {
        "workload": "bert",
        "gpu_type": "A100",
        "role": "inference",
        "curve": {
            "family": "tabulated",
            "batches": [
                {
                    "batch": 16,
                    "points": [{"share_pct": 10, "rate": 50}, {"share_pct": 100.0, "rate": 90.5}],
                }
            ],
        },
        "rate_error": [{"confidence": 0.9, "relative": 0.1}],
        "memory": [{"batch": 16, "memory_gib": 2}],
        "evidence": "measured",
    },
    {
        "workload": "vgg",
        "gpu_type": "A100",
        "role": "training",
        "curve": {
            "family": "piecewise_linear",
            "batches": [
                {"batch": 32, "min_share_pct": 5, "lines": [{"intercept": -1.0, "slope": 2.0}]}
            ],
        },
        "memory": [{"batch": 32, "memory_gib": 4}],
    },
]
INTERFERENCE: dict[str, Any] = {
    "default_slowdown": 1.2,
    "default_error": [{"confidence": 0.9, "relative": 0.1}],
    "pairs": [
        {
            "gpu_type": "A100",
            "victim": "bert",
            "neighbour": "vgg",
            "slowdown": 1.3,
            "error": [{"confidence": 0.9, "relative": 0.1}],
            "evidence": "regressed",
        },
        {
            "gpu_type": "A100",
            "victim": "vgg",
            "neighbour": "bert",
            "table": {
                "victim_batch": [32],
                "neighbour_batch": [4, 16],
                "victim_share_pct": [50],
                "neighbour_share_pct": [25, 75.5],
                "slowdown": [1, 1.1, 1.2, 1.3],
            },
        },
    ],
}
INSTANCE: dict[str, Any] = {
    "schema": "colocate/instance/v1",
    "name": "base",
    "description": "A valid instance that uses every field.",
    "slo_model": {"name": "fill", "params": {"rho_max": 0.9}},
    "confidence": 0.5,
    "objective": {"name": "throughput", "params": {}},
    "gpu_pools": [
        {
            "id": "a",
            "gpu_type": "A100",
            "count": 4,
            "first": 0,
            "memory_gib": 40,
            "sm_count": 100,
            "node": "node-1",
            "max_clients": 48,
            "reserve_gib": 1.5,
            "schedulable": True,
            "measured_sms": [{"share_pct": 50, "sms": 50}],
        },
        {
            "id": "b",
            "gpu_type": "A100",
            "uuids": [GPU_A, GPU_B],
            "memory_gib": 40,
            "sm_count": 100,
        },
    ],
    "services": [
        {
            "id": "s0",
            "profile": "bert",
            "replicas": 2,
            "rate_rps": 10,
            "slo_ms": 300,
            "slo_percentile": 99,
            "batches": [16],
            "pinned": [{"pool": "a", "gpus": "0-1"}],
            "required": True,
            "min_share_pct": 1,
            "processes": 1,
            "tenant": "ann",
            "user_id": 1000,
        },
        {
            "id": "s1",
            "profile": "bert",
            "rate_rps": 10,
            "slo_ms": 300,
            "required": False,
            "missing_price": 2.5,
        },
    ],
    "service_table": {
        "id_prefix": "row-",
        "rows": 2,
        "profile": ["bert", "bert"],
        "rate_rps": [1, 2],
        "slo_ms": 300,
        "replicas": [1, 2],
        "slo_percentile": 99,
        "batches": [16],
        "required": False,
        "missing_price": 1,
        "min_share_pct": 1,
        "processes": 1,
        "tenant": "ann",
        "user_id": 1000,
    },
    "tasks": [
        {
            "id": "t0",
            "profile": "vgg",
            "count": 2,
            "batch": 32,
            "batches": [32],
            "noise_scale": 100,
            "weight": 1.5,
            "gang_size": 1,
            "memory_gib": 3,
            "processes": 1,
            "tenant": "bob",
            "user_id": 1000,
            "priority": 0,
            "deadline_s": 100,
            "remaining_samples": 10,
            "attained_gpu_s": 0,
        }
    ],
    "task_table": {
        "id_prefix": "job-",
        "rows": 2,
        "profile": "vgg",
        "batch": [32, 32],
        "batches": [32],
        "noise_scale": 100,
        "count": 1,
        "weight": [1, 2],
        "gang_size": 1,
        "memory_gib": 3,
        "processes": 1,
        "tenant": ["bob", "cay"],
        "user_id": 1000,
    },
    "profiles": PROFILES,
    "interference": INTERFERENCE,
    "rules": {
        "services_per_gpu": 1,
        "tasks_per_gpu": 1,
        "workloads_per_gpu": 2,
        "tenants_per_gpu": 2,
        "quotas": [{"tenant": "bob", "unit": "tasks", "maximum": 2, "minimum": 0}],
        "anti_affinity": [{"left": ["s0"], "right": ["job-1"]}],
        "moves": {"price": 0.5, "budget": 3},
        "blast_radius": {"max_replicas_per_node": 2},
        "locked": [{"pool": "a", "gpus": "0"}],
    },
    "constraints": [{"name": "memory", "params": {"slack": 1}}],
    "current": [GROUP],
}
PLAN: dict[str, Any] = {
    "schema": "colocate/plan/v1",
    "instance_name": "base",
    "instance_sha256": "0" * 64,
    "solver": "greedy",
    "objective": {"name": "throughput", "sense": "max", "value": 1.5},
    "placements": [GROUP],
    "missing": [{"service": "s1", "replicas": "0", "reason": "slo", "detail": "too slow"}],
    "unplaced": [{"task": "t0", "ids": "2-3", "reason": "no_room", "detail": ""}],
    "totals": {
        "gpus_used": 2,
        "gpus_shared": 2,
        "replicas_placed": 2,
        "replicas_missing": 1,
        "tasks_placed": 2,
        "tasks_unplaced": 2,
        "normalised_throughput": 1.0,
    },
    "certificate": {
        "kind": "tree",
        "bound": 2.0,
        "services": [{"id": "s0", "price": -1.0}],
        "tasks": [{"id": "t0", "price": 0.5}],
        "levels": [{"task": "t0", "batch": 32, "rate": 10.0, "price": 0.1}],
        "quotas": [{"tenant": "bob", "unit": "tasks", "side": "maximum", "price": 0.0}],
        "tree": [
            {
                "kind": "split",
                "counts": "workers",
                "of": ["t0"],
                "pools": ["p0"],
                "holding": [{"ids": ["s0", "t0"], "at_least": 1}],
                "batch": 32,
                "share_from": 10,
                "at_most": 1,
            },
            {"kind": "leaf", "splits": [0.5], "tasks": [{"id": "t0", "price": 1.0}]},
            {"kind": "leaf", "splits": [0.0]},
        ],
    },
}
PROFILE_FILE: dict[str, Any] = {
    "schema": "colocate/profiles/v1",
    "description": "",
    "profiles": PROFILES,
    "interference": INTERFERENCE,
}
MODELS_FILE: dict[str, Any] = {
    "schema": "colocate/models/v1",
    "description": "",
    "profiles": PROFILES,
    "interference": INTERFERENCE,
    "company": [
        {
            "gpu_type": "A100",
            "inference": ["bert"],
            "training": ["vgg"],
            "constants": [
                {
                    "victim_role": "inference",
                    "neighbour_role": "training",
                    "slowdown": 1.2,
                    "rows": 9,
                }
            ],
        }
    ],
    "calibration": [
        {
            "what": "company",
            "gpu_type": "A100",
            "evidence": "regressed",
            "low": [{"confidence": 0.9, "relative": 0.1}],
            "high": [{"confidence": 0.9, "relative": 0.1}],
            "residuals": 100,
            "units": 10,
            "mean_error_pct": 3.0,
        }
    ],
    "report": {
        "rows": 120,
        "left_out": [{"reason": "in doubt", "rows": 3, "example": "row 7"}],
        "curves": [
            {
                "workload": "bert",
                "gpu_type": "A100",
                "method": "hyperbola",
                "error_pct": 2.0,
                "points": [{"batch": 8, "share_pct": 50.0, "rate": 100.0, "fitted": 101.0}],
                "notes": ["the rate falls"],
            }
        ],
        "company": "by telemetry",
        "notes": ["a note"],
    },
}
FILES = {
    "instance": INSTANCE,
    "plan": PLAN,
    "profiles": PROFILE_FILE,
    "models": MODELS_FILE,
    "launch": LAUNCH_FILE,
}


_STEP = re.compile(r"([a-z0-9_]+)|\[([0-9]+)\]")


def steps_of(path: str) -> Steps:
    """Return `services[0].slo_ms` as steps."""
    return tuple(name or int(index) for name, index in _STEP.findall(path))


def path_of(steps: Steps) -> str:
    """Return steps as the path that errors name."""
    return "$" + "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in steps)


def to_bytes(value: Any) -> bytes:
    """Write JSON, raw pieces included."""
    raws: list[str] = []

    def mark(raw: Any) -> str:
        raws.append(raw.text)
        return f"<raw {len(raws) - 1}>"

    written = json.dumps(value, default=mark)
    for i, raw in enumerate(raws):
        written = written.replace(f'"<raw {i}>"', raw)
    return written.encode()


def damaged(kind: str, changes: dict[Steps, Any]) -> bytes:
    """Return a valid file with some values replaced, added or dropped."""
    file = copy.deepcopy(FILES[kind])
    for steps, value in changes.items():
        holder: Any = file
        for step in steps[:-1]:
            holder = holder[step]
        if value is DROP:
            del holder[steps[-1]]
        else:
            holder[steps[-1]] = value
    return to_bytes(file)
