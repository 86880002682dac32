"""Runs that belong together: those after which a pair, or a curve, counts as measured.

A fit counts a pair as measured from `ENOUGH_SPLITS` splits on that span `WIDE_SPAN` points, and a
curve from `ENOUGH_SHARES` shares at each of its batches on. Only then does the error bound of what
was measured hold for it, so a plan at a confidence gains little from fewer runs.

Shares are added one by one, each as far as it can be from all that are known: for pairs in points,
for curves in the logarithm of the share.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from colocate.advice.runs import Pair, Run, Tenant, known_shares
from colocate.models.company_tables import ENOUGH_SPLITS, MOST_TOTAL, WIDE_SPAN
from colocate.tables.table import ProfileTable

__all__ = ["ENOUGH_SHARES", "curve_campaign", "is_measured", "known_splits", "pair_campaign"]

ENOUGH_SHARES = 3
"""Shares at each batch from which on a fit counts a curve as measured."""
LEAST_TOTAL = 90
"""Two shares that leave more of the GPU to nobody are no split of it."""
SPLITS = range(10, 91, 5)
SHARES = (10, 20, 30, 40, 50, 60, 70, 80, 90, 100)


def known_splits(table: ProfileTable, pair: Pair) -> list[float]:
    """Return the shares at which a victim was measured beside this neighbour alone, ascending."""
    gpu_type, victim, neighbour = pair
    chosen = (table["gpu"] == gpu_type) & (table["workload"] == victim)
    chosen &= table["neighbour"] == neighbour
    return sorted(set(table["share_pct"][chosen].tolist()))


def is_measured(splits: Sequence[float]) -> bool:
    """Return whether a pair with these splits counts as measured."""
    return len(splits) >= ENOUGH_SPLITS and max(splits) - min(splits) >= WIDE_SPAN


def pair_campaign(table: ProfileTable, run: Run) -> tuple[Run, ...]:
    """Return the run of two tenants, and those after which the pair counts as measured."""
    one, two = run.tenants
    if not LEAST_TOTAL <= one.share_pct + two.share_pct <= MOST_TOTAL:
        two = two._replace(share_pct=min(90, max(10, 100 - one.share_pct)))
        one = one._replace(share_pct=100 - two.share_pct)
    known = [*known_splits(table, (run.gpu_type, one.workload, two.workload)), one.share_pct]
    runs = [Run(run.gpu_type, (one, two))]
    while not is_measured(sorted(set(known))):
        share = _farthest(SPLITS, known, float)
        known.append(share)
        tenants = one._replace(share_pct=share), two._replace(share_pct=100 - share)
        runs.append(Run(run.gpu_type, tenants))
    return tuple(runs)


def curve_campaign(table: ProfileTable, run: Run, batches: Iterable[int]) -> tuple[Run, ...]:
    """Return the run of one tenant, and those after which its curve counts as measured."""
    (tenant,) = run.tenants
    runs = [run]
    for batch in sorted(batches, key=lambda b: (b != tenant.batch, b)):
        known = [*known_shares(table, run.gpu_type, tenant.workload, batch)]
        if batch == tenant.batch:
            known.append(float(tenant.share_pct))
        while len(set(known)) < ENOUGH_SHARES:
            share = _farthest(SHARES, known, math.log) if known else SHARES[-1]
            known.append(float(share))
            more = Tenant(tenant.workload, tenant.role, batch, share)
            runs.append(Run(run.gpu_type, (more,)))
    return tuple(runs)


def _farthest(
    choices: Sequence[int], known: Sequence[float], scale: Callable[[float], float]
) -> int:
    at = np.array([scale(k) for k in known])
    return max(choices, key=lambda c: (float(np.abs(at - scale(c)).min()), -c))
