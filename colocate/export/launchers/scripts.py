"""Shell scripts: one that starts a unit's process, and those that start and end the MPS daemons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from colocate.executor.mps import encode
from colocate.executor.mps.directories import GpuFolders
from colocate.export.launchers.job import Job, Order
from colocate.export.launchers.result import ExportFile
from colocate.export.launchers.words import (
    env_line,
    file_name,
    plain,
    shell_program,
    shell_word,
    variable,
)

__all__ = ["daemon_files", "env_file", "run_lines", "unit_file"]

CONTROL = "nvidia-cuda-mps-control"
WARNING = "# Written by colocate export; changes are lost when it is written again.\n"


def env_file(job: Job, values: Mapping[str, str]) -> ExportFile:
    """Return the variables that make a process a client, one a line."""
    lines = [env_line(name, value) for name, value in values.items()]
    return ExportFile(file_name(f"{job.prefix}{job.unit.key}.env"), WARNING + "".join(lines))


def unit_file(job: Job, values: Mapping[str, str]) -> ExportFile:
    """Return a script that becomes the process, with its environment and nothing else in it."""
    text = f"#!/bin/sh\n{WARNING}{about(job)}set -eu\n{run_lines(job, values)}"
    return ExportFile(file_name(f"{job.prefix}{job.unit.key}.sh"), text, runs=True)


def about(job: Job) -> str:
    """Return a comment: what this is."""
    unit = job.unit
    key, gpu = encode.unit_key(unit.key), encode.gpu_uuid(unit.gpu)
    share, batch = encode.percentage(unit.share_pct), int(unit.batch)
    return f"# Planned: {key} with {share} % of {gpu}, batch {batch}\n"


def run_lines(job: Job, values: Mapping[str, str]) -> str:
    """Return the commands that become the process."""
    lines = [f"cd -- {shell_word(job.program.directory)}", "set -- \\"]
    # a variable that is not set stays so
    lines += [f'  ${{{name}+"{name}=${name}"}} \\' for name in map(variable, job.pass_env)]
    for name, text in {**job.env, **values}.items():
        lines.append(f"  {shell_word(f'{variable(name)}={plain(text)}')} \\")
    lines[-1] = lines[-1].removesuffix(" \\")
    words = [shell_program(job.argv[0]), *map(shell_word, job.argv[1:])]
    lines.append(f'exec env -i "$@" {" ".join(words)}')
    return "\n".join(lines) + "\n"


def daemon_files(order: Order, config: Mapping[str, str] | None = None) -> Iterable[ExportFile]:
    """Yield the scripts that start and end the daemons, for each node.

    Parameters
    ----------
    order
        What is exported.
    config
        Configuration file of each GPU's daemon in the v3 dialect, by UUID; v2 when left out.
    """
    nodes: dict[str, list[tuple[str, GpuFolders]]] = {}
    for folders, jobs in order.by_gpu():
        nodes.setdefault(jobs[0].prefix, []).append((jobs[0].unit.gpu, folders))
    for prefix, gpus in sorted(nodes.items()):
        start, stop = [], []
        for gpu, folders in gpus:
            pipe, log = encode.path_text(folders.pipe), encode.path_text(folders.log)
            version = "" if config is None else f' -p 3 -a "$here"/{file_name(config[gpu])}'
            start.append(
                f"mkdir -p -m 0700 {pipe} {log}\n"
                f"CUDA_VISIBLE_DEVICES={encode.gpu_uuid(gpu)} CUDA_MPS_PIPE_DIRECTORY={pipe} \\\n"
                f"  CUDA_MPS_LOG_DIRECTORY={log} {CONTROL} -d{version}\n"
            )
            stop.append(f"echo quit | CUDA_MPS_PIPE_DIRECTORY={pipe} {CONTROL}\n")
        head = f"#!/bin/sh\n{WARNING}# One MPS daemon for each GPU: a fault stays on its GPU.\n"
        here = "" if config is None else 'here=$(cd -- "$(dirname -- "$0")" && pwd)\n'
        for name, commands in (("start", here + "".join(start)), ("stop", "".join(stop))):
            text = f"{head}set -eu\n{commands}"
            yield ExportFile(file_name(f"{prefix}mps-{name}.sh"), text, runs=True)
