"""Small JSON files that two processes share: whole or not there, and nobody else's."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import threading
from pathlib import Path
from typing import Any

__all__ = ["FileError", "read_json", "write_json"]

MAX_BYTES = 4 * 1024 * 1024


class FileError(Exception):
    """A file of ours cannot be read, or is not as we wrote it."""


def write_json(path: Path, value: object) -> None:
    """Write a value, durably; only the owner may read it, since environments hold secrets."""
    data = (json.dumps(value, sort_keys=True, separators=(",", ":")) + "\n").encode()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_native_id()}")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()  # from a process with our number that was killed while writing
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(temporary, flags, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(handle)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make new names in a folder durable, where the file system can."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)


def read_json(path: Path) -> dict[str, Any] | None:
    """Return an object that `write_json` wrote, or None when there is no such file.

    Raises
    ------
    FileError
        When it is no regular file of this user, or holds something else.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        msg = f"{path.name}: {error.strerror}"
        raise FileError(msg) from None
    try:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode) or about.st_uid != os.geteuid():
            msg = f"{path.name} is no regular file of this user"
            raise FileError(msg)
        if about.st_size > MAX_BYTES:
            msg = f"{path.name} has {about.st_size} bytes"
            raise FileError(msg)
        with os.fdopen(handle, "rb", closefd=False) as file:
            data = file.read(MAX_BYTES)
    finally:
        os.close(handle)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        msg = f"{path.name} is not JSON"
        raise FileError(msg) from None
    if not isinstance(value, dict):
        msg = f"{path.name} does not hold an object"
        raise FileError(msg)
    return value
