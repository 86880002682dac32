"""From an instance to the master problem: classes, columns, rows, all as arrays.

    max  sum_c v_c x_c + sum_l V_l z_l      x, z whole numbers of at least 0
    (C1) gpu      sum of x_c over the columns on GPU class g               <= n_g
    (C2) service  replicas of service class s in the columns                = R_s, or <= R_s
    (C3) task     workers of task class t (gang size 1)                    <= n_t
         gang     workers at level l of a gang class - k z_l                = 0
         gangs    sum of z_l over the levels of a gang class               <= n_t
         distinct x_c >= 1 needs z_l >= how often c holds level l, where that is 2 or more
    (C4) quota    lower <= tasks, or shares, of a tenant                   <= upper
    (C6) quota    replicas of a service on a node                          <= blast radius

The objective of the instance is `offset + sign * value`. Solvers see this and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from colocate.capability import Capability, needed
from colocate.classes import Classes, classify
from colocate.columns import Columns, Levels, build_columns, joined_columns
from colocate.configure import Configurator
from colocate.constraints.base import ColumnView, RowSpec, constraints_of
from colocate.errors import UnsupportedError
from colocate.instance import Instance
from colocate.models.slo import slo_model
from colocate.objectives._worst import is_worst
from colocate.objectives.base import Objective, TaskFacts, objective
from colocate.task_facts import task_facts

__all__ = [
    "Distinct",
    "Problem",
    "RowLabel",
    "Rows",
    "Source",
    "compile_problem",
    "with_further_columns",
]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
RowKind = Literal["gpu", "service", "task", "gang", "gangs", "quota"]


@dataclass(frozen=True, slots=True)
class RowLabel:
    """What a row stands for."""

    kind: RowKind
    index: int
    """GPU class, service class, task class, level, task class, or number of the quota."""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Rows:
    """lower <= A (x, z) <= upper, with A in coordinates; variables are columns, then levels."""

    row: Ints
    variable: Ints
    coefficient: Floats
    lower: Floats
    upper: Floats
    labels: tuple[RowLabel, ...]

    @property
    def size(self) -> int:
        """Number of rows."""
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Distinct:
    """Where column `column[i]` is used, level `level[i]` needs at least `gangs[i]` gangs."""

    column: Ints
    level: Ints
    gangs: Ints


@dataclass(frozen=True, slots=True)
class Source:
    """The way back from arrays to names; not for solvers."""

    instance: Instance
    classes: Classes
    configurators: tuple[Configurator, ...]
    objective: Objective
    facts: TaskFacts
    quota_rows: tuple[RowSpec, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """The master problem over classes."""

    sign: float
    """1 when the instance maximises, -1 when it minimises."""
    offset: float
    """The objective when nothing is placed."""
    gpu_count: Ints
    service_count: Ints
    service_required: NDArray[np.bool_]
    task_count: Ints
    gang_size: Ints
    columns: Columns
    levels: Levels
    rows: Rows
    distinct: Distinct
    needed: frozenset[Capability]
    """What a solver must support to answer this problem."""
    source: Source

    @property
    def n_variables(self) -> int:
        """Columns and levels together."""
        return self.columns.size + self.levels.size

    @property
    def scale(self) -> float:
        """The largest worth of a column or a gang: what differences are small against."""
        worth = np.abs(np.concatenate([self.columns.value, self.levels.value]))
        return float(worth.max(initial=0.0)) or 1.0

    def objective_of(self, value: float) -> float:
        """Turn a maximised value into the instance's objective."""
        return self.offset + self.sign * value

    def value_of(self, counts: Ints, gangs: Ints) -> float:
        """Return the maximised value of a solution."""
        return float(self.columns.value @ counts + self.levels.value @ gangs)

    def activity(self, counts: Ints, gangs: Ints) -> Floats:
        """Return the value of every row."""
        x = np.concatenate([counts, gangs]).astype(float)
        found: Floats = np.bincount(
            self.rows.row,
            weights=self.rows.coefficient * x[self.rows.variable],
            minlength=self.rows.size,
        ).astype(np.float64)
        return found


def compile_problem(instance: Instance) -> Problem:
    """Compile an instance into its master problem."""
    classes = classify(instance)
    constraints = constraints_of(instance)
    if instance.rules.locked:
        raise UnsupportedError(
            "locked GPUs are no part of what is to be decided",
            path="$.rules.locked",
            advice="compile what `colocate.locked.free` leaves of the instance.",
        )
    value = objective(instance.objective)
    if is_worst(value):
        raise UnsupportedError(
            f"objective {instance.objective.name!r} is as good as its worst part: no sum over "
            "columns, and so no integer program",
            path="$.objective",
            advice="solve it, or ask for one level with the objective 'within'.",
        )
    slo = slo_model(instance.slo_model)
    facts = task_facts(instance, classes.tasks.representative)
    columns, levels, configurators = build_columns(
        instance, classes, constraints, slo, value, facts
    )
    view = _view(classes, columns, levels)
    specs = [row for c in constraints for row in c.rows(instance, view)]
    sign = 1.0 if value.sense == "max" else -1.0
    return Problem(
        sign=sign,
        offset=_offset(classes, facts, value, sign),
        gpu_count=np.array([g.count for g in classes.gpus], dtype=np.int64),
        service_count=classes.services.count,
        service_required=np.array(
            [s.required for s in classes.services.representative], dtype=bool
        ),
        task_count=classes.tasks.count,
        gang_size=_gang_size(classes),
        columns=columns,
        levels=levels,
        rows=_rows(classes, columns, levels, specs),
        distinct=_distinct(columns),
        needed=needed(instance),
        source=Source(instance, classes, configurators, value, facts, tuple(specs)),
    )


def with_further_columns(problem: Problem, further: Columns) -> Problem:
    """Return the problem with columns of a solver's own after its columns.

    They may be worse than what the problem holds, and at no level that it does not hold. Whether
    they are allowed, and worth what they say, is for the judge to find out.
    """
    source = problem.source
    instance, classes, levels = source.instance, source.classes, problem.levels
    columns = joined_columns(problem.columns, further)
    view = _view(classes, columns, levels)
    specs = [row for c in constraints_of(instance) for row in c.rows(instance, view)]
    return replace(
        problem,
        columns=columns,
        rows=_rows(classes, columns, levels, specs),
        distinct=_distinct(columns),
        source=replace(source, quota_rows=tuple(specs)),
    )


def _gang_size(classes: Classes) -> Ints:
    return np.array([t.gang_size for t in classes.tasks.representative], dtype=np.int64)


def _offset(classes: Classes, facts: TaskFacts, value: Objective, sign: float) -> float:
    prices = np.array([s.missing_price or 0.0 for s in classes.services.representative])
    worth = -sign * float(prices @ classes.services.count)
    unplaced = np.broadcast_to(value.unplaced_worth(facts), (classes.tasks.size,))
    # Adding 0.0 turns a negative zero into a plain one.
    return worth + float(unplaced @ classes.tasks.count) + 0.0


def _view(classes: Classes, columns: Columns, levels: Levels) -> ColumnView:
    workers = np.flatnonzero(columns.is_task)
    replicas = np.flatnonzero(~columns.is_task)
    cls = columns.cls[workers]
    return ColumnView(
        tenants=classes.tenants,
        n_columns=columns.size,
        worker_column=columns.owner[workers],
        worker_tenant=classes.tasks.tenant[cls],
        worker_share=columns.share_pct[workers] / 100.0,
        worker_gang=_gang_size(classes)[cls],
        level_tenant=classes.tasks.tenant[levels.task],
        column_gpu=columns.gpu,
        gpu_node=tuple(g.node for g in classes.gpus),
        replica_column=columns.owner[replicas],
        replica_service=columns.cls[replicas],
        service_id=tuple(s.id for s in classes.services.representative),
        service_count=tuple(classes.services.count.tolist()),
    )


class _RowBuilder:
    """Collects rows block by block."""

    def __init__(self) -> None:
        self.entries: list[tuple[Ints, Ints, Floats]] = []
        self.lower: list[float] = []
        self.upper: list[float] = []
        self.labels: list[RowLabel] = []

    def block(
        self, kind: RowKind, lower: Floats, upper: Floats, row: Ints, variable: Ints, value: Floats
    ) -> None:
        """Add one row for each bound, with entries at (row within the block, variable)."""
        self.entries.append((row + len(self.labels), variable, value))
        self.lower += lower.tolist()
        self.upper += upper.tolist()
        self.labels += [RowLabel(kind, i) for i in range(len(lower))]

    def done(self) -> Rows:
        """Return the rows; entries at the same place are added up."""
        row, variable, value = (np.concatenate(part) for part in zip(*self.entries, strict=True))
        return Rows(
            row, variable, value, np.array(self.lower), np.array(self.upper), tuple(self.labels)
        )


def _rows(classes: Classes, columns: Columns, levels: Levels, specs: list[RowSpec]) -> Rows:
    build = _RowBuilder()
    n, gang_size = columns.size, _gang_size(classes)
    counts = np.array([g.count for g in classes.gpus], dtype=float)
    # (C1) gpu
    build.block("gpu", np.full(counts.size, -np.inf), counts, columns.gpu, np.arange(n), np.ones(n))
    # (C2) service
    held = np.flatnonzero(~columns.is_task)
    replicas = classes.services.count.astype(float)
    required = np.array([s.required for s in classes.services.representative], dtype=bool)
    build.block(
        "service",
        np.where(required, replicas, -np.inf),
        replicas,
        columns.cls[held],
        columns.owner[held],
        np.ones(held.size),
    )
    # (C3) task; rows of gang classes stay empty, so that row i is always task class i
    single = np.flatnonzero(columns.is_task & (columns.level < 0))
    tasks = classes.tasks.count.astype(float)
    build.block(
        "task",
        np.full(tasks.size, -np.inf),
        np.where(gang_size == 1, tasks, np.inf),
        columns.cls[single],
        columns.owner[single],
        np.ones(single.size),
    )
    # (C3) gang
    worker = np.flatnonzero(columns.level >= 0)
    level = np.arange(levels.size)
    build.block(
        "gang",
        np.zeros(levels.size),
        np.zeros(levels.size),
        np.concatenate([columns.level[worker], level]),
        np.concatenate([columns.owner[worker], n + level]),
        np.concatenate([np.ones(worker.size), -gang_size[levels.task].astype(float)]),
    )
    # (C3) gangs
    build.block(
        "gangs",
        np.full(tasks.size, -np.inf),
        np.where(gang_size > 1, tasks, np.inf),
        levels.task,
        n + level,
        np.ones(levels.size),
    )
    # (C4) quota
    for i, spec in enumerate(specs):
        x, z = np.flatnonzero(spec.column_coefficients), np.flatnonzero(spec.level_coefficients)
        build.block(
            "quota",
            np.array([spec.lower]),
            np.array([spec.upper]),
            np.zeros(x.size + z.size, dtype=np.int64),
            np.concatenate([x, n + z]),
            np.concatenate([spec.column_coefficients[x], spec.level_coefficients[z]]),
        )
        build.labels[-1] = RowLabel("quota", i, spec.name)
    return build.done()


def _distinct(columns: Columns) -> Distinct:
    worker = np.flatnonzero(columns.level >= 0)
    pairs, often = np.unique(
        np.stack([columns.owner[worker], columns.level[worker]]), axis=1, return_counts=True
    )
    twice = often >= 2
    return Distinct(pairs[0][twice], pairs[1][twice], often[twice].astype(np.int64))
