"""Who wants a unit to stand still: it does as long as anybody wants it to.

The guard and the tuner may run as two processes, and both halt training. Each leaves a marker, a
small file; a unit goes on when the last marker is gone. Markers outlive their process: whoever
starts again finds its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from colocate.errors import InputError, clean_text
from colocate.executor.errors import HeldError

__all__ = ["Holds"]

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}")
_HOLDER = re.compile(r"[a-z]{1,20}")
WAIT_S = 5.0


class Holds:
    """Markers in a folder, or in memory when there is none."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._memory: set[tuple[str, str]] = set()

    def put(self, holder: str, key: str) -> None:
        """Say that `holder` wants a unit to stand still."""
        self._check(holder, key)
        if self.folder is None:
            self._memory.add((holder, key))
            return
        place = self.folder / holder
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        os.close(os.open(place / key, flags, 0o600))

    def drop(self, holder: str, key: str) -> None:
        """Say that `holder` does not want it any more."""
        self._check(holder, key)
        self._memory.discard((holder, key))
        if self.folder is not None:
            with contextlib.suppress(FileNotFoundError):
                (self.folder / holder / key).unlink()

    def holders(self, key: str) -> frozenset[str]:
        """Return everybody who wants a unit to stand still."""
        self._check("x", key)
        if self.folder is None:
            return frozenset(h for h, k in self._memory if k == key)
        if not self.folder.is_dir():
            return frozenset()
        found = (p for p in self.folder.iterdir() if _HOLDER.fullmatch(p.name))
        return frozenset(p.name for p in found if (p / key).exists())

    def of(self, holder: str) -> tuple[str, ...]:
        """Return the keys that `holder` holds, sorted."""
        self._check(holder, "x")
        if self.folder is None:
            return tuple(sorted(k for h, k in self._memory if h == holder))
        place = self.folder / holder
        if not place.is_dir():
            return ()
        return tuple(sorted(p.name for p in place.iterdir() if _KEY.fullmatch(p.name)))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep others from changing markers between a look and what follows from it."""
        if self.folder is None:
            yield
            return
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(
            self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
        try:
            _take(handle, self.folder)
            yield
        finally:
            os.close(handle)

    @staticmethod
    def _check(holder: str, key: str) -> None:
        if _HOLDER.fullmatch(holder) is None or _KEY.fullmatch(key) is None:
            raise InputError(
                f"{clean_text(holder, 30)!r} cannot hold {clean_text(key, 60)!r}",
                advice="use the key of a unit.",
            )


def _take(handle: int, folder: Path) -> None:
    until = time.monotonic() + WAIT_S
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise HeldError(
                    f"{clean_text(str(folder))!r} has been locked for {WAIT_S:g} s",
                    advice="look for a guard or tuner that hangs.",
                ) from None
            time.sleep(0.01)
        else:
            return
