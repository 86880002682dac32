"""Which rows of a profile table make sense, and why the others do not.

A row is dropped for its first fault, in the order of the columns: a text that is no name, a number
that is none or outside its range, a count that is not whole, neighbours whose columns differ in
length, or nothing measured. Everything works on whole columns; only what is amiss is looked at cell
by cell.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from colocate.errors import clean_text
from colocate.io.problems import show_value
from colocate.schema import ID_PATTERN
from colocate.tables.columns import COLUMNS, needed_columns
from colocate.tables.raw import number

__all__ = ["ROLES", "Chunk", "DroppedRow", "check"]

ROLES: Final = ("inference", "training")
ABOVE_ZERO: Final = frozenset({"rate", "latency_ms", "latency_p99_ms", "arrival_rps", "memory_gib"})
"""Where zero means that something did not run or was not measured: the cell is left empty then."""
LEAST: Final = 1e-9
"""Smallest value of these that can be a measurement: a sample in thirty years, a picosecond."""
WHOLE: Final = frozenset({"batch", "processes", "repeat"})
ONE_OF: Final = ("rate", "latency_ms", "latency_p99_ms")
MAX_NEIGHBOURS = 64
_NAME = re.compile(ID_PATTERN)
_RANGES = {c.name: (c.low, c.high) for c in COLUMNS if c.kind == "number"}
_NAME_RULE = (
    "must be a name (at most 63 letters, digits, '.', '_' or '-', the first one a letter or digit)"
)


@dataclass(frozen=True, slots=True)
class DroppedRow:
    """A row that was left out of the table."""

    row: int
    """Its number among the rows of the file, from 1; the header does not count."""
    line: int | None
    """The line that it starts on, for a CSV file."""
    column: str
    """Where the fault is; empty when it is the row as a whole."""
    value: str
    """What stands there, shortened and safe to print."""
    reason: str

    def __str__(self) -> str:
        """Return it as a sentence."""
        place = f"row {self.row}" if self.line is None else f"row {self.row} (line {self.line})"
        if not self.column:
            return f"{place} {self.reason}"
        return f"{place}: {self.column} {self.reason} (got {self.value})"


@dataclass(slots=True)
class Chunk:
    """Some rows on their way into a table."""

    cells: Mapping[str, Sequence[Any]]
    """Columns as they stand in the file."""
    good: NDArray[np.bool_]
    faults: list[tuple[int, str, str]] = field(default_factory=list)
    """Position, column and reason for each row that is not good."""

    def drop(self, at: int, column: str, reason: str) -> None:
        """Give a row up, unless it has been given up before."""
        if self.good[at]:
            self.good[at] = False
            self.faults.append((at, column, reason))

    def drop_where(self, bad: NDArray[np.bool_], column: str, reason: str) -> None:
        """Give up all rows where `bad` is true."""
        for at in np.flatnonzero(bad & self.good):
            self.drop(int(at), column, reason)

    def shown(self, at: int, column: str) -> str:
        """Return a cell, safe to print."""
        if column not in self.cells:
            return "nothing"
        value = self.cells[column][at]
        return "nothing" if value in ("", None) else show_value(value)


class Names:
    """Text that was judged before: the same few names come again and again."""

    def __init__(self) -> None:
        self._same: dict[str, str] = {}
        self._judged: dict[tuple[str, Any], str] = {}

    def same(self, text: str) -> str:
        """Return one object for equal texts."""
        return self._same.setdefault(text, text)

    def judge(self, kind: str, value: Any, rule: Callable[[Any], str]) -> str:  # noqa: ANN401
        """Return what a rule says about a value; the empty text means that it is right."""
        found = self._judged.get((kind, value))
        if found is None:
            found = self._judged[kind, value] = rule(value)
        return found


def check(chunk: Chunk, names: Names, *, measured: bool) -> dict[str, NDArray[Any]]:
    """Return the columns of a chunk's good rows, and note the faults of the others in it.

    Parameters
    ----------
    chunk
        The rows; those with a fault are marked in it.
    names
        What has been seen so far.
    measured
        Whether a row must have a rate or a latency. Queries need none.
    """
    columns: dict[str, NDArray[Any]] = {}
    for column in COLUMNS:
        if column.name not in chunk.cells:
            empty: Any = "" if column.kind == "text" else np.nan
            columns[column.name] = np.full(chunk.good.size, empty, object if empty == "" else float)
        elif column.kind == "text":
            columns[column.name] = _text(chunk, column.name, names)
        else:
            columns[column.name] = _numbers(chunk, column.name)
    for name in needed_columns(queries=not measured):
        nothing = columns[name] == "" if columns[name].dtype == object else np.isnan(columns[name])
        chunk.drop_where(nothing, name, "is needed")
    _check_text(chunk, columns, names)
    if measured:
        found = ~np.all([np.isnan(columns[name]) for name in ONE_OF], axis=0)
        chunk.drop_where(~found, "rate", "or a latency is needed")
    return {name: column[chunk.good] for name, column in columns.items()}


def _text(chunk: Chunk, name: str, names: Names) -> NDArray[np.object_]:
    found = np.empty(chunk.good.size, dtype=object)
    same = names.same
    cells = chunk.cells[name]
    if _all_text(cells):
        clean = {value: same(value.strip()) for value in set(cells)}
        found[:] = [clean[value] for value in cells]
        return found
    for at, value in enumerate(cells):
        if type(value) is str:
            found[at] = same(value.strip())
        elif value is None:
            found[at] = ""
        elif type(value) in (int, float) and name.startswith("neighbour_"):
            found[at] = same(f"{value!r}")
        else:
            found[at] = ""
            chunk.drop(at, name, "must be a text")
    return found


def _all_text(cells: Sequence[Any]) -> bool:
    try:
        "".join(cells)
    except TypeError:
        return False
    return True


def _numbers(chunk: Chunk, name: str) -> NDArray[np.float64]:
    cells = chunk.cells[name]
    found = _quick(cells)
    if found is None:
        found = np.full(chunk.good.size, np.nan)
        for at, value in enumerate(cells):
            exact = _one(value)
            if exact is None:
                chunk.drop(at, name, "must be a number")
            else:
                found[at] = exact
    low, high = _RANGES[name]
    with np.errstate(invalid="ignore"):
        if name in ABOVE_ZERO:
            reason = f"must be at least {LEAST:g}; leave it empty if unknown"
            chunk.drop_where(found < LEAST, name, reason)
        outside = (found < low) | (found > high)
        chunk.drop_where(outside, name, _range_rule(low, high))
    if name in WHOLE:
        broken = np.isfinite(found) & (found != np.floor(found))
        chunk.drop_where(broken, name, "must be a whole number")
    return found


def _quick(cells: Sequence[Any]) -> NDArray[np.float64] | None:
    """Return a column of plain decimal numbers or nothing at all; None where anything is odd."""
    try:
        joined = "".join(cells)
        # float() also takes "1_000", "nan", "infinity" and digits of other scripts
        if not joined.isascii() or "_" in joined or "n" in joined or "N" in joined:
            return None
        return np.array([float(c) if c else np.nan for c in cells], dtype=np.float64)
    except (TypeError, ValueError):
        return None


def _one(value: Any) -> float | None:  # noqa: ANN401 - a cell of CSV or JSON
    if value is None:
        return float("nan")
    if isinstance(value, str):
        bare = value.strip()
        return number(bare) if bare else float("nan")
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:  # out of every range, as in a CSV
            return math.inf if value > 0 else -math.inf
    return None


def _check_text(chunk: Chunk, columns: Mapping[str, NDArray[Any]], names: Names) -> None:
    rules = {"workload": _name_fault, "role": _role_fault, "gpu": _name_fault, "driver": _any_fault}
    for name, rule in rules.items():
        values = columns[name].tolist()
        faults = {v: f for v in set(values) if v and (f := names.judge(name, v, rule))}
        if faults:
            for at, value in enumerate(values):
                if value in faults:
                    chunk.drop(at, name, faults[value])
    who = columns["neighbour"]
    batches, shares = columns["neighbour_batch"], columns["neighbour_share_pct"]
    if not (who.any() or batches.any() or shares.any()):
        return
    company = list(zip(who.tolist(), batches.tolist(), shares.tolist(), strict=True))
    found = {c: f for c in set(company) if (f := names.judge("company", c, _company_fault))}
    if found:
        for at, beside in enumerate(company):
            if beside in found:
                column, _, reason = found[beside].partition(" ")
                chunk.drop(at, column, reason)


def _name_fault(value: str) -> str:
    return "" if _NAME.fullmatch(value) else _NAME_RULE


def _role_fault(value: str) -> str:
    return "" if value in ROLES else "must be 'inference' or 'training'"


def _any_fault(value: str) -> str:
    return "" if len(value) <= 100 else "must have at most 100 characters"


def _company_fault(company: tuple[str, str, str]) -> str:
    """Return the column and the reason, or nothing."""
    who, batches, shares = company
    n = who.count("+") + 1 if who else 0
    if n > MAX_NEIGHBOURS:
        return f"neighbour must name at most {MAX_NEIGHBOURS}"
    for name in who.split("+") if who else ():
        if _name_fault(name):
            return f"neighbour {_NAME_RULE}"
    for column, text in (("neighbour_batch", batches), ("neighbour_share_pct", shares)):
        parts = text.split("+") if text else []
        if parts and n == 0:
            return f"{column} must be empty where there is no neighbour"
        if len(parts) not in (0, 1, n):
            return f"{column} must have one number for each of the {n} neighbours, or one for all"
        for part in parts:
            fault = _neighbour_number_fault(column, part.strip())
            if fault:
                return f"{column} {fault}"
    return ""


def _neighbour_number_fault(column: str, text: str) -> str:
    if not text:
        return ""
    value = number(text)
    if value is None:
        return f"must be numbers joined by '+', and {clean_text(text, 30)!r} is none"
    if column == "neighbour_batch":
        low, high = _RANGES["batch"]
        if value != np.floor(value):
            return "must be whole numbers"
    else:
        low, high = _RANGES["share_pct"]
    return "" if low <= value <= high else _range_rule(low, high)


def _range_rule(low: float, high: float) -> str:
    least = "must be above 0" if 0 < low < 1 else f"must be at least {low:g}"
    return f"{least} and at most {high:g}"
