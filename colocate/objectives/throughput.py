"""Weighted normalised training throughput, in whole-GPU equivalents.

max  sum over placed tasks of  weight * gang_size * rate of the slowest worker / reference rate
     - sum over missing replicas of  missing_price
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from colocate.entries import task_entries
from colocate.instance import Instance
from colocate.objectives._gangs import missing_cost, placed_tasks, reference_rates
from colocate.objectives.base import TaskFacts
from colocate.plan import Plan
from colocate.schema import Frozen

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Throughput:
    """How much training progress the plan makes."""

    name: ClassVar[str] = "throughput"
    sense: ClassVar[Literal["max", "min"]] = "max"

    class Params(Frozen):
        """It has no parameters."""

    def __init__(self, params: Params) -> None:
        self.params = params

    def placed_value(self, task: TaskFacts, rate: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the weighted normalised rate of the whole gang."""
        return task.weight * task.gang_size * rate / task.reference_rate

    def unplaced_worth(self, task: TaskFacts) -> float | NDArray[np.float64]:
        """Return 0: what is left out makes no progress."""
        del task
        return 0.0

    def score(self, instance: Instance, plan: Plan) -> float:
        """Return the plan's throughput less the prices of missing replicas."""
        entries = task_entries(instance)
        placed = placed_tasks(instance, plan, entries)
        reference = reference_rates(instance, entries, placed.entry)
        workers = entries.integers("gang_size")[placed.entry] * placed.number
        weight = entries.floats("weight")[placed.entry]
        progress = float((weight * workers * placed.rate / reference).sum())
        return progress - missing_cost(instance, plan)
