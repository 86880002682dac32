"""Taking turns: a file that is locked by one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["turn"]


@contextlib.contextmanager
def turn(path: Path, until: float) -> Iterator[None]:
    """Hold the lock of a file; it is given back when the process ends, however it ends.

    Parameters
    ----------
    path
        The file; made when missing.
    until
        When to give up, on the monotonic clock.

    Raises
    ------
    TimeoutError
        When somebody else holds it for too long.
    OSError
        When the file cannot be opened; a link is not followed.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(path, flags, 0o600)
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise TimeoutError(path) from None
                time.sleep(0.01)
        yield
    finally:
        os.close(handle)
