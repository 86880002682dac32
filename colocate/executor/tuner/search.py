"""Trying batches where the models are unsure: GP-LCB, one measurement at a time.

The search itself is the one of the Mudi and IADeep policies. It asks for a measurement by calling a
function; here a measurement takes many looks, so it is run again with what is known so far until it
asks for something new. It is deterministic, so it asks for the same things in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from colocate.solvers.policies.gp_lcb import Beta, Found, gp_lcb, standard_beta

__all__ = ["BatchSearch"]


class _NeedError(Exception):
    """The search wants a point that has not been measured."""

    def __init__(self, point: int) -> None:
        super().__init__(point)
        self.point = point


class BatchSearch:
    """Looks for the batch with the smallest cost."""

    def __init__(
        self, batches: Sequence[int], *, beta: Beta = standard_beta, most: int = 10
    ) -> None:
        self.batches = tuple(sorted(set(batches)))
        self.beta = beta
        self.most = most
        self.known: dict[int, float | None] = {}
        """Cost of each batch that was tried; None where it broke the SLO."""

    def next(self) -> int | None:
        """Return the batch to try now, or None when the search is over."""
        return self._run()[0]

    def tell(self, batch: int, cost: float | None) -> None:
        """Say what a batch cost; None when it broke the SLO."""
        self.known[batch] = cost

    @property
    def best(self) -> int | None:
        """The best batch that was tried; None when none kept the SLO."""
        costs = {b: c for b, c in self.known.items() if c is not None}
        return min(costs, key=lambda b: (costs[b], b), default=None)

    def _run(self) -> tuple[int | None, Found | None]:
        def measure(i: int) -> float | None:
            batch = self.batches[i]
            if batch not in self.known:
                raise _NeedError(i)
            return self.known[batch]

        points = np.log2(np.array(self.batches, dtype=np.float64))
        if not self.batches or len(self.known) >= self.most + len(self.batches):
            return None, None
        try:
            found = gp_lcb(points, measure, self.beta, self.most)
        except _NeedError as need:
            return self.batches[need.point], None
        return None, found
