"""What serves: one replica that takes what is waiting, at most b requests at a time.

When the server is free, with the oldest waiting request having arrived at time a:

- it starts at once when b requests wait, or when the oldest has waited for the timeout T;
- otherwise it starts as soon as one of the two comes true;
- it takes all that wait then, the oldest first, at most b; n of them take tau(n).

T = 0: a free server starts with whatever is there. T = infinity: every batch is full.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from colocate.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BatchServer"]


@dataclass(frozen=True, slots=True)
class BatchServer:
    """A server that batches."""

    batch: int
    """Largest number of requests that it takes at a time, b."""
    service_s: float | tuple[float, ...]
    """Time of a batch: one number whatever its size, or one for each size 1 ... b."""
    timeout_s: float = 0.0
    """How long the oldest request may wait for others to fill the batch; may be infinite."""
    variation: float = 0.0
    """Squared coefficient of variation of the time of a batch about tau(n) (gamma; 1 makes it
    exponential). 0: batches of one size all take the same time."""
    table_s: NDArray[np.float64] = field(init=False, repr=False, compare=False)
    """Time of a batch by its size, 0 ... b."""

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise InputError(f"the batch is {self.batch}", advice="it is at least 1.")
        if not self.timeout_s >= 0:
            raise InputError(
                f"the timeout is {self.timeout_s} s", advice="it is at least 0, or infinite."
            )
        if not (math.isfinite(self.variation) and self.variation >= 0):
            raise InputError(f"the variation is {self.variation}", advice="it is at least 0.")
        times = self.service_s
        if not isinstance(times, tuple):
            times = (times,) * self.batch
        if len(times) != self.batch:
            raise InputError(
                f"{len(times)} service times for batches of 1 ... {self.batch}",
                advice="give one number, or one for each size.",
            )
        if not all(math.isfinite(t) and t >= 0 for t in times):
            raise InputError(f"service times {times[:8]}", advice="they are at least 0 and finite.")
        object.__setattr__(self, "table_s", np.array((0.0, *times)))
