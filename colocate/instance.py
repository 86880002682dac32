"""What the user states: GPU pools, services, tasks, rules, and the instance that holds them.

Everything is plain data, strict and frozen. Lists are kept in a canonical order (by id), so that
the order in a file changes nothing, not even the instance's hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from colocate._instance_checks import check_instance
from colocate._instance_order import canonical_order
from colocate.placement import PlacementGroup
from colocate.profile import Batch, Interference, Profile
from colocate.runs import Runs
from colocate.schema import (
    Component,
    Confidence,
    Count,
    Frozen,
    Id,
    ListOf,
    NonNegative,
    Positive,
    Share,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = [
    "AntiAffinity",
    "BlastRadius",
    "GpuPool",
    "GpuRef",
    "Instance",
    "Moves",
    "Quota",
    "Rules",
    "Service",
    "ServiceTable",
    "SmCount",
    "Task",
    "TaskTable",
]

UserId = Annotated[int, Field(ge=0, le=2**32 - 2)]
Uuid = Annotated[str, Field(pattern=r"^(GPU|MIG)-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]


class SmCount(Frozen):
    """How many multiprocessors a client saw when it was capped at this percentage."""

    share_pct: Share
    sms: Annotated[int, Field(ge=1, le=100_000)]


class GpuPool(Frozen):
    """GPUs that differ in nothing but their ordinal."""

    id: Id
    gpu_type: Id
    """Name of the GPU model; profiles refer to it."""
    count: Count | None = None
    """How many GPUs; or give `uuids` instead."""
    first: Annotated[int, Field(ge=0, le=2**40)] = 0
    """Ordinal of the first GPU, for pools that continue a numbering."""
    uuids: Annotated[tuple[Uuid, ...], ListOf, Field(max_length=1_000_000)] | None = None
    """The GPUs by UUID; their ordinals count from `first` in this order."""
    memory_gib: Positive
    sm_count: Annotated[int, Field(ge=1, le=100_000)]
    """Streaming multiprocessors of one GPU."""
    node: Id | None = None
    max_clients: Annotated[int, Field(ge=1, le=1000)] = 48
    """MPS client limit of one GPU: 48 before CUDA 13.1, 60 since, 16 before Volta."""
    reserve_gib: NonNegative = 0.0
    """Memory of each GPU that is not to be planned with."""
    schedulable: bool = True
    """False keeps everything off these GPUs."""
    measured_sms: Annotated[tuple[SmCount, ...], ListOf, Field(max_length=100)] | None = None
    """Multiprocessors seen by capped clients. Without it a percentage is rounded down for rates and
    up for sums; with it only the listed percentages are used, at the counts given."""

    @property
    def size(self) -> int:
        """Number of GPUs."""
        return len(self.uuids) if self.uuids is not None else int(self.count or 0)


class GpuRef(Frozen):
    """Some GPUs of one pool."""

    pool: Id
    gpus: Runs
    """Ordinals within the pool, such as `0-3,7`."""


class Service(Frozen):
    """An inference service: replicas that each serve a share of the load within an SLO."""

    id: Id
    profile: Id
    """Workload name of its profiles."""
    replicas: Count = 1
    rate_rps: Positive
    """Mean arrival rate at each replica, in samples per second."""
    slo_ms: Positive
    slo_percentile: Annotated[float, Field(gt=0, lt=100)] = 99.0
    """Percentile that must meet the SLO. The `fill` and `mudi` models take the profile as it is."""
    batches: Annotated[tuple[Batch, ...], ListOf, Field(min_length=1, max_length=200)] | None = None
    """Batch sizes that it may run at; every profiled one when left out."""
    pinned: Annotated[tuple[GpuRef, ...], ListOf, Field(min_length=1, max_length=10_000)] | None = (
        None
    )
    """The GPUs that its replicas are on, one each; free to place when left out."""
    required: bool = True
    """Whether a plan must hold every replica."""
    missing_price: NonNegative | None = None
    """What one missing replica costs, in the objective's unit, where replicas are not required."""
    min_share_pct: Share = 1
    processes: Annotated[int, Field(ge=1, le=1000)] = 1
    """Processes of one replica: each is an MPS client and takes the profiled memory."""
    tenant: Id = "default"
    user_id: UserId | None = None
    """Unix user that it runs as; one MPS server serves one user at a time."""


class Task(Frozen):
    """Training tasks of one kind."""

    id: Id
    profile: Id
    count: Count = 1
    """How many such tasks."""
    batch: Batch
    """Batch size of one worker."""
    weight: Positive = 1.0
    gang_size: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Workers of one task, on as many GPUs; the slowest sets the pace."""
    memory_gib: Positive | None = None
    """Memory of one process; the profile's when left out."""
    processes: Annotated[int, Field(ge=1, le=1000)] = 1
    """Processes of one worker."""
    tenant: Id = "default"
    user_id: UserId | None = None
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0
    """Kept for policies that order tasks; the objectives of this version do not read it."""
    deadline_s: Positive | None = None
    """Kept for policies that order tasks; the objectives of this version do not read it."""
    remaining_samples: NonNegative | None = None
    """Work left. The objectives of this version do not read it."""
    attained_gpu_s: NonNegative | None = None
    """Service received so far. The objectives of this version do not read it."""


Numbers = Positive | Annotated[tuple[Positive, ...], ListOf]
Counts = Count | Annotated[tuple[Count, ...], ListOf]
Names = Id | Annotated[tuple[Id, ...], ListOf]
Prefix = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,48}-$")]


class ServiceTable(Frozen):
    """Many services as columns: one value for all rows, or a list with a value for each."""

    id_prefix: Prefix = "service-"
    """Row i is the service `<id_prefix><i>`."""
    rows: Count
    profile: Names
    rate_rps: Numbers
    slo_ms: Numbers
    replicas: Counts = 1
    slo_percentile: Annotated[float, Field(gt=0, lt=100)] = 99.0
    batches: Annotated[tuple[Batch, ...], ListOf, Field(min_length=1, max_length=200)] | None = None
    required: bool = True
    missing_price: NonNegative | None = None
    min_share_pct: Share = 1
    processes: Annotated[int, Field(ge=1, le=1000)] = 1
    tenant: Names = "default"
    user_id: UserId | None = None

    def row(self, i: int) -> Service:
        """Return row i as a service."""
        return Service.model_construct(**_row(self, i, _VARYING_SERVICE))


class TaskTable(Frozen):
    """Many tasks as columns: one value for all rows, or a list with a value for each."""

    id_prefix: Prefix = "task-"
    """Row i is the task `<id_prefix><i>`."""
    rows: Count
    profile: Names
    batch: Counts
    count: Counts = 1
    weight: Numbers = 1.0
    gang_size: Annotated[int, Field(ge=1, le=10_000)] = 1
    memory_gib: Numbers | None = None
    processes: Annotated[int, Field(ge=1, le=1000)] = 1
    tenant: Names = "default"
    user_id: UserId | None = None

    def row(self, i: int) -> Task:
        """Return row i as a task."""
        return Task.model_construct(**_row(self, i, _VARYING_TASK))


_VARYING_SERVICE = ("profile", "rate_rps", "slo_ms", "replicas", "tenant")
_VARYING_TASK = ("profile", "batch", "count", "weight", "memory_gib", "tenant")


def _row(table: ServiceTable | TaskTable, i: int, varying: tuple[str, ...]) -> dict[str, Any]:
    if not 0 <= i < table.rows:
        msg = f"row {i} of a table with {table.rows} rows"
        raise IndexError(msg)
    values = {
        n: getattr(table, n) for n in type(table).model_fields if n not in ("id_prefix", "rows")
    }
    for name in varying:
        if isinstance(values[name], tuple):
            values[name] = values[name][i]
    return {"id": f"{table.id_prefix}{i}", **values}


class Quota(Frozen):
    """How much training one tenant may, or must, have in the plan."""

    tenant: Id
    unit: Literal["tasks", "gpu_share"] = "tasks"
    """`tasks` counts placed tasks (a gang is one); `gpu_share` adds up the shares of its training
    workers, in whole GPUs."""
    maximum: NonNegative | None = None
    minimum: NonNegative | None = None


class AntiAffinity(Frozen):
    """No GPU holds a workload of `left` beside a workload of `right`.

    A workload named on both sides is kept apart from others of its own kind.
    """

    left: Annotated[tuple[Id, ...], ListOf, Field(min_length=1, max_length=10_000)]
    """Service and task ids."""
    right: Annotated[tuple[Id, ...], ListOf, Field(min_length=1, max_length=10_000)]


class Moves(Frozen):
    """What it costs to move a workload away from where `current` has it."""

    price: NonNegative = 0.0
    budget: Annotated[int, Field(ge=0)] | None = None


class BlastRadius(Frozen):
    """How much may be lost with one node."""

    max_replicas_per_node: Count
    """Replicas of any one service on one node."""


class Rules(Frozen):
    """What is allowed on one GPU and over the whole plan."""

    services_per_gpu: Annotated[int, Field(ge=0, le=16)] = 1
    tasks_per_gpu: Annotated[int, Field(ge=0, le=16)] = 1
    """Training workers on one GPU."""
    workloads_per_gpu: Annotated[int, Field(ge=1, le=32)] | None = None
    """Services and training workers together."""
    tenants_per_gpu: Annotated[int, Field(ge=1, le=32)] | None = None
    """Different tenants (owners) on one GPU."""
    quotas: Annotated[tuple[Quota, ...], ListOf, Field(max_length=10_000)] = ()
    anti_affinity: Annotated[tuple[AntiAffinity, ...], ListOf, Field(max_length=10_000)] = ()
    moves: Moves | None = None
    blast_radius: BlastRadius | None = None
    locked: Annotated[tuple[GpuRef, ...], ListOf, Field(max_length=100_000)] = ()
    """GPUs whose present placement must stay as `current` has it."""


class Instance(Frozen):
    """A whole placement question."""

    schema_: Literal["colocate/instance/v1"] = Field(
        default="colocate/instance/v1", alias="schema", validate_default=False
    )
    name: Id
    description: Annotated[str, Field(max_length=10_000)] = ""
    slo_model: Component
    """How a service is held against its SLO: `fill` or `mudi`."""
    confidence: Confidence
    """Probability with which a prediction must hold; 0.5 plans with the mean."""
    objective: Component
    gpu_pools: Annotated[tuple[GpuPool, ...], ListOf, Field(max_length=100_000)]
    services: Annotated[tuple[Service, ...], ListOf, Field(max_length=1_000_000)] = ()
    service_table: ServiceTable | None = None
    tasks: Annotated[tuple[Task, ...], ListOf, Field(max_length=1_000_000)] = ()
    task_table: TaskTable | None = None
    profiles: Annotated[tuple[Profile, ...], ListOf, Field(max_length=100_000)] = ()
    interference: Interference = Interference()
    rules: Rules = Rules()
    constraints: Annotated[tuple[Component, ...], ListOf, Field(max_length=100)] = ()
    """Further constraints by registered name."""
    current: Annotated[tuple[PlacementGroup, ...], ListOf, Field(max_length=1_000_000)] | None = (
        None
    )
    """What runs now: the placements of an earlier plan."""

    _sha256: str | None = PrivateAttr(default=None)
    _index: dict[str, dict[Any, Any]] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_instance(self)
        self.__dict__.update(canonical_order(self))
        return self

    # -- reading -------------------------------------------------------------------------------

    @property
    def sha256(self) -> str:
        """Hash of the canonical form: equal for equal questions, whatever the order in the file."""
        if self._sha256 is None:
            text = self.model_dump_json(by_alias=True, exclude_none=True)
            self._sha256 = hashlib.sha256(text.encode()).hexdigest()
        return self._sha256

    def __eq__(self, other: object) -> bool:
        """Return whether both ask the same question; what has been cached does not matter."""
        return isinstance(other, Instance) and self.sha256 == other.sha256

    def __hash__(self) -> int:
        """Return a hash that goes with equality."""
        return hash(self.sha256)

    @property
    def gpu_count(self) -> int:
        """Number of GPUs in all pools, schedulable or not."""
        return sum(p.size for p in self.gpu_pools)

    def pool(self, pool_id: str) -> GpuPool:
        """Return the pool with this id, or raise `KeyError`."""
        rows: dict[str, GpuPool] = self._lookup("pool", lambda: {p.id: p for p in self.gpu_pools})
        return rows[pool_id]

    def service(self, service_id: str) -> Service:
        """Return the service with this id (of the list or of the table), or raise `KeyError`."""
        rows: dict[str, Service] = self._lookup("service", lambda: {s.id: s for s in self.services})
        if service_id in rows:
            return rows[service_id]
        found: Service = _table_row(self.service_table, service_id)
        return found

    def task(self, task_id: str) -> Task:
        """Return the task with this id (of the list or of the table), or raise `KeyError`."""
        rows: dict[str, Task] = self._lookup("task", lambda: {t.id: t for t in self.tasks})
        if task_id in rows:
            return rows[task_id]
        found: Task = _table_row(self.task_table, task_id)
        return found

    def iter_services(self) -> Iterator[Service]:
        """Yield every service: the list first, then the table's rows."""
        yield from self.services
        if self.service_table is not None:
            yield from (self.service_table.row(i) for i in range(self.service_table.rows))

    def iter_tasks(self) -> Iterator[Task]:
        """Yield every task: the list first, then the table's rows."""
        yield from self.tasks
        if self.task_table is not None:
            yield from (self.task_table.row(i) for i in range(self.task_table.rows))

    def service_name(self, index: int) -> str:
        """Return the id of the index-th service: the list first, then the table's rows."""
        return _entry_name(self.services, self.service_table, index)

    def task_name(self, index: int) -> str:
        """Return the id of the index-th task entry: the list first, then the table's rows."""
        return _entry_name(self.tasks, self.task_table, index)

    def profile(self, workload: str, gpu_type: str) -> Profile | None:
        """Return the profile of a workload on a GPU type, or None."""
        rows: dict[tuple[str, str], Profile] = self._lookup(
            "profile", lambda: {(p.workload, p.gpu_type): p for p in self.profiles}
        )
        return rows.get((workload, gpu_type))

    def _lookup(self, name: str, build: Any) -> Any:  # noqa: ANN401 - one cache for several types
        if name not in self._index:
            self._index[name] = build()
        return self._index[name]

    # -- making --------------------------------------------------------------------------------

    def replace(self, **changes: Any) -> Self:  # noqa: ANN401 - any field of the instance
        """Return this instance with some fields changed, checked as a whole again."""
        fields = {n: getattr(self, n) for n in type(self).model_fields if n != "schema_"}
        return type(self)(**{**fields, **changes})

    @classmethod
    def from_arrays(
        cls,
        *,
        name: str,
        gpus: Mapping[str, Any],
        services: Mapping[str, ArrayLike],
        tasks: Mapping[str, ArrayLike],
        **rest: Any,  # noqa: ANN401 - the remaining fields of the instance
    ) -> Self:
        """Build an instance from columns, without a Python object for each row.

        Parameters
        ----------
        name
            Name of the instance.
        gpus
            Columns `id`, `gpu_type`, `count`, `memory_gib`, `sm_count` and any other field of
            `GpuPool`; a scalar stands for all rows.
        services, tasks
            Columns of `ServiceTable` and `TaskTable`, as arrays or scalars; `rows` is taken from
            the longest column. An empty mapping means none.
        **rest
            `slo_model`, `confidence`, `objective`, `profiles`, `interference`, `rules`, ...
        """
        from colocate._from_arrays import pools_from_columns, table_from_columns

        return cls(
            name=name,
            gpu_pools=pools_from_columns(GpuPool, gpus),
            service_table=table_from_columns(ServiceTable, services, _VARYING_SERVICE),
            task_table=table_from_columns(TaskTable, tasks, _VARYING_TASK),
            **rest,
        )


def _entry_name(
    rows: tuple[Service, ...] | tuple[Task, ...],
    table: ServiceTable | TaskTable | None,
    index: int,
) -> str:
    if index < len(rows) or table is None:
        return rows[index].id
    return f"{table.id_prefix}{index - len(rows)}"


def _table_row(table: Any, row_id: str) -> Any:  # noqa: ANN401 - either kind of table
    if table is not None and row_id.startswith(table.id_prefix):
        digits = row_id[len(table.id_prefix) :]
        if (
            digits.isascii()
            and digits.isdecimal()
            and str(int(digits)) == digits
            and int(digits) < table.rows
        ):
            return table.row(int(digits))
    raise KeyError(row_id)
