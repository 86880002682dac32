"""By how much neighbours slow each other down."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from colocate.profile.bounds import Bounds, ascending, check_bounds
from colocate.profile.curves import Batch
from colocate.schema import Evidence, Frozen, Id, ListOf, Percent

__all__ = ["Interference", "PairSlowdown", "SlowdownTable"]

Slowdown = Annotated[float, Field(ge=0.5, le=100)]
MAX_VALUES = 10_000
"""Values of one slowdown table."""


class SlowdownTable(Frozen):
    """A slowdown over the knobs of both workloads, linear between nodes and constant beyond.

    An axis with one node means that the slowdown does not depend on it. Batches count by their
    logarithm. The victim is looked up at the share that it is sure of, the neighbour at the most
    that it may take.
    """

    victim_batch: Annotated[tuple[Batch, ...], ListOf, Field(min_length=1, max_length=200)]
    """Batch sizes of the workload that is slowed down, ascending."""
    neighbour_batch: Annotated[tuple[Batch, ...], ListOf, Field(min_length=1, max_length=200)]
    """Batch sizes of its neighbour, ascending."""
    victim_share_pct: Annotated[tuple[Percent, ...], ListOf, Field(min_length=1, max_length=1000)]
    """Shares of the workload that is slowed down, ascending."""
    neighbour_share_pct: Annotated[
        tuple[Percent, ...], ListOf, Field(min_length=1, max_length=1000)
    ]
    """Shares of its neighbour, ascending."""
    slowdown: Annotated[tuple[Slowdown, ...], ListOf, Field(min_length=1, max_length=MAX_VALUES)]
    """One value for each combination, the share of the neighbour running fastest, then the share of
    the victim, then the batch of the neighbour."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("victim_batch", "neighbour_batch", "victim_share_pct", "neighbour_share_pct"):
            ascending(list(getattr(self, name)), name)
        lengths = self.shape
        expected = lengths[0] * lengths[1] * lengths[2] * lengths[3]
        sizes = " x ".join(map(str, lengths))
        if expected > MAX_VALUES:
            msg = f"the axes make {sizes} = {expected} values; at most {MAX_VALUES}"
            raise ValueError(msg)
        if len(self.slowdown) != expected:
            msg = (
                f"slowdown has {len(self.slowdown)} values, but the axes make {sizes} = {expected}"
            )
            raise ValueError(msg)
        return self

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Lengths of the four axes, in their order."""
        return (
            len(self.victim_batch),
            len(self.neighbour_batch),
            len(self.victim_share_pct),
            len(self.neighbour_share_pct),
        )


class PairSlowdown(Frozen):
    """By how much one neighbour slows a workload down: time in company over time alone."""

    gpu_type: Id
    """On which type of GPU."""
    victim: Id
    """Workload that is slowed down."""
    neighbour: Id
    """Workload that causes it."""
    slowdown: Slowdown | None = None
    """Time beside the neighbour over time alone; or give `table` instead."""
    table: SlowdownTable | None = None
    """The same, where it depends on the batches and shares of the two."""
    error: Bounds = ()
    """One-sided error bounds of the slowdown."""
    evidence: Evidence = Evidence.MEASURED
    """What the slowdown rests on."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.slowdown is None) == (self.table is None):
            msg = f"give {'one' if self.table is None else 'only one'} of slowdown and table"
            raise ValueError(msg)
        check_bounds(self.error, "error")
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
        check_bounds(self.default_error, "default_error")
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
