"""Repeated and contradictory measurements: one row for each setting, and a note for each doubt.

Rows with equal workload, role, GPU, batch, share, company, load, processes and driver are repeats.
Of n repeats x_1..x_n of the rate with median m and s = 1.4826 median|x_i - m| (the standard
deviation, where the noise is normal):

- n >= 3: an x_i with |x_i - m| > max(4 s, tolerance m) is an outlier, left out and noted;
- otherwise, where (max - min) / m exceeds the tolerance and four times the noise that the table
  states, they contradict each other: all are kept and it is noted, for nobody knows which is right;
- the merged rate is the mean, weighted by 1 / std_i^2 where every repeat states a std_i > 0;
- the merged std is sqrt(mean std_i^2 + variance between the repeats): the spread that one more
  measurement would show.

Latencies and activities take the median of the repeats that were kept, memory the maximum, because
a plan must fit the largest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from colocate.tables.columns import MEASURED
from colocate.tables.table import ProfileTable

__all__ = ["Cleaned", "Doubt", "clean", "in_order"]

Kind = Literal["outlier", "contradiction", "role", "latency", "percentile"]
MANY_SIGMAS = 4.0
_NORMAL_MAD = 1.4826
_SURE = 1e-3
"""No repeat weighs more than a million times another, whatever it states."""
MAX_ROWS_NAMED = 20
_COMPANY = ("neighbour", "neighbour_batch", "neighbour_share_pct")
_SETTING: dict[str, Any] = {
    "workload": "",
    "role": "",
    "gpu": "",
    "batch": -1.0,
    "share_pct": -1.0,
    "neighbour": "",
    "neighbour_batch": "",
    "neighbour_share_pct": "",
    "arrival_rps": -1.0,
    "processes": 1.0,
    "driver": "",
}
"""Columns that say what was measured, and what an empty cell in them counts as."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """Something in a table that cannot all be true."""

    kind: Kind
    workload: str
    gpu: str
    """GPU type; for roles, the types on which rows were left out, joined by commas."""
    message: str
    rows: tuple[int, ...]
    """Rows of the table that was cleaned, from 0; at most 20 of them."""
    dropped: int
    """How many rows were left out because of it."""


@dataclass(frozen=True, eq=False)
class Cleaned:
    """A table without repeats."""

    table: ProfileTable
    repeats: NDArray[np.int64]
    """How many measurements each row stands for."""
    doubts: tuple[Doubt, ...]


def clean(
    table: ProfileTable, *, tolerance: float = 0.1, latency_tolerance: float = 0.5
) -> Cleaned:
    """Merge repeats and note what contradicts itself.

    Parameters
    ----------
    table
        Measurements.
    tolerance
        By how much repeats may differ, as a fraction of their median.
    latency_tolerance
        By how much a measured rate may differ from batch over latency, as a fraction. A program
        that overlaps copies with work differs by some ten per cent; a wrong unit by far more. The
        rate is trusted, and the difference noted.
    """
    doubts: list[Doubt] = []
    table = in_order(table)
    kept = np.flatnonzero(_one_role(table, doubts))
    _check_latencies(table, kept, latency_tolerance, doubts)
    place = _places(table)  # the order of repeats in a file must not change their sums
    groups: dict[tuple[Any, ...], list[int]] = {}
    for row, key in zip(kept.tolist(), _settings(table.take(kept)), strict=True):
        groups.setdefault(key, []).append(row)
    for rows in groups.values():
        rows.sort(key=place.__getitem__)
    first = [rows[0] for rows in groups.values()]
    columns = {name: column[first].copy() for name, column in table.columns.items()}
    counts = np.ones(len(first), dtype=np.int64)
    for i, rows in enumerate(groups.values()):
        if len(rows) > 1:
            values, counts[i] = _merge(table, rows, tolerance, doubts)
            for name, value in values.items():
                columns[name][i] = value
    for column in columns.values():
        column.flags.writeable = False
    doubts.sort(key=lambda doubt: (doubt.kind, doubt.workload, doubt.gpu, doubt.message))
    return Cleaned(ProfileTable(columns), counts, tuple(doubts))


def _places(table: ProfileTable) -> list[int]:
    """Return where each row stands in an order that depends on the values alone."""
    keys = [
        column.astype(str) if column.dtype == object else column
        for column in reversed(list(table.columns.values()))
    ]
    place = np.empty(len(table), dtype=np.int64)
    place[np.lexsort(keys)] = np.arange(len(table))
    found: list[int] = place.tolist()
    return found


def in_order(table: ProfileTable) -> ProfileTable:
    """Return the table with every company written in one order, so that equal ones look equal."""
    company = list(zip(*(table[name].tolist() for name in _COMPANY), strict=True))
    written = {beside: _in_order(beside) for beside in set(company)}
    if all(before == after for before, after in written.items()):
        return table
    columns = dict(table.columns)
    for i, name in enumerate(_COMPANY):
        column = np.empty(len(table), dtype=object)
        column[:] = [written[beside][i] for beside in company]
        column.flags.writeable = False
        columns[name] = column
    return ProfileTable(columns)


def _in_order(beside: tuple[str, str, str]) -> tuple[str, str, str]:
    who = beside[0].split("+") if beside[0] else []
    if not who:
        return ("", "", "")
    settings = [_each(text, len(who)) for text in beside[1:]]
    names, batches, shares = zip(*sorted(zip(who, *settings, strict=True)), strict=True)
    return "+".join(names), _joined(batches), _joined(shares)


def _each(text: str, n: int) -> list[str]:
    """Return a plain number, or nothing, for each of n neighbours; a single one counts for all."""
    parts = [repr(float(part)) if part.strip() else "" for part in text.split("+")]
    parts = [part.removesuffix(".0") for part in parts]
    return parts * n if len(parts) == 1 else parts


def _joined(parts: tuple[str, ...]) -> str:
    return "+".join(parts) if any(parts) else ""


def _settings(table: ProfileTable) -> Iterator[tuple[Any, ...]]:
    """Yield what makes two rows repeats of each other."""
    columns = []
    for name, nothing in _SETTING.items():
        column = table[name]
        values = column if nothing == "" else np.where(np.isnan(column), nothing, column)
        columns.append(values.tolist())
    return zip(*columns, strict=True)


def _one_role(table: ProfileTable, doubts: list[Doubt]) -> NDArray[np.bool_]:
    """Return which rows have the role that most rows of their workload have, on whatever GPU.

    Between roles that as many rows have, the alphabet decides: inference before training.
    """
    by_name: dict[str, dict[str, list[int]]] = {}
    for row, (workload, role) in enumerate(zip(table["workload"], table["role"], strict=True)):
        by_name.setdefault(workload, {}).setdefault(role, []).append(row)
    kept = np.ones(len(table), dtype=bool)
    for workload, roles in by_name.items():
        if len(roles) == 1:
            continue
        ranked = sorted(roles, key=lambda role: (-len(roles[role]), role))
        wrong = [row for role in ranked[1:] for row in roles[role]]
        kept[wrong] = False
        message = (
            f"{len(roles[ranked[0]])} rows say {ranked[0]} and {len(wrong)} say "
            f"{' or '.join(ranked[1:])}; the former are kept"
        )
        gpus = ", ".join(sorted(set(table["gpu"][wrong])))
        doubts.append(_doubt("role", (workload, gpus), message, wrong, len(wrong)))
    return kept


def _check_latencies(
    table: ProfileTable, kept: NDArray[np.intp], tolerance: float, doubts: list[Doubt]
) -> None:
    """Note where the rate and the latency, or the mean and its percentile, exclude each other."""
    part = table.take(kept)
    batch = np.where(np.isnan(part["batch"]), 1.0, part["batch"])
    processes = np.where(np.isnan(part["processes"]), 1.0, part["processes"])
    with np.errstate(all="ignore"):
        ratio = part["rate"] * part["latency_ms"] / (1000.0 * batch * processes)
        closed = np.isnan(part["arrival_rps"])
        off = closed & (np.maximum(ratio, 1 / ratio) > 1 + tolerance)
        crossed = part["latency_p99_ms"] < part["latency_ms"]
    for name in _each_workload(part, off):
        rows = np.flatnonzero(off & _is(part, name))
        worst = rows[np.argmax(np.abs(np.log(ratio[rows])))]
        message = (
            f"in {rows.size} rows the rate is not batch over latency: at worst "
            f"{part['rate'][worst]:g} samples/s where {batch[worst] * processes[worst]:g} samples "
            f"take {part['latency_ms'][worst]:g} ms; the rate is trusted"
        )
        doubts.append(_doubt("latency", name, message, kept[rows], 0))
    for name in _each_workload(part, crossed):
        rows = np.flatnonzero(crossed & _is(part, name))
        worst = rows[np.argmin(part["latency_p99_ms"][rows] / part["latency_ms"][rows])]
        message = (
            f"in {rows.size} rows the 99th percentile is below the mean: at worst "
            f"{part['latency_p99_ms'][worst]:g} ms and {part['latency_ms'][worst]:g} ms"
        )
        doubts.append(_doubt("percentile", name, message, kept[rows], 0))


def _each_workload(table: ProfileTable, where: NDArray[np.bool_]) -> list[tuple[str, str]]:
    rows = np.flatnonzero(where)
    return sorted(set(zip(table["workload"][rows], table["gpu"][rows], strict=True)))


def _is(table: ProfileTable, name: tuple[str, str]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = (table["workload"] == name[0]) & (table["gpu"] == name[1])
    return found


def _merge(
    table: ProfileTable, rows: list[int], tolerance: float, doubts: list[Doubt]
) -> tuple[dict[str, float], int]:
    """Return the measured columns of a merged row, and of how many rows it is made."""
    rates = table.rates[rows]
    known = np.isfinite(rates)
    kept = np.ones(len(rows), dtype=bool)
    kept[known] = _agreeing(table, np.array(rows)[known], rates[known], tolerance, doubts)
    chosen = np.array(rows)[kept]
    values: dict[str, float] = {"repeat": np.nan}
    for name in MEASURED:
        column = table[name][chosen]
        found = column[np.isfinite(column)]
        if name not in ("rate", "rate_std"):
            pick = np.max if name == "memory_gib" else np.median
            values[name] = float(pick(found)) if found.size else np.nan
    values |= _rate(table, chosen)
    return values, int(chosen.size)


def _rate(table: ProfileTable, rows: NDArray[np.intp]) -> dict[str, float]:
    """Return the merged rate and its spread; a rate that only latencies tell stays with them."""
    rates, std = table["rate"][rows], table["rate_std"][rows]
    measured = np.isfinite(rates)
    shown = rates[measured] if measured.any() else table.rates[rows]
    shown, std = shown[np.isfinite(shown)], std[measured] if measured.any() else std
    stated = std[np.isfinite(std)]
    rate = np.nan
    if measured.any():
        weighted = stated.size == shown.size and bool((stated > 0).all())
        weights = np.ones(shown.size)
        if weighted:
            weights = np.maximum(stated / stated.max(), _SURE) ** -2
        rate = float(np.average(shown, weights=weights))
    within = float(np.mean(stated**2)) if stated.size else 0.0
    between = float(np.var(shown, ddof=1)) if shown.size > 1 else 0.0
    spread = np.sqrt(within + between) if stated.size or shown.size > 1 else np.nan
    return {"rate": rate, "rate_std": float(spread)}


def _agreeing(
    table: ProfileTable,
    rows: NDArray[np.intp],
    rates: NDArray[np.float64],
    tolerance: float,
    doubts: list[Doubt],
) -> NDArray[np.bool_]:
    """Return which repeats are no outliers, and note outliers and contradictions."""
    kept = np.ones(rates.size, dtype=bool)
    if rates.size < 2:
        return kept
    middle = float(np.median(rates))
    distance = np.abs(rates - middle)
    name = (table["workload"][rows[0]], table["gpu"][rows[0]])
    if rates.size >= 3:
        sigma = _NORMAL_MAD * float(np.median(distance))
        kept = distance <= max(MANY_SIGMAS * sigma, tolerance * middle)
        if not kept.all():
            odd = ", ".join(f"{rate:g}" for rate in rates[~kept][:3])
            message = (
                f"{_where(table, rows[0])}: {odd} samples/s against a median of {middle:g} over "
                f"{rates.size} repeats; left out"
            )
            doubts.append(_doubt("outlier", name, message, rows[~kept], int((~kept).sum())))
    low, high = float(rates[kept].min()), float(rates[kept].max())
    std = table["rate_std"][rows]
    noise = float(np.nanmax(std)) if np.isfinite(std).any() else 0.0
    if high - low > max(tolerance * middle, MANY_SIGMAS * noise):
        message = (
            f"{_where(table, rows[0])}: {int(kept.sum())} repeats lie between {low:g} and {high:g} "
            "samples/s; all are kept"
        )
        doubts.append(_doubt("contradiction", name, message, rows[kept], 0))
    return kept


def _where(table: ProfileTable, row: int) -> str:
    batch, beside = table["batch"][row], table["neighbour"][row]
    parts = [f"share {table['share_pct'][row]:g} %"]
    if np.isfinite(batch):
        parts.insert(0, f"batch {batch:g}")
    return ", ".join([*parts, *([f"beside {beside}"] if beside else [])])


def _doubt(
    kind: Kind, name: tuple[str, str], message: str, rows: Iterable[Any], dropped: int
) -> Doubt:
    named = tuple(islice(sorted(int(row) for row in rows), MAX_ROWS_NAMED))
    return Doubt(kind, name[0], name[1], message, named, dropped)
