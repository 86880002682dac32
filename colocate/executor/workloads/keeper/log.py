"""What a process writes goes straight into a file, so that it goes on without its keeper.

The file is kept small from outside: when it is too large, its end is copied to a second file and it
is cut to nothing. The process writes at the end of the file, wherever that is. What it writes
between the copy and the cut is lost.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

__all__ = ["Log", "tail"]


class Log:
    """The log of one unit: `log`, and the part before it in `log.1`."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.path = folder / "log"
        self.older = folder / "log.1"
        self.max_bytes = max_bytes

    def open(self) -> int:
        """Return a handle that writes at the end."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(self.path, flags, 0o600)

    def cap(self) -> None:
        """Keep it below its size. A disk that is full is no reason to stop."""
        with contextlib.suppress(OSError):
            if self.path.stat().st_size <= self.max_bytes:
                return
            with contextlib.suppress(OSError):
                self._keep_end()
            os.truncate(self.path, 0)

    def _keep_end(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with self.path.open("rb") as source:
            source.seek(-min(self.max_bytes, source.seek(0, os.SEEK_END)), os.SEEK_END)
            with os.fdopen(os.open(self.older, flags, 0o600), "wb") as target:
                left = self.max_bytes
                while left > 0 and (part := source.read(min(left, 1 << 20))):
                    target.write(part)
                    left -= len(part)


def tail(folder: Path, characters: int = 300) -> str:
    """Return the end of what a process wrote, on one line."""
    try:
        with (folder / "log").open("rb") as file:
            file.seek(-min(4 * characters, file.seek(0, os.SEEK_END)), os.SEEK_END)
            text = file.read(4 * characters).decode("utf-8", "replace")
    except OSError:
        return ""
    return " ".join(text.split())[-characters:]
