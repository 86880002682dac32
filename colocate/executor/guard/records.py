"""What was done and why, as JSON lines: one object a line, appended, bounded, never in the way.

A record that cannot be written must not keep anybody from protecting a service: it is counted, and
the next one that can be written says how many were lost.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from colocate.errors import InputError, clean_text

__all__ = ["JsonLines", "MemoryLines", "Recorder"]

LONGEST = 65536
"""Bytes of one line."""
MAX_BYTES = 64 * 1024 * 1024


class Recorder(Protocol):
    """Takes records."""

    def write(self, record: Mapping[str, Any]) -> None:
        """Keep one record."""
        ...


class MemoryLines:
    """Records in memory: for dry runs and tests."""

    def __init__(self, tell: Callable[[Mapping[str, Any]], None] | None = None) -> None:
        self.records: list[dict[str, Any]] = []
        self._tell = tell

    def write(self, record: Mapping[str, Any]) -> None:
        """Keep one record, and tell it to whoever asked."""
        self.records.append(dict(record))
        if self._tell is not None:
            self._tell(record)


class JsonLines:
    """Records at the end of a file; the file before it is kept once as `<name>.1`."""

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int = MAX_BYTES,
        tell: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> None:
        self.path = path
        self.max_bytes = max_bytes
        self.lost = 0
        """Records that could not be written since the last one that could."""
        self._tell = tell
        self._append(b"")  # a name that cannot be written to is refused now, not in an emergency

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one record."""
        if self._tell is not None:
            self._tell(record)
        told = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **record}
        line = _line({**told, "records_lost": self.lost} if self.lost else told)
        try:
            self._append(line)
        except (OSError, InputError):
            self.lost += 1
        else:
            self.lost = 0

    def _append(self, line: bytes) -> None:
        flags = (
            os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        )
        try:
            handle = os.open(self.path, flags, 0o600)
        except OSError as failed:
            raise InputError(
                f"cannot write records to {clean_text(str(self.path))!r}: {failed.strerror}",
                advice="check that the folder exists and is yours.",
            ) from None
        try:
            about = os.fstat(handle)
            if not stat.S_ISREG(about.st_mode):
                raise InputError(
                    f"{clean_text(str(self.path))!r} is not a regular file",
                    advice="name another file for the records.",
                )
            if about.st_size and about.st_size + len(line) > self.max_bytes:
                with contextlib.suppress(OSError):
                    self.path.replace(self.path.with_name(f"{self.path.name}.1"))
                os.close(handle)
                handle = os.open(self.path, flags, 0o600)
            # One call for the whole line: two writers do not mix.
            if line and os.write(handle, line) != len(line):
                raise OSError(28, "the disk is full")
        finally:
            os.close(handle)


def _line(record: Mapping[str, Any]) -> bytes:
    text = json.dumps(record, allow_nan=False, default=str, separators=(", ", ": "))
    if len(text) > LONGEST:
        short = {"event": record.get("event"), "too_long": len(text)}
        text = json.dumps(short, allow_nan=False, default=str)
    return text.encode() + b"\n"
