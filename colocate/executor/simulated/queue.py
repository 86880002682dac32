"""The queue of one simulated service, advanced piece by piece while its settings change.

Within a piece nothing changes, so it is the simulator's own `serve`. What has arrived and not
started by the end of a piece waits for the next one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from colocate.simulator import BatchServer, serve

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ServiceQueue"]


class ServiceQueue:
    """Requests of one service: those that wait, and what became of the others."""

    def __init__(self, arrivals_s: NDArray[np.float64]) -> None:
        self.arrivals_s = arrivals_s
        self.next = 0
        """The first request that has not been served."""
        self.free_s = 0.0
        """When the server is done with its batch."""
        self.end_s = np.full(arrivals_s.size, np.nan)
        """When each request was answered."""

    def advance(self, until_s: float, batch: int, service_s: float | None) -> None:
        """Serve until a moment; `service_s` is the time of a batch, None while nobody serves."""
        if service_s is None:
            # Nobody serves: whoever does next starts with an empty server.
            self.free_s = max(self.free_s, until_s)
            return
        last = int(np.searchsorted(self.arrivals_s, until_s))
        while self.next < last and self.free_s < until_s:
            # A batch that starts in this piece takes nobody who comes after it.
            begin = self.next
            # No more than can start in this piece: a long queue is not looked through each time.
            most = batch * (2 + int((until_s - self.free_s) / service_s))
            if self.arrivals_s[begin] > self.free_s:
                most = batch * (2 + int((until_s - self.arrivals_s[begin]) / service_s))
            times = np.maximum(self.arrivals_s[begin : min(last, begin + most)], self.free_s)
            done = serve(BatchServer(batch=batch, service_s=service_s), times[None, :]).batches
            started = done.start_s < until_s
            if not started.any():
                return
            sizes = done.size[started]
            ends = done.start_s[started] + service_s
            served = int(sizes.sum())
            self.end_s[begin : begin + served] = np.repeat(ends, sizes)
            self.next = begin + served
            self.free_s = float(ends[-1])
            if self.next == last or not started.all():
                return

    def waiting(self, now_s: float) -> int:
        """Return how many wait."""
        return int(np.searchsorted(self.arrivals_s, now_s)) - self.next

    @property
    def latency_s(self) -> NDArray[np.float64]:
        """From arrival to answer; infinite for those who were never answered."""
        found = self.end_s - self.arrivals_s
        return np.where(np.isnan(found), np.inf, found)
