"""The journal: what is about to be done, and what was done, on disk before anything happens.

One JSON object a line. Each line ends with a checksum over itself and the checksum before it, so
that a line that was changed or taken out shows. Only the last line may be torn (the machine went
down while it was written); it counts as not written. A line is on disk before `append` returns.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from pydantic import ValidationError

from colocate.executor.apply.records import Entry, Record
from colocate.executor.apply.state_error import StateError
from colocate.executor.errors import AttentionError

__all__ = ["Journal", "JournalText", "read_journal"]

NAME = "journal.jsonl"
OLD_NAME = "journal.1.jsonl"
ROTATE_BYTES = 1 << 20
MAX_BYTES = 256 << 20
_FIRST_SUM = "0" * 64
_HEAD = b'{"entry":'
_TAIL_LENGTH = len(b',"sum":""}') + 64

Hook = Callable[[str], None]
"""Called at every moment at which a crash could come; tests crash there."""


@dataclass(frozen=True, slots=True)
class JournalText:
    """What a journal file holds."""

    entries: tuple[Entry, ...] = ()
    """The last change, and those that were cut off right before it."""
    torn: bool = False
    """Whether the last line was cut off."""
    good_bytes: int = 0
    """Length of the file without a torn line."""
    last_sum: str = _FIRST_SUM
    lines: int = 0
    """How many whole lines there are, those before the last change included."""


def read_journal(root: Path) -> JournalText:
    """Read the journal of a state folder; one that is not there is empty.

    Raises
    ------
    AttentionError
        When a line other than the last is not as it was written.
    """
    path = root / NAME
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return JournalText()
    except OSError as failed:
        raise StateError.of(failed, "read", path) from None
    try:
        _check_file(handle, path)
        with os.fdopen(handle, "rb", closefd=False) as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as failed:
        raise StateError.of(failed, "read", path) from None
    finally:
        os.close(handle)
    return _parse(data, path)


class Journal:
    """The journal, open for appending; only the holder of the lock may have it open."""

    def __init__(self, root: Path, hook: Hook | None = None) -> None:
        self._root, self._hook = root, hook or _ignore
        self._path = root / NAME
        text = read_journal(root)
        self.entries = list(text.entries)
        self._sum, self._bytes, self._lines = text.last_sum, text.good_bytes, text.lines
        self._open(torn=text.torn)

    def _open(self, *, torn: bool) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._handle = os.open(self._path, flags, 0o600)
            _check_file(self._handle, self._path)
            if torn:
                os.ftruncate(self._handle, self._bytes)
            os.fsync(self._handle)
            _sync_folder(self._root)
        except OSError as failed:
            raise StateError.of(failed, "write", self._path) from None

    def append(self, change: int, record: Record) -> None:
        """Put a record on disk.

        Raises
        ------
        StateError
            When that fails; the journal is then as before.
        """
        entry = Entry(seq=self._lines, change=change, at=_now(), record=record)
        body = _body(entry)
        checksum = _checksum(self._sum, body)
        line = b"".join((_HEAD, body, b',"sum":"', checksum.encode(), b'"}\n'))
        self._hook(f"before {record.kind}")
        try:
            _write_all(self._handle, line)
            os.fsync(self._handle)
        except OSError as failed:
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, self._bytes)
            raise StateError.of(failed, "write", self._path) from None
        self.entries.append(entry)
        self._sum, self._bytes = checksum, self._bytes + len(line)
        self._lines += 1
        self._hook(f"after {record.kind}")

    def rotate(self) -> None:
        """Begin a new file when this one is long; the last change must have ended."""
        if self._bytes < ROTATE_BYTES:
            return
        self.close()
        try:
            self._path.replace(self._root / OLD_NAME)
        except OSError as failed:
            raise StateError.of(failed, "write", self._path) from None
        self.entries, self._sum, self._bytes, self._lines = [], _FIRST_SUM, 0, 0
        self._open(torn=False)

    def close(self) -> None:
        """Close the file."""
        os.close(self._handle)


def _ignore(_point: str) -> None:
    """Crash nowhere."""


def _write_all(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]


def _check_file(handle: int, path: Path) -> None:
    about = os.fstat(handle)
    if not stat.S_ISREG(about.st_mode) or about.st_uid != os.geteuid():
        raise StateError(
            f"{str(path)!r} is not a regular file of this user's",
            advice="choose another --root.",
        )


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _body(entry: Entry) -> bytes:
    # One line: JSON escapes what would begin another.
    return entry.model_dump_json().encode()


def _checksum(before: str, body: bytes) -> str:
    return sha256(before.encode() + body).hexdigest()


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


def _parse(data: bytes, path: Path) -> JournalText:
    last_sum, good = _FIRST_SUM, 0
    bodies: list[bytes] = []
    lines = data.split(b"\n")
    torn = bool(lines.pop())  # a line that was cut off has no end
    for i, line in enumerate(lines):
        body, checksum = _split(line)
        if checksum is None or checksum != _checksum(last_sum, body):
            raise _changed(path, i)
        bodies.append(body)
        last_sum, good = checksum, good + len(line) + 1
    first = _first_needed(bodies)
    entries = []
    for i, body in enumerate(bodies[first:], first):
        try:
            entries.append(Entry.model_validate_json(body))
        except ValidationError:
            raise _changed(path, i) from None
    return JournalText(tuple(entries), torn, good, last_sum, len(bodies))


def _split(line: bytes) -> tuple[bytes, str | None]:
    """Return what a line says, and its checksum."""
    end = len(line) - _TAIL_LENGTH
    tail = line[max(end, 0) :]
    if not (line.startswith(_HEAD) and tail.startswith(b',"sum":"') and tail.endswith(b'"}')):
        return b"", None
    return line[len(_HEAD) : end], tail[8:-2].decode("ascii", "replace")


def _first_needed(bodies: list[bytes]) -> int:
    """Return where the last change begins, with the unfinished ones that it took over from.

    Whatever came before has ended, and its outcome is in the file of what was applied.
    """
    for i in range(len(bodies) - 1, -1, -1):
        # Inside a text the quotes would be escaped, so this is the record's own kind.
        if b'"kind":"prepared"' in bodies[i] and b'"resumes":null' in bodies[i]:
            return i
    return 0


def _changed(path: Path, i: int) -> AttentionError:
    return AttentionError(
        f"line {i + 1} of {str(path)!r} is not as it was written",
        advice="keep a copy, move the file away and run 'colocate apply': it starts from "
        "what is true then, and an earlier state can no longer be rolled back to.",
    )
