"""One change at a time: a lock that goes away with its holder's process.

The lock is the kernel's (`flock`), so a crash never leaves one behind. The file says who holds it,
for people. Where a holder hangs, a person may take the lock away: the file then gets a new name,
the holder notices before its next step, and stops.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import json
import os
import socket
import stat
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from colocate.errors import InputError, clean_text
from colocate.executor.apply.state_error import StateError
from colocate.executor.errors import HeldError

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Holder", "Lock", "force_unlock", "holder_of"]

NAME = "lock"
_POLL_S = 0.05
_MAX_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds the lock."""

    pid: int
    process_start: int | None
    """When the process started, in the kernel's ticks: a pid alone may be another process's."""
    host: str
    verb: str
    plan_sha256: str | None
    since: str

    def __str__(self) -> str:
        """Return it in a few words."""
        plan = "" if self.plan_sha256 is None else f", plan {self.plan_sha256[:12]}"
        return f"'{self.verb}', pid {self.pid} on {self.host} since {self.since}{plan}"


class Lock:
    """The lock of a state folder, as a context manager.

    Parameters
    ----------
    root
        The state folder.
    verb
        What the holder is doing.
    plan_sha256
        Hash of the plan that it works on.
    timeout_s
        How long to wait for another holder.

    Raises
    ------
    HeldError
        When another process holds it until then.
    """

    def __init__(
        self, root: Path, verb: str, plan_sha256: str | None = None, timeout_s: float = 0.0
    ) -> None:
        self._path = root / NAME
        self._verb, self._plan = verb, plan_sha256
        self._timeout_s = timeout_s
        self._handle = -1

    def __enter__(self) -> Self:
        """Take the lock."""
        deadline = time.monotonic() + self._timeout_s
        while not self._try():
            if time.monotonic() >= deadline:
                raise _held(self._path, self._timeout_s)
            time.sleep(_POLL_S)
        self._write_holder()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give it back."""
        with contextlib.suppress(OSError):
            if self._is_ours():
                os.ftruncate(self._handle, 0)
        os.close(self._handle)

    def check(self) -> None:
        """Raise when somebody took the lock away."""
        if not self._is_ours():
            raise HeldError(
                "the lock was taken away while this change was under way",
                advice="look at 'colocate status' before anything else.",
            )

    def _try(self) -> bool:
        handle = _open(self._path, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return False
        except OSError as failed:
            os.close(handle)
            raise StateError.of(failed, "lock", self._path) from None
        self._handle = handle
        # Between opening and locking, the file may have been taken away or replaced.
        if self._is_ours():
            return True
        os.close(handle)
        return False

    def _is_ours(self) -> bool:
        try:
            there, mine = os.lstat(self._path), os.fstat(self._handle)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)

    def _write_holder(self) -> None:
        holder = Holder(
            pid=os.getpid(),
            process_start=_started(os.getpid()),
            host=socket.gethostname(),
            verb=self._verb,
            plan_sha256=self._plan,
            since=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        )
        # The lock holds without it: a full disk must not keep a rollback from starting.
        with contextlib.suppress(OSError):
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, json.dumps(asdict(holder)).encode(), 0)


def holder_of(root: Path) -> Holder | None:
    """Return who holds the lock now, or None.

    It takes no lock itself, or asking would make an apply fail that comes at that moment.
    """
    try:
        handle = _open(root / NAME, os.O_RDONLY)
    except StateError:
        return None
    try:
        holder = _read(handle)
    finally:
        os.close(handle)
    gone = holder is None or _started(holder.pid) != holder.process_start
    return None if gone else holder


def force_unlock(root: Path, pid: int) -> None:
    """Take the lock away from the process that holds it; for a person who has looked first.

    Raises
    ------
    InputError
        When it is not held, or by another process.
    """
    holder = holder_of(root)
    if holder is None or holder.pid != pid:
        held = "nobody holds it" if holder is None else f"{holder} holds it"
        raise InputError(
            f"the lock is not process {pid}'s: {held}",
            advice="look at 'colocate status', and name the pid that it shows.",
        )
    path = root / NAME
    try:
        path.replace(root / f"{NAME}.taken")
    except OSError as failed:
        raise StateError.of(failed, "rename", path) from None


def _open(path: Path, flags: int) -> int:
    try:
        handle = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    except OSError as failed:
        raise StateError.of(failed, "open", path) from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise StateError(f"{str(path)!r} is not a regular file", advice="choose another --root.")
    return handle


def _read(handle: int) -> Holder | None:
    try:
        found = json.loads(os.pread(handle, _MAX_BYTES, 0))
        return Holder(
            pid=int(found["pid"]),
            process_start=found["process_start"] and int(found["process_start"]),
            host=clean_text(str(found["host"]), 64),
            verb=clean_text(str(found["verb"]), 20),
            plan_sha256=found["plan_sha256"] and clean_text(str(found["plan_sha256"]), 64),
            since=clean_text(str(found["since"]), 40),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _started(pid: int) -> int | None:
    """Return when a process started, from the 22nd field of its stat file (proc(5))."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        return int(text.rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def _held(path: Path, waited_s: float) -> HeldError:
    holder = holder_of(path.parent)
    who = "another process" if holder is None else str(holder)
    after = f" after {waited_s:g} s" if waited_s else ""
    return HeldError(
        f"the lock is still held{after}: {who}",
        advice="wait for it (--lock-timeout); where it hangs, end that process: "
        "the lock goes with it.",
    )
