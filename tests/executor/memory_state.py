"""What a node in memory holds, the units that tests put on it, and what is to go wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from colocate.executor.errors import MpsError
from colocate.executor.ports import Limits, ServerStatus, UnitState
from colocate.executor.unit import Unit

__all__ = ["Crash", "Daemon", "Fault", "Kept", "Process", "make_unit", "uuid_of"]


class Crash(BaseException):
    """The executor's process is gone; nothing of it runs any more."""


def uuid_of(i: int) -> str:
    """Return the UUID of the i-th GPU."""
    return f"GPU-{i:08x}-0000-4000-8000-{i:012x}"


def make_unit(
    workload: str = "web",
    ordinal: int = 0,
    *,
    gpu: int | str = 0,
    role: str = "service",
    share_pct: int = 50,
    batch: int = 8,
    memory_gib: float = 4.0,
    memory_limit_mib: int | None = None,
    launch: str = "live",
    version: int = 0,
) -> Unit:
    """Return a unit whose key follows from what needs a new process.

    A launch name that starts with "fixed" has no way to change its batch size while it runs.
    """
    uuid = gpu if isinstance(gpu, str) else uuid_of(gpu)
    parts = (uuid, share_pct, memory_limit_mib, launch, version)
    digits = hex(abs(hash_of(repr(parts))) & 0xFFFFFFFF)[2:].rjust(8, "0")
    return Unit(
        key=f"{workload}.{ordinal}.{digits}",
        role="service" if role == "service" else "task",
        workload=workload,
        ordinal=ordinal,
        gpu=uuid,
        share_pct=share_pct,
        batch=batch,
        memory_gib=memory_gib,
        memory_limit_mib=memory_limit_mib,
        launch=launch,
    )


def hash_of(text: str) -> int:
    """Return the same number for the same text in every process."""
    from zlib import crc32

    return crc32(text.encode())


@dataclass
class Fault:
    """What is to go wrong: the next `times` calls of `op` whose subject contains `about`."""

    op: str
    about: str = ""
    error: BaseException = field(default_factory=lambda: MpsError("an injected fault"))
    times: int = 1
    after: bool = False
    """Raise when the call has already taken effect."""


@dataclass
class Daemon:
    limits: Limits = field(default_factory=Limits)
    ours: bool = True
    server: ServerStatus = "none"
    server_pid: int = 0
    settled: bool = True
    foreign: list[int] = field(default_factory=list)


@dataclass
class Process:
    state: UnitState
    environment: Mapping[str, str]
    member: bool
    """Whether it is a client of the daemon, or runs beside it."""
    effective_share_pct: int
    starts: int = 1


@dataclass
class Kept:
    alive: dict[str, Daemon]
    running: dict[str, Process]
    serving: set[str]
    changes: list[tuple[str, str]]
    complaints: list[str]
    next_pid: int
