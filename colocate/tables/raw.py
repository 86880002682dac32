"""Text files that nobody vouches for: bounded, decompressed, decoded, and cut into cells.

A file may be compressed with gzip; what comes out of it is held to the same limit as a plain file.
Cells follow RFC 4180: commas between them, quotes around those that hold commas, quotes or line
breaks. Nothing here knows what the columns mean.
"""

from __future__ import annotations

import csv
import io
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from colocate.errors import InputError, clean_text
from colocate.io.files import Source, read_source

__all__ = [
    "MAX_TABLE_BYTES",
    "RawCsv",
    "Rows",
    "number",
    "parse_csv",
    "read_bytes",
    "read_csv",
    "read_text",
    "text_of",
]

MAX_TABLE_BYTES = 512 * 1024 * 1024
"""How large a table may be, after decompression: some millions of rows."""
MAX_COLUMNS = 1000
MAX_ROWS = 10_000_000

_GZIP = b"\x1f\x8b"
_BAD = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_NUMBER = re.compile(r"[+-]?(?:\d{1,400}(?:\.\d{0,400})?|\.\d{1,400})(?:[eE][+-]?\d{1,9})?", re.A)


def read_bytes(source: Source, *, max_bytes: int = MAX_TABLE_BYTES) -> tuple[bytes, str]:
    """Return what a file holds, decompressed if need be, and its name for messages."""
    data, label, _ = read_source(source, max_bytes, InputError)
    if data.startswith(_GZIP):
        data = _decompressed(data, label, max_bytes)
    return data, label


def read_text(
    source: Source, *, max_bytes: int = MAX_TABLE_BYTES, any_character: bool = False
) -> tuple[str, str]:
    """Return the text of a file in UTF-8 (with or without its mark), and its name for messages."""
    data, label = read_bytes(source, max_bytes=max_bytes)
    return text_of(data, label, any_character=any_character), label


def text_of(data: bytes, label: str, *, any_character: bool = False) -> str:
    """Decode UTF-8, with or without its mark, and refuse control characters unless told not to."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as failed:
        line = data.count(b"\n", 0, failed.start) + 1
        raise InputError(
            f"byte {data[failed.start]:#04x} at position {failed.start} is not UTF-8",
            source=f"{label}:{line}",
            advice="save the file as UTF-8 text.",
        ) from None
    found = None if any_character else _BAD.search(text)
    if found is not None:
        line = text.count("\n", 0, found.start()) + 1
        raise InputError(
            f"the text holds the control character U+{ord(found[0]):04X}",
            source=f"{label}:{line}",
            advice="check that this is the file that you meant, and remove the character.",
        )
    return text


def _decompressed(data: bytes, label: str, max_bytes: int) -> bytes:
    """Undo gzip, also of several parts one after the other, without ever exceeding the limit."""
    parts: list[bytes] = []
    left = max_bytes + 1
    try:
        while data and left > 0:
            inflater = zlib.decompressobj(wbits=31)
            part = inflater.decompress(data, left)
            parts.append(part)
            left -= len(part)
            if not inflater.eof and left > 0:
                raise zlib.error("it ends too early")
            data = inflater.unused_data.lstrip(b"\0")
    except zlib.error as failed:
        raise InputError(
            f"{label!r} starts like a gzip file and is none: {clean_text(str(failed), 100)}",
            source=label,
            advice="fetch or compress the file again.",
        ) from None
    if left <= 0:
        raise InputError(
            f"{label!r} has more than {max_bytes} bytes when decompressed",
            source=label,
            advice="split the table, or raise the size limit.",
        )
    return b"".join(parts)


class Rows:
    """The rows of comma-separated text, and the line that each starts on; empty lines are none."""

    def __init__(self, text: str, label: str, *, first_line: int = 1) -> None:
        self.label = label
        self._reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        self._offset = first_line

    def take(self, n: int) -> tuple[list[int], list[list[str]]]:
        """Return the lines and the cells of the next rows: n of them, or what is left."""
        lines: list[int] = []
        rows: list[list[str]] = []
        reader, offset = self._reader, self._offset
        line = reader.line_num
        try:
            for row in reader:
                if row:
                    lines.append(line + offset)
                    rows.append(row)
                    if len(rows) == n:
                        break
                line = reader.line_num
        except csv.Error as failed:
            raise InputError(
                f"the text cannot be cut into cells: {clean_text(str(failed), 100)}",
                source=f"{self.label}:{line + offset}",
                advice='check the quotes: a quoted cell ends with " and doubles those inside it.',
            ) from None
        return lines, rows

    def header(self) -> tuple[str, ...]:
        """Take the first row off as the names of the columns; each must be there once."""
        lines, rows = self.take(1)
        names = tuple(name.strip() for name in rows[0]) if rows else ()
        problem = None
        advice = "write each name once, in the first line."
        if not any(names):
            problem, advice = "the table is empty", "start it with a line of column names."
        elif len(names) > MAX_COLUMNS:
            problem = f"the table has {len(names)} columns (limit {MAX_COLUMNS})"
        elif len(set(names)) < len(names):
            twice = next(name for i, name in enumerate(names) if name in names[:i])
            shown = repr(clean_text(twice, 60))
            problem = f"column {shown} is there twice" if twice else "two columns have no name"
        if problem is not None:
            place = lines[0] if lines else self._offset
            raise InputError(problem, source=f"{self.label}:{place}", advice=advice)
        return names


def number(text: str) -> float | None:
    """Return a decimal number, or None where the text is none; `nan`, `inf`, `1_000` are none."""
    return float(text) if _NUMBER.fullmatch(text) else None


@dataclass(frozen=True)
class RawCsv:
    """A table as text, for layouts that are known: whatever is amiss is an `InputError`."""

    label: str
    lines: Sequence[int]
    """The line on which each row starts."""
    columns: dict[str, tuple[str, ...]]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.lines)

    def text(self, name: str) -> NDArray[np.object_]:
        """Return a column as it is written, without spaces around it."""
        found = np.empty(len(self), dtype=object)
        found[:] = [cell.strip() for cell in self.columns[name]]
        return found

    def numbers(self, name: str, *, nothing: Sequence[str] = ("",)) -> NDArray[np.float64]:
        """Return a column of numbers; cells with a word for nothing become nan."""
        found = np.empty(len(self), dtype=np.float64)
        for i, cell in enumerate(self.columns[name]):
            bare = cell.strip()
            value = np.nan if bare in nothing else number(bare)
            if value is None:
                self.refuse(i, name, "must be a number")
            found[i] = value
        return found

    def refuse(self, row: int, name: str, what: str) -> NoReturn:
        """Say what is wrong with one cell."""
        shown = repr(clean_text(self.columns[name][row], 60))
        raise InputError(
            f"column {clean_text(name, 60)!r} {what}, not {shown}",
            source=f"{self.label}:{self.lines[row]}",
            advice="check that the file is whole and in the layout that was asked for.",
        )


def read_csv(
    source: Source, needed: Sequence[str] = (), *, max_bytes: int = MAX_TABLE_BYTES
) -> RawCsv:
    """Read a file of comma-separated values whole.

    Parameters
    ----------
    source
        A path, ``"-"`` for standard input, an open file, or the bytes of a file; gzip is undone.
    needed
        Columns that must be there; others may be.
    """
    text, label = read_text(source, max_bytes=max_bytes)
    return parse_csv(text, label, needed)


def parse_csv(text: str, label: str, needed: Sequence[str] = (), *, first_line: int = 1) -> RawCsv:
    """Cut text into columns; `first_line` is where the text starts in its file."""
    found = Rows(text, label, first_line=first_line)
    header = found.header()
    missing = [name for name in needed if name not in header]
    if missing:
        raise InputError(
            f"column {missing[0]!r} is missing (there are {clean_text(', '.join(header), 300)})",
            source=f"{label}:{first_line}",
            advice="check that the file is in the layout that was asked for.",
        )
    lines, rows = found.take(MAX_ROWS)
    for line, row in zip(lines, rows, strict=True):
        if len(row) != len(header):
            raise InputError(
                f"the row has {len(row)} cells and the header {len(header)}",
                source=f"{label}:{line}",
                advice="check that the file is whole, and quote cells that hold a comma.",
            )
    columns = zip(*rows, strict=True) if rows else (() for _ in header)
    return RawCsv(label, lines, dict(zip(header, columns, strict=True)))
