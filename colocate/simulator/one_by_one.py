"""The simulator, batch after batch: plain Python, for one list of arrivals.

This is the definition that the faster `side_by_side` and `always_full` are held against.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import TYPE_CHECKING

import numpy as np

from colocate.simulator.outcome import Batches

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from colocate.simulator.server import BatchServer

__all__ = ["one_by_one"]


def one_by_one(
    server: BatchServer, times_s: NDArray[np.float64], factors: NDArray[np.float64] | None
) -> Batches:
    """Return the batches of one row of arrivals; `factors[i]` stretches the i-th batch."""
    arrivals = times_s[0].tolist()
    stretch = None if factors is None else factors[0].tolist()
    time_of = server.table_s.tolist()
    b, timeout = server.batch, server.timeout_s
    sizes: list[int] = []
    starts: list[float] = []
    services: list[float] = []
    served, free = 0, -math.inf
    while served < len(arrivals):
        last = served + b - 1
        ready = arrivals[served] + timeout
        if last < len(arrivals):
            ready = min(ready, arrivals[last])
        start = max(free, ready)
        if start == math.inf:
            break
        size = bisect_right(arrivals, start, served, min(served + b, len(arrivals))) - served
        service = time_of[size] if stretch is None else time_of[size] * stretch[len(sizes)]
        sizes.append(size)
        starts.append(start)
        services.append(service)
        free = start + service
        served += size
    return Batches(
        row=np.zeros(len(sizes), dtype=np.int64),
        size=np.array(sizes, dtype=np.int64),
        start_s=np.array(starts, dtype=np.float64),
        service_s=np.array(services, dtype=np.float64),
    )
