"""Rate curves that are formulas: hyperbola, power, soft maximum and the two lines of Mudi.

Their parameters are bounded such that every rate is finite and, from the smallest share that is
offered, positive. `colocate.models` has the mathematics, a module for each.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from colocate.profile.batch import Batch
from colocate.profile.bounds import ascending
from colocate.schema import Frozen, ListOf, Percent, Positive

__all__ = [
    "BatchFrom",
    "BatchHyperbola",
    "BatchMudi",
    "BatchPower",
    "HyperbolaCurve",
    "MudiCurve",
    "PowerCurve",
    "SoftMaximumCurve",
]

Seconds = Annotated[float, Field(ge=0, le=1e9)]
Exponent = Annotated[float, Field(ge=0, le=2)]
Slope = Annotated[float, Field(ge=-1e12, le=0)]
SHORTEST_S = 1e-9
"""No batch takes less time than this; it keeps rates finite."""


def _long_enough(seconds: float) -> None:
    if seconds < SHORTEST_S:
        msg = (
            f"floor_s and work_s come to {seconds:g} s on the whole GPU; "
            f"a batch takes at least {SHORTEST_S:g} s"
        )
        raise ValueError(msg)


class BatchHyperbola(Frozen):
    """Time of a batch: a fixed part, and one that shrinks as the share grows."""

    batch: Batch
    """Batch size."""
    min_share_pct: Percent
    """The workload is not offered less than this share."""
    floor_s: Seconds
    """Seconds that no share shortens."""
    work_s: Seconds
    """Seconds that the rest takes on the whole GPU; on a share p it takes 100/p times that."""
    flat_from_pct: Percent = 100.0
    """From this share on, more of it does not help."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        _long_enough(self.floor_s + self.work_s)
        return self


class HyperbolaCurve(Frozen):
    """Saturating hyperbola with a flat part, for each batch size."""

    family: Literal["hyperbola"] = "hyperbola"
    """Tells this curve from others."""
    batches: Annotated[tuple[BatchHyperbola, ...], ListOf, Field(min_length=1, max_length=200)]
    """Parameters for each batch size, ascending."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        ascending([b.batch for b in self.batches], "batch")
        return self


class BatchPower(Frozen):
    """The rate grows with a power of the share, up to a cap."""

    batch: Batch
    """Batch size."""
    min_share_pct: Percent
    """The workload is not offered less than this share."""
    top_rate: Annotated[float, Field(ge=1e-9, le=1e15)]
    """Samples per second at the cap."""
    exponent: Exponent
    """Power of the share; 1 means that the rate is proportional to it."""
    flat_from_pct: Percent = 100.0
    """Where the cap is reached."""


class PowerCurve(Frozen):
    """Power of the share with a cap, for each batch size."""

    family: Literal["power"] = "power"
    """Tells this curve from others."""
    batches: Annotated[tuple[BatchPower, ...], ListOf, Field(min_length=1, max_length=200)]
    """Parameters for each batch size, ascending."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        ascending([b.batch for b in self.batches], "batch")
        return self


class BatchFrom(Frozen):
    """A batch size that a workload is offered, and from which share."""

    batch: Batch
    """Batch size."""
    min_share_pct: Percent
    """The workload is not offered less than this share."""


class SoftMaximumCurve(Frozen):
    """One formula for all batches: whichever takes longer, a floor or the work, softly joined."""

    family: Literal["soft_maximum"] = "soft_maximum"
    """Tells this curve from others."""
    floor_s: Seconds
    """Seconds that a batch of 1 takes at least (launching kernels, the CPU)."""
    floor_growth: Exponent = 0.0
    """The floor grows with this power of the batch."""
    work_s: Seconds
    """Seconds of work of a batch of 1 on the whole GPU."""
    work_growth: Exponent = 1.0
    """The work grows with this power of the batch."""
    share_exponent: Exponent = 1.0
    """The time of the work shrinks with this power of the share."""
    sharpness: Annotated[float, Field(ge=1, le=100)]
    """1 adds floor and work; the larger, the more the longer of the two alone counts."""
    batches: Annotated[tuple[BatchFrom, ...], ListOf, Field(min_length=1, max_length=200)]
    """Batch sizes that are offered, ascending."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        ascending([b.batch for b in self.batches], "batch")
        _long_enough(self.floor_s + self.work_s)
        return self


class BatchMudi(Frozen):
    """Latency as two straight lines over the share: Mudi's form (EuroSys'25, Eq. 1)."""

    batch: Batch
    """Batch size."""
    min_share_pct: Percent
    """The workload is not offered less than this share."""
    k1: Slope
    """Milliseconds per percent of share below the cut-off."""
    k2: Slope
    """Milliseconds per percent of share above it; less steep than `k1`."""
    cutoff_pct: Percent
    """Where the lines meet."""
    l0_ms: Positive
    """Milliseconds of a batch at the cut-off."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.k1 > self.k2:
            msg = f"k1 must be as steep as k2 or steeper, but k1 is {self.k1:g} and k2 {self.k2:g}"
            raise ValueError(msg)
        whole = self.l0_ms + self.k2 * (100 - self.cutoff_pct)
        if whole < 1000 * SHORTEST_S:
            msg = f"the latency on the whole GPU would be {whole:g} ms; it must be positive"
            raise ValueError(msg)
        return self


class MudiCurve(Frozen):
    """Mudi's latency curve: two lines that meet at a cut-off, for each batch size."""

    family: Literal["mudi"] = "mudi"
    """Tells this curve from others."""
    batches: Annotated[tuple[BatchMudi, ...], ListOf, Field(min_length=1, max_length=200)]
    """Parameters for each batch size, ascending."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        ascending([b.batch for b in self.batches], "batch")
        return self
