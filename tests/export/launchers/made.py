"""An instance, a plan and a launch file with everything in them that exports write down."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from colocate.export import launchers
from colocate.export.launchers.result import ExportResult
from colocate.instance import Instance
from colocate.io import build_instance, parse_launch, parse_plan
from colocate.launch import LaunchFile
from colocate.plan import Plan

UUIDS = [f"GPU-{i:08x}-1111-2222-3333-44444444444{i}" for i in range(3)]

INSTANCE: dict[str, Any] = {
    "name": "made",
    "slo_model": {"name": "fill"},
    "confidence": 0.5,
    "objective": {"name": "throughput"},
    "gpu_pools": [
        {
            "id": "a",
            "gpu_type": "A100",
            "uuids": UUIDS[:2],
            "memory_gib": 40,
            "sm_count": 108,
            "node": "n1",
        },
        {
            "id": "b",
            "gpu_type": "A100",
            "uuids": UUIDS[2:],
            "first": 5,
            "memory_gib": 40,
            "sm_count": 108,
            "node": "n2",
        },
    ],
    "profiles": [
        {
            "workload": name,
            "gpu_type": "A100",
            "role": role,
            "curve": {
                "family": "tabulated",
                "batches": [{"batch": b, "points": [{"share_pct": 100, "rate": 900}]}],
            },
            "memory": [{"batch": b, "memory_gib": 4}],
        }
        for name, role, b in (("bert", "inference", 16), ("vgg", "training", 64))
    ],
    "services": [
        {"id": "bert", "profile": "bert", "replicas": 3, "rate_rps": 1, "slo_ms": 500},
    ],
    "tasks": [
        {
            "id": "train-1",
            "profile": "vgg",
            "count": 2,
            "batch": 64,
            "processes": 2,
        },
    ],
    "interference": {"default_slowdown": 1.1},
}

SERVE: dict[str, Any] = {
    "id": "bert",
    "argv": ["/opt/serve/run", "--port={port}", "--batch", "{batch}", "--say", 'it\'s 100 % "$5"'],
    "env": {"MODEL": "bert base; $HOME", "SHARE": "{share_pct}"},
    "directory": "/srv/bert",
    "ports": {"first": 8000, "last": 8009},
    "image": "registry.example/serve:1.2",
    "ready": {"kind": "http", "url": "http://127.0.0.1:{port}/health"},
    "batch": {"kind": "http", "url": "http://127.0.0.1:{port}/batch?size={batch}"},
    "switch": {"kind": "command", "argv": ["/opt/serve/switch", "{old_port}", "{new_port}"]},
    "stop": {"grace_s": 20, "drain_s": 5},
    "restart": {"first_wait_s": 2},
    "memory_limit": {"kind": "headroom", "headroom_pct": 25},
}
TRAIN: dict[str, Any] = {
    "id": "training",
    "workloads": ["train-*"],
    "argv": ["python3", "train.py", "{workload}", "{ordinal}"],
    "pass_env": ["HOME", "PATH"],
    "directory": "/srv/train",
    "image": "registry.example/train:7",
    "ready": {"kind": "command", "argv": ["/opt/train/is-up", "{key}"]},
    "batch": {"kind": "environment", "variable": "BATCH"},
    "checkpoint": {"argv": ["/opt/train/save", "{ordinal}"], "deadline_s": 90},
    "stop": {"signal": "SIGUSR1", "grace_s": 60, "hard_kill": True},
    "pausable": True,
    "memory_limit": {"kind": "fixed", "mib": 6000},
}


def instance(**more: Any) -> Instance:
    return build_instance({**INSTANCE, **more})


def plan(question: Instance) -> Plan:
    def placed(kind: str, name: str, ids: str, ordinals: str, batch: int, share: int) -> Any:
        return {kind: name, ids: ordinals, "batch": batch, "share_pct": share, "sms": share}

    groups = [
        {
            "pool": "a",
            "gpus": "0-1",
            "services": [placed("service", "bert", "replicas", "0-1", 16, 60)],
            "tasks": [placed("task", "train-1", "workers", "0-1", 64, 40)],
        },
        {
            "pool": "b",
            "gpus": "5",
            "services": [placed("service", "bert", "replicas", "2", 16, 100)],
        },
    ]
    totals = ["gpus_used", "gpus_shared", "replicas_placed", "replicas_missing"]
    totals += ["tasks_placed", "tasks_unplaced"]
    value = {
        "schema": "colocate/plan/v1",
        "instance_name": question.name,
        "instance_sha256": question.sha256,
        "solver": "made",
        "objective": {"name": "throughput", "sense": "max", "value": 1.0},
        "placements": groups,
        "totals": {**dict.fromkeys(totals, 0), "normalised_throughput": 0.0},
    }
    return parse_plan(json.dumps(value))


def launch_file(
    serve: dict[str, Any] | None = None, train: dict[str, Any] | None = None
) -> LaunchFile:
    programs = [{**SERVE, **(serve or {})}, {**TRAIN, **(train or {})}]
    return parse_launch(json.dumps({"schema": "colocate/launch/v1", "programs": programs}))


def exported(target: str, **more: Any) -> ExportResult:
    question = instance()
    root = Path("/run/colocate")
    return launchers.export(target, question, plan(question), launch_file(), root, **more)


GOLDEN = Path(__file__).parent / "golden"


def main() -> None:
    """Write the golden files anew."""
    for target in launchers.names():
        shutil.rmtree(GOLDEN / target, ignore_errors=True)
        launchers.write(exported(target), GOLDEN / target)


if __name__ == "__main__":
    main()
