"""Largest slowdown of a training task: max-min fairness over normalised rates.

    min  max of  weight * min(1 / normalised rate, unplaced)   over placed tasks (slowest worker)
                 weight * unplaced                             over tasks that are not placed
                 missing_price                                 over missing replicas

A normalised rate of 0.25 is a slowdown of 4. `unplaced` says which slowdown is as bad as not to run
at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from colocate.objectives._worst import Worst
from colocate.objectives.base import TaskFacts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class MaxSlowdown(Worst):
    """The slowdown of the task that is slowed down most."""

    name: ClassVar[str] = "max_slowdown"

    def badness(self, task: TaskFacts, rate: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how many times slower than alone a task is, times its weight."""
        slowdown: NDArray[np.float64] = task.weight * task.reference_rate / rate
        return slowdown
