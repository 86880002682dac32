"""`env`: scripts that set the environment and become the process. They fit under any launcher."""

from __future__ import annotations

from colocate.export.launchers.job import Order
from colocate.export.launchers.losses import losses_of
from colocate.export.launchers.result import ExportFile, ExportResult
from colocate.export.launchers.scripts import daemon_files, env_file, unit_file

__all__ = ["export"]


def export(order: Order) -> ExportResult:
    """Return a script and a file of variables for each unit, and scripts for the MPS daemons."""
    files: list[ExportFile] = []
    for job in order.jobs:
        files += [env_file(job, job.mps()), unit_file(job, job.mps())]
    files += daemon_files(order)
    return ExportResult(tuple(files), tuple(losses_of(order)))
