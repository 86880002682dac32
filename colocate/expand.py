"""From counts of columns back to names: which GPU holds which replica and which worker.

Everything goes in canonical order: GPUs by pool and ordinal, replicas and tasks by entry and
ordinal. GPUs that end up alike form one group. All steps are on arrays; only groups become objects.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from colocate.classes import Entries
from colocate.placement import PlacedService, PlacedTask, PlacementGroup
from colocate.plan import (
    Certificate,
    MissingReplicas,
    ObjectiveValue,
    Plan,
    Totals,
    UnplacedTasks,
)
from colocate.predict import Predictor
from colocate.problem import Problem
from colocate.reasons import Why, why_service, why_task
from colocate.runs import format_ids
from colocate.task_facts import facts_at

__all__ = ["expand"]

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Slots:
    """Every workload of every used GPU; the arrays run in parallel."""

    gpu: Ints
    """Index into the used GPUs."""
    workload: Ints
    """Index into the workloads of the problem's columns."""


def expand(
    problem: Problem, counts: Ints, gangs: Ints, *, solver: str, proof: Certificate | None
) -> Plan:
    """Return the plan of a solution."""
    pool, ordinal, column = _used_gpus(problem, counts)
    slots = _slots(problem, column)
    classes, columns = problem.source.classes, problem.columns
    entry = np.full(slots.gpu.size, -1, dtype=np.int64)
    number = np.full(slots.gpu.size, -1, dtype=np.int64)
    is_task, cls = columns.is_task[slots.workload], columns.cls[slots.workload]
    level = columns.level[slots.workload]
    placed_replicas = _deal(classes.services, ~is_task, cls, entry, number)
    placed_tasks = _deal(classes.tasks, is_task & (level < 0), cls, entry, number)
    predictor = Predictor(problem)
    formed = _deal_gangs(problem, predictor, slots, level, gangs, entry, number)
    placed_tasks += formed.placed
    groups = _groups(problem, predictor, pool, ordinal, column, slots, entry, number)
    unplaced = _unplaced(problem, placed_tasks)
    missing = _missing(problem, placed_replicas)
    instance = problem.source.instance
    width = np.diff(columns.start)
    return Plan(
        instance_name=instance.name,
        instance_sha256=instance.sha256,
        solver=solver,
        objective=ObjectiveValue(
            name=instance.objective.name,
            sense="max" if problem.sign > 0 else "min",
            value=problem.objective_of(float(columns.value @ counts) + formed.value),
        ),
        placements=groups,
        missing=missing,
        unplaced=unplaced,
        totals=Totals(
            gpus_used=int(counts.sum()),
            gpus_shared=int(counts[width > 1].sum()),
            replicas_placed=int(placed_replicas.sum()),
            replicas_missing=int(classes.services.entry_count.sum() - placed_replicas.sum()),
            tasks_placed=int(placed_tasks.sum()),
            tasks_unplaced=int(classes.tasks.entry_count.sum() - placed_tasks.sum()),
            normalised_throughput=formed.normalised + _normalised(problem, predictor, counts),
        ),
        certificate=proof,
    )


def _used_gpus(problem: Problem, counts: Ints) -> tuple[Ints, Ints, Ints]:
    """Return pool number, ordinal and column of each used GPU, in canonical order."""
    names = [p.id for p in problem.source.instance.gpu_pools]
    none = np.zeros(0, dtype=np.int64)
    pools, ordinals, chosen = [none], [none], [none]
    for g, gpu in enumerate(problem.source.classes.gpus):
        mine = np.flatnonzero(problem.columns.gpu == g)
        column = np.repeat(mine, counts[mine])
        pool = np.concatenate([np.full(ids.size, names.index(p)) for p, ids in gpu.members])
        ordinal = np.concatenate([ids for _, ids in gpu.members])
        order = np.lexsort((ordinal, pool))[: column.size]
        pools.append(pool[order])
        ordinals.append(ordinal[order])
        chosen.append(column)
    pool, ordinal, column = (np.concatenate(x) for x in (pools, ordinals, chosen))
    order = np.lexsort((ordinal, pool))
    return pool[order], ordinal[order], column[order]


def _slots(problem: Problem, column: Ints) -> _Slots:
    start = problem.columns.start
    width = start[column + 1] - start[column]
    gpu = np.repeat(np.arange(column.size), width)
    first = np.cumsum(width) - width
    within = np.arange(gpu.size) - np.repeat(first, width)
    return _Slots(gpu, np.repeat(start[column], width) + within)


def _entry_starts(entries: Entries, cls: int) -> tuple[Ints, Ints]:
    """Return the entries of a class and, for each, how many individuals come before it."""
    mine = np.flatnonzero(entries.entry_class == cls)
    counts = entries.entry_count[mine]
    return mine, np.cumsum(counts) - counts


def _deal(
    entries: Entries, chosen: NDArray[np.bool_], cls: Ints, entry: Ints, number: Ints
) -> Ints:
    """Name the individuals in the chosen slots; return how many of each entry are placed."""
    placed = np.zeros(entries.entry_class.size, dtype=np.int64)
    for c in np.unique(cls[chosen]):
        slots = np.flatnonzero(chosen & (cls == c))
        mine, before = _entry_starts(entries, int(c))
        individual = np.arange(slots.size)
        which = np.searchsorted(before, individual, side="right") - 1
        entry[slots] = mine[which]
        number[slots] = individual - before[which]
        np.add.at(placed, entry[slots], 1)
    return placed


@dataclass(frozen=True, slots=True)
class _Gangs:
    """The gangs of a plan."""

    placed: Ints
    """How many of each task entry."""
    value: float
    """Their worth in maximised form, at the rate that their slowest worker really has.

    A solver may have placed a gang at a lower level than it reaches.
    """
    normalised: float
    """Their normalised rates, over all workers."""


def _deal_gangs(
    problem: Problem,
    predictor: Predictor,
    slots: _Slots,
    level: Ints,
    gangs: Ints,
    entry: Ints,
    number: Ints,
) -> _Gangs:
    """Form whole gangs of the workers at each level, no two of one gang on one GPU."""
    tasks, source = problem.source.classes.tasks, problem.source
    placed = np.zeros(tasks.entry_class.size, dtype=np.int64)
    value = normalised = 0.0
    formed = np.zeros(tasks.size, dtype=np.int64)
    for at in np.flatnonzero(gangs):
        cls, n = int(problem.levels.task[at]), int(gangs[at])
        size = int(problem.gang_size[cls])
        mine = np.flatnonzero(level == at)
        worker = np.arange(mine.size)
        if np.unique(slots.gpu[mine]).size == mine.size:
            gang, member = worker // size, worker % size
        else:
            # Workers of one GPU are neighbours here and at most n, so dealing in turn parts them.
            gang, member = worker % n, worker // n
        entries, before = _entry_starts(tasks, cls)
        individual = formed[cls] + gang
        which = np.searchsorted(before, individual, side="right") - 1
        entry[mine] = entries[which]
        number[mine] = (individual - before[which]) * size + member
        formed[cls] += n
        np.add.at(placed, entry[mine[member == 0]], 1)
        slowest = np.full(n, np.inf)
        np.minimum.at(slowest, gang, predictor.rates(slots.workload[mine]))
        facts = facts_at(source.facts, np.full(n, cls))
        value += float(source.objective.placed_value(facts, slowest).sum())
        normalised += size * float((slowest / facts.reference_rate).sum())
    return _Gangs(placed, value, normalised)


def _groups(
    problem: Problem,
    predictor: Predictor,
    pool: Ints,
    ordinal: Ints,
    column: Ints,
    slots: _Slots,
    entry: Ints,
    number: Ints,
) -> tuple[PlacementGroup, ...]:
    if not column.size:
        return ()
    width = np.bincount(slots.gpu, minlength=column.size)
    first = np.cumsum(width) - width
    held = np.full((column.size, int(width.max())), -1, dtype=np.int64)
    held[slots.gpu, np.arange(slots.gpu.size) - first[slots.gpu]] = entry
    key = np.column_stack([pool, column, held])
    order = np.lexsort(tuple(reversed(key.T)))
    ordered = key[order]
    breaks = np.flatnonzero((ordered[1:] != ordered[:-1]).any(axis=1)) + 1
    names = [p.id for p in problem.source.instance.gpu_pools]
    found = []
    for members in np.split(order, breaks):
        members = members[np.argsort(ordinal[members], kind="stable")]
        lead = members[0]
        ids = [number[first[members] + k] for k in range(width[lead])]
        services: list[PlacedService] = []
        tasks: list[PlacedTask] = []
        for k in range(width[lead]):
            placed = predictor.placed(
                int(column[lead]), k, int(entry[first[lead] + k]), format_ids(ids[k])
            )
            if isinstance(placed, PlacedService):
                services.append(placed)
            else:
                tasks.append(placed)
        found.append(
            PlacementGroup(
                pool=names[pool[lead]],
                gpus=format_ids(ordinal[members]),
                services=tuple(sorted(services, key=lambda s: (s.service, s.replicas))),
                tasks=tuple(sorted(tasks, key=lambda t: (t.task, t.workers))),
            )
        )
    return tuple(sorted(found, key=lambda g: (g.pool, int(g.gpus.split(",")[0].split("-")[0]))))


def _left_out(entries: Entries, placed: Ints) -> list[tuple[int, Ints]]:
    """Return (entry, ordinals) of what is left out: the last ones of each entry."""
    short = np.flatnonzero(placed < entries.entry_count)
    return [(int(e), np.arange(placed[e], entries.entry_count[e])) for e in short]


def _unplaced(problem: Problem, placed: Ints) -> tuple[UnplacedTasks, ...]:
    entries = problem.source.classes.tasks
    name = problem.source.instance.task_name
    why: dict[int, Why] = {}
    found = []
    for e, ordinals in _left_out(entries, placed):
        cls = int(entries.entry_class[e])
        if cls not in why:
            why[cls] = why_task(problem, cls)
        found.append(
            UnplacedTasks(
                task=name(e),
                ids=format_ids(ordinals),
                reason=why[cls].reason,
                detail=why[cls].detail,
            )
        )
    return tuple(sorted(found, key=lambda u: u.task))


def _missing(problem: Problem, placed: Ints) -> tuple[MissingReplicas, ...]:
    entries = problem.source.classes.services
    name = problem.source.instance.service_name
    why: dict[int, Why] = {}
    found = []
    for e, ordinals in _left_out(entries, placed):
        cls = int(entries.entry_class[e])
        if cls not in why:
            why[cls] = why_service(problem, cls)
        found.append(
            MissingReplicas(
                service=name(e),
                replicas=format_ids(ordinals),
                reason=why[cls].reason,
                detail=why[cls].detail,
            )
        )
    return tuple(sorted(found, key=lambda m: m.service))


def _normalised(problem: Problem, predictor: Predictor, counts: Ints) -> float:
    """Return the sum of normalised rates of all single tasks."""
    columns = problem.columns
    reference = np.asarray(problem.source.facts.reference_rate)
    single = np.flatnonzero(columns.is_task & (columns.level < 0) & (counts[columns.owner] > 0))
    rates = predictor.rates(single) / reference[columns.cls[single]]
    return float(counts[columns.owner[single]] @ rates)
