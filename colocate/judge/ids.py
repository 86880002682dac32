"""Is everything in the plan exactly once: GPUs, replicas, workers, and what is left out.

All of this works on runs (first, last) of ordinals and never on single ids, so that a plan for a
million GPUs in a few groups costs as much as one for ten, and a hostile plan no more than its text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from colocate.constraints._residents import gpus_text
from colocate.entries import Entries
from colocate.instance import GpuRef, Instance, Service, Task
from colocate.judge.findings import Findings
from colocate.placement import PlacementGroup
from colocate.plan import Plan
from colocate.runs import count_ids, ids_of, run_pairs
from colocate.violation import ViolationKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

__all__ = ["check_ids"]


class _Runs(NamedTuple):
    """Runs of ordinals, each of one owner (a pool, a service, a task), sorted."""

    owner: Ints
    low: Ints
    high: Ints


class _Overlap(NamedTuple):
    owner: int
    low: int
    high: int


def _sorted(runs: list[tuple[int, int, int]]) -> _Runs:
    table = np.array(runs, dtype=np.int64).reshape(-1, 3)
    table = table[np.lexsort((table[:, 2], table[:, 1], table[:, 0]))]
    return _Runs(table[:, 0], table[:, 1], table[:, 2])


def _joined(a: _Runs, b: _Runs) -> _Runs:
    stacked = [np.concatenate(pair) for pair in zip(a, b, strict=True)]
    order = np.lexsort((stacked[2], stacked[1], stacked[0]))
    return _Runs(*(column[order] for column in stacked))


def _reach(runs: _Runs) -> Ints:
    """Return for each run how far the runs of the same owner up to it reach."""
    # Owners are ranked and the ordinals lifted above those of the owner before, so that one running
    # maximum serves all owners.
    rank = np.concatenate(([0], np.cumsum(np.diff(runs.owner) != 0))).astype(np.int64)
    span = int(runs.high.max()) + 1
    assert rank[-1] < 2**62 // span, "the limits of an instance keep this far away"
    reach: Ints = np.maximum.accumulate(runs.high + rank * span) - rank * span
    return reach


def _overlaps(runs: _Runs) -> list[_Overlap]:
    """Return where two runs of one owner name the same ordinal."""
    if runs.owner.size < 2:
        return []
    reach = _reach(runs)[:-1]
    again = (runs.owner[1:] == runs.owner[:-1]) & (runs.low[1:] <= reach)
    return [
        _Overlap(int(runs.owner[i + 1]), int(runs.low[i + 1]), int(min(runs.high[i + 1], reach[i])))
        for i in np.flatnonzero(again).tolist()
    ]


def _blocks(runs: _Runs) -> _Runs:
    """Return the same ordinals in as few runs as possible."""
    if runs.owner.size == 0:
        return runs
    reach = _reach(runs)
    starts = np.concatenate(
        ([True], (runs.owner[1:] != runs.owner[:-1]) | (runs.low[1:] > reach[:-1] + 1))
    )
    ends = np.concatenate((np.flatnonzero(starts)[1:] - 1, [runs.owner.size - 1]))
    return _Runs(runs.owner[starts], runs.low[starts], reach[ends])


def _span(low: int, high: int) -> str:
    return str(low) if low == high else f"{low}-{high}"


def _count(runs: _Runs, n: int) -> Ints:
    """Return how many ordinals each owner has."""
    lengths = (runs.high - runs.low + 1).astype(np.float64)
    return np.bincount(runs.owner, weights=lengths, minlength=n).astype(np.int64)


def check_ids(
    instance: Instance,
    plan: Plan,
    services: Entries[Service],
    tasks: Entries[Task],
    findings: Findings,
) -> None:
    """Check references, ranges and that everything is named exactly once."""
    _side_by_side(plan, findings)
    _gpus(instance, plan, findings)
    _replicas(plan, services, findings)
    _workers(plan, tasks, findings)
    _gang_on_one_gpu(plan, tasks, findings)
    _one_batch_for_a_gang(plan, tasks, findings)
    _pinned(instance, plan, findings)


def _side_by_side(plan: Plan, findings: Findings) -> None:
    """Check that each GPU of a group holds something, and one of everything that the group lists.

    Plans read from a file are checked for this as they are read; others need not have been.
    """
    for group in plan.placements:
        gpus = group.count
        if not group.services and not group.tasks:
            findings.add("accounting", gpus_text(group), "holds nothing")
        for s in group.services:
            n = count_ids(s.replicas)
            if n != gpus:
                message = f"lists {n} replicas of service {s.service} for {gpus} GPUs"
                findings.add("accounting", gpus_text(group), message)
        for t in group.tasks:
            n = count_ids(t.workers)
            if n != gpus:
                message = f"lists {n} workers of task {t.task} for {gpus} GPUs"
                findings.add("accounting", gpus_text(group), message)


def _gpus(instance: Instance, plan: Plan, findings: Findings) -> None:
    position = {pool.id: i for i, pool in enumerate(instance.gpu_pools)}
    runs: list[tuple[int, int, int]] = []
    for group in plan.placements:
        at = position.get(group.pool)
        if at is None:
            message = f"GPU pool {group.pool!r} is not in the instance"
            findings.add("reference", gpus_text(group), message)
            continue
        pool = instance.gpu_pools[at]
        last = pool.first + pool.size - 1
        if not pool.schedulable:
            findings.add(
                "unschedulable", gpus_text(group), f"pool {pool.id} is not to be planned with"
            )
        for low, high in run_pairs(group.gpus):
            if low < pool.first or high > last:
                findings.add(
                    "reference",
                    gpus_text(group),
                    f"GPU {_span(low, high)} is not in pool {pool.id}, which has "
                    f"{_span(pool.first, last)}",
                )
            else:
                runs.append((at, low, high))
    for overlap in _overlaps(_sorted(runs)):
        where = f"{instance.gpu_pools[overlap.owner].id}/{_span(overlap.low, overlap.high)}"
        findings.add("gpu_used_twice", where, "is in more than one place of the plan")


class _Mentions:
    """Runs of replicas, workers or tasks that the plan names, with unknown owners left out."""

    def __init__(self, entries: Entries[Service] | Entries[Task], findings: Findings) -> None:
        self.entries = entries
        self.findings = findings
        self.runs: list[tuple[int, int, int]] = []

    def add(
        self,
        entry_id: str,
        text: str,
        where: str | PlacementGroup,
        size: Callable[[int], int],
    ) -> None:
        """Take the runs of one mention; `size` says how many ordinals an entry has."""
        position = self.entries.find(entry_id)
        if position is None:
            message = f"{self.entries.word} {entry_id!r} is not in the instance"
            self.findings.add("reference", _text(where), message)
            return
        n = size(position)
        for low, high in run_pairs(text):
            if high >= n:
                message = (
                    f"{_span(low, high)} of {self.entries.name(position)}, which has 0-{n - 1}"
                )
                self.findings.add("reference", _text(where), message)
            else:
                self.runs.append((position, low, high))


def _text(where: str | PlacementGroup) -> str:
    return where if isinstance(where, str) else gpus_text(where)


def _twice(
    runs: _Runs,
    entries: Entries[Service] | Entries[Task],
    kind: ViolationKind,
    what: str,
    findings: Findings,
) -> bool:
    overlaps = _overlaps(runs)
    for overlap in overlaps:
        findings.add(
            kind, entries.name(overlap.owner), what.format(_span(overlap.low, overlap.high))
        )
    return bool(overlaps)


def _replicas(plan: Plan, services: Entries[Service], findings: Findings) -> None:
    wanted = services.integers("replicas")
    size: Callable[[int], int] = lambda i: int(wanted[i])  # noqa: E731
    held, left = _Mentions(services, findings), _Mentions(services, findings)
    for group in plan.placements:
        for s in group.services:
            held.add(s.service, s.replicas, group, size)
    for m in plan.missing:
        left.add(m.service, m.replicas, "missing replicas", size)
    placed, missing = _sorted(held.runs), _sorted(left.runs)
    clash = _twice(placed, services, "replica_placed_twice", "replica {} is placed twice", findings)
    clash |= _twice(missing, services, "accounting", "replica {} is listed missing twice", findings)
    if not clash:
        _twice(
            _joined(placed, missing),
            services,
            "accounting",
            "replica {} is placed and listed missing",
            findings,
        )
    n_placed = _count(placed, len(services))
    n_missing = _count(missing, len(services))
    for i in (n_placed + n_missing != wanted).nonzero()[0].tolist():
        findings.add(
            "accounting",
            services.name(i),
            f"{n_placed[i]} replicas placed and {n_missing[i]} missing of {wanted[i]}",
        )
    required = services.values("required")
    for i in (n_placed < wanted).nonzero()[0].tolist():
        if required[i]:
            message = f"is required, but {n_placed[i]} of {wanted[i]} replicas are placed"
            findings.add("required_service", services.name(i), message)


def _workers(plan: Plan, tasks: Entries[Task], findings: Findings) -> None:
    wanted, gang_sizes = tasks.integers("count"), tasks.integers("gang_size")
    held, left = _Mentions(tasks, findings), _Mentions(tasks, findings)
    for group in plan.placements:
        for t in group.tasks:
            held.add(t.task, t.workers, group, lambda i: int(wanted[i] * gang_sizes[i]))
    for u in plan.unplaced:
        left.add(u.task, u.ids, "unplaced tasks", lambda i: int(wanted[i]))
    workers, unplaced = _sorted(held.runs), _sorted(left.runs)
    clash = _twice(workers, tasks, "worker_placed_twice", "worker {} is placed twice", findings)
    clash |= _twice(unplaced, tasks, "accounting", "task {} is listed unplaced twice", findings)

    # A gang is whole exactly when it lies within one unbroken block of workers.
    blocks = _blocks(workers)
    size = gang_sizes[blocks.owner]
    torn = (blocks.low % size != 0) | ((blocks.high + 1) % size != 0)
    for i in torn.nonzero()[0].tolist():
        low, high, k = int(blocks.low[i]), int(blocks.high[i]), int(size[i])
        gang = low // k if low % k else high // k
        findings.add(
            "gang",
            tasks.name(int(blocks.owner[i])),
            f"task {gang} has workers {gang * k}-{gang * k + k - 1}, but only "
            f"{_span(max(low, gang * k), min(high, gang * k + k - 1))} of them are placed here",
        )
    broken = np.zeros(len(tasks), dtype=bool)
    broken[blocks.owner[torn]] = True

    placed = _Runs(blocks.owner, blocks.low // size, blocks.high // size)
    if not clash and not torn.any():
        union = _joined(placed, unplaced)
        _twice(union, tasks, "accounting", "task {} is placed and listed unplaced", findings)
    n_placed, n_left = _count(placed, len(tasks)), _count(unplaced, len(tasks))
    for i in ((n_placed + n_left != wanted) & ~broken).nonzero()[0].tolist():
        message = f"{n_placed[i]} tasks placed and {n_left[i]} unplaced of {wanted[i]}"
        findings.add("accounting", tasks.name(i), message)


def _gang_on_one_gpu(plan: Plan, tasks: Entries[Task], findings: Findings) -> None:
    """Find workers of one gang on one GPU. Groups that are broken already are not expanded."""
    if not findings.clean:
        return
    for group in plan.placements:
        mates: dict[str, list[str]] = {}
        for t in group.tasks:
            mates.setdefault(t.task, []).append(t.workers)
        for task_id, texts in mates.items():
            if len(texts) < 2:
                continue
            position = tasks.find(task_id)
            assert position is not None
            gang_size = tasks.get(position).gang_size
            if gang_size == 1:
                continue
            gangs = np.sort(np.stack([ids_of(text) // gang_size for text in texts]), axis=0)
            together = (np.diff(gangs, axis=0) == 0).any(axis=0)
            if together.any():
                at = int(together.argmax())
                same = gangs[:-1, at][np.diff(gangs[:, at]) == 0]
                findings.add(
                    "gang",
                    f"{group.pool}/{int(ids_of(group.gpus)[at])}",
                    f"holds two workers of task {int(same[0])} of {task_id}; "
                    "the workers of a gang need different GPUs",
                )


def _one_batch_for_a_gang(plan: Plan, tasks: Entries[Task], findings: Findings) -> None:
    """Find gangs whose workers train at different batches. Broken groups are not expanded."""
    choices, gang_sizes = tasks.values("batches"), tasks.integers("gang_size")
    if not findings.clean or all(choice is None for choice in choices):
        return
    trained: dict[int, list[tuple[str, int]]] = {}
    for group in plan.placements:
        for t in group.tasks:
            position = tasks.find(t.task)
            assert position is not None
            if choices[position] is not None and gang_sizes[position] > 1:
                trained.setdefault(position, []).append((t.workers, t.batch))
    for position, runs in trained.items():
        k = int(gang_sizes[position])
        workers = np.concatenate([ids_of(text) for text, _ in runs])
        batch = np.concatenate([np.full(ids_of(text).size, b) for text, b in runs])
        of_gang = batch[np.argsort(workers)].reshape(-1, k)
        torn = (of_gang != of_gang[:, :1]).any(axis=1)
        if torn.any():
            at = int(torn.argmax())
            batches = " and ".join(map(str, np.unique(of_gang[at])))
            message = (
                f"task {int(np.sort(workers)[at * k]) // k} has workers at batches {batches}; "
                "the workers of a gang train at one batch"
            )
            findings.add("gang", tasks.name(position), message)


def _pinned(instance: Instance, plan: Plan, findings: Findings) -> None:
    allowed: dict[str, dict[str, _Runs]] = {
        s.id: _by_pool(s.pinned) for s in instance.services if s.pinned is not None
    }
    if not allowed:
        return
    for group in plan.placements:
        seen = set()
        for placed in group.services:
            pins = allowed.get(placed.service)
            if pins is None:
                continue
            if placed.service in seen:
                message = f"holds two replicas of {placed.service}, which is pinned one to a GPU"
                findings.add("pinned_service", gpus_text(group), message)
            seen.add(placed.service)
            blocks = pins.get(group.pool)
            for low, high in run_pairs(group.gpus):
                at = -1 if blocks is None else int(np.searchsorted(blocks.low, low, "right")) - 1
                if blocks is None or at < 0 or high > blocks.high[at]:
                    findings.add(
                        "pinned_service",
                        f"{group.pool}/{_span(low, high)}",
                        f"service {placed.service} is pinned to other GPUs",
                    )


def _by_pool(pins: tuple[GpuRef, ...]) -> dict[str, _Runs]:
    texts: dict[str, list[tuple[int, int, int]]] = {}
    for ref in pins:
        texts.setdefault(ref.pool, []).extend((0, low, high) for low, high in run_pairs(ref.gpus))
    return {pool: _blocks(_sorted(runs)) for pool, runs in texts.items()}
