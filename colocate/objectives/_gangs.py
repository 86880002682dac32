"""What of a plan an objective is scored on: the pace of each placed task, and what is missing.

A gang runs at the pace of its slowest worker. Tasks without a gang are not told apart: a row stands
for as many of them as run at one rate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from colocate.entries import Entries
from colocate.errors import PlanError
from colocate.instance import Instance, Task
from colocate.models.curves import rate_alone
from colocate.models.efficiency import efficiency_of_task
from colocate.plan import Plan
from colocate.runs import count_ids, run_pairs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "PlacedTasks",
    "left_out",
    "missing_cost",
    "placed_tasks",
    "reference_rate",
    "reference_rates",
]


class PlacedTasks(NamedTuple):
    """Placed tasks, in rows of equal entry and rate."""

    entry: NDArray[np.int64]
    """Position of the task entry."""
    rate: NDArray[np.float64]
    """Predicted progress of the slowest worker, in samples of the task's own batch per second."""
    number: NDArray[np.int64]
    """How many tasks the row stands for."""


def placed_tasks(instance: Instance, plan: Plan, entries: Entries[Task]) -> PlacedTasks:
    """Return the placed tasks of a plan by the pace of their slowest worker.

    Raises
    ------
    PlanError
        When the plan names unknown tasks, states no rate, or splits a gang.
    """
    import numpy as np

    gang_sizes, noise_scales = entries.integers("gang_size"), entries.values("noise_scale")
    single: list[tuple[int, float, int]] = []
    gangs: dict[int, list[tuple[str, float]]] = {}
    for group in plan.placements:
        for placed in group.tasks:
            position = entries.find(placed.task)
            if position is None or placed.predicted is None:
                what = "is not in the instance" if position is None else "has no predicted rate"
                raise PlanError(
                    f"task {placed.task!r} on {group.pool}/{group.gpus[:60]} {what}",
                    path="$.placements",
                    advice=f"check the plan against instance {instance.name!r} with verify.",
                )
            rate = placed.predicted.rate
            if noise_scales[position] is not None:
                rate *= efficiency_of_task(entries.get(position), placed.batch)
            if gang_sizes[position] == 1:
                single.append((position, rate, count_ids(placed.workers)))
            else:
                gangs.setdefault(position, []).append((placed.workers, rate))
    entry = [np.array([r[0] for r in single], dtype=np.int64)]
    rates = [np.array([r[1] for r in single], dtype=np.float64)]
    number = [np.array([r[2] for r in single], dtype=np.int64)]
    for position, runs in gangs.items():
        slowest, times = _slowest(runs, int(gang_sizes[position]), entries.name(position))
        entry.append(np.full(slowest.size, position, dtype=np.int64))
        rates.append(slowest)
        number.append(times)
    return PlacedTasks(np.concatenate(entry), np.concatenate(rates), np.concatenate(number))


def _slowest(
    runs: list[tuple[str, float]], gang_size: int, name: str
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the slowest rates of gangs, and how many gangs that follow each other have each.

    It looks at where runs of workers begin and end, not at the workers.
    """
    import numpy as np

    table = [(low, high + 1, rate) for text, rate in runs for low, high in run_pairs(text)]
    table.sort()
    low = np.array([row[0] for row in table], dtype=np.int64)
    end = np.array([row[1] for row in table], dtype=np.int64)
    rate = np.array([row[2] for row in table], dtype=np.float64)
    # Unbroken blocks of workers hold whole gangs, and no worker stands in two runs.
    parted = low[1:] != end[:-1]
    torn = np.concatenate([low[:1], low[1:][parted], end[:-1][parted], end[-1:]]) % gang_size
    if (low[1:] < end[:-1]).any() or torn.any():
        raise PlanError(
            f"{name} has gangs of {gang_size}, but not all workers of each are placed once",
            path="$.placements",
            advice="place whole gangs.",
        )
    # A gang in which a run begins stands by itself; all others between two of them are alike.
    cuts = np.unique(np.concatenate([low // gang_size, -(-low // gang_size), end // gang_size]))
    first = np.searchsorted(end, cuts * gang_size, side="right")
    placed = first < low.size
    placed[placed] = low[first[placed]] <= cuts[placed] * gang_size
    cuts_end = np.append(cuts[1:], cuts[-1:])
    slowest = np.array(
        [
            rate[a:b].min()
            for a, b in zip(
                first[placed].tolist(),
                np.searchsorted(low, (cuts[placed] + 1) * gang_size).tolist(),
                strict=True,
            )
        ]
    )
    return slowest, (cuts_end - cuts)[placed]


def reference_rate(instance: Instance, workload: str, batch: int) -> float:
    """Return samples per second on a whole GPU of the fastest profiled type."""
    alone = (rate_alone(p, batch, 100.0) for p in instance.profiles if p.workload == workload)
    return max((rate for rate in alone if rate is not None), default=0.0)


def reference_rates(
    instance: Instance, entries: Entries[Task], positions: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the reference rate of the task entry at each position."""
    import numpy as np

    distinct, inverse = np.unique(positions, return_inverse=True)
    workloads, batches = entries.values("profile"), entries.values("batch")
    known: dict[tuple[str, int], float] = {}
    for position in distinct.tolist():
        key = workloads[position], batches[position]
        if key not in known:
            known[key] = reference_rate(instance, *key)
    rates = np.array([known[workloads[i], batches[i]] for i in distinct.tolist()])
    found: NDArray[np.float64] = rates[inverse] if distinct.size else np.zeros(0)
    return found


def left_out(entries: Entries[Task], placed: PlacedTasks) -> NDArray[np.int64]:
    """Return how many tasks of each entry are not placed."""
    import numpy as np

    held = np.bincount(placed.entry, weights=placed.number, minlength=len(entries))
    missing: NDArray[np.int64] = entries.integers("count") - np.rint(held).astype(np.int64)
    return missing


def missing_cost(instance: Instance, plan: Plan) -> float:
    """Return the prices of all replicas that the plan leaves out."""
    placed: dict[str, int] = {}
    for group in plan.placements:
        for service in group.services:
            placed[service.service] = placed.get(service.service, 0) + group.count
    table = instance.service_table
    cost = 0.0
    for s in instance.services:
        if s.missing_price is not None:
            cost += s.missing_price * (s.replicas - placed.get(s.id, 0))
    if table is not None and table.missing_price is not None:
        wanted = (
            sum(table.replicas)
            if isinstance(table.replicas, tuple)
            else (table.replicas * table.rows)
        )
        listed = {s.id for s in instance.services}
        held = sum(n for name, n in placed.items() if name not in listed)
        cost += table.missing_price * (wanted - held)
    return cost
