"""`compose`: a service for each unit, in containers; the MPS daemons run on the host.

The file is JSON, which is YAML, too: so nothing can be read as something else than the text it is.
"""

from __future__ import annotations

import json
from typing import Any

from colocate.errors import InputError
from colocate.executor.mps import encode
from colocate.export.launchers.job import Job, Order
from colocate.export.launchers.losses import losses_of
from colocate.export.launchers.result import ExportFile, ExportResult, Loss
from colocate.export.launchers.scripts import daemon_files
from colocate.export.launchers.words import compose_text, file_name, plain, variable
from colocate.launch import CommandProbe

__all__ = ["export"]


def export(order: Order) -> ExportResult:
    """Return a compose file for each node, and scripts for the MPS daemons."""
    files: list[ExportFile] = []
    more: list[Loss] = []
    for prefix in sorted({job.prefix for job in order.jobs}):
        jobs = [job for job in order.jobs if job.prefix == prefix]
        value = {"services": {encode.unit_key(job.unit.key): _service(job) for job in jobs}}
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        files.append(ExportFile(file_name(f"{prefix}compose.yaml"), text))
    files += daemon_files(order)
    for job in order.jobs:
        more += _lost(job)
    kept = ("ready", "stop", "restart", "log_mib")
    return ExportResult(tuple(files), tuple(losses_of(order, kept=kept, more=more)))


def _service(job: Job) -> dict[str, Any]:
    program = job.program
    if program.image is None:
        raise InputError(
            f"program {program.id!r} names no container image",
            path="$.programs",
            advice="add `image` to it in the launch file.",
        )
    folder = encode.path_text(job.folders.base)
    made: dict[str, Any] = {
        "image": plain(program.image),
        "entrypoint": [compose_text(job.argv[0])],
        "command": [compose_text(word) for word in job.argv[1:]],
        "working_dir": compose_text(program.directory),
        # a variable without a value is passed on from where compose runs
        "environment": {
            **{variable(name): None for name in job.pass_env},
            **{variable(n): compose_text(v) for n, v in {**job.env, **job.mps()}.items()},
        },
        "volumes": [{"type": "bind", "source": folder, "target": folder}],
        # client and server of MPS share memory
        "ipc": "host",
        "network_mode": "host",
        "deploy": {
            "resources": {
                "reservations": {
                    "devices": [
                        {
                            "driver": "nvidia",
                            "device_ids": [encode.gpu_uuid(job.unit.gpu)],
                            "capabilities": ["gpu"],
                        }
                    ]
                }
            }
        },
        "stop_signal": program.stop.signal,
        "stop_grace_period": f"{round(program.stop.grace_s * 1000)}ms",
        "restart": _restart(job),
        "logging": {
            "driver": "json-file",
            "options": {"max-size": f"{program.log_mib}m", "max-file": "2"},
        },
    }
    if job.user_id is not None:
        made["user"] = encode.user_id(job.user_id)
    if isinstance(program.ready, CommandProbe):
        probe = program.ready
        made["healthcheck"] = {
            "test": ["CMD", *(compose_text(job.text(word)) for word in probe.argv)],
            "interval": f"{max(1, round(probe.interval_s))}s",
            "timeout": f"{round(probe.timeout_s * 1000)}ms",
            "start_period": f"{round(probe.deadline_s * 1000)}ms",
        }
    return made


def _restart(job: Job) -> str:
    restart = job.program.restart
    when = restart.when or ("always" if job.unit.role == "service" else "failure")
    if when == "failure":
        return f"on-failure:{restart.most}" if restart.most else "no"
    return "always" if when == "always" else "no"


def _lost(job: Job) -> list[Loss]:
    program, lost = job.program, []
    if not program.stop.hard_kill:
        lost.append(
            Loss("stop", program.id, "Docker kills what does not end within the grace period")
        )
    if job.user_id is None:
        lost.append(
            Loss("user_id", program.id, "the image's user must be who runs the MPS daemons")
        )
    if program.stop.drain_s > 0:
        lost.append(Loss("stop", program.id, "requests under way are not waited for"))
    if "restart" in program.model_fields_set:
        lost.append(Loss("restart", program.id, "Docker has waits and windows of its own"))
    if "ready" in program.model_fields_set and not isinstance(program.ready, CommandProbe):
        lost.append(Loss("ready", program.id, "a health check is a command; there is none"))
    return lost
