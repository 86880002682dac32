"""Profile tables to files, so that reading them gives the same table to the last bit.

Numbers have the shortest digits that read back as the same number; columns that are empty
throughout are left out. Equal tables give equal bytes.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from colocate.io.files import write_atomic
from colocate.tables.check import ONE_OF
from colocate.tables.columns import COLUMNS, REQUIRED
from colocate.tables.read import SCHEMA
from colocate.tables.table import ProfileTable

__all__ = ["dumps_csv", "dumps_json", "write_rows", "write_table"]

_PART = 1 << 16


def write_table(table: ProfileTable, path: str | PathLike[str], *, force: bool = False) -> None:
    """Write a table, atomically: as JSON where the name ends in `.json`, else as CSV.

    Parameters
    ----------
    table
        What to write.
    path
        The file.
    force
        Whether a file that exists may be replaced.
    """
    is_json = str(path).lower().endswith(".json")
    write_atomic(path, dumps_json(table) if is_json else dumps_csv(table), force=force)


def dumps_csv(table: ProfileTable, more: Mapping[str, NDArray[Any]] | None = None) -> str:
    """Return a table as CSV text; `more` columns, such as predictions, come last."""
    return write_rows({**_filled(table), **(more or {})})


def write_rows(columns: Mapping[str, NDArray[Any]]) -> str:
    """Return columns of texts and numbers as CSV text; nan becomes an empty cell."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    n = len(next(iter(columns.values()), ()))
    for first in range(0, n, _PART):
        part = [_cells(column[first : first + _PART]) for column in columns.values()]
        writer.writerows(zip(*part, strict=True))
    return out.getvalue()


def dumps_json(table: ProfileTable) -> str:
    """Return a table as JSON text, by columns; a column of one value is written once."""
    lines = []
    for name, column in _filled(table).items():
        cells = _plain(column)
        once = len(cells) > 1 and cells[0] is not None and len(set(cells)) == 1
        once = once and len(set(map(repr, cells))) == 1  # 0.0 and -0.0 are equal and not the same
        lines.append((name, cells[0] if once else cells, once))
    # one column must tell how many rows there are
    if lines and all(once for _, _, once in lines):
        lines[0] = (lines[0][0], [lines[0][1]] * len(table), False)
    body = ",\n".join(f"    {json.dumps(name)}: {_text(value)}" for name, value, _ in lines)
    return f'{{\n  "schema": "{SCHEMA}",\n  "columns": {{\n{body}\n  }}\n}}\n'


def _filled(table: ProfileTable) -> dict[str, NDArray[Any]]:
    """Return the columns that hold anything, and those that a file must have."""
    found: dict[str, NDArray[Any]] = {}
    for column in COLUMNS:
        values = table[column.name]
        filled = (values != "").any() if column.kind == "text" else np.isfinite(values).any()
        if filled or column.name in REQUIRED or (column.name == "rate" and not _measured(table)):
            found[column.name] = values
    return found


def _measured(table: ProfileTable) -> bool:
    return any(bool(np.isfinite(table[name]).any()) for name in ONE_OF)


def _cells(column: NDArray[Any]) -> list[str]:
    if column.dtype == object:
        return [str(value) for value in column]
    return ["" if value != value else _digits(value) for value in column.tolist()]


def _plain(column: NDArray[Any]) -> list[Any]:
    if column.dtype == object:
        return [str(value) for value in column]
    return [
        None if value != value else int(value) if _is_whole(value) else value
        for value in column.tolist()
    ]


def _digits(value: float) -> str:
    return str(int(value)) if _is_whole(value) else repr(value)


def _is_whole(value: float) -> bool:
    return abs(value) < 1e15 and value == int(value) and str(value) != "-0.0"


def _text(value: Any) -> str:  # noqa: ANN401 - a cell or a list of them
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
