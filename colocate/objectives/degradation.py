"""Total performance degradation of the training tasks (IADeep's objective, the right way up).

    min  sum over placed tasks of    weight * reference rate / progress of the slowest worker
       + sum over unplaced tasks of  weight * unplaced
       + sum over missing replicas of  missing_price

A task alone on a whole GPU of its fastest type is degraded by 1, one at half its speed by 2. IADeep
(SC'23) writes it as T_co(m)/T(m0) * m0/m / e(m), with T the time of a step at a batch and e the
statistical efficiency: that is reference rate over progress. Its released code multiplies by e.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from colocate.entries import task_entries
from colocate.instance import Instance
from colocate.objectives._gangs import (
    left_out,
    missing_cost,
    placed_tasks,
    reference_rates,
)
from colocate.objectives.base import TaskFacts
from colocate.plan import Plan
from colocate.schema import Frozen

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Degradation:
    """How much slower all tasks are than alone."""

    name: ClassVar[str] = "degradation"
    sense: ClassVar[Literal["max", "min"]] = "min"

    class Params(Frozen):
        """Parameters."""

        unplaced: Annotated[float, Field(gt=0, le=1e9)]
        """Degradation charged for a task that is not placed; 10 stands for a tenth of its speed."""

    def __init__(self, params: Params) -> None:
        self.unplaced = params.unplaced

    def placed_value(self, task: TaskFacts, rate: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what is saved against leaving the task out."""
        return task.weight * (self.unplaced - task.reference_rate / rate)

    def unplaced_worth(self, task: TaskFacts) -> float | NDArray[np.float64]:
        """Return the degradation charged for leaving the task out."""
        return task.weight * self.unplaced

    def score(self, instance: Instance, plan: Plan) -> float:
        """Return the plan's degradation with all charges."""
        entries = task_entries(instance)
        placed = placed_tasks(instance, plan, entries)
        weight = entries.floats("weight")
        slower = reference_rates(instance, entries, placed.entry) / placed.rate
        degraded = float((weight[placed.entry] * slower * placed.number).sum())
        charged = float((weight * left_out(entries, placed)).sum()) * self.unplaced
        return degraded + charged + missing_cost(instance, plan)
