"""What was measured and fitted, as pure data: rate curves, memory, slowdowns, error bounds.

A profile says how fast one workload runs alone on one GPU type; `Interference` says by how much
neighbours slow it down. How these data are evaluated is the business of `colocate.models`.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from colocate.schema import Confidence, Evidence, Frozen, Id, ListOf, NonNegative, Percent, Positive

__all__ = [
    "BatchLines",
    "BatchPoints",
    "Curve",
    "ErrorBound",
    "Interference",
    "MemoryPoint",
    "PairSlowdown",
    "PiecewiseLinearCurve",
    "Profile",
    "ProfileFile",
    "RatePoint",
    "TabulatedCurve",
]

Batch = Annotated[int, Field(ge=1, le=1_000_000)]
Slowdown = Annotated[float, Field(ge=0.5, le=100)]


def _ascending(values: list[float], what: str) -> None:
    for a, b in pairwise(values):
        if b <= a:
            msg = f"{what} must ascend without repeats, but {b:g} follows {a:g}"
            raise ValueError(msg)


class RatePoint(Frozen):
    """One point of a rate curve."""

    share_pct: Percent
    """Share of the GPU's multiprocessors, in percent."""
    rate: NonNegative
    """Samples per second of one instance of the workload, alone on the GPU."""


class BatchPoints(Frozen):
    """The rate at one batch size, as points over the share."""

    batch: Batch
    """Batch size."""
    points: Annotated[tuple[RatePoint, ...], ListOf, Field(min_length=1, max_length=1000)]
    """Points with ascending `share_pct`."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        _ascending([p.share_pct for p in self.points], "share_pct")
        return self


class TabulatedCurve(Frozen):
    """Points joined by straight lines.

    Below the first point nothing was measured and the workload is not offered that share; above
    the last point the rate stays what it was there.
    """

    family: Literal["tabulated"] = "tabulated"
    """Tells this curve from others."""
    batches: Annotated[tuple[BatchPoints, ...], ListOf, Field(min_length=1, max_length=200)]
    """Points for each batch size, ascending."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        _ascending([b.batch for b in self.batches], "batch")
        return self


class Line(Frozen):
    """A straight line `intercept + slope * share_pct`, in samples per second."""

    intercept: Annotated[float, Field(ge=-1e15, le=1e15)]
    """Samples per second where the line meets share 0."""
    slope: Annotated[float, Field(ge=0, le=1e15)]
    """Samples per second for each percent of share."""


class BatchLines(Frozen):
    """The rate at one batch size, as the lowest of a few straight lines."""

    batch: Batch
    """Batch size."""
    min_share_pct: Percent
    """The workload is not offered less than this share."""
    lines: Annotated[tuple[Line, ...], ListOf, Field(min_length=1, max_length=50)]
    """The lines; at each share the lowest one counts."""


class PiecewiseLinearCurve(Frozen):
    """Concave, rising: at each share the lowest of a few straight lines, and never below zero."""

    family: Literal["piecewise_linear"] = "piecewise_linear"
    """Tells this curve from others."""
    batches: Annotated[tuple[BatchLines, ...], ListOf, Field(min_length=1, max_length=200)]
    """Lines for each batch size, ascending."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        _ascending([b.batch for b in self.batches], "batch")
        return self


Curve = Annotated[TabulatedCurve | PiecewiseLinearCurve, Field(discriminator="family")]


class ErrorBound(Frozen):
    """With this confidence the relative error is at most this large, on the harmful side."""

    confidence: Confidence
    """Probability that the error is not larger."""
    relative: Annotated[float, Field(ge=0, le=10)]
    """Relative error: a rate may be lower, a slowdown higher, by this."""


def _check_bounds(bounds: tuple[ErrorBound, ...], what: str) -> None:
    _ascending([b.confidence for b in bounds], f"{what} confidence")
    for a, b in pairwise(bounds):
        if b.relative < a.relative:
            msg = f"{what} must not shrink as confidence grows ({a.relative:g} then {b.relative:g})"
            raise ValueError(msg)


def _check_whole_gpu(curve: TabulatedCurve | PiecewiseLinearCurve) -> None:
    """Refuse a rate of zero on the whole GPU: training progress is measured against it."""
    for at in curve.batches:
        if isinstance(at, BatchPoints):
            rate = at.points[-1].rate
        else:
            rate = min(line.intercept + 100 * line.slope for line in at.lines)
        if rate <= 0:
            msg = f"batch {at.batch} has rate {rate:g} on the whole GPU; it must be positive"
            raise ValueError(msg)


Bounds = Annotated[tuple[ErrorBound, ...], ListOf, Field(max_length=100)]


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
        _check_bounds(self.rate_error, "rate_error")
        _ascending([m.batch for m in self.memory], "memory batch")
        if self.role == "training":
            _check_whole_gpu(self.curve)
        for a, b in pairwise(self.memory):
            if b.memory_gib < a.memory_gib:
                msg = f"memory must not shrink as the batch grows ({a.batch} to {b.batch})"
                raise ValueError(msg)
        return self


class PairSlowdown(Frozen):
    """By how much one neighbour slows a workload down: time in company over time alone."""

    gpu_type: Id
    """On which type of GPU."""
    victim: Id
    """Workload that is slowed down."""
    neighbour: Id
    """Workload that causes it."""
    slowdown: Slowdown
    """Time beside the neighbour over time alone."""
    error: Bounds = ()
    """One-sided error bounds of the slowdown."""
    evidence: Evidence = Evidence.MEASURED
    """What the slowdown rests on."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_bounds(self.error, "error")
        return self


class Interference(Frozen):
    """Slowdown in company: a pair table, and a constant where the table has no entry.

    Several neighbours multiply. Where there is neither an entry nor a constant, the two workloads
    are not put together.
    """

    default_slowdown: Slowdown | None = None
    """Slowdown of pairs that are not listed."""
    default_error: Bounds = ()
    """Error bounds of `default_slowdown`."""
    pairs: Annotated[tuple[PairSlowdown, ...], ListOf, Field(max_length=1_000_000)] = ()
    """Measured or estimated pairs; each at most once."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_bounds(self.default_error, "default_error")
        seen = set()
        for i, p in enumerate(self.pairs):
            key = (p.gpu_type, p.victim, p.neighbour)
            if key in seen:
                msg = f"pairs[{i}] repeats {p.victim!r} beside {p.neighbour!r} on {p.gpu_type!r}"
                raise ValueError(msg)
            seen.add(key)
        ordered = sorted(self.pairs, key=lambda p: (p.gpu_type, p.victim, p.neighbour))
        self.__dict__["pairs"] = tuple(ordered)
        return self


class ProfileFile(Frozen):
    """Profiles and slowdowns in a file of their own, for several instances to refer to."""

    schema_: Literal["colocate/profiles/v1"] = Field(alias="schema")
    """Format and version."""
    description: Annotated[str, Field(max_length=10_000)] = ""
    """For readers."""
    profiles: Annotated[tuple[Profile, ...], ListOf, Field(max_length=100_000)] = ()
    """Profiles, added to those of the instance."""
    interference: Interference | None = None
    """Slowdowns, added to those of the instance."""
