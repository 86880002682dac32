"""How many tasks are at most so badly off: a worst-case objective's question, as a sum.

    max  number of tasks with  left_out > level  that are placed with  badness <= level
       - sum over missing replicas of  missing_price

`of` names the worst-case objective, with its own parameters beside `level`. Levels are compared as
they are, without a tolerance: who searches for the smallest asks a little below what is known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from colocate import registry
from colocate.components import make
from colocate.entries import task_entries
from colocate.errors import InstanceError, clean_text
from colocate.instance import Instance
from colocate.objectives._gangs import missing_cost, placed_tasks, reference_rates
from colocate.objectives._worst import WorstPart, facts_of, is_worst
from colocate.objectives.base import TaskFacts
from colocate.plan import Plan
from colocate.schema import Component, Frozen, Id, NonNegative

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Within:
    """How many tasks are no worse off than a level."""

    name: ClassVar[str] = "within"
    sense: ClassVar[Literal["max", "min"]] = "max"

    class Params(Frozen, extra="allow"):
        """Parameters; those of the objective that `of` names stand beside them."""

        of: Id
        """Name of a worst-case objective, such as `max_slowdown`."""
        level: NonNegative
        """How badly off a task may be."""

    def __init__(self, params: Params) -> None:
        spec = Component(name=params.of, params=params.model_extra or {})
        made: Any = make(registry.get("objective", spec.name), spec, "$.objective")
        if not is_worst(made):
            raise InstanceError(
                f"objective {clean_text(params.of)!r} is no worst-case objective",
                path="$.objective.params.of",
                advice="name one that is, such as 'max_slowdown'.",
            )
        self.worst: WorstPart = made
        self.level = params.level

    def placed_value(self, task: TaskFacts, rate: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return 1 where the task has to be placed and is fast enough."""
        import numpy as np

        enough = self.worst.badness(task, rate) <= self.level
        return np.where(enough & (self.worst.left_out(task) > self.level), 1.0, 0.0)

    def unplaced_worth(self, task: TaskFacts) -> float | NDArray[np.float64]:
        """Return 0: only tasks that are placed count."""
        return 0.0 * task.weight

    def score(self, instance: Instance, plan: Plan) -> float:
        """Return the number of satisfied tasks, less the prices of missing replicas."""
        entries = task_entries(instance)
        placed = placed_tasks(instance, plan, entries)
        reference = reference_rates(instance, entries, placed.entry)
        satisfied = self.placed_value(facts_of(instance, placed.entry, reference), placed.rate)
        return float(satisfied @ placed.number) - missing_cost(instance, plan)
