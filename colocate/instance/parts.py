"""The parts of an instance: GPU pools, services, tasks, tables of them, and rules."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from colocate.profile import Batch
from colocate.runs import Runs
from colocate.schema import Count, Frozen, Id, ListOf, NonNegative, Positive, Share

__all__ = [
    "VARYING_SERVICE",
    "VARYING_TASK",
    "AntiAffinity",
    "BlastRadius",
    "GpuPool",
    "GpuRef",
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
    """The percentage."""
    sms: Annotated[int, Field(ge=1, le=100_000)]
    """The multiprocessors that a client saw."""


class GpuPool(Frozen):
    """GPUs that differ in nothing but their ordinal."""

    id: Id
    """Name of the pool. A GPU is called `pool/ordinal`."""
    gpu_type: Id
    """Name of the GPU model; profiles refer to it."""
    count: Count | None = None
    """How many GPUs; or give `uuids` instead."""
    first: Annotated[int, Field(ge=0, le=2**40)] = 0
    """Ordinal of the first GPU, for pools that continue a numbering."""
    uuids: Annotated[tuple[Uuid, ...], ListOf, Field(max_length=1_000_000)] | None = None
    """The GPUs by UUID; their ordinals count from `first` in this order."""
    memory_gib: Positive
    """Device memory of one GPU."""
    sm_count: Annotated[int, Field(ge=1, le=100_000)]
    """Streaming multiprocessors of one GPU."""
    node: Id | None = None
    """Machine that the GPUs are in; a blast radius counts by it."""
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
    """Id of the pool."""
    gpus: Runs
    """Ordinals within the pool, such as `0-3,7`."""


class Service(Frozen):
    """An inference service: replicas that each serve a share of the load within an SLO."""

    id: Id
    """Name of the service; services and tasks share one set of names."""
    profile: Id
    """Workload name of its profiles."""
    replicas: Count = 1
    """How many replicas."""
    rate_rps: Positive
    """Mean arrival rate at each replica, in samples per second."""
    slo_ms: Positive
    """Latency that must be kept, in milliseconds."""
    slo_percentile: Annotated[float, Field(gt=0, lt=100)] = 99.0
    """Percentile that must meet the SLO, at most 99.9 with `queue`. The models `fill` and `mudi`
    know no percentiles and take the profile as it is."""
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
    """Smallest share that a replica is given."""
    processes: Annotated[int, Field(ge=1, le=1000)] = 1
    """Processes of one replica: each is an MPS client and takes the profiled memory."""
    tenant: Id = "default"
    """Owner."""
    user_id: UserId | None = None
    """Unix user that it runs as; one MPS server serves one user at a time."""


class Task(Frozen):
    """Training tasks of one kind."""

    id: Id
    """Name of the task entry; services and tasks share one set of names."""
    profile: Id
    """Workload name of its profiles."""
    count: Count = 1
    """How many such tasks."""
    batch: Batch
    """Batch size of one worker: the one that its progress is counted in and, without `batches`,
    the one that it trains at."""
    batches: Annotated[tuple[Batch, ...], ListOf, Field(min_length=1, max_length=200)] | None = None
    """Batch sizes of one worker that a plan may choose from; needs `noise_scale`."""
    noise_scale: NonNegative | None = None
    """Gradient noise scale, in samples: how much a sample is worth at another batch size."""
    weight: Positive = 1.0
    """How much it counts in the objective."""
    gang_size: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Workers of one task, on as many GPUs; the slowest sets the pace."""
    memory_gib: Positive | None = None
    """Memory of one process; the profile's when left out."""
    processes: Annotated[int, Field(ge=1, le=1000)] = 1
    """Processes of one worker."""
    tenant: Id = "default"
    """Owner."""
    user_id: UserId | None = None
    """Unix user that it runs as."""
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0
    """Kept for policies that order tasks; the objectives of this version do not read it."""
    deadline_s: Positive | None = None
    """Kept for policies that order tasks; the objectives of this version do not read it."""
    remaining_samples: NonNegative | None = None
    """Samples left to train, of the whole task; read by `finish_time_fairness` only."""
    attained_gpu_s: NonNegative | None = None
    """Service received so far, by all workers; read by `finish_time_fairness` only."""


Numbers = Positive | Annotated[tuple[Positive, ...], ListOf]
Counts = Count | Annotated[tuple[Count, ...], ListOf]
Names = Id | Annotated[tuple[Id, ...], ListOf]
Prefix = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,48}-$")]


class ServiceTable(Frozen):
    """Many services as columns: one value for all rows, or a list with a value for each."""

    id_prefix: Prefix = "service-"
    """Row i is the service `<id_prefix><i>`."""
    rows: Count
    """Number of services."""
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
        return Service.model_construct(**_row(self, i, VARYING_SERVICE))


class TaskTable(Frozen):
    """Many tasks as columns: one value for all rows, or a list with a value for each."""

    id_prefix: Prefix = "task-"
    """Row i is the task `<id_prefix><i>`."""
    rows: Count
    """Number of task entries."""
    profile: Names
    batch: Counts
    batches: Annotated[tuple[Batch, ...], ListOf, Field(min_length=1, max_length=200)] | None = None
    noise_scale: NonNegative | Annotated[tuple[NonNegative, ...], ListOf] | None = None
    count: Counts = 1
    weight: Numbers = 1.0
    gang_size: Annotated[int, Field(ge=1, le=10_000)] = 1
    memory_gib: Numbers | None = None
    processes: Annotated[int, Field(ge=1, le=1000)] = 1
    tenant: Names = "default"
    user_id: UserId | None = None

    def row(self, i: int) -> Task:
        """Return row i as a task."""
        return Task.model_construct(**_row(self, i, VARYING_TASK))


VARYING_SERVICE = ("profile", "rate_rps", "slo_ms", "replicas", "tenant")
VARYING_TASK = ("profile", "batch", "noise_scale", "count", "weight", "memory_gib", "tenant")


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
    """Owner; must have a training task."""
    unit: Literal["tasks", "gpu_share"] = "tasks"
    """`tasks` counts placed tasks (a gang is one); `gpu_share` adds up the shares of its training
    workers, in whole GPUs."""
    maximum: NonNegative | None = None
    """At most so much."""
    minimum: NonNegative | None = None
    """At least so much (a floor)."""


class AntiAffinity(Frozen):
    """No GPU holds a workload of `left` beside a workload of `right`.

    A workload named on both sides is kept apart from others of its own kind.
    """

    left: Annotated[tuple[Id, ...], ListOf, Field(min_length=1, max_length=10_000)]
    """Service and task ids."""
    right: Annotated[tuple[Id, ...], ListOf, Field(min_length=1, max_length=10_000)]
    """Service and task ids."""


class Moves(Frozen):
    """What it costs to move a workload away from where `current` has it."""

    price: NonNegative = 0.0
    """Price of one move."""
    budget: Annotated[int, Field(ge=0)] | None = None
    """At most so many moves."""


class BlastRadius(Frozen):
    """How much may be lost with one node."""

    max_replicas_per_node: Count
    """Replicas of any one service on one node."""


class Rules(Frozen):
    """What is allowed on one GPU and over the whole plan."""

    services_per_gpu: Annotated[int, Field(ge=0, le=16)] = 1
    """Replicas on one GPU."""
    tasks_per_gpu: Annotated[int, Field(ge=0, le=16)] = 1
    """Training workers on one GPU."""
    workloads_per_gpu: Annotated[int, Field(ge=1, le=32)] | None = None
    """Services and training workers together."""
    tenants_per_gpu: Annotated[int, Field(ge=1, le=32)] | None = None
    """Different tenants (owners) on one GPU."""
    quotas: Annotated[tuple[Quota, ...], ListOf, Field(max_length=10_000)] = ()
    """How much training a tenant may or must have."""
    anti_affinity: Annotated[tuple[AntiAffinity, ...], ListOf, Field(max_length=10_000)] = ()
    """Pairs of lists that are kept apart."""
    moves: Moves | None = None
    """Refused by this version."""
    blast_radius: BlastRadius | None = None
    """How much of a service may be lost with one node."""
    locked: Annotated[tuple[GpuRef, ...], ListOf, Field(max_length=100_000)] = ()
    """GPUs whose present placement must stay as `current` has it."""
