"""The columns of an instance: a GPU class with co-tenants and their knobs, as flat arrays.

Sets of co-tenants of one shape (so many services, so many tasks) are enumerated together, pruned by
the constraints, configured, and, where a gang's worker is among them, repeated for every rate level
that the worker reaches.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import comb

import numpy as np
from numpy.typing import NDArray

from colocate.classes import Classes, GpuClass
from colocate.configure import Configurator, Settings
from colocate.constraints.base import Constraint, CoTenantSets
from colocate.errors import TooLargeError
from colocate.instance import Instance
from colocate.models.slo import SloModel
from colocate.objectives.base import Objective, TaskFacts, used_gpu_worth
from colocate.task_facts import facts_at

__all__ = ["Columns", "Levels", "admitted", "build_columns", "joined_columns"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

MAX_SETS = 4_000_000
MAX_COLUMNS = 8_000_000


@dataclass(frozen=True, slots=True)
class Columns:
    """All columns; workload w of column c is at `start[c] <= w < start[c + 1]`, services first."""

    gpu: Ints
    """GPU class of each column."""
    value: Floats
    """What one GPU of it is worth, in maximised form, without its gangs."""
    start: Ints
    is_task: NDArray[np.bool_]
    """Per workload."""
    cls: Ints
    """Service class or task class of each workload."""
    level: Ints
    """Gang level of each workload; -1 for services and single tasks."""
    batch: Ints
    grid: Ints
    """Index into the share grid of the column's GPU class."""
    share_pct: Ints

    @property
    def size(self) -> int:
        """Number of columns."""
        return int(self.gpu.size)

    @property
    def owner(self) -> Ints:
        """Column of each workload."""
        return np.repeat(np.arange(self.size), np.diff(self.start))


def joined_columns(first: Columns, further: Columns) -> Columns:
    """Return the columns of both, one after the other."""
    arrays = {
        f.name: np.concatenate([getattr(first, f.name), getattr(further, f.name)])
        for f in fields(Columns)
    }
    arrays["start"] = np.concatenate([first.start, further.start[1:] + first.start[-1]])
    return Columns(**arrays)


@dataclass(frozen=True, slots=True)
class Levels:
    """Rate levels of gangs: task class `task[l]` at a batch and with a progress of each worker.

    All workers of a gang train at one batch.
    """

    task: Ints
    batch: Ints
    rate: Floats
    """Progress: samples of the task's own batch per second."""
    value: Floats
    """What one gang at this level is worth, in maximised form."""

    @property
    def size(self) -> int:
        """Number of levels."""
        return int(self.task.size)

    def runs(self) -> list[tuple[int, int]]:
        """Return where the levels of each task class at each batch begin and end."""
        new = (np.diff(self.task) != 0) | (np.diff(self.batch) != 0)
        ends = np.concatenate([[0], np.flatnonzero(new) + 1, [self.size]])
        return list(itertools.pairwise(ends.tolist()))


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Configured sets of one shape on one GPU class."""

    gpu: int
    n_services: int
    sets: Ints
    """[row, workload]: class of each workload."""
    settings: Settings
    value: Floats
    level: Ints

    def take(self, rows: Ints) -> _Chunk:
        """Return these rows, in this order."""
        chosen = Settings(*(getattr(self.settings, f.name)[rows] for f in fields(Settings)))
        return _Chunk(
            self.gpu, self.n_services, self.sets[rows], chosen, self.value[rows], self.level[rows]
        )


def build_columns(
    instance: Instance,
    classes: Classes,
    constraints: Sequence[Constraint],
    slo: SloModel,
    value: Objective,
    facts: TaskFacts,
) -> tuple[Columns, Levels, tuple[Configurator, ...]]:
    """Enumerate, prune, configure and level all columns."""
    configurators = tuple(
        Configurator(instance, classes, g, slo, value, facts) for g in classes.gpus
    )
    chunks = []
    for index, configurator in enumerate(configurators):
        for n_services, n_tasks in _shapes(instance):
            sets = _sets(classes, configurator, n_services, n_tasks)
            sets = sets[
                admitted(instance, classes, configurator.gpu, constraints, sets, n_services)
            ]
            if len(sets):
                settings = configurator.settings(sets, n_services)
                chunks.append(_chunk(classes, value, facts, index, n_services, sets, settings))
    levels = _levels(value, facts, chunks)
    chunks = [_best_of_equals(classes, configurators, _with_levels(levels, c)) for c in chunks]
    return _flatten(classes, chunks), levels, configurators


def _shapes(instance: Instance) -> list[tuple[int, int]]:
    rules = instance.rules
    most = rules.workloads_per_gpu or rules.services_per_gpu + rules.tasks_per_gpu
    shapes = itertools.product(range(rules.services_per_gpu + 1), range(rules.tasks_per_gpu + 1))
    # The largest come first: what is too large to enumerate is refused before any work is done.
    return sorted(((s, t) for s, t in shapes if 1 <= s + t <= most), key=sum, reverse=True)


def _sets(classes: Classes, at: Configurator, n_services: int, n_tasks: int) -> Ints:
    """Return all sets of this shape: multisets of services times multisets of tasks."""
    rows = classes.services.representative
    services = [
        s
        for s, speed in enumerate(at.services)
        if speed is not None and (rows[s].pinned is None or s in at.gpu.pinned)
    ]
    tasks = [t for t in range(classes.tasks.size) if at.trains(t) is not None]
    expected = comb(len(services) + max(n_services - 1, 0), n_services) * comb(
        len(tasks) + max(n_tasks - 1, 0), n_tasks
    )
    if expected > MAX_SETS:
        raise TooLargeError(
            f"{len(services)} service classes, {n_services} on a GPU, and {len(tasks)} task "
            f"classes, {n_tasks} on a GPU, make {expected} sets of co-tenants; at most {MAX_SETS}",
            path="$.rules",
            advice="lower services_per_gpu or tasks_per_gpu, or make more workloads alike.",
        )
    most_services = [
        1 if rows[s].pinned is not None else int(classes.services.count[s]) for s in services
    ]
    left = _multisets(services, most_services, n_services)
    right = _multisets(tasks, [int(classes.tasks.count[t]) for t in tasks], n_tasks)
    return np.hstack([np.repeat(left, len(right), axis=0), np.tile(right, (len(left), 1))])


def _multisets(items: list[int], most: list[int], size: int) -> Ints:
    """Return the multisets of this size in which no item occurs more often than it exists."""
    if size == 0:
        return np.zeros((1, 0), dtype=np.int64)
    if size == 1:
        return np.array(items, dtype=np.int64).reshape(-1, 1)
    positions = np.array(
        list(itertools.combinations_with_replacement(range(len(items)), size)), dtype=np.int64
    ).reshape(-1, size)
    limit = np.array(most, dtype=np.int64)
    occurs = (positions[:, :, None] == positions[:, None, :]).sum(axis=2)
    allowed = (occurs <= limit[positions]).all(axis=1)
    found: Ints = np.array(items, dtype=np.int64)[positions[allowed]].reshape(-1, size)
    return found


def admitted(
    instance: Instance,
    classes: Classes,
    gpu: GpuClass,
    constraints: Sequence[Constraint],
    sets: Ints,
    n_services: int,
) -> NDArray[np.bool_]:
    """Return which sets of one shape, services first, every constraint lets share a GPU."""
    allowed = np.ones(len(sets), dtype=bool)
    if not len(sets):
        return allowed
    services, tasks = sets[:, :n_services], sets[:, n_services:]

    def gather(name: str) -> NDArray[np.generic]:
        of_service, of_task = getattr(classes.services, name), getattr(classes.tasks, name)
        found: NDArray[np.generic] = np.concatenate([of_service[services], of_task[tasks]], axis=1)
        return found

    processes = [
        np.array([w.processes for w in side.representative], dtype=np.int64)
        for side in (classes.services, classes.tasks)
    ]
    view = CoTenantSets(
        n_services=n_services,
        max_clients=gpu.max_clients,
        user=gather("user").astype(np.int64),
        tenant=gather("tenant").astype(np.int64),
        processes=np.concatenate([processes[0][services], processes[1][tasks]], axis=1),
        left=gather("left").astype(bool),
        right=gather("right").astype(bool),
    )
    for constraint in constraints:
        allowed &= constraint.admits(instance, view)
    return allowed


def _chunk(
    classes: Classes,
    objective: Objective,
    facts: TaskFacts,
    gpu: int,
    n_services: int,
    sets: Ints,
    settings: Settings,
) -> _Chunk:
    prices = np.array([s.missing_price or 0.0 for s in classes.services.representative])
    chosen = sets[settings.set_index]
    value = prices[chosen[:, :n_services]].sum(axis=1) + used_gpu_worth(objective)
    for c in range(n_services, sets.shape[1]):
        # A gang's worth is in its level, not in the columns of its workers.
        single = np.flatnonzero(~_is_gang(facts)[chosen[:, c]])
        of_these = facts_at(facts, chosen[single, c])
        value[single] += objective.placed_value(of_these, settings.rate[single, c])
    return _Chunk(
        gpu, n_services, chosen, settings, value, np.full(chosen.shape, -1, dtype=np.int64)
    )


def _is_gang(facts: TaskFacts) -> NDArray[np.bool_]:
    return np.asarray(facts.gang_size) > 1


def _levels(value: Objective, facts: TaskFacts, chunks: list[_Chunk]) -> Levels:
    """Collect what workers of gangs attain, ascending in task class, batch and progress."""
    none = np.zeros(0)
    parts: list[tuple[Floats, Floats, Floats]] = [(none, none, none)]
    for chunk in chunks:
        workers = chunk.sets[:, chunk.n_services :]
        mine = _is_gang(facts)[workers]
        batch = chunk.settings.batch[:, chunk.n_services :][mine]
        rate = chunk.settings.rate[:, chunk.n_services :][mine]
        parts.append((workers[mine].astype(float), batch.astype(float), rate))
    found = np.stack([np.concatenate(column) for column in zip(*parts, strict=True)])
    # np.unique sorts by task, then by batch, then by rate.
    distinct = np.unique(found, axis=1)
    task, of_batch = distinct[0].astype(np.int64), distinct[1].astype(np.int64)
    worth = value.placed_value(facts_at(facts, task), distinct[2])
    return Levels(task, of_batch, distinct[2], worth)


def _with_levels(levels: Levels, chunk: _Chunk) -> _Chunk:
    """Repeat each column for every level that each of its gang workers reaches."""
    if not levels.size:
        return chunk
    for c in range(chunk.n_services, chunk.sets.shape[1]):
        reached = np.zeros(len(chunk.sets), dtype=np.int64)
        lowest = np.zeros(len(chunk.sets), dtype=np.int64)
        cls, batches = chunk.sets[:, c], chunk.settings.batch[:, c]
        for a, b in levels.runs():
            at = (cls == levels.task[a]) & (batches == levels.batch[a])
            lowest[at] = a
            reached[at] = np.searchsorted(
                levels.rate[a:b], chunk.settings.rate[at, c], side="right"
            )
        copies = np.maximum(reached, 1)
        if int(copies.sum()) > MAX_COLUMNS:
            raise TooLargeError(
                f"gang levels make {int(copies.sum())} columns; at most {MAX_COLUMNS}",
                path="$.rules.tasks_per_gpu",
                advice="lower tasks_per_gpu, or use fewer different gangs.",
            )
        rows = np.repeat(np.arange(len(chunk.sets)), copies)
        within = np.arange(rows.size) - np.repeat(np.cumsum(copies) - copies, copies)
        chunk = chunk.take(rows)
        chunk.level[:, c] = np.where(reached[rows] > 0, lowest[rows] + within, -1)
    return chunk


def _best_of_equals(
    classes: Classes, configurators: tuple[Configurator, ...], chunk: _Chunk
) -> _Chunk:
    """Of columns that no row can tell apart, keep the one of highest value.

    Those hold the same at the same levels and, where a quota counts a tenant's shares, give that
    tenant the same share.
    """
    if (np.diff(chunk.settings.set_index) > 0).all():
        return chunk  # each holds something else
    at = configurators[chunk.gpu]
    tasks = chunk.sets[:, chunk.n_services :]
    share = at.gpu.grid.share_pct[chunk.settings.grid[:, chunk.n_services :]]
    keys = [chunk.settings.set_index, *chunk.level[:, chunk.n_services :].T]
    keys += [
        np.where(classes.tasks.tenant[tasks] == tenant, share, 0).sum(axis=1)
        for tenant in at.counted_tenants
    ]
    order = np.lexsort((-chunk.value, *keys))
    same = np.ones(max(0, order.size - 1), dtype=bool)
    for key in keys:
        same &= key[order][1:] == key[order][:-1]
    return chunk.take(np.sort(order[np.concatenate(([True], ~same))[: order.size]]))


def _flatten(classes: Classes, chunks: list[_Chunk]) -> Columns:
    none = np.zeros(0, dtype=np.int64)
    widths = [np.full(len(c.sets), c.sets.shape[1], dtype=np.int64) for c in chunks]
    shares = [classes.gpus[c.gpu].grid.share_pct[c.settings.grid].ravel() for c in chunks]
    kinds = [np.tile(np.arange(c.sets.shape[1]) >= c.n_services, len(c.sets)) for c in chunks]
    return Columns(
        gpu=np.concatenate([none, *(np.full(len(c.sets), c.gpu, dtype=np.int64) for c in chunks)]),
        value=np.concatenate([np.zeros(0), *(c.value for c in chunks)]),
        start=np.concatenate([[0], np.cumsum(np.concatenate([none, *widths]))]).astype(np.int64),
        is_task=np.concatenate([np.zeros(0, dtype=bool), *kinds]),
        cls=np.concatenate([none, *(c.sets.ravel() for c in chunks)]),
        level=np.concatenate([none, *(c.level.ravel() for c in chunks)]),
        batch=np.concatenate([none, *(c.settings.batch.ravel() for c in chunks)]),
        grid=np.concatenate([none, *(c.settings.grid.ravel() for c in chunks)]),
        share_pct=np.concatenate([none, *shares]),
    )
