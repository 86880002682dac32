"""What objectives may know of the task classes, as arrays."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from colocate.models.curves import rates_alone
from colocate.objectives.base import TaskFacts, fair_gpus

if TYPE_CHECKING:
    from colocate.instance import Instance, Task

__all__ = ["facts_at", "task_facts"]

Ints = NDArray[np.int64]


def task_facts(instance: Instance, rows: tuple[Task, ...]) -> TaskFacts:
    """Return the facts of all task classes, as arrays."""
    whole = np.array([100.0])
    reference = []
    for t in rows:
        found = [
            rates_alone(p, t.batch, whole) for p in instance.profiles if p.workload == t.profile
        ]
        reference.append(max((float(r[0]) for r in found if r is not None), default=0.0))
    return TaskFacts(
        weight=np.array([t.weight for t in rows]),
        gang_size=np.array([t.gang_size for t in rows], dtype=np.int64),
        batch=np.array([t.batch for t in rows], dtype=np.int64),
        reference_rate=np.array(reference),
        remaining_samples=np.array(
            [math.inf if t.remaining_samples is None else t.remaining_samples for t in rows]
        ),
        attained_gpu_s=np.array([t.attained_gpu_s or 0.0 for t in rows]),
        fair_gpus=fair_gpus(instance),
    )


def facts_at(facts: TaskFacts, index: Ints) -> TaskFacts:
    """Return the facts of the classes at these indices."""
    return TaskFacts(
        weight=np.asarray(facts.weight)[index],
        gang_size=np.asarray(facts.gang_size)[index],
        batch=np.asarray(facts.batch)[index],
        reference_rate=np.asarray(facts.reference_rate)[index],
        remaining_samples=np.asarray(facts.remaining_samples)[index],
        attained_gpu_s=np.asarray(facts.attained_gpu_s)[index],
        fair_gpus=facts.fair_gpus,
    )
