"""How one workload runs alone on one GPU type."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from colocate.profile.batch import Batch
from colocate.profile.bounds import Bounds, ascending, check_bounds
from colocate.profile.curves import BatchLines, BatchPoints, Curve
from colocate.schema import Evidence, Frozen, Id, ListOf, Positive

__all__ = ["MemoryPoint", "Profile"]


def _check_whole_gpu(curve: Curve) -> None:
    """Refuse a rate of zero on the whole GPU: training progress is measured against it.

    Formulas have a positive rate there by the bounds of their parameters.
    """
    for at in curve.batches:
        if isinstance(at, BatchPoints):
            rate = at.points[-1].rate
        elif isinstance(at, BatchLines):
            rate = min(line.intercept + 100 * line.slope for line in at.lines)
        else:
            continue
        if rate <= 0:
            msg = f"batch {at.batch} has rate {rate:g} on the whole GPU; it must be positive"
            raise ValueError(msg)


class MemoryPoint(Frozen):
    """Device memory of one process at one batch size."""

    batch: Batch
    """Batch size."""
    memory_gib: Positive
    """Device memory of one process."""


class Profile(Frozen):
    """How one workload runs alone on one GPU type."""

    workload: Id
    """Name of the workload; services and tasks refer to it."""
    gpu_type: Id
    """GPU type that it was made on."""
    role: Literal["inference", "training"]
    """Whether it serves or trains; the same for all profiles of a workload."""
    curve: Curve
    """Rate alone on the GPU, by batch and share."""
    rate_error: Bounds = ()
    """One-sided error bounds of the rate; without them only `confidence` 0.5 can be planned for."""
    memory: Annotated[tuple[MemoryPoint, ...], ListOf, Field(max_length=200)] = ()
    """Memory per process by batch; between two points the larger one holds."""
    evidence: Evidence = Evidence.MEASURED
    """What the curve rests on."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_bounds(self.rate_error, "rate_error")
        ascending([m.batch for m in self.memory], "memory batch")
        if self.role == "training":
            _check_whole_gpu(self.curve)
        for a, b in pairwise(self.memory):
            if b.memory_gib < a.memory_gib:
                msg = f"memory must not shrink as the batch grows ({a.batch} to {b.batch})"
                raise ValueError(msg)
        return self
