"""What every single task is worth beside every service on one kind of GPU, as a dense matrix.

The numbers are those of the columns that the compiler makes of the same pairs; rules that keep two
apart (users, tenants, anti-affinity, clients) are not in it. A matrix of worths is all that an
assignment needs, and far smaller than columns, which hold the knobs of every pair.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from colocate.configure.least import LeastShares
from colocate.configure.one_to_one import Pairs, PairWorth, pair_worth
from colocate.configure.speeds import Speeds
from colocate.task_facts import facts_at

__all__ = ["pairs_of", "worth_of_pairs"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def worth_of_pairs(
    speeds: Speeds, services: Ints, tasks: Ints, dtype: type[np.floating] = np.float64
) -> PairWorth:
    """Return the worth of every pair of these service classes and task classes; see `Pairs`."""
    return pair_worth(pairs_of(speeds, services, tasks), dtype)


def pairs_of(speeds: Speeds, services: Ints, tasks: Ints) -> Pairs:
    """Return services and tasks that run on a kind of GPU, with what each bears and takes.

    Parameters
    ----------
    speeds
        The classes on that kind of GPU.
    services
        Service classes that run there.
    tasks
        Task classes of one batch and gang size 1 that run there.

    Raises
    ------
    ValueError
        Where a slowdown depends on the knobs, a task has a choice of batches, or the SLO model is
        not monotone: then one number for each share does not say what a pair is worth.
    """
    sets = np.stack(np.broadcast_arrays(services[:, None], tasks[None, :]), axis=2).reshape(-1, 2)
    if speeds.variants.is_choice or (len(sets) and speeds.coupled(sets, 1).any()):
        msg = "slowdowns depend on batches or shares, or a task may train at several batches"
        raise ValueError(msg)
    least = LeastShares(speeds)
    grid, sms = speeds.gpu.grid, speeds.gpu.sm_count
    held = [speeds.services[s] for s in services.tolist()]
    n_batches = max((s.batch.size for s in held if s is not None), default=0)
    tolerated = np.zeros((services.size, n_batches, grid.size))
    memory = np.full((services.size, n_batches), np.inf)
    for i, (s, speed) in enumerate(zip(services.tolist(), held, strict=True)):
        borne = None if speed is None else least.borne(s)
        if speed is None or borne is None:
            msg = f"service class {s} does not run here, or its SLO model is not monotone"
            raise ValueError(msg)
        tolerated[i, : len(borne)] = np.where(grid.hi <= sms, borne, 0.0)
        memory[i, : len(borne)] = speed.memory_gib
    of_task = np.array([_pair_index(speeds, t) for t in tasks.tolist()], dtype=np.int64)
    of_service = np.array([-1 if s is None else s.pair_index for s in held], dtype=np.int64)
    rest = np.maximum(sms - grid.hi, 0)
    best = speeds.best_within[tasks[None, :], rest[:, None]]
    rate, facts = speeds.task_rate[tasks[None, :], best], facts_at(speeds.facts, tasks)

    def worth(kind: int) -> Floats:
        slower = speeds.pairs.mean[of_task, kind]
        value = speeds.value.placed_value(facts, rate / slower)
        return np.where((best >= 0) & np.isfinite(slower), value, -np.inf)

    return Pairs(
        tolerated=tolerated,
        service_memory=memory,
        kind=of_service,
        high=speeds.pairs.high[:, of_task],
        task_memory=speeds.task_memory[tasks],
        room=speeds.gpu.memory_gib,
        worth=worth,
    )


def _pair_index(speeds: Speeds, task: int) -> int:
    found = speeds.tasks[task]
    if found is None:
        msg = f"task class {task} does not run here"
        raise ValueError(msg)
    return found.pair_index
