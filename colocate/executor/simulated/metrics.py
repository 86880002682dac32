"""The metrics page of a simulated service, as a server would export it."""

from __future__ import annotations

import numpy as np

from colocate.executor.simulated.queue import ServiceQueue

__all__ = ["MetricsPage"]

BOUNDS = (0.1, 0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.15, 1.3, 1.5, 2.0, 4.0)
"""Upper bounds of the buckets, over the SLO: fine where it matters."""


class MetricsPage:
    """Counts requests and sorts latencies into buckets, as time goes on."""

    def __init__(self, queue: ServiceQueue, slo_ms: float) -> None:
        self.queue = queue
        self.bounds = slo_ms / 1000.0 * np.array(BOUNDS)
        self.counts = np.zeros(self.bounds.size + 1, dtype=np.int64)
        self._done = 0

    def text(self, now: float) -> str:
        """Return the page at a time."""
        queue = self.queue
        arrived = int(np.searchsorted(queue.arrivals_s, now))
        done = self._done + int(np.searchsorted(queue.end_s[self._done : queue.next], now))
        latency = queue.end_s[self._done : done] - queue.arrivals_s[self._done : done]
        where = np.searchsorted(self.bounds, latency)
        self.counts += np.bincount(where, minlength=self.counts.size)
        self._done = done
        total = np.cumsum(self.counts).tolist()
        lines = [f"requests_total {arrived}"]
        lines += [
            f'latency_seconds_bucket{{le="{bound:.6g}"}} {count}'
            for bound, count in zip(self.bounds.tolist(), total[:-1], strict=True)
        ]
        lines.append(f'latency_seconds_bucket{{le="+Inf"}} {total[-1]}')
        return "\n".join(lines) + "\n"
