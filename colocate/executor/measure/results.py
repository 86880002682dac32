"""What was measured, as a file that grows by one line for each run, and survives a crash.

The first line says whose results they are; every other line is one run. Each is written in one go
and brought to disk before the next run starts. A crash can leave one torn line at the end, which is
cut off when the file is opened again; a torn line anywhere else is damage, and refused.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Self

from colocate.errors import InputError, clean_text
from colocate.executor.errors import HeldError

__all__ = ["RESULTS", "Record", "Results", "State", "read_results"]

RESULTS: Final = "colocate/measured/v1"
MOST_BYTES = 1 << 30

State = Literal["measured", "impossible", "failed"]
"""`impossible`: the program said that it cannot run so. `failed`: anything else went wrong; it is
tried again when the campaign goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One run, and what became of it."""

    key: str
    state: State
    text: str
    """The point in words."""
    seconds: float
    why: str = ""
    rows: tuple[Mapping[str, Any], ...] = ()
    """Rows of the profile table, one for each tenant."""
    evidence: Mapping[str, Any] | None = None

    def line(self) -> bytes:
        """Return it as a line."""
        made: dict[str, Any] = {"key": self.key, "state": self.state, "text": self.text}
        made["seconds"] = round(self.seconds, 3)
        if self.why:
            made["why"] = self.why
        if self.rows:
            made["rows"] = [_finite(row) for row in self.rows]
        if self.evidence is not None:
            made["evidence"] = _finite(self.evidence)
        return json.dumps(made, allow_nan=False).encode() + b"\n"


class Results:
    """The file of a campaign, held by one writer.

    Parameters
    ----------
    path
        The file.
    about
        What the first line says besides the format: campaign, GPU type, driver.
    resume
        Whether a file that exists may be continued; it must be about the same.
    """

    def __init__(self, path: Path, about: Mapping[str, str], *, resume: bool) -> None:
        self.path = path
        self.records: list[Record] = []
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._file = os.open(path, flags, 0o644)
        except OSError as failed:
            raise InputError(
                f"cannot write {clean_text(str(path))!r}: {failed.strerror}",
                advice="check that the folder exists and is writable.",
            ) from None
        try:
            self._hold()
            if os.fstat(self._file).st_size:
                self._continue(about, resume=resume)
            else:
                self._append(json.dumps({"schema": RESULTS, **about}).encode() + b"\n")
                _sync_folder(path.parent)
        except BaseException:
            os.close(self._file)
            raise

    @property
    def done(self) -> frozenset[str]:
        """Return the keys of runs that need not be made again."""
        return frozenset(r.key for r in self.records if r.state != "failed")

    def add(self, record: Record) -> None:
        """Write down what became of a run."""
        self._append(record.line())
        self.records.append(record)

    def close(self) -> None:
        """Let the file go."""
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _hold(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise HeldError(
                f"another process writes to {clean_text(str(self.path))!r}",
                advice="wait until it has finished, or write to another file.",
            ) from None

    def _append(self, line: bytes) -> None:
        view = memoryview(line)
        while view:
            view = view[os.write(self._file, view) :]
        os.fsync(self._file)

    def _continue(self, about: Mapping[str, str], *, resume: bool) -> None:
        if not resume:
            raise InputError(
                f"{clean_text(str(self.path))!r} exists",
                advice="go on with it (--resume), or write to another file.",
            )
        header, self.records, whole = _parsed(_read(self._file), str(self.path))
        if header is None:
            # the crash came before the first line was whole
            os.ftruncate(self._file, 0)
            self._append(json.dumps({"schema": RESULTS, **about}).encode() + b"\n")
            return
        for name, value in about.items():
            if header.get(name, value) != value:
                was = clean_text(str(header.get(name)), 80)
                raise InputError(
                    f"{clean_text(str(self.path))!r} is about {name} {was!r}, not {value!r}",
                    advice="write to another file.",
                )
        os.ftruncate(self._file, whole)


def read_results(path: Path) -> tuple[Mapping[str, Any], list[Record]]:
    """Return the first line of a file and its runs; a torn last line is left out."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as failed:
        raise InputError(
            f"cannot open {clean_text(str(path))!r}: {failed.strerror}",
            advice="check the file's name.",
        ) from None
    try:
        header, records, _ = _parsed(_read(handle), str(path))
    finally:
        os.close(handle)
    return header or {}, records


def _read(handle: int) -> bytes:
    size = os.fstat(handle).st_size
    if size > MOST_BYTES:
        raise InputError(f"the file has {size} bytes", advice="check that it is the right one.")
    parts = []
    at = 0
    while part := os.pread(handle, 1 << 20, at):
        parts.append(part)
        at += len(part)
    return b"".join(parts)


def _parsed(data: bytes, name: str) -> tuple[dict[str, Any] | None, list[Record], int]:
    """Return the first line, the runs, and how many bytes are whole lines."""
    whole = data.rfind(b"\n") + 1
    lines = data[:whole].split(b"\n")[:-1]
    if not lines:
        return None, [], 0
    header = _object(lines[0], name, 1)
    if header.get("schema") != RESULTS:
        raise InputError(
            f"{clean_text(name)!r} does not say that it holds results ({RESULTS})",
            advice="check the file's name.",
        )
    records = [_record(_object(line, name, i), name, i) for i, line in enumerate(lines[1:], 2)]
    return header, records, whole


def _object(line: bytes, name: str, number: int) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _damaged(name, number)
    return found


def _record(found: Mapping[str, Any], name: str, number: int) -> Record:
    key, state, text = found.get("key"), found.get("state"), found.get("text", "")
    seconds, rows = found.get("seconds", 0.0), found.get("rows", [])
    good = isinstance(key, str) and state in ("measured", "impossible", "failed")
    good = good and isinstance(text, str) and isinstance(seconds, int | float)
    good = good and isinstance(rows, list) and all(isinstance(row, dict) for row in rows)
    if not good:
        raise _damaged(name, number)
    return Record(
        key=str(key),
        state=state,  # type: ignore[arg-type]
        text=text,
        seconds=float(seconds),
        why=str(found.get("why", "")),
        rows=tuple(rows),
        evidence=found.get("evidence"),
    )


def _damaged(name: str, number: int) -> InputError:
    return InputError(
        f"line {number} of {clean_text(name)!r} is damaged",
        advice="remove that line: its run is then made again.",
    )


def _finite(value: Any) -> Any:  # noqa: ANN401 - any JSON value, and numbers that are none
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
