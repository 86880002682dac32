"""Whose daemon is it? Its pid file, the process behind it, and our own record of what we started.

A pid alone names nothing: it may be stale, and used again by another process. So a process counts
as ours only where its pid and start time are those of our record, within the same boot. A record
is begun before the daemon is started, so that a crash in between leaves a daemon that is still
known to be ours.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from colocate.errors import InputError
from colocate.executor.errors import MpsError
from colocate.executor.mps.directories import PID_FILE

__all__ = [
    "DaemonProcess",
    "Record",
    "Standing",
    "boot_id",
    "daemon_process",
    "is_control_program",
    "own_start",
    "process_environment",
    "process_start",
    "read_record",
    "standing",
    "write_record",
]

Standing = Literal["absent", "ours", "foreign"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What we know of the daemon of one GPU because we started it, or were told to adopt it."""

    gpu: str
    state: Literal["starting", "running"]
    boot_id: str
    since_ticks: int
    """Start time of the process that was about to start it."""
    pipe: str
    log: str
    dialect: Literal["v2", "v3"]
    adopted: bool = False
    pid: int | None = None
    start_ticks: int | None = None


@dataclass(frozen=True, slots=True)
class DaemonProcess:
    """A living process that a pid file names."""

    pid: int
    start_ticks: int


def boot_id() -> str:
    """Return what tells this boot of the machine from others."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return "unknown"


def own_start() -> int:
    """Return when this process started: what it starts does so no earlier.

    Taken from the same place as the start times that it is compared with. The system's clocks are
    not always on the same scale as those, in containers and virtual machines for one.
    """
    return process_start(os.getpid()) or 0


def process_start(pid: int) -> int | None:
    """Return when a process started, or None when it is gone or only waits to be collected."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes().decode("utf-8", "replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name before may hold anything
    if len(fields) < 20 or fields[0] in {"Z", "X"}:
        return None
    return int(fields[19])


def process_environment(pid: int) -> Mapping[str, str] | None:
    """Return the environment that a process was started with; None when we may not see it."""
    try:
        data = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return None
    pairs = (entry.partition(b"=") for entry in data.split(b"\0") if b"=" in entry)
    return {
        name.decode("utf-8", "replace"): value.decode("utf-8", "replace")
        for name, _, value in pairs
    }


def is_control_program(pid: int, binary: Path) -> bool:
    """Tell whether a process runs the control program.

    A wrapper script is run by its interpreter, so there the command line has to name it.
    """
    try:
        seen, known = Path(f"/proc/{pid}/exe").stat(), binary.stat()
        if (seen.st_dev, seen.st_ino) == (known.st_dev, known.st_ino):
            return True
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        with binary.open("rb") as file:
            is_script = file.read(2) == b"#!"
    except OSError:
        return False
    if is_script:
        return os.fsencode(binary) in words
    # Another copy of the program, or one that was replaced by an update since.
    return any(Path(os.fsdecode(word)).name == binary.name for word in words[:1])


def daemon_process(pipe: Path) -> DaemonProcess | None:
    """Return the living process that the pid file of a pipe directory names."""
    try:
        handle = os.open(
            pipe / PID_FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        )
    except FileNotFoundError:
        return None
    except OSError as failed:
        raise MpsError(
            f"cannot read {pipe / PID_FILE}: {failed.strerror}",
            advice="see who made it; an MPS daemon writes a plain file there.",
        ) from None
    try:
        text = os.read(handle, 64).strip()
    except OSError:
        return None
    finally:
        os.close(handle)
    if not (text.isdigit() and len(text) < 9 and int(text) > 0):
        return None
    pid = int(text)
    start = process_start(pid)
    return None if start is None else DaemonProcess(pid, start)


def read_record(path: Path) -> Record | None:
    """Return our record; None where there is none, or none that makes sense."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as failed:
        raise MpsError(
            f"cannot read {path}: {failed.strerror}", advice="check whose file it is."
        ) from None
    with os.fdopen(handle, "rb") as file:
        data = file.read(1 << 16)
    try:
        record = Record(**json.loads(data))
    except (ValueError, TypeError, RecursionError):
        return None
    return record if _is_sound(record) else None


def _is_sound(record: Record) -> bool:
    texts = (record.gpu, record.boot_id, record.pipe, record.log)
    numbers = (record.since_ticks, record.pid or 0, record.start_ticks or 0)
    return (
        record.state in {"starting", "running"}
        and record.dialect in {"v2", "v3"}
        and all(isinstance(text, str) for text in texts)
        and all(type(number) is int for number in numbers)
        and type(record.adopted) is bool
    )


def write_record(path: Path, record: Record) -> None:
    """Write our record, atomically."""
    from colocate.io.files import write_atomic  # its package imports pydantic

    try:
        write_atomic(path, json.dumps(asdict(record), indent=1, sort_keys=True) + "\n")
    except InputError as failed:
        raise MpsError(failed.message, advice=failed.advice) from None


def standing(
    pipe: Path, record: Record | None, binary: Path
) -> tuple[Standing, DaemonProcess | None, Record | None]:
    """Return whose the daemon in a pipe directory is, its process, and the record made complete."""
    process = daemon_process(pipe)
    if process is None:
        return "absent", None, record
    if record is not None and record.boot_id == boot_id() and record.pipe == str(pipe):
        if record.state == "running":
            if (record.pid, record.start_ticks) == (process.pid, process.start_ticks):
                return "ours", process, record
        elif process.start_ticks >= record.since_ticks and _serves(process.pid, pipe, binary):
            known = replace(
                record, state="running", pid=process.pid, start_ticks=process.start_ticks
            )
            return "ours", process, known
    if is_control_program(process.pid, binary) or _serves(process.pid, pipe, binary):
        return "foreign", process, record
    return "absent", None, record  # the pid was used again by something else


def _serves(pid: int, pipe: Path, binary: Path) -> bool:
    if not is_control_program(pid, binary):
        return False
    environment = process_environment(pid)
    return environment is None or environment.get("CUDA_MPS_PIPE_DIRECTORY") == str(pipe)
