"""Objectives that are as good as their worst part: how badly off is who is worst off.

    min  max of  min(badness(rate of its slowest worker), left_out)   over placed tasks
                 left_out                                             over the other tasks
                 missing_price                                        over missing replicas

Who is placed is never counted worse off than who is left out.
Nothing adds up here, so solvers are asked otherwise: can everybody be at most `level` badly off?
Whoever would be worse off when left out has to be placed, and to run fast enough. That is a sum
again, the objective `within`:

    max  tasks that have to be placed and run fast enough
       - missing replicas that have to be there

and a bound on it that is below the number of these tasks proves that the level cannot be reached.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Protocol, TypeGuard

from pydantic import Field

from colocate.entries import service_entries, task_entries
from colocate.instance import Instance
from colocate.objectives._gangs import left_out, placed_tasks, reference_rates
from colocate.objectives.base import TaskFacts, fair_gpus
from colocate.plan import Plan
from colocate.schema import Component, Frozen

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Worst", "WorstPart", "all_satisfied", "facts_of", "is_worst", "within", "worst_placed"]


class WorstPart(Protocol):
    """An objective that is the largest of its parts; always minimised."""

    combine: ClassVar[Literal["worst"]]

    def badness(self, task: TaskFacts, rate: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how badly off a placed task is at each rate of its slowest worker.

        Must not rise as the rate grows.
        """
        ...

    def left_out(self, task: TaskFacts) -> float | NDArray[np.float64]:
        """Return how badly off a task is that is not placed."""
        ...

    def score(self, instance: Instance, plan: Plan) -> float:
        """Return how badly off the worst is, from the plan's predicted rates."""
        ...


class Worst(ABC):
    """What worst-case objectives share: the charge for being left out, and the score."""

    sense: ClassVar[Literal["max", "min"]] = "min"
    combine: ClassVar[Literal["worst"]] = "worst"

    class Params(Frozen):
        """Parameters."""

        unplaced: Annotated[float, Field(gt=0, le=1e9)]
        """How badly off a task of weight 1 is that is not placed."""

    def __init__(self, params: Params) -> None:
        self.unplaced = params.unplaced

    @abstractmethod
    def badness(self, task: TaskFacts, rate: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how badly off a placed task is at each rate of its slowest worker."""

    def left_out(self, task: TaskFacts) -> float | NDArray[np.float64]:
        """Return how badly off a task is that is not placed."""
        return task.weight * self.unplaced

    def score(self, instance: Instance, plan: Plan) -> float:
        """Return how badly off the worst is, from the plan's predicted rates."""
        import numpy as np

        entries = task_entries(instance)
        placed = placed_tasks(instance, plan, entries)
        worst = [worst_placed(self, instance, plan), _worst_missing(instance, plan)]
        out = np.flatnonzero(left_out(entries, placed) > 0)
        if out.size:
            nothing = np.ones(out.size)
            worst.append(float(np.max(self.left_out(facts_of(instance, out, nothing)))))
        return max(worst)


def worst_placed(objective: WorstPart, instance: Instance, plan: Plan) -> float:
    """Return how badly off the worst of the placed tasks is."""
    import numpy as np

    entries = task_entries(instance)
    placed = placed_tasks(instance, plan, entries)
    facts = facts_of(instance, placed.entry, reference_rates(instance, entries, placed.entry))
    bad = np.minimum(objective.badness(facts, placed.rate), objective.left_out(facts))
    return float(bad.max(initial=0.0))


def facts_of(
    instance: Instance, positions: NDArray[np.int64], reference: NDArray[np.float64]
) -> TaskFacts:
    """Return what an objective may know of the task entries at these positions."""
    import numpy as np

    entries = task_entries(instance)
    return TaskFacts(
        entries.floats("weight")[positions],
        entries.integers("gang_size")[positions],
        entries.integers("batch")[positions],
        reference,
        np.nan_to_num(entries.floats("remaining_samples"), nan=np.inf, posinf=np.inf)[positions],
        np.nan_to_num(entries.floats("attained_gpu_s"))[positions],
        fair_gpus(instance),
    )


def _worst_missing(instance: Instance, plan: Plan) -> float:
    """Return the largest price of a replica that the plan leaves out."""
    import numpy as np

    entries = service_entries(instance)
    held = np.zeros(len(entries), dtype=np.int64)
    for group in plan.placements:
        for service in group.services:
            position = entries.find(service.service)
            if position is not None:
                held[position] += group.count
    prices = entries.floats("missing_price")
    short = (held < entries.integers("replicas")) & ~np.isnan(prices)
    return float(prices[short].max(initial=0.0))


def is_worst(objective: object) -> TypeGuard[WorstPart]:
    """Return whether an objective is as good as its worst part."""
    return getattr(objective, "combine", "sum") == "worst"


def within(instance: Instance, level: float) -> Instance:
    """Return the question whether everybody can be at most so badly off."""
    params = {**instance.objective.params, "of": instance.objective.name, "level": level}
    table = instance.service_table

    def charged(price: float | None) -> float | None:
        return None if price is None else float(price > level)

    return instance.replace(
        objective=Component(name="within", params=params),
        services=tuple(
            s.model_copy(update={"missing_price": charged(s.missing_price)})
            for s in instance.services
        ),
        service_table=None
        if table is None
        else table.model_copy(update={"missing_price": charged(table.missing_price)}),
    )


def all_satisfied(instance: Instance, worst: WorstPart, level: float) -> int:
    """Return what `within` is worth when nobody is worse off than the level."""
    import numpy as np

    entries = task_entries(instance)
    everyone = np.arange(len(entries))
    bad = worst.left_out(facts_of(instance, everyone, np.ones(everyone.size)))
    return int(entries.integers("count")[np.asarray(bad) > level].sum())
