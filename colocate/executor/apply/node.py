"""Where the state of this node lies, and that nobody else can reach into it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from colocate.errors import InputError, clean_text
from colocate.executor.apply.state_error import StateError

__all__ = ["check_root", "default_root", "prepare_root", "refuse_root"]


def default_root() -> Path:
    """Return the state folder of this user."""
    if os.geteuid() == 0:
        return Path("/run/colocate")
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime.startswith("/"):
        return Path(runtime) / "colocate"
    return Path.home() / ".local" / "state" / "colocate"


def refuse_root(*, allow: bool) -> None:
    """Refuse to change anything as root, unless that was asked for."""
    if os.geteuid() == 0 and not allow:
        raise InputError(
            "this is root, and nothing is changed as root unless told to",
            advice="run as the user of the workloads, or give --allow-root.",
        )


def prepare_root(root: Path) -> Path:
    """Make the state folder where it is missing, and check it.

    Raises
    ------
    StateError
        When it cannot be made.
    InputError
        When somebody else owns it, could write to it, or it is a symbolic link.
    """
    _refuse_relative(root)
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        root.mkdir(mode=0o700, exist_ok=True)
    except OSError as failed:
        raise StateError.of(failed, "make", root) from None
    check_root(root)
    return root


def check_root(root: Path) -> Path:
    """Check a state folder; one that is not there is as good as an empty one."""
    _refuse_relative(root)
    shown = repr(clean_text(str(root), 200))
    try:
        about = os.lstat(root)
    except FileNotFoundError:
        return root
    except OSError as failed:
        raise StateError.of(failed, "look at", root) from None
    if not stat.S_ISDIR(about.st_mode):
        raise InputError(f"{shown} is not a folder", advice="choose another --root.")
    if about.st_uid != os.geteuid():
        raise InputError(
            f"{shown} belongs to user {about.st_uid}, this is user {os.geteuid()}",
            advice="run as that user, or choose another --root.",
        )
    if about.st_mode & 0o022:
        raise InputError(
            f"{shown} can be written to by others (mode {stat.S_IMODE(about.st_mode):o})",
            advice="look at what is in it; then 'chmod 700' it, or choose another --root.",
        )
    return root


def _refuse_relative(root: Path) -> None:
    if not root.is_absolute() or ".." in root.parts:
        raise InputError(
            f"--root {clean_text(str(root), 200)!r} is not an absolute path",
            advice="give the whole path, such as /run/colocate.",
        )
