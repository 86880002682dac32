"""By how much neighbours slow each other down."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from colocate.profile.bounds import Bounds, check_bounds
from colocate.schema import Evidence, Frozen, Id, ListOf

__all__ = ["Interference", "PairSlowdown"]

Slowdown = Annotated[float, Field(ge=0.5, le=100)]


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
