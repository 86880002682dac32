"""The ways to train each task class: one for each batch that it may train at.

A variant is to the rest of this room what a task is: something with one rate at each share. Its
rates count progress, in samples of the task's own batch per second:

    progress at batch m = samples per second at m * e(m)        (e: `models.efficiency`)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from colocate.instance import Task
from colocate.models.efficiency import efficiency_of_task

__all__ = ["Variants", "variants_of"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Variants:
    """All variants, in the order of the task classes and ascending in batch."""

    task: Ints
    """Task class of each variant."""
    batch: Ints
    efficiency: Floats
    first: Ints
    """First variant of each task class, and the number of all variants at the end."""

    @property
    def size(self) -> int:
        """Number of variants."""
        return int(self.task.size)

    @property
    def is_choice(self) -> bool:
        """Whether some task has more than one batch."""
        return self.size >= self.first.size

    def at(self, task: int, batch: int) -> int:
        """Return the variant of a task class at a batch."""
        start, end = self.first[task : task + 2].tolist()
        return int(start + np.searchsorted(self.batch[start:end], batch))

    def expand(self, sets: Ints, n_services: int) -> tuple[Ints, Ints]:
        """Turn sets of classes into sets of variants, and say which set each came from.

        Of members of one class, which stand side by side, the batches ascend.
        """
        chosen, origin = sets.copy(), np.arange(len(sets))
        for c in range(n_services, sets.shape[1]):
            n = np.diff(self.first)[sets[origin, c]]
            rows = np.repeat(np.arange(origin.size), n)
            within = np.arange(rows.size) - np.repeat(np.cumsum(n) - n, n)
            chosen, origin = chosen[rows], origin[rows]
            chosen[:, c] = self.first[sets[origin, c]] + within
            if c > n_services:
                same = sets[origin, c - 1] == sets[origin, c]
                keep = ~same | (chosen[:, c - 1] <= chosen[:, c])
                chosen, origin = chosen[keep], origin[keep]
        return chosen, origin


def variants_of(tasks: Sequence[Task]) -> Variants:
    """Return the variants of all task classes."""
    batches = [sorted(t.batches) if t.batches is not None else [t.batch] for t in tasks]
    task = [i for i, known in enumerate(batches) for _ in known]
    batch = [b for known in batches for b in known]
    return Variants(
        task=np.array(task, dtype=np.int64),
        batch=np.array(batch, dtype=np.int64),
        efficiency=np.array(
            [efficiency_of_task(tasks[i], b) for i, b in zip(task, batch, strict=True)]
        ),
        first=np.concatenate([[0], np.cumsum([len(known) for known in batches])]).astype(np.int64),
    )
