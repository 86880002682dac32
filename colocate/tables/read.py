"""Profile tables from files: CSV, or JSON by columns or by rows.

A file that is no profile table is an `InputError`. A row that makes no sense is left out and
reported, and the rest is used: measurements are often incomplete, and one bad cell should not cost
a day of profiling.

CSV is UTF-8 after RFC 4180 with the names of the columns in the first line. JSON is one of

    {"schema": "colocate/profile-table/v1", "columns": {"workload": ["a", "a"], "gpu": "V100", ...}}
    {"schema": "colocate/profile-table/v1", "rows": [{"workload": "a", "gpu": "V100", ...}, ...]}

where null or an absent key is an empty cell and, among `columns`, a single value stands for all
rows. Both may be compressed with gzip.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from colocate.errors import InputError, clean_text
from colocate.io.files import Source
from colocate.io.json_path import show_path
from colocate.io.json_read import Document, read_json
from colocate.io.problems import show_value
from colocate.tables.check import ONE_OF, Chunk, DroppedRow, Names, check
from colocate.tables.columns import COLUMNS, needed_columns
from colocate.tables.raw import MAX_TABLE_BYTES, Rows, read_bytes, text_of
from colocate.tables.table import ProfileTable

__all__ = ["MAX_DROPPED", "SCHEMA", "Part", "TableFile", "collect", "read_table"]

SCHEMA: Final = "colocate/profile-table/v1"
MAX_DROPPED = 10_000
"""How many dropped rows are described; the others are only counted."""
MAX_JSON_BYTES = 128 * 1024 * 1024
"""JSON takes several times its size in memory; larger tables come as CSV."""
JSON_MEMORY = 1 << 30
CHUNK = 1 << 13
"""Rows that are held as cells at one time: more of them, and the garbage collector slows down."""
_KNOWN = tuple(c.name for c in COLUMNS)


@dataclass(frozen=True, eq=False)
class TableFile:
    """What a file held."""

    table: ProfileTable
    rows: NDArray[np.int64]
    """For each row of the table its number in the file, from 1."""
    dropped: tuple[DroppedRow, ...]
    """The rows that were left out, in the order of the file: at most `MAX_DROPPED` of them."""
    n_dropped: int
    """How many rows were left out."""
    names: tuple[str, ...] = ()
    """The columns that the file has, in its order."""


def read_table(
    source: Source, *, queries: bool = False, max_bytes: int = MAX_TABLE_BYTES
) -> TableFile:
    """Read a profile table.

    Parameters
    ----------
    source
        A path, ``"-"`` for standard input, an open file, or the bytes of a file. A name that ends
        in `.json` (or `.json.gz`), or a text that starts with a bracket, is JSON; all else is CSV.
    queries
        Whether the rows ask for a prediction, so that they need no rate or latency.
    max_bytes
        Refuse larger files, also after decompression.

    Raises
    ------
    InputError
        When the file cannot be read or is no profile table.
    """
    data, label = read_bytes(source, max_bytes=max_bytes)
    name = label.removesuffix(".gz").lower()
    is_json = name.endswith(".json") or data[:64].lstrip()[:1] in (b"{", b"[")
    del source
    if is_json and not name.endswith(".csv"):
        return collect(_json_chunks(data, label, queries=queries), queries=queries)
    return collect(_csv_chunks(text_of(data, label), label, queries=queries), queries=queries)


Part = tuple[Chunk, Sequence[int], Sequence[int] | None]
"""Rows, their numbers in the file, and the lines they are on."""


def collect(parts: Iterable[Part], *, queries: bool) -> TableFile:
    """Return the rows that make sense as a table, and why the others do not."""
    names = Names()
    columns: dict[str, list[NDArray[Any]]] = {name: [] for name in _KNOWN}
    kept: list[NDArray[np.int64]] = []
    dropped: list[DroppedRow] = []
    n_dropped = 0
    given: dict[str, None] = {}
    for chunk, numbers, lines in parts:
        given.update(dict.fromkeys(chunk.cells))
        made = check(chunk, names, measured=not queries)
        for name, column in made.items():
            columns[name].append(column)
        kept.append(np.asarray(numbers, dtype=np.int64)[chunk.good])
        n_dropped += len(chunk.faults)
        for at, column_name, reason in sorted(chunk.faults):
            if len(dropped) >= MAX_DROPPED:
                break
            line = None if lines is None else lines[at]
            shown = chunk.shown(at, column_name)
            dropped.append(DroppedRow(numbers[at], line, column_name, shown, reason))
    joined = {name: _joined(name, pieces) for name, pieces in columns.items()}
    rows = np.concatenate(kept) if kept else np.empty(0, dtype=np.int64)
    return TableFile(ProfileTable(joined), rows, tuple(dropped), n_dropped, tuple(given))


def _joined(name: str, pieces: list[NDArray[Any]]) -> NDArray[Any]:
    text = next(c.kind for c in COLUMNS if c.name == name) == "text"
    made: NDArray[Any] = (
        np.concatenate(pieces) if pieces else np.empty(0, dtype=object if text else np.float64)
    )
    made.flags.writeable = False
    return made


def _csv_chunks(text: str, label: str, *, queries: bool) -> Iterator[Part]:
    rows = Rows(text, label)
    header = rows.header()
    _check_columns(header, f"{label}:1", text, queries=queries)
    first = 1
    while True:
        lines, part = rows.take(CHUNK)
        if not part:
            break
        yield _square(part, header), range(first, first + len(part)), lines
        first += len(part)


def _square(rows: list[list[str]], header: Sequence[str]) -> Chunk:
    """Return rows as columns; those with too many or too few cells are dropped."""
    width = len(header)
    wrong = [at for at, row in enumerate(rows) if len(row) != width]
    faults = []
    for at in wrong:
        n = len(rows[at])
        faults.append((at, "", f"has {n} cells, and the header has {width}"))
        rows[at] = (rows[at] + [""] * width)[:width]
    good = np.ones(len(rows), dtype=bool)
    good[wrong] = False
    return Chunk(dict(zip(header, zip(*rows, strict=True), strict=True)), good, faults)


def _check_columns(
    given: Iterable[str], place: str, text: str = "", *, queries: bool = False
) -> None:
    """Refuse a file whose columns cannot be those of a profile table."""
    given = list(given)
    unknown = [name for name in given if name not in _KNOWN]
    if unknown:
        more = [
            InputError(f"unknown column {clean_text(name, 60)!r}", source=place)
            for name in unknown[1:20]
        ]
        raise InputError(
            f"unknown column {clean_text(unknown[0], 60)!r}",
            source=place,
            advice=_column_advice(unknown[0], given, text),
            more=more,
        )
    needed = needed_columns(queries=queries)
    missing = [name for name in needed if name not in given]
    if missing:
        raise InputError(
            f"column {missing[0]!r} is missing",
            source=place,
            advice=f"add it: every row needs {', '.join(needed)}.",
        )
    if not queries and not any(name in given for name in ONE_OF):
        raise InputError(
            f"there is none of the columns {', '.join(ONE_OF)}",
            source=place,
            advice="add what was measured.",
        )


def _column_advice(name: str, given: Sequence[str], text: str) -> str:
    line = text[:2000].partition("\n")[0]
    if len(given) == 1 and any(mark in line for mark in ";\t|"):
        return "separate the cells with commas."
    near = difflib.get_close_matches(name[:80].lower(), _KNOWN, n=1, cutoff=0.6)
    if near and near[0] not in given:
        return f"write {near[0]!r}."
    return f"remove it; known are {', '.join(_KNOWN)}."


def _json_chunks(data: bytes, label: str, *, queries: bool) -> Iterator[Part]:
    if len(data) > MAX_JSON_BYTES:
        raise InputError(
            f"{label!r} has {len(data)} bytes of JSON (limit {MAX_JSON_BYTES})",
            source=label,
            advice="save large tables as CSV.",
        )
    document = read_json(data.removeprefix(b"\xef\xbb\xbf"), label, InputError, JSON_MEMORY)
    body = _body(document)
    if "columns" in body:
        columns, n = _from_columns(document, queries=queries)
    else:
        columns, n = _from_rows(document)
    for first in range(0, n, CHUNK):
        part = {name: column[first : first + CHUNK] for name, column in columns.items()}
        size = min(CHUNK, n - first)
        yield Chunk(part, np.ones(size, dtype=bool)), range(first + 1, first + size + 1), None


def _body(document: Document) -> Mapping[str, Any]:
    value = document.value
    advice = f'start it with {{"schema": "{SCHEMA}", "columns": {{...'
    if not isinstance(value, dict):
        raise _refusal(
            document, (), f"the file must hold an object, not {show_value(value)}", advice
        )
    if value.get("schema") != SCHEMA:
        found = show_value(value.get("schema"))
        raise _refusal(document, ("schema",), f"'schema' must be '{SCHEMA}', not {found}", advice)
    for key in value:
        if key not in ("schema", "columns", "rows"):
            shown = repr(clean_text(key, 60))
            raise _refusal(document, (key,), f"unknown key {shown}", "remove it.")
    if ("columns" in value) == ("rows" in value):
        raise _refusal(document, (), "there must be either 'columns' or 'rows'", advice)
    return value


def _refusal(
    document: Document, steps: tuple[str | int, ...], message: str, advice: str
) -> InputError:
    return InputError(message, path=show_path(steps), advice=advice, source=document.place(steps))


def _from_columns(document: Document, *, queries: bool) -> tuple[dict[str, Sequence[Any]], int]:
    given = document.value["columns"]
    if not isinstance(given, dict):
        raise _refusal(
            document,
            ("columns",),
            f"'columns' must be an object, not {show_value(given)}",
            "give each column as a list under its name.",
        )
    _check_columns(given, document.place(("columns",)), queries=queries)
    lengths = {name: len(column) for name, column in given.items() if isinstance(column, list)}
    n = next(iter(lengths.values()), 1)
    for name, length in lengths.items():
        if length != n:
            raise _refusal(
                document,
                ("columns", name),
                f"column {name!r} has {length} values and {next(iter(lengths))!r} {n}",
                "give every column a value for every row; null where there is none.",
            )
    return {
        name: column if isinstance(column, list) else [column] * n for name, column in given.items()
    }, n


def _from_rows(document: Document) -> tuple[dict[str, Sequence[Any]], int]:
    rows = document.value["rows"]
    if not isinstance(rows, list):
        message = f"'rows' must be a list, not {show_value(rows)}"
        raise _refusal(document, ("rows",), message, "give each row as an object.")
    names: dict[str, None] = {}
    for i, row in enumerate(rows):
        if not isinstance(row, dict):
            message = f"row {i + 1} must be an object, not {show_value(row)}"
            raise _refusal(document, ("rows", i), message, "give each row as an object.")
        if not names.keys() >= row.keys():
            _check_columns(
                [*needed_columns(queries=True), *row], document.place(("rows", i)), queries=True
            )
            names.update(dict.fromkeys(row))
    return {name: [row.get(name) for row in rows] for name in names}, len(rows)
