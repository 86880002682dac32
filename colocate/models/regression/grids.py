"""Many tables with axes of their own, looked up together by multilinear interpolation.

    f_t(x) = sum over corners c of  prod_a (way_a or 1 - way_a)  values_t[c]

Axes count linearly as they are given (pass logarithms of batches); coordinates beyond the end
nodes count as the end nodes. An axis with one node does not change the value; a query lies inside
it where it is at that node, or everywhere if the node is nan.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["GridStack"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
CHUNK = 32_768
SLACK = 1e-9
"""How far outside an axis still counts as inside, relative to its ends."""


class GridStack:
    """Tables t = 0, 1, .. as arrays; `nan` where a table has a gap."""

    def __init__(self, axes: Sequence[Floats], lengths: Ints, starts: Ints, values: Floats) -> None:
        self.axes = axes
        """For each axis the nodes as [table, node], infinite after the last one."""
        self.lengths = lengths
        """[table, axis]."""
        self.starts = starts
        self.values = values
        """All tables one after the other, [cell, field]."""
        self.alike = [bool((a == a[0]).all()) for a in axes]
        """Whether all tables have the same nodes on an axis, which saves a search for each."""

    @classmethod
    def of(cls, tables: Sequence[tuple[Sequence[Floats], Floats]]) -> Self:
        """Stack tables, each its axes and its values [*axes, field]."""
        depth, fields = len(tables[0][0]), tables[0][1].shape[-1]
        lengths = np.array([[a.size for a in axes] for axes, _ in tables], dtype=np.int64)
        padded = []
        for k in range(depth):
            nodes = np.full((len(tables), int(lengths[:, k].max())), np.inf)
            for t, (axes, _) in enumerate(tables):
                nodes[t, : axes[k].size] = axes[k]
            padded.append(nodes)
        flat = [values.reshape(-1, fields) for _, values in tables]
        starts = np.cumsum([0, *(len(f) for f in flat[:-1])])
        return cls(padded, lengths, starts, np.concatenate(flat))

    def lookup(self, table: Ints, *coordinates: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        """Return the values [query, field], and which queries lie inside all axes."""
        found = np.empty((table.size, self.values.shape[1]))
        inside = np.empty(table.size, dtype=bool)
        for start in range(0, table.size, CHUNK):
            at = slice(start, start + CHUNK)
            found[at], inside[at] = self._lookup(table[at], [c[at] for c in coordinates])
        return found, inside

    def _lookup(
        self, table: Ints, coordinates: Sequence[Floats]
    ) -> tuple[Floats, NDArray[np.bool_]]:
        inside = np.ones(table.size, dtype=bool)
        base = self.starts[table]
        stride = np.ones(table.size, dtype=np.int64)
        steps: list[tuple[Ints, Floats]] = []
        for k in reversed(range(len(self.axes))):
            nodes, length = self.axes[k], self.lengths[table, k]
            x = coordinates[k]
            first, last = nodes[:, 0][table], nodes[table, length - 1]
            slack = SLACK * np.maximum(np.maximum(np.abs(first), np.abs(last)), 1.0)
            inside &= np.isnan(first) | ((x >= first - slack) & (x <= last + slack))
            if nodes.shape[1] > 1:
                below = self._below(k, table, x)
                np.minimum(below, np.maximum(length - 2, 0), out=below)
                low, high = nodes[table, below], nodes[table, np.minimum(below + 1, length - 1)]
                gap = high - low
                way = np.clip((x - low) / np.where(gap > 0, gap, 1.0), 0, 1) * (gap > 0)
                base = base + below * stride
                steps.append((np.where(length > 1, stride, 0), way))
            stride = stride * length
        return self._blend(base, steps), inside

    def _below(self, k: int, table: Ints, x: Floats) -> Ints:
        """Return how many inner nodes lie at or below x."""
        nodes = self.axes[k]
        if self.alike[k]:
            return np.searchsorted(nodes[0, 1:-1], x, side="right")
        below = np.zeros(table.size, dtype=np.int64)
        for j in range(1, nodes.shape[1] - 1):
            below += nodes[table, j] <= x
        return below

    def _blend(self, base: Ints, steps: Sequence[tuple[Ints, Floats]]) -> Floats:
        total = np.zeros((base.size, self.values.shape[1]))
        for corner in product((0, 1), repeat=len(steps)):
            cell, weight = base, np.ones(base.size)
            for on, (step, way) in zip(corner, steps, strict=True):
                cell = cell + step if on else cell
                weight = weight * (way if on else 1 - way)
            # a gap counts only where it has weight
            part = self.values[cell] * weight[:, None]
            total += np.where(weight[:, None] > 0, part, 0.0)
        return total
