"""Rate curves as data: samples per second of one workload alone, by batch and share."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from colocate.profile.batch import Batch
from colocate.profile.bounds import ascending
from colocate.profile.formulas import HyperbolaCurve, MudiCurve, PowerCurve, SoftMaximumCurve
from colocate.schema import Frozen, ListOf, NonNegative, Percent

__all__ = [
    "Batch",
    "BatchLines",
    "BatchPoints",
    "Curve",
    "Line",
    "MonotoneTableCurve",
    "PiecewiseLinearCurve",
    "RatePoint",
    "TabulatedCurve",
]


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
        ascending([p.share_pct for p in self.points], "share_pct")
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
        ascending([b.batch for b in self.batches], "batch")
        return self


class MonotoneTableCurve(Frozen):
    """Points between which the time of a batch is a straight line over 1/share.

    Such lines are hyperbolas over the share, so a few points are enough; and they never overshoot.
    Below the first point the workload is not offered that share; above the last point the rate
    stays what it was there.
    """

    family: Literal["monotone_table"] = "monotone_table"
    """Tells this curve from others."""
    batches: Annotated[tuple[BatchPoints, ...], ListOf, Field(min_length=1, max_length=200)]
    """Points for each batch size, ascending; rates are positive and do not fall."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        ascending([b.batch for b in self.batches], "batch")
        for at in self.batches:
            last = at.points[0].rate
            if last < 1e-9:
                msg = f"batch {at.batch} has rate {last:g} at its first point; it must be positive"
                raise ValueError(msg)
            for point in at.points:
                if point.rate < last:
                    msg = (
                        f"batch {at.batch} has rate {point.rate:g} at share {point.share_pct:g} "
                        f"and {last:g} below; rates must not fall as the share grows"
                    )
                    raise ValueError(msg)
                last = point.rate
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
        ascending([b.batch for b in self.batches], "batch")
        return self


Curve = Annotated[
    TabulatedCurve
    | PiecewiseLinearCurve
    | MonotoneTableCurve
    | HyperbolaCurve
    | PowerCurve
    | SoftMaximumCurve
    | MudiCurve,
    Field(discriminator="family"),
]
