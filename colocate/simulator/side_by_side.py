"""The simulator for many independent rows of arrivals: all rows take their k-th batch together.

What `one_by_one` does for one row, with one array operation in place of each number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from colocate.simulator.outcome import Batches

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from colocate.simulator.server import BatchServer

__all__ = ["side_by_side"]


def side_by_side(
    server: BatchServer, times_s: NDArray[np.float64], factors: NDArray[np.float64] | None
) -> Batches:
    """Return the batches of every row, row after row; `factors[r, i]` stretches the i-th of row r.

    The columns are followed by b that never arrive, so that nothing needs to be asked at the end.
    """
    rows, requests = times_s.shape
    b = server.batch
    width = requests + b
    flat = np.full((rows, width), np.inf)
    flat[:, :requests] = times_s
    flat = flat.ravel()
    at = np.arange(rows) * width
    end = at + requests
    row = np.arange(rows)
    free = np.full(rows, -np.inf)
    sizes: list[NDArray[np.int64]] = []
    starts: list[NDArray[np.float64]] = []
    services: list[NDArray[np.float64]] = []
    who: list[NDArray[np.int64]] = []
    while at.size:
        start = np.minimum(flat[at] + server.timeout_s, flat[at + (b - 1)])
        np.maximum(start, free, out=start)
        size = _count(flat, at, start, b)
        service = np.asarray(server.table_s[size])
        if factors is not None:
            service = service * factors[row, len(sizes)]
        sizes.append(size)
        starts.append(start)
        services.append(service)
        who.append(row)
        free = start + service
        at = at + size
        # A row is done when nobody is left, or when those who are left wait for ever.
        going = (at < end) & np.isfinite(start)
        if not going.all():
            at, end, row, free = at[going], end[going], row[going], free[going]
    all_rows, all_starts = np.concatenate(who), np.concatenate(starts)
    order = np.argsort(all_rows, kind="stable")
    order = order[np.isfinite(all_starts[order])]
    return Batches(
        row=all_rows[order],
        size=np.concatenate(sizes)[order],
        start_s=all_starts[order],
        service_s=np.concatenate(services)[order],
    )


def _count(
    flat: NDArray[np.float64], at: NDArray[np.int64], start: NDArray[np.float64], b: int
) -> NDArray[np.int64]:
    """Return how many of the b requests from `at` on have arrived by `start`, at least one."""
    low = np.ones(at.size, dtype=np.int64)
    if b == 1:
        return low
    # All b are there more often than not at high load: ask that first, halve the rest.
    full = flat[at + (b - 1)] <= start
    low[full] = b
    some = np.flatnonzero(~full)
    if some.size == 0:
        return low
    base, limit = at[some], start[some]
    found = np.ones(some.size, dtype=np.int64)
    step = 1 << ((b - 1).bit_length() - 1)
    while step:
        trial = np.minimum(found + step, b)
        found = np.where(flat[base + (trial - 1)] <= limit, trial, found)
        step >>= 1
    low[some] = found
    return low
