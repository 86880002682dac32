"""A slowdown table between its nodes: linear in shares and in the logarithm of batches.

On an axis x_0 < ... < x_{m-1}, a coordinate is first moved into [x_0, x_{m-1}]; then

    w = (x - x_i) / (x_{i+1} - x_i)                  for shares
    w = log2(x / x_i) / log2(x_{i+1} / x_i)          for batches
    s = sum over the 16 corners of the product of the weights (1 - w or w) times the value

`read` is the face for one reading, `tabulate` that for all combinations of some batches and shares,
`read_many` that for many readings. They are written separately.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from colocate.profile import SlowdownTable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

__all__ = ["read", "read_many", "tabulate"]


def read(
    table: SlowdownTable,
    victim_batch: float,
    neighbour_batch: float,
    victim_share_pct: float,
    neighbour_share_pct: float,
) -> float:
    """Return the slowdown at one setting of the knobs."""
    corners = [(0, 1.0)]
    axes: tuple[tuple[Sequence[float], float, bool], ...] = (
        (table.victim_batch, victim_batch, True),
        (table.neighbour_batch, neighbour_batch, True),
        (table.victim_share_pct, victim_share_pct, False),
        (table.neighbour_share_pct, neighbour_share_pct, False),
    )
    for nodes, at, by_logarithm in axes:
        around = _around(nodes, at, by_logarithm=by_logarithm)
        corners = [
            (place * len(nodes) + i, weight * w) for place, weight in corners for i, w in around
        ]
    return math.fsum(weight * table.slowdown[place] for place, weight in corners)


def _around(nodes: Sequence[float], at: float, *, by_logarithm: bool) -> list[tuple[int, float]]:
    """Return the nodes that count, with their weights."""
    if at <= nodes[0]:
        return [(0, 1.0)]
    if at >= nodes[-1]:
        return [(len(nodes) - 1, 1.0)]
    right = next(i for i, node in enumerate(nodes) if node > at)
    low, high = nodes[right - 1], nodes[right]
    if by_logarithm:
        weight = math.log2(at / low) / math.log2(high / low)
    else:
        weight = (at - low) / (high - low)
    return [(right - 1, 1.0 - weight), (right, weight)]


def tabulate(
    table: SlowdownTable,
    victim_batches: ArrayLike,
    neighbour_batches: ArrayLike,
    victim_shares_pct: ArrayLike,
    neighbour_shares_pct: ArrayLike,
) -> Floats:
    """Return the slowdowns at all combinations, [victim batch, neighbour batch, share, share].

    One axis after the other, each reading mixed of the two nodes around it.
    """
    import numpy as np

    found = np.array(table.slowdown, dtype=np.float64).reshape(table.shape)
    for axis, nodes, at in (
        (0, np.log2(table.victim_batch), np.log2(victim_batches)),
        (1, np.log2(table.neighbour_batch), np.log2(neighbour_batches)),
        (2, np.array(table.victim_share_pct), np.asarray(victim_shares_pct)),
        (3, np.array(table.neighbour_share_pct), np.asarray(neighbour_shares_pct)),
    ):
        place = np.interp(at, nodes, np.arange(nodes.size, dtype=np.float64))
        low = np.floor(place).astype(np.int64)
        weight = (place - low).reshape([-1 if i == axis else 1 for i in range(4)])
        high = np.minimum(low + 1, nodes.size - 1)
        # No matrix product: what a reading rounds to must not depend on what is read beside it.
        found = (1 - weight) * found.take(low, axis) + weight * found.take(high, axis)
    return found


def read_many(
    table: SlowdownTable,
    victim_batch: ArrayLike,
    neighbour_batch: ArrayLike,
    victim_share_pct: ArrayLike,
    neighbour_share_pct: ArrayLike,
) -> Floats:
    """Return the slowdown for each of many settings; the four arrays are broadcast."""
    import numpy as np

    settings = np.broadcast_arrays(
        victim_batch, neighbour_batch, victim_share_pct, neighbour_share_pct
    )
    axes = (
        table.victim_batch,
        table.neighbour_batch,
        table.victim_share_pct,
        table.neighbour_share_pct,
    )
    values = np.array(table.slowdown, dtype=np.float64)
    found = np.zeros(settings[0].shape)
    # Place of the lower corner, steps to the upper one, and weight of the upper one, by axis.
    place = np.zeros(settings[0].shape, dtype=np.int64)
    steps, weights = [], []
    stride = values.size
    for i, (at, axis) in enumerate(zip(settings, axes, strict=True)):
        nodes, x = np.array(axis, dtype=np.float64), np.asarray(at, dtype=np.float64)
        if i < 2:
            nodes, x = np.log2(nodes), np.log2(x)
        stride //= nodes.size
        if nodes.size == 1:
            continue
        low = np.clip(np.searchsorted(nodes, x, side="right") - 1, 0, nodes.size - 2)
        width = nodes[low + 1] - nodes[low]
        place += stride * low
        steps.append(stride)
        weights.append(np.clip((x - nodes[low]) / width, 0.0, 1.0))
    for corner in range(1 << len(steps)):
        at_corner, weight = place, np.ones(found.shape)
        for i, (step, upper) in enumerate(zip(steps, weights, strict=True)):
            if corner >> i & 1:
                at_corner, weight = at_corner + step, weight * upper
            else:
                weight = weight * (1.0 - upper)
        found += weight * values[at_corner]
    return found
