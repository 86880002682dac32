"""What keeper and executor tell each other, as files in the unit's folder.

- `unit.json`: how to run it; written once, before the keeper starts.
- `wanted.json`: what it should be doing; written by the executor, numbered.
- `status.json`: what is so; written by the keeper, with the number of the last wish it dealt with.
- `lock`: held by the keeper while it lives.
"""

from __future__ import annotations

import fcntl
import math
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from colocate.executor.workloads.keeper.procs import Identity

__all__ = [
    "LOCK",
    "MARK",
    "STATUS",
    "UNIT",
    "WANTED",
    "Status",
    "Wanted",
    "keeper_pid",
    "lock",
    "mark",
]

UNIT = "unit.json"
WANTED = "wanted.json"
STATUS = "status.json"
LOCK = "lock"
MARK = "COLOCATE_FOLDER"
_FLOCK = "hhqqi"
PHASES = frozenset(
    {"starting", "ready", "paused", "draining", "backing_off", "stopped", "failed", "lost"}
)
STATES = ("running", "paused", "stopped")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a unit should be doing."""

    serial: int = 0
    state: str = "running"
    batch: int = 1

    def as_json(self) -> dict[str, Any]:
        """Return it as it is written."""
        return {"serial": self.serial, "state": self.state, "batch": self.batch}

    @classmethod
    def of(cls, value: dict[str, Any]) -> Wanted | None:
        """Read what `as_json` wrote; None for anything else."""
        serial, state, batch = value.get("serial"), value.get("state"), value.get("batch")
        if _is_whole(serial) and state in STATES and _is_whole(batch):
            return cls(serial=serial, state=str(state), batch=batch)
        return None


@dataclass(slots=True, kw_only=True)
class Status:
    """What is so."""

    phase: str = "starting"
    serial: int = 0
    """Number of the last wish that was dealt with."""
    error: str = ""
    """Why that wish could not be granted."""
    detail: str = ""
    batch: int = 1
    restarts: int = 0
    was_ready: bool = False
    """Whether it has ever been ready since it was started."""
    boot: str = ""
    main: Identity | None = None
    known: tuple[Identity, ...] = field(default=())
    """All its processes, a few seconds old."""
    started: float = 0.0
    """When the main process started, on the clock of files."""

    def as_json(self) -> dict[str, Any]:
        """Return it as it is written."""
        return {
            "phase": self.phase,
            "serial": self.serial,
            "error": self.error,
            "detail": self.detail,
            "batch": self.batch,
            "restarts": self.restarts,
            "was_ready": self.was_ready,
            "boot": self.boot,
            "main": None if self.main is None else self.main.as_list(),
            "known": [one.as_list() for one in self.known],
            "started": self.started,
        }

    @classmethod
    def of(cls, value: dict[str, Any]) -> Status | None:
        """Read what `as_json` wrote; None for anything else."""
        phase, known = value.get("phase"), value.get("known")
        numbers = [value.get(k) for k in ("serial", "batch", "restarts")]
        texts = [value.get(k) for k in ("error", "detail", "boot")]
        started = value.get("started")
        if (
            not isinstance(phase, str)
            or phase not in PHASES
            or not all(map(_is_whole, numbers))
            or not all(isinstance(t, str) for t in texts)
            or not isinstance(known, list)
            or not isinstance(started, int | float)
            or not math.isfinite(started)
        ):
            return None
        return cls(
            phase=phase,
            serial=value["serial"],
            error=value["error"],
            detail=value["detail"],
            batch=value["batch"],
            restarts=value["restarts"],
            was_ready=value.get("was_ready") is True,
            boot=value["boot"],
            main=Identity.of(value.get("main")),
            known=tuple(one for item in known if (one := Identity.of(item)) is not None),
            started=float(started),
        )


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def mark(folder: Path) -> str:
    """Return what stands in the environment of every process of a unit."""
    return f"{MARK}={folder.absolute()}"


def lock(folder: Path) -> int | None:
    """Become the keeper of a folder; None when there is one. The handle must never be closed.

    A record lock goes with the process that took it: it is neither inherited nor left behind.
    """
    handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def keeper_pid(folder: Path) -> int | None:
    """Return the process that keeps a folder, or None when none does.

    The kernel is asked who holds the lock, so no number can be out of date.
    """
    try:
        handle = os.open(folder / LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(handle, fcntl.F_GETLK, asked))
    except OSError:
        return None
    finally:
        os.close(handle)
    return None if kind == fcntl.F_UNLCK else int(pid)
