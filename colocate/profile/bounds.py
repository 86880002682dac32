"""One-sided error bounds: with this confidence the error is at most so large."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from pydantic import Field

from colocate.schema import Confidence, Frozen, ListOf

__all__ = ["Bounds", "ErrorBound", "ascending", "check_bounds"]


def ascending(values: list[float], what: str) -> None:
    """Refuse values that do not ascend."""
    for a, b in pairwise(values):
        if b <= a:
            msg = f"{what} must ascend without repeats, but {b:g} follows {a:g}"
            raise ValueError(msg)


class ErrorBound(Frozen):
    """With this confidence the relative error is at most this large, on the harmful side."""

    confidence: Confidence
    """Probability that the error is not larger."""
    relative: Annotated[float, Field(ge=0, le=10)]
    """Relative error: a rate may be lower, a slowdown higher, by this."""


def check_bounds(bounds: tuple[ErrorBound, ...], what: str) -> None:
    """Refuse levels that do not ascend, and errors that shrink as confidence grows."""
    ascending([b.confidence for b in bounds], f"{what} confidence")
    for a, b in pairwise(bounds):
        if b.relative < a.relative:
            msg = f"{what} must not shrink as confidence grows ({a.relative:g} then {b.relative:g})"
            raise ValueError(msg)


Bounds = Annotated[tuple[ErrorBound, ...], ListOf, Field(max_length=100)]
