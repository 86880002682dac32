"""Who is where, at which batch and share: the rows of a plan, and of the state before it.

A `PlacementGroup` stands for many GPUs that hold the same thing. The runs of `gpus` and the runs of
each co-tenant are read side by side: the i-th GPU holds the i-th replica and the i-th worker.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from colocate.profile.batch import Batch
from colocate.runs import Runs, count_ids
from colocate.schema import Evidence, Frozen, Id, ListOf, NonNegative, Share

__all__ = [
    "PlacedService",
    "PlacedTask",
    "PlacementGroup",
    "ServicePrediction",
    "TaskPrediction",
]

Sms = Annotated[int, Field(ge=1, le=100_000)]


class ServicePrediction(Frozen):
    """What the models expect of one replica."""

    rate_rps: NonNegative
    """Samples per second that the replica can serve in this company."""
    rate_lo_rps: NonNegative
    """The same at the instance's confidence."""
    latency_ms: NonNegative
    """Left side of the SLO model: what is held against the SLO."""
    latency_hi_ms: NonNegative
    """The same at the instance's confidence; this is what must meet the SLO."""
    memory_gib: NonNegative
    """All processes of the replica together."""
    evidence: Evidence
    """The weakest evidence behind these numbers."""


class TaskPrediction(Frozen):
    """What the models expect of one worker of a training task."""

    rate: NonNegative
    """Samples per second of this worker in this company."""
    rate_lo: NonNegative
    """The same at the instance's confidence; 0 when no bound is known."""
    normalised_rate: NonNegative
    """Progress over that of the task alone, at its own batch, on a whole GPU of its fastest type.
    Progress is the rate times what a sample is worth at the batch trained at."""
    memory_gib: NonNegative
    """All processes of the worker together."""
    evidence: Evidence
    """The weakest evidence behind these numbers."""


class PlacedService(Frozen):
    """Replicas of one service, one on each GPU of the group."""

    service: Id
    """Id of the service."""
    replicas: Runs
    """Replica ordinals, in the order of the group's GPUs."""
    batch: Batch
    """Batch size."""
    share_pct: Share
    """MPS active thread percentage."""
    sms: Sms
    """Whole multiprocessors that this percentage is sure to give."""
    predicted: ServicePrediction | None = None
    """What the models expect. `solve` always states it."""


class PlacedTask(Frozen):
    """Workers of one training task, one on each GPU of the group."""

    task: Id
    """Id of the task entry."""
    workers: Runs
    """Worker ordinals: worker w of a task with gang size k belongs to its (w // k)-th run."""
    batch: Batch
    """Batch size."""
    share_pct: Share
    """MPS active thread percentage."""
    sms: Sms
    """Whole multiprocessors that this percentage is sure to give."""
    predicted: TaskPrediction | None = None
    """What the models expect. `solve` always states it."""


class PlacementGroup(Frozen):
    """GPUs of one pool that hold the same co-tenants with the same knobs."""

    pool: Id
    """Id of the pool."""
    gpus: Runs
    """Ordinals within the pool."""
    services: Annotated[tuple[PlacedService, ...], ListOf, Field(max_length=100)] = ()
    """What each of these GPUs serves."""
    tasks: Annotated[tuple[PlacedTask, ...], ListOf, Field(max_length=100)] = ()
    """What each of these GPUs trains."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        n = count_ids(self.gpus)
        if not self.services and not self.tasks:
            msg = f"pool {self.pool!r} gpus {self.gpus[:60]!r}: holds nothing; leave the group out"
            raise ValueError(msg)
        for s in self.services:
            if count_ids(s.replicas) != n:
                msg = f"service {s.service!r}: {count_ids(s.replicas)} replicas for {n} GPUs"
                raise ValueError(msg)
        for t in self.tasks:
            if count_ids(t.workers) != n:
                msg = f"task {t.task!r}: {count_ids(t.workers)} workers for {n} GPUs"
                raise ValueError(msg)
        return self

    @property
    def count(self) -> int:
        """Number of GPUs in the group."""
        return count_ids(self.gpus)
