"""Measurements as columns: one row is one workload, at one setting, in one company."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from colocate.errors import InputError
from colocate.tables.columns import COLUMNS

__all__ = ["Neighbour", "ProfileTable"]

KINDS = {c.name: c.kind for c in COLUMNS}


class Neighbour(NamedTuple):
    """Who ran beside the workload, and how."""

    workload: str
    batch: float
    """Not a number where the table does not say."""
    share_pct: float


@dataclass(frozen=True, eq=False)
class ProfileTable:
    """Measurements as arrays of equal length, one for each column of the profile table.

    Text columns hold `str`, with "" for nothing; number columns hold float64, with nan for nothing.
    """

    columns: Mapping[str, NDArray[Any]]

    @classmethod
    def of(cls, **columns: ArrayLike) -> Self:
        """Return a table of these columns; a single value stands for all rows.

        Columns that are left out are empty.
        """
        unknown = sorted(set(columns) - set(KINDS))
        if unknown:
            raise InputError(
                f"a profile table has no column {unknown[0]!r}",
                advice=f"use {', '.join(KINDS)}.",
            )
        given = {
            name: np.asarray(values, dtype=object if KINDS[name] == "text" else np.float64)
            for name, values in columns.items()
        }
        lengths = {a.size for a in given.values() if a.ndim}
        if len(lengths) > 1:
            raise InputError(
                f"the columns differ in length: {', '.join(map(str, sorted(lengths)))}",
                advice="give every column a value for every row.",
            )
        n = lengths.pop() if lengths else int(bool(given))
        full: dict[str, NDArray[Any]] = {}
        for name, kind in KINDS.items():
            empty: Any = "" if kind == "text" else np.nan
            values = given.get(name, np.asarray(empty, dtype=object if kind == "text" else float))
            column = np.broadcast_to(values, (n,)).copy()
            full[name] = column.astype(str).astype(object) if kind == "text" else column
            full[name].flags.writeable = False
        return cls(full)

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.columns["workload"].size)

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return one column."""
        return self.columns[name]

    def take(self, rows: ArrayLike) -> ProfileTable:
        """Return some rows: by number, or where an array of truth values says so."""
        chosen = np.asarray(rows)
        if not chosen.size:
            chosen = chosen.astype(np.intp)  # an empty list of rows is no list of truth values
        return ProfileTable({name: column[chosen] for name, column in self.columns.items()})

    def replace(self, **columns: ArrayLike) -> ProfileTable:
        """Return the table with some columns exchanged."""
        return ProfileTable.of(**{**self.columns, **columns})

    @property
    def alone(self) -> NDArray[np.bool_]:
        """Where the workload had the GPU to itself."""
        found: NDArray[np.bool_] = self["neighbour"] == ""
        return found

    @property
    def rates(self) -> NDArray[np.float64]:
        """Samples per second: as measured, else batch over latency; nan where neither is known.

        A missing batch counts as 1.
        """
        batch = np.where(np.isnan(self["batch"]), 1.0, self["batch"])
        with np.errstate(divide="ignore", invalid="ignore"):
            by_latency = 1000.0 * batch / self["latency_ms"]
        found: NDArray[np.float64] = np.where(np.isnan(self["rate"]), by_latency, self["rate"])
        return found

    def neighbours(self, row: int) -> tuple[Neighbour, ...]:
        """Return who ran beside the workload of a row."""
        names = _parts(self["neighbour"][row])
        batches = _numbers(self["neighbour_batch"][row], len(names))
        shares = _numbers(self["neighbour_share_pct"][row], len(names))
        return tuple(map(Neighbour, names, batches, shares))

    @staticmethod
    def join(tables: Iterable[ProfileTable]) -> ProfileTable:
        """Return the rows of several tables, one after the other."""
        parts = list(tables)
        if not parts:
            return ProfileTable.of()
        return ProfileTable({n: np.concatenate([t.columns[n] for t in parts]) for n in KINDS})


def _parts(text: str) -> Sequence[str]:
    return text.split("+") if text else ()


def _numbers(text: str, n: int) -> list[float]:
    """Return a number for each neighbour; a single one counts for all."""
    found = [float(p) if p.strip() else np.nan for p in _parts(text)] or [np.nan]
    return found * n if len(found) == 1 else found
