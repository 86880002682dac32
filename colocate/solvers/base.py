"""What a solver is: it declares what it can do, takes a `Problem`, and returns counts and prices.

A solver never sees names, never prints, and imports its backend only inside `solve`. What it
returns is not trusted: the front door rounds, expands, recomputes the objective and has the judge
check the plan.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol

from colocate.capability import Capability
from colocate.result import Limit, Limits, Progress, Reason

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from colocate.problem import Problem

__all__ = ["Availability", "Capability", "Clock", "Context", "RawSolution", "Solver"]


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether a solver can run here, found out without importing anything heavy."""

    available: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class Context:
    """What a solver may know besides the problem."""

    limits: Limits = field(default_factory=Limits)
    seed: int = 0
    progress: Callable[[Progress], None] | None = None
    stop: Callable[[], bool] | None = None
    """Asked often; a true answer ends the solve with the best found."""


@dataclass(frozen=True, slots=True)
class RawSolution:
    """A solver's answer, over columns and levels."""

    reason: Reason
    counts: NDArray[np.int64] | None = None
    """GPUs for each column."""
    gangs: NDArray[np.int64] | None = None
    """Gangs for each level."""
    limit: Limit = Limit.NONE
    detail: str = ""
    prices: NDArray[np.float64] | None = None
    """Dual price of each row of the problem, in maximised form."""
    value_claimed: float | None = None
    """Bound on the maximised value, in the solver's own word."""
    history: tuple[Progress, ...] = ()
    note: str = ""
    """What a solver that chooses among others chose, and why."""


class Solver(Protocol):
    """Finds a solution of a problem."""

    name: ClassVar[str]
    capabilities: ClassVar[frozenset[Capability]]

    @classmethod
    def availability(cls) -> Availability:
        """Return whether the solver can run here."""
        ...

    def solve(self, problem: Problem, context: Context) -> RawSolution:
        """Solve the problem within the limits."""
        ...


class Clock:
    """Elapsed time, the time limit and the caller's wish to stop, asked in one place."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._start = time.perf_counter()
        self.history: list[Progress] = []

    @property
    def elapsed_s(self) -> float:
        """Seconds since the solver began."""
        return time.perf_counter() - self._start

    def hit(self) -> Limit:
        """Return the limit that has been reached, or `Limit.NONE`."""
        if self._context.stop is not None and self._context.stop():
            return Limit.INTERRUPTED
        limit = self._context.limits.time_s
        if limit is not None and self.elapsed_s >= limit:
            return Limit.TIME
        return Limit.NONE

    def report(self, incumbent: float | None, bound: float | None, phase: str = "") -> None:
        """Keep a line of history and tell the caller, in the instance's objective."""
        line = Progress(self.elapsed_s, incumbent, bound, phase)
        self.history.append(line)
        if self._context.progress is not None:
            self._context.progress(line)
