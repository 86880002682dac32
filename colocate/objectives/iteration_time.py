"""Total iteration time of the training tasks, with a price for those left out (Mudi's objective).

    min  sum over placed tasks of    weight * batch / rate of the slowest worker
       + sum over unplaced tasks of  weight * unplaced_s
       + sum over missing replicas of  missing_price

Without the price "minimise total iteration time" would be won by placing nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from colocate.entries import task_entries
from colocate.instance import Instance
from colocate.objectives._gangs import left_out, missing_cost, placed_tasks
from colocate.objectives.base import TaskFacts
from colocate.plan import Plan
from colocate.schema import Frozen

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class IterationTime:
    """How long one iteration of every task takes, in seconds."""

    name: ClassVar[str] = "iteration_time"
    sense: ClassVar[Literal["max", "min"]] = "min"

    class Params(Frozen):
        """Parameters."""

        unplaced_s: Annotated[float, Field(gt=0, le=1e9)]
        """Seconds charged for a task that is not placed."""

    def __init__(self, params: Params) -> None:
        self.unplaced_s = params.unplaced_s

    def placed_value(self, task: TaskFacts, rate: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the seconds saved against leaving the task out."""
        return task.weight * (self.unplaced_s - task.batch / rate)

    def unplaced_worth(self, task: TaskFacts) -> float | NDArray[np.float64]:
        """Return the seconds charged for leaving the task out."""
        return task.weight * self.unplaced_s

    def score(self, instance: Instance, plan: Plan) -> float:
        """Return the plan's iteration time with all charges."""
        entries = task_entries(instance)
        placed = placed_tasks(instance, plan, entries)
        weight = entries.floats("weight")
        batch = entries.integers("batch")[placed.entry]
        seconds = weight[placed.entry] * batch / placed.rate * placed.number
        charged = float((weight * left_out(entries, placed)).sum()) * self.unplaced_s
        return float(seconds.sum()) + charged + missing_cost(instance, plan)
