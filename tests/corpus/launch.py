"""A launch file with every field in it."""

from __future__ import annotations

from typing import Any

ASKED = {"deadline_s": 60, "interval_s": 0.5, "timeout_s": 2}
PROGRAMS: list[dict[str, Any]] = [
    {
        "id": "bert",
        "workloads": ["bert", "bert-*"],
        "argv": ["/usr/bin/python3", "serve.py", "--port={port}", "{batch}"],
        "env": {"MODEL": "bert"},
        "pass_env": ["HOME"],
        "directory": "/srv",
        "ports": {"first": 8000, "last": 8009},
        "ready": {"kind": "tcp", "host": "127.0.0.1", "port": 9000, **ASKED},
        "batch": {
            "kind": "http",
            "url": "http://127.0.0.1:{port}/batch",
            "method": "PUT",
            "body": "{batch}",
            "timeout_s": 5,
        },
        "switch": {
            "kind": "http",
            "url": "http://127.0.0.1:80/to/{new_port}",
            "method": "POST",
            "body": "{workload}",
            "timeout_s": 5,
        },
        "checkpoint": {"argv": ["save", "{key}"], "deadline_s": 60},
        "stop": {"signal": "SIGTERM", "grace_s": 30, "drain_s": 1, "hard_kill": False},
        "restart": {
            "when": "always",
            "first_wait_s": 1,
            "longest_wait_s": 60,
            "most": 5,
            "window_s": 600,
        },
        "pausable": False,
        "memory_limit": {"kind": "headroom", "headroom_pct": 10},
        "image": "registry.example/serve:1",
        "log_mib": 10,
    },
    {
        "id": "vgg",
        "argv": ["train"],
        "ports": {"first": 9000, "last": 9000},
        "ready": {"kind": "http", "url": "http://[::1]:{port}/health", **ASKED},
        "batch": {"kind": "command", "argv": ["tell", "{batch}"], "timeout_s": 5},
        "switch": {"kind": "command", "argv": ["to", "{new_key}"], "timeout_s": 5},
        "memory_limit": {"kind": "fixed", "mib": 4000},
    },
    {
        "id": "triton",
        "argv": ["tritonserver"],
        "ready": {"kind": "file", "path": "/run/{key}", **ASKED},
        "batch": {
            "kind": "triton",
            "url": "http://127.0.0.1:8000",
            "model": "bert",
            "config": "/models/bert/config.pbtxt",
            "timeout_s": 5,
        },
    },
    {
        "id": "lstm",
        "argv": ["train"],
        "ready": {"kind": "command", "argv": ["is-up"], **ASKED},
        "batch": {"kind": "environment", "variable": "BATCH"},
    },
    {
        "id": "resnet",
        "argv": ["train"],
        "ready": {"kind": "alive", "settle_s": 1, **ASKED},
        "batch": {"kind": "fixed", "batch": 64},
    },
]
LAUNCH_FILE: dict[str, Any] = {"schema": "colocate/launch/v1", "programs": PROGRAMS}
