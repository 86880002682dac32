"""Slowdowns out of a profile table: one cell for each measurement in company.

    s = rate alone at the same batch and share / rate in company,   y = log s

Cells hold one neighbour; rows with several are kept apart, to test how slowdowns compose.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from colocate.models.fitting.company_solo import SoloRates
from colocate.tables.table import ProfileTable

__all__ = ["Cells", "Crowd", "cells_of", "crowds_of"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
MOST_SLOWDOWN = 100.0
"""Beyond this a row says that something went wrong, not how workloads share a GPU."""


class Cells(NamedTuple):
    """Measured slowdowns as arrays of equal length; workloads by their place in `names`."""

    names: tuple[str, ...]
    victim: Ints
    neighbour: Ints
    victim_batch: Floats
    neighbour_batch: Floats
    victim_share: Floats
    neighbour_share: Floats
    alone: Floats
    """Rate alone."""
    rate: Floats
    """Rate in company."""
    spread: Floats
    """Standard deviation of the rate over the rate; 0 where unknown."""
    row: Ints
    """Row of the table."""

    @property
    def log_slowdown(self) -> Floats:
        """Return y."""
        y: Floats = np.log(self.alone / self.rate)
        return y

    def take(self, rows: NDArray[Any]) -> Cells:
        """Return some cells: by number, or where an array of truth values says so."""
        return Cells(self.names, *(column[rows] for column in self[1:]))

    @property
    def size(self) -> int:
        """Return the number of cells."""
        return int(self.victim.size)


class Crowd(NamedTuple):
    """One measurement beside several neighbours."""

    victim: int
    victim_batch: float
    victim_share: float
    neighbours: tuple[tuple[int, float, float], ...]
    """Workload, batch and share of each."""
    log_slowdown: float


def cells_of(table: ProfileTable, solo: SoloRates) -> tuple[Cells, dict[str, int]]:
    """Return the cells of one GPU type's table, and how many rows were left out by reason."""
    names = _names(table)
    place = {name: i for i, name in enumerate(names)}
    alone, fine, dropped = _alone(table, solo)
    rates = table.rates
    columns: list[list[float]] = [[] for _ in range(10)]
    for row in np.flatnonzero(fine):
        beside = table.neighbours(int(row))
        if len(beside) != 1:
            continue
        share = beside[0].share_pct
        if not 0 < share <= 100:
            dropped["share of the neighbour unknown"] = (
                dropped.get("share of the neighbour unknown", 0) + 1
            )
            continue
        spread = table["rate_std"][row] / rates[row]
        values = (
            place[table["workload"][row]],
            place[beside[0].workload],
            _known(table["batch"][row]),
            _known(beside[0].batch),
            table["share_pct"][row],
            share,
            alone[row],
            rates[row],
            spread if np.isfinite(spread) else 0.0,
            row,
        )
        for column, value in zip(columns, values, strict=True):
            column.append(value)
    whole = (0, 1, 9)
    arrays = [np.array(c, dtype=np.int64 if k in whole else float) for k, c in enumerate(columns)]
    return Cells(names, *arrays), dropped


def crowds_of(table: ProfileTable, solo: SoloRates) -> list[Crowd]:
    """Return the measurements beside two or more neighbours."""
    place = {name: i for i, name in enumerate(_names(table))}
    alone, fine, _ = _alone(table, solo)
    found = []
    for row in np.flatnonzero(fine):
        beside = table.neighbours(int(row))
        if len(beside) < 2 or not all(0 < n.share_pct <= 100 for n in beside):
            continue
        found.append(
            Crowd(
                place[table["workload"][row]],
                _known(table["batch"][row]),
                float(table["share_pct"][row]),
                tuple((place[n.workload], _known(n.batch), n.share_pct) for n in beside),
                float(np.log(alone[row] / table.rates[row])),
            )
        )
    return found


def _names(table: ProfileTable) -> tuple[str, ...]:
    beside = {part for text in set(table["neighbour"]) if text for part in text.split("+")}
    return tuple(sorted(set(table["workload"]) | beside))


def _known(batch: float) -> float:
    return float(batch) if np.isfinite(batch) else 1.0


def _alone(
    table: ProfileTable, solo: SoloRates
) -> tuple[Floats, NDArray[np.bool_], dict[str, int]]:
    """Return the rate alone at each row in company, which rows can be used, and why others not."""
    company, rates = ~table.alone, table.rates
    batch = np.nan_to_num(table["batch"], nan=1.0)
    alone = np.full(len(table), np.nan)
    for name in sorted(set(table["workload"][company])):
        rows = np.flatnonzero(company & (table["workload"] == name))
        alone[rows] = solo(name, batch[rows], table["share_pct"][rows])
    with np.errstate(divide="ignore", invalid="ignore"):
        slowdown = alone / rates
    reasons = {
        "under an offered load, not in a closed loop": ~np.isnan(table["arrival_rps"]),
        "with several processes": table["processes"] > 1,
        "no rate": ~(rates > 0),
        "never measured alone": np.isnan(alone),
        f"slowdown above {MOST_SLOWDOWN:g} or below {1 / MOST_SLOWDOWN:g}": ~(
            (slowdown <= MOST_SLOWDOWN) & (slowdown >= 1 / MOST_SLOWDOWN)
        ),
    }
    fine, dropped = company.copy(), {}
    for reason, bad in reasons.items():
        count = int((fine & bad).sum())
        if count:
            dropped[reason] = count
        fine &= ~bad
    return alone, fine, dropped
