"""What a workload does to the GPU alone, spread from where it was measured over batch and share.

Telemetry is often measured at one share only. What stays alike across shares is the activity for
each sample, so with r the rate alone

    activity(b, p) = c(b, p) r(b, p),   c = activity / rate, linear between measured shares

c is taken from the nearest measured batch. Rows with an offered load have no part: their activity
is that of the arrivals. The elasticity is the slope of log r over log p, between 0 and
`MOST_ELASTICITY`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from colocate.models.fitting.company_solo import SoloRates
from colocate.profile.company import Telemetry
from colocate.tables.table import ProfileTable

__all__ = ["telemetry_of"]

Floats = NDArray[np.float64]
MOST_ELASTICITY = 1.5
MOST_ACTIVITY_PCT = 100.0
MOST_NODES = 32
"""Batches, and shares, of one workload's telemetry."""


def telemetry_of(table: ProfileTable, solo: SoloRates) -> list[Telemetry]:
    """Return the telemetry of the workloads of one GPU type that have any, by name."""
    batch = np.nan_to_num(table["batch"], nan=1.0)
    usable = table.alone & (table.rates > 0) & ~(table["processes"] > 1)
    usable &= np.isnan(table["arrival_rps"])  # activity at the rate of arrivals is that of a part
    found = []
    for name in sorted(set(table["workload"][usable])):
        rows = usable & (table["workload"] == name)
        shares = _thin(np.unique(table["share_pct"][rows]))
        batches = _thin(np.unique(batch[rows]))
        fields: dict[str, Any] = {}
        rate = solo(name, *np.meshgrid(batches, shares, indexing="ij"))
        if not np.isfinite(rate).all():
            continue  # without a rate alone, activity cannot be spread
        for column in ("sm_activity_pct", "dram_activity_pct"):
            measured = rows & np.isfinite(table[column])
            if measured.any():
                at = (batch[measured], table["share_pct"][measured])
                cost = table[column][measured] / solo(name, *at)
                spread = _spread(*at, cost, batches, shares) * rate
                fields[column] = _tuple(np.clip(spread, 0, MOST_ACTIVITY_PCT))
        if not fields:
            continue
        if shares.size > 1:
            slope = np.gradient(np.log(rate), np.log(shares), axis=1)
        else:
            slope = np.ones_like(rate)
        role = str(table["role"][np.flatnonzero(rows)[0]])
        found.append(
            Telemetry(
                workload=name,
                role="training" if role == "training" else "inference",
                batch=tuple(round(float(b)) for b in batches),
                share_pct=_tuple(shares),
                elasticity=_tuple(np.clip(slope, 0, MOST_ELASTICITY)),
                **fields,
            )
        )
    return found


def _tuple(values: Floats) -> tuple[float, ...]:
    return tuple(float(v) for v in values.ravel())


def _thin(values: Floats) -> Floats:
    if values.size <= MOST_NODES:
        return values
    places = np.linspace(0, values.size - 1, MOST_NODES).round().astype(np.int64)
    thin: Floats = values[places]
    return thin


def _spread(batch: Floats, share: Floats, cost: Floats, batches: Floats, shares: Floats) -> Floats:
    """Return the cost for each sample at each batch and share."""
    known = np.unique(batch)
    found = np.empty((batches.size, shares.size))
    for i, b in enumerate(batches):
        nearest = known[np.argmin(np.abs(np.log(known / b)))]
        at = batch == nearest
        nodes = np.unique(share[at])
        means = np.array([np.median(cost[at][share[at] == s]) for s in nodes])
        found[i] = np.interp(shares, nodes, means)
    return found
