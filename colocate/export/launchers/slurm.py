"""`slurm`: a batch script for each unit. Slurm runs the MPS daemons itself (`GresTypes=gpu,mps`).

`--gres=mps:N` is N of the 100 that a GPU has (Slurm, Generic Resource Scheduling, MPS management).
"""

from __future__ import annotations

import re

from colocate.errors import InputError
from colocate.executor.mps import encode
from colocate.export.launchers.job import Job, Order
from colocate.export.launchers.losses import losses_of
from colocate.export.launchers.result import ExportFile, ExportResult, Loss
from colocate.export.launchers.scripts import WARNING, about
from colocate.export.launchers.words import file_name, plain, shell_word, variable

__all__ = ["export"]

_NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,62}")


def export(order: Order) -> ExportResult:
    """Return a script for `sbatch` for each unit."""
    files: list[ExportFile] = []
    more: list[Loss] = []
    for job in order.jobs:
        files.append(_script(job))
        more += _lost(job)
    kept = ("restart", "stop")
    return ExportResult(tuple(files), tuple(losses_of(order, kept=kept, more=more)))


def _script(job: Job) -> ExportFile:
    key = encode.unit_key(job.unit.key)
    options = [
        f"--job-name={key}",
        f"--gres=mps:{encode.percentage(job.unit.share_pct)}",
        "--ntasks=1",
        f"--output={key}.log",
        "--open-mode=append",
        f"--export={','.join(map(variable, job.pass_env)) or 'NIL'}",
        "--requeue" if _requeued(job) else "--no-requeue",
    ]
    if job.node is not None:
        options.append(f"--nodelist={_node(job.node)}")
    lines = ["#!/bin/sh", *(f"#SBATCH {option}" for option in options)]
    body = ["set -eu", f"cd -- {shell_word(job.program.directory)}"]
    # Slurm has set which GPU it is, and the share
    body += [f"export {variable(n)}={shell_word(plain(v))}" for n, v in job.env.items()]
    body.append(f"exec {' '.join(shell_word(word) for word in job.argv)}")
    text = "\n".join(lines) + f"\n{WARNING}{about(job)}" + "\n".join(body) + "\n"
    return ExportFile(file_name(f"{key}.sbatch"), text, runs=True)


def _requeued(job: Job) -> bool:
    return job.program.restart.when != "never"


def _node(name: str) -> str:
    if not _NODE.fullmatch(name):
        raise InputError(
            f"{name!r} is not a node that Slurm can be given",
            path="$.gpu_pools",
            advice="use letters, digits, dots and dashes.",
        )
    return name


def _lost(job: Job) -> list[Loss]:
    program = job.program
    lost = [
        Loss("gpu", "", "Slurm chooses the GPU itself: who shares it with whom is up to Slurm"),
        Loss("stop", program.id, "Slurm kills what does not end within its KillWait"),
    ]
    if job.unit.memory_limit_mib is not None:
        lost.append(Loss("memory_limit", program.id, "Slurm's mps knows no memory limit"))
    if job.user_id is not None:
        lost.append(Loss("user_id", program.id, "it runs as who submits it"))
    if "restart" in program.model_fields_set:
        lost.append(
            Loss("restart", program.id, "a job is queued again when its node fails, and only then")
        )
    return lost
