"""`mps-v3`: a configuration file for each GPU's MPS daemon, with a namespace for each unit.

The limits are the namespace's, so no process can undo them. It has not been run on hardware: the
v3 interface needs a driver r615 and is known from its documentation alone.
"""

from __future__ import annotations

from colocate.executor.mps import encode
from colocate.executor.mps.spaces import space_of
from colocate.executor.mps.toml import ServerConfig, config_text
from colocate.executor.ports import Limits
from colocate.export.launchers.job import Order
from colocate.export.launchers.losses import losses_of
from colocate.export.launchers.result import ExportFile, ExportResult, Loss
from colocate.export.launchers.scripts import daemon_files, env_file, unit_file
from colocate.export.launchers.words import file_name

__all__ = ["export"]


def export(order: Order) -> ExportResult:
    """Return the configuration of each daemon, and what sends each unit to its namespace."""
    files: list[ExportFile] = []
    config: dict[str, str] = {}
    more: list[Loss] = []
    for folders, jobs in order.by_gpu():
        users = {job.user_id for job in jobs}
        user = min(users, key=str) if len(users) == 1 else None
        if len(users) > 1:
            more.append(
                Loss("user_id", "", "a server has one user: it is left to whoever starts first")
            )
        server = ServerConfig(
            name=encode.SERVER_NAME,
            gpu=jobs[0].unit.gpu,
            limits=Limits(spaces=tuple(space_of(job.unit) for job in jobs)),
            user_id=user,
        )
        name = f"mps-{folders.base.name}.toml"
        config[jobs[0].unit.gpu] = name
        files.append(ExportFile(file_name(f"{jobs[0].prefix}{name}"), config_text([server])))
    for job in order.jobs:
        values = job.mps(space=True)
        files += [env_file(job, values), unit_file(job, values)]
        if job.processes > 1 and job.unit.memory_limit_mib is not None:
            more.append(
                Loss(
                    "memory_limit",
                    job.program.id,
                    "a namespace's limit may hold for its processes together, not for each",
                )
            )
    files += daemon_files(order, config)
    return ExportResult(tuple(files), tuple(losses_of(order, more=more)))
