"""Equal parts.

    k workloads on a GPU have floor(S / k) multiprocessors each: 50 % and 50 % for two
    a task goes to the emptiest GPU that can take it, of several by lot

The split that MPS users set by hand, and the start of GSLICE's controller. It has no rule for what
to do when half a GPU is too little for a service: that pair is not made.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from colocate.solvers.policies._company import Held, Setting
from colocate.solvers.policies._online import Joined, Policy

__all__ = ["Even"]


class Even(Policy):
    """Half and half."""

    name: ClassVar[str] = "even"
    most_tasks: ClassVar[int] = 3

    def join(self, setting: Setting, held: Held, task: int) -> Joined:
        """Everyone gets an equal part."""
        del task
        if len(held.classes) == 1:
            return self.task_alone(held)
        company = self.company
        grid = company.divided(held, np.ones(len(held.classes)))
        batch = company.best_batch(held, company.own_batches(held), grid)
        if batch is None:
            return None
        return float(len(setting.held.classes)), Setting(held, batch, tuple(grid[:, 0].tolist()))
