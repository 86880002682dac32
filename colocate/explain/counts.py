"""How many tasks and replicas of each entry a plan holds, and what two plans differ in."""

from __future__ import annotations

from dataclasses import dataclass

from colocate.instance import Instance
from colocate.plan import Plan
from colocate.runs import count_ids

__all__ = ["Shift", "placed_tasks", "shift"]


def placed_tasks(instance: Instance, plan: Plan) -> dict[str, int]:
    """Return the number of placed tasks of each entry that is in the plan at all."""
    workers: dict[str, int] = {}
    for group in plan.placements:
        for placed in group.tasks:
            workers[placed.task] = workers.get(placed.task, 0) + count_ids(placed.workers)
    return {name: n // instance.task(name).gang_size for name, n in workers.items()}


def _placed_replicas(plan: Plan) -> dict[str, int]:
    found: dict[str, int] = {}
    for group in plan.placements:
        for placed in group.services:
            found[placed.service] = found.get(placed.service, 0) + count_ids(placed.replicas)
    return found


@dataclass(frozen=True, slots=True)
class Shift:
    """Tasks and replicas that one plan holds more of than another."""

    tasks_gained: dict[str, int]
    tasks_lost: dict[str, int]
    replicas_gained: dict[str, int]
    replicas_lost: dict[str, int]

    @property
    def is_empty(self) -> bool:
        """Whether both plans hold the same."""
        return not (
            self.tasks_gained or self.tasks_lost or self.replicas_gained or self.replicas_lost
        )


def shift(before: Instance, old: Plan, after: Instance, new: Plan) -> Shift:
    """Compare what two plans hold, each of its own instance."""
    tasks = _more(placed_tasks(before, old), placed_tasks(after, new))
    replicas = _more(_placed_replicas(old), _placed_replicas(new))
    return Shift(*tasks, *replicas)


def _more(old: dict[str, int], new: dict[str, int]) -> tuple[dict[str, int], dict[str, int]]:
    change = {n: new.get(n, 0) - old.get(n, 0) for n in sorted(old.keys() | new.keys())}
    return (
        {n: c for n, c in change.items() if c > 0},
        {n: -c for n, c in change.items() if c < 0},
    )
