"""When requests arrive.

Gaps between arrivals are drawn independently with mean 1/lambda: exponential (Poisson arrivals), or
gamma with squared coefficient of variation c2 ("burstiness"), that is shape 1/c2 and scale
c2/lambda. c2 = 1 is Poisson; larger is burstier: many short gaps and a few long ones. Or the
arrivals are a list that was recorded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from colocate.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Arrivals", "GammaArrivals", "PoissonArrivals", "RecordedArrivals", "arrival_list"]


class Arrivals(Protocol):
    """Something that produces arrival times."""

    def times_s(
        self, replications: int, requests: int, rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Return arrival times in seconds, [replication, request], each row ascending."""
        ...


def _positive(value: float, what: str, advice: str) -> None:
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{what} is {value}, which is not a positive number", advice=advice)


@dataclass(frozen=True, slots=True)
class PoissonArrivals:
    """Arrivals that know nothing of each other."""

    rate_rps: float

    def __post_init__(self) -> None:
        _positive(self.rate_rps, "the arrival rate", "state requests per second.")

    def times_s(
        self, replications: int, requests: int, rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Return arrival times in seconds, [replication, request]."""
        gaps = rng.standard_exponential((replications, requests))
        return np.cumsum(gaps, axis=1, out=gaps) / self.rate_rps


@dataclass(frozen=True, slots=True)
class GammaArrivals:
    """A renewal process with gamma gaps of given burstiness."""

    rate_rps: float
    burstiness: float = 1.0
    """Squared coefficient of variation of the gaps; 1 is Poisson."""

    def __post_init__(self) -> None:
        _positive(self.rate_rps, "the arrival rate", "state requests per second.")
        _positive(self.burstiness, "the burstiness", "use 1 for Poisson arrivals.")

    def times_s(
        self, replications: int, requests: int, rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Return arrival times in seconds, [replication, request]."""
        gaps = rng.standard_gamma(1.0 / self.burstiness, (replications, requests))
        return np.cumsum(gaps, axis=1, out=gaps) * (self.burstiness / self.rate_rps)


@dataclass(frozen=True, slots=True)
class RecordedArrivals:
    """A recorded list of arrival times, replayed as it is."""

    times: tuple[float, ...]
    """In seconds, ascending."""

    @classmethod
    def of(cls, times_s: ArrayLike) -> RecordedArrivals:
        """Return the arrivals of a list or array of times in seconds; checked."""
        return cls(tuple(arrival_list(times_s).tolist()))

    def times_s(
        self, replications: int, requests: int, rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Return the first so many recorded times, as one row."""
        del rng
        if replications != 1:
            raise InputError(
                f"a recorded list has one replication, not {replications}",
                advice="leave replications out.",
            )
        return np.array(self.times[:requests], dtype=np.float64)[None, :]


def arrival_list(times_s: ArrayLike) -> NDArray[np.float64]:
    """Return recorded times as an array, or raise `InputError` when they are not a list of times.

    They need to be finite and ascending; equal times are fine.
    """
    found = np.asarray(times_s, dtype=np.float64)
    if found.ndim != 1 or found.size == 0:
        raise InputError(
            f"recorded arrivals have the shape {found.shape}, not that of a list",
            advice="give one ascending list of times in seconds.",
        )
    wrong = np.flatnonzero(~np.isfinite(found))
    if wrong.size == 0:
        wrong = 1 + np.flatnonzero(np.diff(found) < 0)
    if wrong.size:
        i = int(wrong[0])
        before = f" after {found[i - 1]}" if i else ""
        raise InputError(
            f"recorded arrival {i} is at {found[i]} s{before}",
            advice="sort the times, and leave out those that are not numbers.",
        )
    return found
