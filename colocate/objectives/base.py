"""What an objective is: a value for the solvers, and a score, written separately, for the judge.

Solvers maximise. An objective tells them what a placed task is worth at a worker rate, relative to
leaving it out, in a form that adds up over tasks:

    maximised value = sum over placed tasks of placed_value(rate)
                    + number of GPUs that hold anything * used_gpu_worth
    objective       = sign * maximised value + what the plan is worth with no task placed

where sign is 1 for `max` and -1 for `min`. The prices of missing replicas enter by the same road in
the compiler: -sign * missing_price for each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from colocate import registry
from colocate.components import make
from colocate.entries import task_entries
from colocate.instance import Instance
from colocate.plan import Plan
from colocate.schema import Component

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Objective", "TaskFacts", "fair_gpus", "objective", "reads_work", "used_gpu_worth"]


@dataclass(frozen=True, slots=True)
class TaskFacts:
    """What an objective may know of a task, or arrays of it for many tasks at once."""

    weight: float | NDArray[np.float64]
    gang_size: int | NDArray[np.int64]
    batch: int | NDArray[np.int64]
    reference_rate: float | NDArray[np.float64]
    """Samples per second alone on a whole GPU of the fastest profiled type."""
    remaining_samples: float | NDArray[np.float64] = math.inf
    """Work left of the whole task; infinite when it does not say."""
    attained_gpu_s: float | NDArray[np.float64] = 0.0
    """Service that the whole task has received."""
    fair_gpus: float = 1.0
    """An even share of the GPUs, for each training worker."""


class Objective(Protocol):
    """Worth of a plan.

    An objective may also have a number `used_gpu_worth`, at most 0: what a GPU that holds anything
    is worth (maximised form). It is 0 where an objective says nothing. One that looks at the work
    left or the service received says `reads_work = True`: tasks that differ there are then told
    apart.
    """

    name: ClassVar[str]
    sense: ClassVar[Literal["max", "min"]]

    def placed_value(self, task: TaskFacts, rate: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what one whole task is worth at each rate of its slowest worker (maximised form).

        Must not fall as the rate grows.
        """
        ...

    def unplaced_worth(self, task: TaskFacts) -> float | NDArray[np.float64]:
        """Return what one task that is left out adds to the objective, in its own sense."""
        ...

    def score(self, instance: Instance, plan: Plan) -> float:
        """Return the objective of a plan from its predicted rates, without any compiled form."""
        ...


def used_gpu_worth(objective: Objective) -> float:
    """Return what a GPU that holds anything is worth, in maximised form."""
    return float(getattr(objective, "used_gpu_worth", 0.0))


def reads_work(spec: Component) -> bool:
    """Return whether an objective looks at the work left and the service received."""
    of = spec.params.get("of")
    named = [spec.name, of] if isinstance(of, str) else [spec.name]
    known = [name for name in named if name in registry.names("objective")]
    return any(getattr(registry.get("objective", name), "reads_work", False) for name in known)


def fair_gpus(instance: Instance) -> float:
    """Return an even share of the GPUs for each training worker, at most a whole one."""
    gpus = sum(pool.size for pool in instance.gpu_pools if pool.schedulable)
    entries = task_entries(instance)
    workers = sum(
        n * k for n, k in zip(entries.values("count"), entries.values("gang_size"), strict=True)
    )
    return min(1.0, gpus / workers) if workers and gpus else 1.0


def objective(spec: Component) -> Objective:
    """Make the objective that an instance names."""
    found: Objective = make(registry.get("objective", spec.name), spec, "$.objective")
    return found
