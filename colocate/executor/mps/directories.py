"""The folders of one GPU's daemon: ours, private, no links, and short enough for a socket."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from colocate.errors import clean_text
from colocate.executor.errors import ForeignError, MpsError
from colocate.executor.mps import encode

__all__ = ["MOST_SOCKET_BYTES", "PID_FILE", "GpuFolders", "check_socket_length", "folders_of"]

MOST_SOCKET_BYTES = 107
"""A path of an AF_UNIX socket has 108 bytes with its final zero (unix(7)). Beyond that the daemon
starts, cannot bind, and leaves."""
PID_FILE = "nvidia-cuda-mps-control.pid"


@dataclass(frozen=True, slots=True)
class GpuFolders:
    """Where the daemon of one GPU lives."""

    base: Path
    pipe: Path
    log: Path

    @property
    def lock(self) -> Path:
        """What callers of the daemon lock in turn."""
        return self.base / "control.lock"

    @property
    def start_lock(self) -> Path:
        """What is locked while a daemon is started or stopped."""
        return self.base / "start.lock"

    @property
    def record(self) -> Path:
        """What we wrote down about the daemon that we started."""
        return self.base / "daemon.json"

    @property
    def pid_file(self) -> Path:
        """What the daemon itself writes down."""
        return self.pipe / PID_FILE

    def prepare(self, root: Path) -> None:
        """Make the folders where they are missing, and refuse those that are not ours alone.

        Raises
        ------
        ForeignError
            When a folder belongs to somebody else, is a link, or may be written by others.
        MpsError
            When a folder cannot be made, or its path is too long for a socket.
        """
        encode.path_text(self.pipe)
        check_socket_length(self.pipe / "control")
        for folder in (root, root / "mps", self.base, self.pipe, self.log):
            try:
                folder.mkdir(mode=0o700, parents=folder == root, exist_ok=True)
            except FileExistsError:
                raise ForeignError(
                    f"{folder} is in the way: it is not a folder",
                    advice="move it away, or choose another --root.",
                ) from None
            except OSError as failed:
                raise MpsError(
                    f"cannot make {folder}: {failed.strerror}",
                    advice="choose another --root, in a place where this user may write.",
                ) from None
            check_private(folder)

    def check(self) -> bool:
        """Tell whether the folders are there; refuse those that are not ours alone."""
        try:
            for folder in (self.base, self.pipe):
                check_private(folder)
        except FileNotFoundError:
            return False
        with contextlib.suppress(FileNotFoundError):  # a daemon lives on without its logs
            check_private(self.log)
        return True


def check_private(folder: Path) -> None:
    """Refuse a folder that is a link, not ours, or writable by others.

    Raises
    ------
    FileNotFoundError
        When it is not there.
    """
    try:
        about = os.lstat(folder)
    except FileNotFoundError:
        raise
    except OSError as failed:
        raise MpsError(
            f"cannot look at {folder}: {failed.strerror}",
            advice="choose another --root, or correct the permissions.",
        ) from None
    if stat.S_ISLNK(about.st_mode):
        raise ForeignError(
            f"{folder} is a symbolic link", advice="remove it, or choose another --root."
        )
    if not stat.S_ISDIR(about.st_mode):
        raise ForeignError(
            f"{folder} is in the way: it is not a folder",
            advice="move it away, or choose another --root.",
        )
    if about.st_uid != os.geteuid():
        raise ForeignError(
            f"{folder} belongs to user {about.st_uid}, and this is user {os.geteuid()}",
            advice="run as that user, or choose another --root.",
        )
    if about.st_mode & 0o022:
        raise ForeignError(
            f"others may write {folder}", advice="take that permission away (chmod go-w)."
        )


def check_socket_length(path: Path) -> None:
    """Refuse a socket's path that the system cannot bind."""
    length = len(os.fsencode(path))
    if length > MOST_SOCKET_BYTES:
        raise MpsError(
            f"the path of the MPS socket {clean_text(str(path), 300)!r} has {length} bytes, and a "
            f"socket can have {MOST_SOCKET_BYTES}",
            advice="choose a shorter --root, such as /run/colocate.",
        )


def folders_of(root: Path, gpu: str, gpus: Sequence[str]) -> GpuFolders:
    """Return the folders of a GPU.

    They are named by the first digits of its UUID, more of them where GPUs of this node share
    the first eight.
    """
    short = encode.short_uuid(gpu)
    if any(other != gpu and other[4:12] == short for other in gpus):
        short = gpu[4:].replace("-", "")
    base = root / "mps" / short
    return GpuFolders(base, base / "pipe", base / "log")
