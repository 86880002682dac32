"""How many layers of each kind networks have, from CSV or JSON.

CSV has a row for each workload, and a column for each kind of layer that any of them has:

    workload,role,conv,linear,activations,batch_normalization
    resnet50,inference,53,1,49,53

`role` may be left out for workloads that were measured. JSON is the same by rows:

    {"schema": "colocate/layers/v1", "rows": [{"workload": "resnet50", "conv": 53, "linear": 1}]}

Unlike measurements, of which a bad one is left out, a wrong count is an error: the file is short,
and somebody wrote it by hand. Either may be compressed with gzip.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from colocate.errors import InputError, clean_text
from colocate.io.files import Source
from colocate.io.json_path import show_path
from colocate.io.json_read import Document, read_json
from colocate.io.problems import MAX_PROBLEMS, show_value
from colocate.profile.company import LAYER_KINDS
from colocate.schema import ID_PATTERN
from colocate.tables.raw import Rows, number, read_bytes, text_of

__all__ = ["MAX_LAYERS_BYTES", "SCHEMA", "Layers", "read_layers"]

SCHEMA: Final = "colocate/layers/v1"
MAX_LAYERS_BYTES: Final = 16 * 1024 * 1024
ROLES: Final = ("inference", "training")
MOST: Final = 1e9
"""Layers of one kind; a StructureModel holds no more."""
_COLUMNS: Final = ("workload", "role", *LAYER_KINDS)


@dataclass(frozen=True)
class Layers:
    """What is known of networks without running them."""

    counts: Mapping[str, Mapping[str, float]]
    """For each workload how many layers it has of each kind."""
    roles: Mapping[str, str] = field(default_factory=dict)
    """Whether it serves or trains, where that is stated."""
    source: str | None = field(default=None, compare=False)
    """The file, for messages."""


def read_layers(source: Source, *, max_bytes: int = MAX_LAYERS_BYTES) -> Layers:
    """Read counts of layers.

    Parameters
    ----------
    source
        A path, ``"-"`` for standard input, an open file, or the bytes of a file. A name that ends
        in `.json` (or `.json.gz`), or a text that starts with a bracket, is JSON; all else is CSV.
    max_bytes
        Refuse larger files, also after decompression.

    Raises
    ------
    InputError
        When anything in the file is not as it should be.
    """
    data, label = read_bytes(source, max_bytes=max_bytes)
    name = label.removesuffix(".gz").lower()
    is_json = name.endswith(".json") or data[:64].lstrip()[:1] in (b"{", b"[")
    if is_json and not name.endswith(".csv"):
        return _collected(_json_rows(data, label), label)
    return _collected(_csv_rows(text_of(data, label), label), label)


@dataclass(frozen=True)
class _Place:
    """Where a row stands."""

    source: str
    path: str | None = None

    def error(self, message: str, advice: str) -> InputError:
        return InputError(message, source=self.source, path=self.path, advice=advice)


def _collected(rows: Iterable[tuple[Mapping[str, Any], _Place]], label: str) -> Layers:
    counts: dict[str, dict[str, float]] = {}
    roles: dict[str, str] = {}
    problems: list[InputError] = []
    for row, place in rows:
        try:
            name, role, layers = _network(row, place)
            if name in counts:
                raise place.error(f"{name!r} is listed twice", "keep one of the rows.")
        except InputError as wrong:
            problems.append(wrong)
            if len(problems) > MAX_PROBLEMS:
                break
            continue
        counts[name] = layers
        if role:
            roles[name] = role
    if problems:
        first, *more = problems[:MAX_PROBLEMS]
        raise InputError(
            first.message, path=first.path, source=first.source, advice=first.advice, more=more
        )
    if not counts:
        raise InputError(
            "there are no layers in the file", source=label, advice="add a row for each workload."
        )
    return Layers(counts, roles, label)


def _network(row: Mapping[str, Any], place: _Place) -> tuple[str, str, dict[str, float]]:
    name = row.get("workload")
    if not isinstance(name, str) or not re.fullmatch(ID_PATTERN, name):
        raise place.error(
            f"workload must be a name, not {show_value(name)}",
            "use letters, digits, '.', '_' and '-', 63 at most.",
        )
    role = row.get("role") or ""
    if role and role not in ROLES:
        raise place.error(
            f"role of {name!r} must be inference or training, not {show_value(role)}",
            "write one of the two, or leave it out for a workload that was measured.",
        )
    layers = {kind: _count(name, kind, row[kind], place) for kind in LAYER_KINDS if kind in row}
    if not any(layers.values()):
        raise place.error(
            f"{name!r} has no layer of any kind",
            f"count its layers by kind: {', '.join(LAYER_KINDS)}.",
        )
    return name, role, layers


def _count(name: str, kind: str, value: Any, place: _Place) -> float:  # noqa: ANN401
    """Return a count; an empty cell is none."""
    if value in ("", None):
        return 0.0
    found = number(value) if isinstance(value, str) else value
    count = -1.0
    if isinstance(found, int | float) and not isinstance(found, bool):
        count = float(found)
    if not 0 <= count <= MOST:
        raise place.error(
            f"{kind} of {name!r} must be a number of layers from 0 to {MOST:g}, "
            f"not {show_value(value)}",
            "count the layers of this kind, and leave the cell empty where there are none.",
        )
    return count


# -- files -------------------------------------------------------------------------------------


def _check_columns(given: Sequence[str], place: _Place, line: str = "") -> None:
    unknown = [name for name in given if name not in _COLUMNS]
    if unknown:
        shown = clean_text(unknown[0], 60)
        near = difflib.get_close_matches(unknown[0][:80].lower(), _COLUMNS, n=1, cutoff=0.7)
        if len(given) == 1 and any(mark in line for mark in ";\t|"):
            advice = "separate the cells with commas."
        elif near:
            advice = f"write {near[0]!r}."
        else:
            advice = f"use {', '.join(LAYER_KINDS)}; count others as 'other'."
        raise place.error(f"{shown!r} is no kind of layer", advice)
    if "workload" not in given:
        raise place.error("column 'workload' is missing", "add it: every row is a workload.")
    if not set(given) & set(LAYER_KINDS):
        raise place.error(
            "there is no column of a kind of layer", f"add some of {', '.join(LAYER_KINDS)}."
        )


def _csv_rows(text: str, label: str) -> Iterator[tuple[Mapping[str, Any], _Place]]:
    rows = Rows(text, label)
    header = rows.header()
    _check_columns(header, _Place(f"{label}:1"), text[:2000].partition("\n")[0])
    while True:
        lines, part = rows.take(1000)
        if not part:
            return
        for line, cells in zip(lines, part, strict=True):
            place = _Place(f"{label}:{line}")
            if len(cells) != len(header):
                raise place.error(
                    f"the row has {len(cells)} cells, and the header has {len(header)}",
                    "give every row a cell for every column.",
                )
            yield dict(zip(header, (cell.strip() for cell in cells), strict=True)), place


def _json_rows(data: bytes, label: str) -> Iterator[tuple[Mapping[str, Any], _Place]]:
    document = read_json(
        data.removeprefix(b"\xef\xbb\xbf"), label, InputError, 8 * MAX_LAYERS_BYTES
    )
    body = document.value
    advice = f'write {{"schema": "{SCHEMA}", "rows": [{{"workload": ..., "conv": ...}}]}}.'
    if not isinstance(body, dict) or body.keys() != {"schema", "rows"}:
        message = f"the file must hold 'schema' and 'rows', not {show_value(body)}"
        raise _at(document, ()).error(message, advice)
    if body["schema"] != SCHEMA:
        message = f"'schema' must be '{SCHEMA}', not {show_value(body['schema'])}"
        raise _at(document, ("schema",)).error(message, advice)
    if not isinstance(body["rows"], list):
        message = f"'rows' must be a list, not {show_value(body['rows'])}"
        raise _at(document, ("rows",)).error(message, advice)
    for i, row in enumerate(body["rows"]):
        place = _at(document, ("rows", i))
        if not isinstance(row, dict):
            raise place.error(f"row {i + 1} must be an object, not {show_value(row)}", advice)
        _check_columns(list(row), place)
        yield row, place


def _at(document: Document, steps: tuple[str | int, ...]) -> _Place:
    return _Place(document.place(steps), show_path(steps))
