"""Nothing is shared.

    a task takes an idle GPU of any kind, whole; without one it waits

What clusters without sharing do, and what all of the published systems compare with.
"""

from __future__ import annotations

from typing import ClassVar

from colocate.solvers.policies._company import Held, Setting
from colocate.solvers.policies._online import Joined, Policy

__all__ = ["Exclusive"]


class Exclusive(Policy):
    """Tasks on idle GPUs only."""

    name: ClassVar[str] = "exclusive"

    def join(self, setting: Setting, held: Held, task: int) -> Joined:
        """Only an empty GPU takes a task."""
        del task
        return None if setting.held.classes else self.task_alone(held)
