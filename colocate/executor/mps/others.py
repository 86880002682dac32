"""Finding the daemon of a GPU: in our own folders, or somebody else's that serves it already."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from colocate.executor.errors import MpsError
from colocate.executor.mps.directories import GpuFolders
from colocate.executor.mps.identity import (
    DaemonProcess,
    Record,
    Standing,
    daemon_process,
    is_control_program,
    process_environment,
    read_record,
    standing,
)

__all__ = ["OTHER_PIPES", "Found", "find_daemon"]

# Where a daemon listens that was started without a word about it: the older default, and that of
# r615 for root (MPS v3 Interface, Directories and Environment Variables).
OTHER_PIPES = (Path("/tmp/nvidia-mps"), Path("/run/nvidia-mps"))  # noqa: S108
_OTHER_LOG = "/var/log/nvidia-mps"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A daemon that serves a GPU."""

    pipe: Path
    log: Path
    lock: Path
    whose: Standing
    process: DaemonProcess
    record: Record | None
    refusal: str | None
    """Why it could not be adopted, or None when it could."""


def find_daemon(
    gpu: str, folders: GpuFolders, other_pipes: Sequence[Path], binary: Callable[[], Path]
) -> Found | None:
    """Return the living daemon that serves a GPU.

    Parameters
    ----------
    gpu
        UUID of the GPU.
    folders
        Where our own daemon of it lives.
    other_pipes
        Where others are looked for.
    binary
        Returns the control program; called only when there is a process to compare with it.
    """
    if folders.check():
        record = read_record(folders.record)
        pipe, log = folders.pipe, folders.log
        if record is not None and record.adopted:
            pipe, log = Path(record.pipe), Path(record.log)
        if daemon_process(pipe) is not None:
            whose, process, known = standing(pipe, record, binary())
            if process is not None:
                refusal = None if whose == "ours" else _refusal(gpu, process.pid)
                return Found(
                    pipe=pipe,
                    log=log,
                    lock=folders.lock,
                    whose=whose,
                    process=process,
                    record=known,
                    refusal=refusal,
                )
    for pipe in other_pipes:
        try:
            process = daemon_process(pipe)
        except MpsError:
            continue  # another user's private folder: whose daemon is there cannot be known
        if process is None or not is_control_program(process.pid, binary()):
            continue
        environment = process_environment(process.pid)
        if not _covers(gpu, environment):
            continue
        return Found(
            pipe=pipe,
            log=Path((environment or {}).get("CUDA_MPS_LOG_DIRECTORY", _OTHER_LOG)),
            lock=folders.lock,
            whose="foreign",
            process=process,
            record=None,
            refusal=_refusal(gpu, process.pid),
        )
    return None


def _covers(gpu: str, environment: Mapping[str, str] | None) -> bool:
    """Tell whether a daemon may serve a GPU; where that cannot be known, it may."""
    visible = None if environment is None else environment.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return True
    for entry in (word.strip() for word in visible.split(",")):
        # An index says nothing about which GPU it is; a UUID may be shortened.
        if entry.isdigit() or (entry.startswith(("GPU-", "MIG-")) and gpu.startswith(entry)):
            return True
    return False


def _refusal(gpu: str, pid: int) -> str | None:
    """Return why a daemon cannot be adopted."""
    try:
        owner = Path(f"/proc/{pid}").stat().st_uid
    except OSError:
        return "it is ending"
    if owner != os.geteuid():
        return f"it runs as user {owner}, and this is user {os.geteuid()}"
    environment = process_environment(pid)
    if environment is None:
        return "its environment cannot be read"
    if environment.get("CUDA_VISIBLE_DEVICES") != gpu:
        return "it was not started for this GPU alone, by UUID"
    return None
