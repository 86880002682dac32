"""What a daemon said, written down line by line, so that tests can hold the double against it.

The first line of the file says where it comes from; each further line is one command with its
reply, or a client that came or left in between.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from colocate.errors import InputError
from colocate.executor.mps.control import Exchange

__all__ = ["ClientEvent", "Header", "Recorder", "Said", "Transcript", "read_transcript"]

SCHEMA = "colocate/transcript/v1"
_MOST_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """Where a transcript comes from."""

    driver: str
    """Version of the driver, or the name of the document that the lines are taken from."""
    date: str
    """Day of the recording, as YYYY-MM-DD."""
    gpu_name: str
    gpu: str
    """UUID of the GPU."""
    dialect: Literal["v2", "v3"]
    program: str = ""
    """What the control program says of its version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientEvent:
    """A client that came, with what it got, or left."""

    pid: int
    event: Literal["came", "left"]
    environment: Mapping[str, str]
    """Its variables of MPS."""
    sms: int | None = None
    """How many SMs it saw."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A command whose reply a document does not show."""

    argv: tuple[str, ...]
    stdin: str
    unshown: Literal[True] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """A file that was read."""

    header: Header
    lines: tuple[Exchange | ClientEvent | Said, ...]


class Recorder:
    """Appends to a transcript; each line is on disk before the next command.

    Give its `exchange` to `NodeDaemons` as ``record``.

    Parameters
    ----------
    path
        A file that does not exist yet.
    header
        Where it comes from.
    """

    def __init__(self, path: Path, header: Header) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._handle = os.open(path, flags, 0o644)
        except OSError as failed:
            raise InputError(
                f"cannot write {path}: {failed.strerror}",
                advice="choose the name of a file that does not exist yet.",
            ) from None
        self._lock = threading.Lock()
        self._write({"schema": SCHEMA, **asdict(header)})

    def __enter__(self) -> Self:
        """Return the recorder."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        os.close(self._handle)

    def exchange(self, exchange: Exchange) -> None:
        """Write down one command and its reply."""
        self._write(asdict(exchange))

    def client(self, event: ClientEvent) -> None:
        """Write down that a client came or left."""
        self._write(asdict(event))

    def _write(self, value: Mapping[str, object]) -> None:
        with self._lock:
            os.write(self._handle, (json.dumps(value, ensure_ascii=True) + "\n").encode("ascii"))
            os.fsync(self._handle)


def read_transcript(path: Path) -> Transcript:
    """Return the transcript of a file."""
    from colocate.io.files import read_source  # its package imports pydantic

    data, label, _ = read_source(path, _MOST_BYTES, InputError)
    values = list(_objects(data, label))
    try:
        first = dict(values[0])
        if first.pop("schema") != SCHEMA:
            raise ValueError("schema")
        header = Header(**first)  # type: ignore[arg-type]
        lines = tuple(_line(value) for value in values[1:])
    except (IndexError, KeyError, TypeError, ValueError):
        raise InputError(
            f"{label!r} is no transcript", source=label, advice="record it again."
        ) from None
    return Transcript(header=header, lines=lines)


def _objects(data: bytes, label: str) -> Iterator[Mapping[str, object]]:
    for number, line in enumerate(data.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise InputError(
                f"line {number} of {label!r} is not an object",
                source=f"{label}:{number}",
                advice="a recording that was cut off can be used without its last line.",
            )
        yield value


def _line(value: Mapping[str, object]) -> Exchange | ClientEvent | Said:
    kind: type[Exchange | ClientEvent | Said] = Exchange
    if "event" in value:
        kind = ClientEvent
    elif "unshown" in value:
        kind = Said
    known = {field.name for field in fields(kind)}
    if not set(value) <= known | {"source"}:
        raise ValueError("unknown field")
    plain = {name: item for name, item in value.items() if name != "source"}
    if "argv" in plain:
        plain["argv"] = tuple(plain["argv"])  # type: ignore[arg-type]
    return kind(**plain)  # type: ignore[arg-type]
