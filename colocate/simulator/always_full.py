"""The simulator where every batch is full: no loop at all.

The i-th batch is complete when its last request arrives, at c_i, and takes s_i. With
D_i = s_0 + ... + s_(i-1), the free time obeys free_i = max(free_(i-1), c_i) + s_i, hence

    start_i = D_i + max over j <= i of (c_j - D_j)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from colocate.simulator.outcome import Batches

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from colocate.simulator.server import BatchServer

__all__ = ["always_full"]


def always_full(
    server: BatchServer, times_s: NDArray[np.float64], factors: NDArray[np.float64] | None
) -> Batches:
    """Return the batches of every row, row after row, for b = 1 or an infinite timeout."""
    rows = times_s.shape[0]
    complete = times_s[:, server.batch - 1 :: server.batch]
    count = complete.shape[1]
    service = np.full((rows, count), server.table_s[server.batch])
    if factors is not None:
        service *= factors[:, :count]
    before = np.cumsum(service, axis=1) - service
    start = before + np.maximum.accumulate(complete - before, axis=1)
    return Batches(
        row=np.repeat(np.arange(rows), count),
        size=np.full(rows * count, server.batch, dtype=np.int64),
        # Rounding must not start a batch before it is complete.
        start_s=np.maximum(start, complete).ravel(),
        service_s=service.ravel(),
    )
