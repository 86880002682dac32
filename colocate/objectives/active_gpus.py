"""Number of GPUs that hold anything: consolidation, and with it energy.

    min  GPUs that hold anything
       + sum over tasks that are not served of  weight * unserved_gpus
       + sum over missing replicas of           missing_price

A task is served when it is placed and its slowest worker makes at least `least_rate` of its
reference rate. Without a least rate everything would run at the smallest share; without a charge
the best plan would be to switch everything off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from colocate.entries import task_entries
from colocate.instance import Instance
from colocate.objectives._gangs import missing_cost, placed_tasks, reference_rates
from colocate.objectives.base import TaskFacts
from colocate.plan import Plan
from colocate.schema import TOLERANCE, Frozen

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class ActiveGpus:
    """How many GPUs the plan uses."""

    name: ClassVar[str] = "active_gpus"
    sense: ClassVar[Literal["max", "min"]] = "min"
    used_gpu_worth: ClassVar[float] = -1.0

    class Params(Frozen):
        """Parameters."""

        unserved_gpus: Annotated[float, Field(gt=0, le=1e9)]
        """GPUs charged for a task that is not served."""
        least_rate: Annotated[float, Field(ge=0, le=1)]
        """Normalised rate from which on a task is served."""

    def __init__(self, params: Params) -> None:
        self.unserved_gpus = params.unserved_gpus
        # One tolerance for all limits; see the formulation.
        self.least_rate = params.least_rate - TOLERANCE

    def placed_value(self, task: TaskFacts, rate: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the GPUs saved against leaving the task out."""
        served = rate / task.reference_rate >= self.least_rate
        return task.weight * self.unserved_gpus * served.astype(float)

    def unplaced_worth(self, task: TaskFacts) -> float | NDArray[np.float64]:
        """Return the GPUs charged for leaving the task out."""
        return task.weight * self.unserved_gpus

    def score(self, instance: Instance, plan: Plan) -> float:
        """Return the plan's GPUs with all charges."""
        entries = task_entries(instance)
        placed = placed_tasks(instance, plan, entries)
        weight = entries.floats("weight")
        normalised = placed.rate / reference_rates(instance, entries, placed.entry)
        served = (normalised >= self.least_rate) * placed.number
        of_all = float((weight * entries.integers("count")).sum())
        unserved = of_all - float((weight[placed.entry] * served).sum())
        used = sum(group.count for group in plan.placements)
        return used + unserved * self.unserved_gpus + missing_cost(instance, plan)
