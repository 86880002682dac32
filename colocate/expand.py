"""From counts of columns back to names: which GPU holds which replica and which worker.

Everything goes in canonical order, see `dealing`: GPUs by pool and ordinal, replicas and tasks by
entry and ordinal. Runs of GPUs that end up alike form one group. Nothing here looks at single GPUs:
the work grows with the number of runs.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from colocate.classes import Entries
from colocate.dealing import Dealt, deal
from colocate.gangs import Gangs
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
from colocate.runs import format_runs
from colocate.task_facts import facts_at

__all__ = ["expand"]

Ints = NDArray[np.int64]


def expand(
    problem: Problem, counts: Ints, gangs: Ints, *, solver: str, proof: Certificate | None
) -> Plan:
    """Return the plan of a solution."""
    classes, columns = problem.source.classes, problem.columns
    predictor = Predictor(problem)
    dealt = deal(problem, counts, gangs)
    placed_replicas, placed_tasks = _placed(problem, dealt)
    worth, normalised = _worth_of_gangs(problem, predictor, dealt.gangs)
    instance = problem.source.instance
    width = np.diff(columns.start)
    return Plan(
        instance_name=instance.name,
        instance_sha256=instance.sha256,
        solver=solver,
        objective=ObjectiveValue(
            name=instance.objective.name,
            sense="max" if problem.sign > 0 else "min",
            value=problem.objective_of(float(columns.value @ counts) + worth),
        ),
        placements=_groups(problem, predictor, dealt),
        missing=_missing(problem, placed_replicas),
        unplaced=_unplaced(problem, placed_tasks),
        totals=Totals(
            gpus_used=int(counts.sum()),
            gpus_shared=int(counts[width > 1].sum()),
            replicas_placed=int(placed_replicas.sum()),
            replicas_missing=int(classes.services.entry_count.sum() - placed_replicas.sum()),
            tasks_placed=int(placed_tasks.sum()),
            tasks_unplaced=int(classes.tasks.entry_count.sum() - placed_tasks.sum()),
            normalised_throughput=normalised + _normalised(problem, predictor, counts),
        ),
        certificate=proof,
    )


def _placed(problem: Problem, dealt: Dealt) -> tuple[Ints, Ints]:
    """Return how many replicas of each service entry, and tasks of each task entry, are placed."""
    classes = problem.source.classes
    length = np.repeat(dealt.length, np.diff(dealt.start))
    is_task = problem.columns.is_task[dealt.workload]
    found = []
    for side, mine in ((classes.services, ~is_task), (classes.tasks, is_task)):
        number = np.zeros(side.entry_class.size, dtype=np.int64)
        np.add.at(number, dealt.entry[mine], length[mine])
        found.append(number)
    return found[0], found[1] // problem.gang_size[classes.tasks.entry_class]


def _worth_of_gangs(problem: Problem, predictor: Predictor, gangs: Gangs) -> tuple[float, float]:
    """Return what the gangs are worth in maximised form, and their normalised rates, all workers'.

    That is at the rate that the slowest worker really has: a solver may have placed a gang at a
    lower level than it reaches.
    """
    if not gangs.task.size:
        return 0.0, 0.0
    slowest = np.full(gangs.task.size, np.inf)
    np.minimum.at(slowest, gangs.member_of, predictor.rates(gangs.workload))
    facts = facts_at(problem.source.facts, gangs.task)
    value = problem.source.objective.placed_value(facts, slowest)
    workers = gangs.times * problem.gang_size[gangs.task]
    return float(gangs.times @ value), float(workers @ (slowest / facts.reference_rate))


def _groups(problem: Problem, predictor: Predictor, dealt: Dealt) -> tuple[PlacementGroup, ...]:
    """Return a group for all runs of a pool with the same column and the same entries."""
    n = dealt.column.size
    if not n:
        return ()
    width = np.diff(dealt.start)
    held = np.full((n, int(width.max())), -1, dtype=np.int64)
    run = np.repeat(np.arange(n), width)
    held[run, np.arange(run.size) - dealt.start[run]] = dealt.entry
    order = np.lexsort((dealt.first, *held.T[::-1], dealt.column, dealt.pool))
    changes = np.zeros(n, dtype=bool)
    for key in (dealt.pool, dealt.column, *held.T):
        changes[1:] |= key[order][1:] != key[order][:-1]
    changes[0] = True
    bounds = [*np.flatnonzero(changes).tolist(), n]
    names = [p.id for p in problem.source.instance.gpu_pools]
    pool, column, start, entry = (
        x.tolist() for x in (dealt.pool, dealt.column, dealt.start, dealt.entry)
    )
    first, length, number = dealt.first.tolist(), dealt.length.tolist(), dealt.number.tolist()
    found = []
    listed = order.tolist()
    for low, high in pairwise(bounds):
        runs = listed[low:high]
        lead = runs[0]
        lengths = [length[r] for r in runs]
        services: list[PlacedService] = []
        tasks: list[PlacedTask] = []
        for k in range(start[lead + 1] - start[lead]):
            ids = format_runs([number[start[r] + k] for r in runs], lengths)
            placed = predictor.placed(column[lead], k, entry[start[lead] + k], ids)
            if isinstance(placed, PlacedService):
                services.append(placed)
            else:
                tasks.append(placed)
        services.sort(key=lambda s: (s.service, s.replicas))
        tasks.sort(key=lambda t: (t.task, t.workers))
        # Made of checked parts: checking the texts again would take most of the time.
        group = PlacementGroup.model_construct(
            pool=names[pool[lead]],
            gpus=format_runs([first[r] for r in runs], lengths),
            services=tuple(services),
            tasks=tuple(tasks),
        )
        found.append((group.pool, first[lead], group))
    return tuple(group for _, _, group in sorted(found, key=lambda f: f[:2]))


def _left_out(entries: Entries, placed: Ints) -> list[tuple[int, str]]:
    """Return (entry, ordinals) of what is left out: the last ones of each entry."""
    short = np.flatnonzero(placed < entries.entry_count)
    number = entries.entry_count[short] - placed[short]
    rows = zip(short.tolist(), placed[short].tolist(), number.tolist(), strict=True)
    return [(e, format_runs([first], [n])) for e, first, n in rows]


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
                ids=ordinals,
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
                replicas=ordinals,
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
