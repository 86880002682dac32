"""What every task is worth beside every service, for many distinct services and tasks.

A service of kind a (its row in the pair table) and a task beside it, on one kind of GPU:

    W_st = max over batches b and shares q of  worth_a[q, t]
           where  high[a, t] <= tolerated[s, b, q]     (the SLO holds in this company)
           and    memory_sb + memory_t <= room

worth_a[q, t] is the best worth of the task on what the service leaves when it takes share q; shares
ascend in what they take. No slowdown may depend on the knobs. Enumeration looks at all b and q for
every pair. Instead, where all batches of s fit beside t, and worth does not rise with q,

    T_sq = max over b, and over shares up to q, of tolerated[s, b, .]     (the batch drops out)
    q*   = first q with T_sq >= high[a, t]                                (the least share is best)

so with the tasks in the order of high[a, .] a row of W is at most as many runs as there are shares:
each is copied from worth_a whole. Where memory excludes some batch, q* is looked up for each pair
in the T of the batches that fit. Tasks whose worth rises somewhere are enumerated. The result says
how many pairs that were.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from colocate.configure.longest import longest_batch_time
from colocate.models.slo import SloModel
from colocate.schema import TOLERANCE

__all__ = ["PairWorth", "Pairs", "enumerated", "pair_worth", "tolerated_slowdown"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

NOT_TOGETHER = -np.inf
BLOCK = 400_000


@dataclass(frozen=True, slots=True)
class Pairs:
    """Services and tasks on one kind of GPU."""

    tolerated: Floats
    """[service, batch, share]: the largest slowdown bound that the service bears; 0 if none."""
    service_memory: Floats
    """[service, batch]; infinite where the service has fewer batches."""
    kind: Ints
    """[service]: row of `high`, and argument of `worth`."""
    high: Floats
    """[kind, task]: bound on the slowdown of a service by a task; infinite or nan: not known."""
    task_memory: Floats
    room: float
    worth: Callable[[int], Floats]
    """[share, task] for a kind of service: in maximised form; minus infinity: does not run."""


@dataclass(frozen=True, slots=True)
class PairWorth:
    """The matrix, and how it was found."""

    worth: NDArray[np.floating]
    """[service, task]; minus infinity where the two cannot be put together."""
    memory_binds: int
    """Pairs that were looked up one by one because memory excludes some batch."""
    not_monotone: int
    """Further pairs that were enumerated because worth rises with the share."""


def tolerated_slowdown(
    slo: SloModel,
    batch: Floats,
    rate_lo: Floats,
    rate_rps: Floats,
    slo_ms: Floats,
    percentile: float,
) -> Floats:
    """Invert the SLO model: the largest slowdown bound that holds the SLO, [service, batch, share].

    `batch` is [service, batch] and `rate_lo` [service, batch, share]; `rate_rps` and `slo_ms` are
    [service].
    """
    arrivals, limit = rate_rps[:, None], slo_ms[:, None]
    longest = longest_batch_time(slo, batch, arrivals, limit, percentile)
    return np.asarray(rate_lo * (longest / batch)[:, :, None])


def pair_worth(
    pairs: Pairs,
    dtype: type[np.floating] = np.float64,
    out: NDArray[np.floating] | None = None,
) -> PairWorth:
    """Return the worth of every pair, by runs where that is exact and by enumeration elsewhere.

    Parameters
    ----------
    pairs
        The services and tasks.
    dtype
        Width of the matrix; what can be put together is decided in float64 whatever it is.
    out
        Matrix to write into, of this width: a new one of a hundred million numbers takes longer to
        be mapped into memory than to be filled.
    """
    shape = pairs.kind.size, pairs.task_memory.size
    found = np.empty(shape, dtype=dtype) if out is None else out
    assert found.shape == shape
    assert found.dtype == dtype
    limit = _limit(pairs.room)
    lightest = float(pairs.task_memory.min(initial=np.inf))
    heaviest = float(pairs.task_memory.max(initial=0.0))
    # A batch that does not even fit beside the lightest task is no batch.
    usable = pairs.service_memory + lightest <= limit
    top = np.where(usable, pairs.service_memory, 0.0).max(axis=1, initial=0.0)
    bears = np.where(usable[:, :, None], pairs.tolerated, 0.0).max(axis=1, initial=0.0)
    reach = np.maximum.accumulate(bears, axis=1)
    binds = rises = 0
    for kind in np.unique(pairs.kind).tolist():
        services = np.flatnonzero(pairs.kind == kind)
        worth = pairs.worth(kind)
        with np.errstate(invalid="ignore"):
            rising = (worth[1:] > worth[:-1]).any(axis=0)
        _runs(pairs.high[kind], worth.astype(dtype), reach, services, found)
        tasks = np.flatnonzero(rising)
        if tasks.size:
            rises += services.size * tasks.size
            found[np.ix_(services, tasks)] = _enumerated(pairs, worth, services, tasks)
        # Services whose largest batch may not fit beside the heaviest task.
        nothing = np.full((1, shape[1]), NOT_TOGETHER)
        values = np.concatenate([worth, nothing]).astype(dtype)
        for s in services[top[services] + heaviest > limit].tolist():
            tasks = np.flatnonzero((top[s] + pairs.task_memory > limit) & ~rising)
            binds += tasks.size
            found[s, tasks] = values[_least_that_fits(pairs, s, tasks), tasks]
    return PairWorth(found, binds, rises)


def _least_that_fits(pairs: Pairs, service: int, tasks: Ints) -> Ints:
    """Return the least share beside each task, with the batches that fit; past the last: none."""
    order = np.argsort(pairs.service_memory[service], kind="stable")
    memory = pairs.service_memory[service, order]
    fit = (memory + pairs.task_memory[tasks][:, None] <= _limit(pairs.room)).sum(axis=1)
    # Row n: what is borne at each share or a smaller one with the n batches that take least.
    reach = np.maximum.accumulate(pairs.tolerated[service, order], axis=0)
    reach = np.minimum(np.maximum.accumulate(reach, axis=1), np.finfo(float).max)
    high = pairs.high[pairs.kind[service], tasks]
    high = np.where(np.isfinite(high), high, np.inf)
    found = np.full(tasks.size, reach.shape[1])
    for n in np.unique(fit[fit > 0]).tolist():
        at = np.flatnonzero(fit == n)
        found[at] = np.searchsorted(reach[n - 1], high[at])
    return found


def _runs(
    high: Floats,
    worth: NDArray[np.floating],
    reach: Floats,
    services: Ints,
    found: NDArray[np.floating],
) -> None:
    """Fill the rows of services of one kind, a run of tasks for each share."""
    n_shares, n_tasks = worth.shape
    # What is not known sorts last and is never tolerated.
    high = np.where(np.isfinite(high), high, np.inf)
    order = np.argsort(high, kind="stable")
    place = np.empty(n_tasks, dtype=np.intp)
    place[order] = np.arange(n_tasks)
    sorted_high = high[order]
    bears = np.minimum(reach[services], np.finfo(float).max)
    ends = np.searchsorted(sorted_high, bears, side="right")
    begins = np.concatenate([np.zeros((services.size, 1), dtype=ends.dtype), ends[:, :-1]], axis=1)
    at, share = np.nonzero(ends > begins)
    table = np.ascontiguousarray(worth[:, order])
    rows = list(table)
    nothing = np.full(n_tasks, NOT_TOGETHER, dtype=worth.dtype)
    row = np.empty(n_tasks, dtype=worth.dtype)
    in_order = bool((order[1:] > order[:-1]).all())
    runs = np.concatenate([[0], np.cumsum(np.bincount(at, minlength=services.size))]).tolist()
    q, low, up = share.tolist(), begins[at, share].tolist(), ends[at, share].tolist()
    last = ends[:, -1].tolist() if n_shares else [0] * services.size
    for i, s in enumerate(services.tolist()):
        target = found[s] if in_order else row
        for k in range(runs[i], runs[i + 1]):
            a, b = low[k], up[k]
            target[a:b] = rows[q[k]][a:b]
        target[last[i] :] = nothing[last[i] :]
        if not in_order:
            # Clipping is never needed, and without it the copy is buffered.
            np.take(row, place, out=found[s], mode="clip")


def enumerated(pairs: Pairs, dtype: type[np.floating] = np.float64) -> NDArray[np.floating]:
    """Return the worth of every pair by looking at all batches and shares."""
    found = np.empty((pairs.kind.size, pairs.task_memory.size), dtype=dtype)
    tasks = np.arange(pairs.task_memory.size)
    step = max(1, BLOCK // max(1, tasks.size))
    for kind in np.unique(pairs.kind).tolist():
        services = np.flatnonzero(pairs.kind == kind)
        worth = pairs.worth(kind).astype(dtype)
        for start in range(0, services.size, step):
            part = services[start : start + step]
            found[part] = _enumerated(pairs, worth, part, tasks)
    return found


def _enumerated(
    pairs: Pairs, worth: NDArray[np.floating], services: Ints, tasks: Ints
) -> NDArray[np.floating]:
    """Return the worth of services of one kind beside tasks, a pass for each batch and share."""
    best = np.full((services.size, tasks.size), NOT_TOGETHER, dtype=worth.dtype)
    if not best.size:
        return best
    high = pairs.high[pairs.kind[services[0]], tasks]
    high = np.where(np.isfinite(high), high, np.inf)
    with np.errstate(invalid="ignore"):
        for b in range(pairs.tolerated.shape[1]):
            memory = pairs.service_memory[services, b]
            fits = memory[:, None] + pairs.task_memory[tasks] <= _limit(pairs.room)
            for q in range(pairs.tolerated.shape[2]):
                bears = np.minimum(pairs.tolerated[services, b, q], np.finfo(float).max)
                allowed = fits & (high <= bears[:, None])
                better = np.where(allowed, worth[q, tasks], worth.dtype.type(NOT_TOGETHER))
                np.maximum(best, better, out=best)
    return best


def _limit(room: float) -> float:
    return room + TOLERANCE * max(1.0, abs(room))
