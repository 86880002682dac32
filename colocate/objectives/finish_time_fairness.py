"""Finish-time fairness (Themis): who finishes latest, compared with an even share of the GPUs.

    min  max of  weight * min(rho, unplaced)   over placed tasks
                 weight * unplaced             over tasks that are not placed
                 missing_price                 over missing replicas

    rho = (A/k + R / (k r)) / (A/k + R / (k f ref))

A plan is a snapshot: a task of k workers has received A GPU-seconds so far (`attained_gpu_s`),
taken as if all workers had run together, and has R samples to go (`remaining_samples`). Above
stands when it would finish if the plan lasted, at progress r of its slowest worker; below, when it
would finish alone on an even share of the cluster,

    f = min(1, schedulable GPUs / training workers)   of a GPU for each worker,

at f times its reference rate. A task without `remaining_samples` has no end: rho = f ref / r. One
with nothing left to do has rho = 1. Service received counts on both sides, so a task that has run
for long is moved less by what comes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from colocate.objectives._worst import Worst
from colocate.objectives.base import TaskFacts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class FinishTimeFairness(Worst):
    """How much later than with an even share the unluckiest task finishes."""

    name: ClassVar[str] = "finish_time_fairness"
    reads_work: ClassVar[bool] = True

    def badness(self, task: TaskFacts, rate: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the weighted rho of a task at each rate of its slowest worker."""
        import numpy as np

        fair_rate = task.fair_gpus * task.reference_rate
        so_far = np.asarray(task.attained_gpu_s) / task.gang_size
        left = np.asarray(task.remaining_samples) / task.gang_size
        endless = np.isinf(left)
        left = np.where(endless, 0.0, left)
        fair = so_far + left / fair_rate
        with np.errstate(invalid="ignore", divide="ignore"):
            rho = np.where(fair > 0, (so_far + left / rate) / fair, 1.0)
        found: NDArray[np.float64] = task.weight * np.where(endless, fair_rate / rate, rho)
        return found
