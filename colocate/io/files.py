"""Reading files that nobody vouches for, and writing files that are whole or not there."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import sys
from pathlib import Path
from typing import IO

from colocate.errors import InputError, clean_text

__all__ = ["MAX_BYTES", "Source", "read_source", "read_within", "write_atomic"]

MAX_BYTES = 16 * 1024 * 1024
"""How large an input file may be, unless the caller says otherwise."""
MAX_NAME = 4096

Source = str | os.PathLike[str] | bytes | IO[bytes] | IO[str]


def read_source(
    source: Source, max_bytes: int, error: type[InputError]
) -> tuple[bytes, str, Path | None]:
    """Return content, a printable name, and the folder of a file (None when it is no file)."""
    if isinstance(source, bytes):
        return _bounded(source, "<bytes>", max_bytes, error), "<bytes>", None
    if isinstance(source, str) and source == "-":
        if sys.stdin is None:
            raise error("standard input is closed", path="$", advice="give a file name.")
        return _from_stream(sys.stdin.buffer, "<stdin>", max_bytes, error), "<stdin>", None
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        label = clean_text(str(path), 200)
        return _read_regular(path, label, max_bytes, error), label, path.parent
    label = clean_text(str(getattr(source, "name", "<stream>")), 200)
    return _from_stream(source, label, max_bytes, error), label, None


def read_within(
    folder: Path, name: str, path: str, max_bytes: int, error: type[InputError]
) -> tuple[bytes, str]:
    """Read a file that another file names: it must lie in that file's folder.

    Parameters
    ----------
    folder
        The folder to stay in.
    name
        Relative path as written in the file.
    path
        JSON path of the name, for messages.
    """
    shown = clean_text(name, 100)
    if name.startswith(("/", "~")) or "\\" in name or ".." in name.split("/") or len(name) > 1000:
        raise error(
            f"{shown!r} is not a plain relative path",
            path=path,
            advice="name a file inside the instance's folder, such as 'profiles.json'.",
        )
    try:
        root, real = folder.resolve(strict=True), (folder / name).resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as failed:
        raise error(
            f"file {shown!r} cannot be found: {_why(failed)}",
            path=path,
            advice="correct the name: it is relative to the instance's folder.",
        ) from None
    if not real.is_relative_to(root):
        raise error(
            f"{shown!r} leads out of the instance's folder",
            path=path,
            advice="copy the file into the folder.",
        )
    try:
        return _read_regular(real, shown, max_bytes, error, follow=False), shown
    except InputError as failed:
        raise error(failed.message, path=path, advice=failed.advice, source=failed.source) from None


def _read_regular(
    path: Path, label: str, max_bytes: int, error: type[InputError], *, follow: bool = True
) -> bytes:
    # O_NONBLOCK: opening a FIFO would otherwise wait for a writer, before fstat can refuse it.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    try:
        handle = os.open(path, flags if follow else flags | os.O_NOFOLLOW)
    except (OSError, ValueError) as failed:
        raise error(
            f"cannot open {label!r}: {_why(failed)}",
            path="$",
            advice="check the file's name and permissions.",
            source=label,
        ) from None
    try:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            raise error(
                f"{label!r} is {_sort_of(about.st_mode)}, not a regular file",
                path="$",
                advice="give the name of a JSON file, or - to read standard input.",
                source=label,
            )
        if about.st_size > max_bytes:
            raise _too_large(f"{about.st_size} bytes", label, max_bytes, error)
        with os.fdopen(handle, "rb", closefd=False) as file:
            return _from_stream(file, label, max_bytes, error)
    finally:
        os.close(handle)


def _from_stream(
    stream: IO[bytes] | IO[str], label: str, max_bytes: int, error: type[InputError]
) -> bytes:
    parts: list[bytes] = []
    left = max_bytes + 1
    try:
        while left > 0 and (part := stream.read(min(left, 1 << 20))):
            raw = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
            parts.append(raw)
            left -= len(raw)
    except (OSError, ValueError) as failed:
        raise error(
            f"cannot read {label!r}: {_why(failed)}",
            path="$",
            advice="check that it is a readable UTF-8 file.",
            source=label,
        ) from None
    return _bounded(b"".join(parts), label, max_bytes, error)


def _bounded(data: bytes, label: str, max_bytes: int, error: type[InputError]) -> bytes:
    if len(data) > max_bytes:
        raise _too_large(f"more than {max_bytes} bytes", label, max_bytes, error)
    return data


def _too_large(size: str, label: str, max_bytes: int, error: type[InputError]) -> InputError:
    return error(
        f"{label!r} has {size} (limit {max_bytes})",
        path="$",
        advice="use count, id ranges or tables in place of long lists, or raise the size limit.",
        source=label,
    )


def _sort_of(mode: int) -> str:
    sorts = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
        stat.S_IFSOCK: "a socket",
    }
    return sorts.get(stat.S_IFMT(mode), "something else")


def _why(failed: Exception) -> str:
    return (isinstance(failed, OSError) and failed.strerror) or clean_text(str(failed), 100)


def write_atomic(path: str | os.PathLike[str], text: str | bytes, *, force: bool = True) -> None:
    """Write a file so that it is either whole or as it was before.

    The text goes to a temporary file in the same folder, to disk, and then takes the name. A
    symbolic link is never followed, and only a regular file is ever replaced.

    Parameters
    ----------
    path
        The file to write.
    text
        Its new content; text is written as UTF-8.
    force
        Whether a file that exists may be replaced.

    Raises
    ------
    InputError
        When the file must not be replaced or cannot be written. Nothing is left behind then.
    """
    target = Path(path)
    label = clean_text(str(target), 200)
    mode = _mode_of_target(target, label, force=force)
    data = text.encode("utf-8") if isinstance(text, str) else text
    temporary = target.with_name(f".{target.name[:100]}.{secrets.token_hex(6)}.tmp")
    try:
        _write_and_sync(temporary, data, mode)
        try:
            if force:
                temporary.replace(target)
            else:
                _take_free_name(temporary, target)
        finally:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
        _sync_folder(target.parent)
    except OSError as failed:
        raise InputError(
            f"cannot write {label!r}: {_why(failed)}",
            source=label,
            advice="check that the folder exists, is writable and has room.",
        ) from None


def _mode_of_target(target: Path, label: str, *, force: bool) -> int | None:
    """Return the permissions of the file to be replaced, or None when there is none."""
    try:
        about = os.lstat(target)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as failed:
        raise InputError(
            f"cannot write {label!r}: {_why(failed)}", source=label, advice="correct the name."
        ) from None
    if not stat.S_ISREG(about.st_mode):
        sort = "a symbolic link" if stat.S_ISLNK(about.st_mode) else _sort_of(about.st_mode)
        raise InputError(
            f"{label!r} is {sort}; only a regular file is replaced",
            source=label,
            advice="remove it, or write to another name.",
        )
    if not force:
        raise InputError(
            f"{label!r} exists",
            source=label,
            advice="choose another name, or ask to overwrite it (--force).",
        )
    return stat.S_IMODE(about.st_mode)


def _write_and_sync(path: Path, data: bytes, mode: int | None) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(path, flags, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            if mode is not None:
                os.fchmod(handle, mode)
            file.write(data)
            file.flush()
            os.fsync(handle)
    except BaseException:
        with contextlib.suppress(OSError):
            path.unlink()
        raise


def _take_free_name(temporary: Path, target: Path) -> None:
    """Rename, but never over a file that has appeared in the meantime."""
    try:
        os.link(temporary, target)
    except OSError as failed:
        if failed.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK):
            raise
        # A file system without links: the look before has to do.
        temporary.replace(target)


def _sync_folder(folder: Path) -> None:
    """Make the new name itself durable. Some file systems cannot sync a folder; that is no loss."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as failed:
        if failed.errno in (errno.EACCES, errno.EPERM):
            return
        raise
    try:
        os.fsync(handle)
    except OSError as failed:
        if failed.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EROFS):
            raise
    finally:
        os.close(handle)
