"""Measured slowdowns of each pair as a table with gaps.

Repeats are replaced by their median. Where each share of the victim was measured with one share of
the neighbour only, such as the rest of the GPU, the two are tied and the table has no axis for the
neighbour's share.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from colocate.models.fitting.company_cells import Cells
from colocate.profile.company import MeasuredPair

__all__ = ["measured_pairs"]

Floats = NDArray[np.float64]
MOST_NODES = 100_000
"""Beyond, a pair's measurements are too scattered for a table."""


def measured_pairs(cells: Cells) -> list[MeasuredPair]:
    """Return a table for each ordered pair that was measured."""
    key = cells.victim * len(cells.names) + cells.neighbour
    found = []
    for k in np.unique(key):
        table = _measured(cells.take(key == k))
        if table is not None:
            found.append(table)
    return found


def _measured(c: Cells) -> MeasuredPair | None:
    columns = (c.victim_batch, c.neighbour_batch, c.victim_share, c.neighbour_share)
    axes, places = zip(*(np.unique(x, return_inverse=True) for x in columns), strict=True)
    partners = {tuple(pair) for pair in zip(places[2], places[3], strict=True)}
    split = len(partners) == axes[2].size and axes[3].size > 1
    depth = 3 if split else 4
    shape = tuple(a.size for a in axes[:depth])
    if np.prod(shape) > MOST_NODES:
        return None
    cell = np.ravel_multi_index(places[:depth], shape)
    values: list[float | None] = [None] * int(np.prod(shape))
    slowdown = np.exp(c.log_slowdown)
    for at in np.unique(cell):
        values[at] = float(np.median(slowdown[cell == at]))
    others = axes[3]
    if split:
        others = np.empty(axes[2].size)
        others[places[2]] = c.neighbour_share
    return MeasuredPair(
        victim=c.names[c.victim[0]],
        neighbour=c.names[c.neighbour[0]],
        victim_batch=_whole(axes[0]),
        neighbour_batch=_whole(axes[1]),
        victim_share_pct=tuple(float(x) for x in axes[2]),
        neighbour_share_pct=tuple(float(x) for x in others),
        split=split,
        slowdown=tuple(values),
    )


def _whole(batches: Floats) -> tuple[int, ...]:
    return tuple(round(float(b)) for b in batches)
