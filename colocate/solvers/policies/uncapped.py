"""No shares at all: MPS as it comes, where every client may use every multiprocessor.

Plans of this library give each workload multiprocessors of its own, so this policy cannot be stated
literally; it is approximated by what the hardware makes of it while everyone is running:

    q_i = 100 * a_i / (sum of a_j)     a_i: the least share at which i alone reaches 95 % of its
                                            full rate, the multiprocessors that its kernels fill
    a task goes to the emptiest GPU that can take it, of several by lot

The approximation is kind to nobody: what a service leaves idle between batches is not counted for
the tasks beside it, and no time is lost where kernels meet. Nothing protects a service, so where
its part is too little for its SLO the pair is not made.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from colocate.solvers.policies._company import Company, Held, Setting
from colocate.solvers.policies._online import Joined, Policy

__all__ = ["Uncapped", "demand"]


def demand(company: Company, held: Held, tasks: tuple[int, ...], batch: int) -> NDArray[np.float64]:
    """Return a_i of everyone, the service at this batch first."""
    found = []
    if held.n_services:
        speed = company.speed(held)
        at = int(np.flatnonzero(speed.batch == batch)[0])
        found.append(company.busy_with(held.gpu, speed.rate[at]))
    for i, b in enumerate(tasks):
        found.append(company.busy_with(held.gpu, company.rate_alone(held, i, b)))
    return np.array(found)


class Uncapped(Policy):
    """Everyone gets what its kernels ask for, in proportion."""

    name: ClassVar[str] = "uncapped"
    most_tasks: ClassVar[int] = 3

    def join(self, setting: Setting, held: Held, task: int) -> Joined:
        """Divide by demand, the service at the batch that it was deployed with or a better one."""
        del task
        if len(held.classes) == 1:
            return self.task_alone(held)
        split = self.split(setting, held, self.company.own_batches(held))
        return None if split is None else (float(len(setting.held.classes)), split)

    def split(self, setting: Setting, held: Held, tasks: tuple[int, ...]) -> Setting | None:
        """Return the GPU without caps, or None where the service would miss its SLO."""
        company = self.company
        deployed = setting.batch[0] if held.n_services else 0
        grid = company.divided(held, demand(company, held, tasks, deployed))
        batch = company.best_batch(held, tasks, grid)
        return None if batch is None else Setting(held, batch, tuple(grid[:, 0].tolist()))
