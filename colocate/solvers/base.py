"""What a solver is: it declares what it can do, takes a `Problem`, and returns counts and prices.

A solver never sees names, never prints, and imports its backend only inside `solve`. What it
returns is not trusted: the front door rounds, expands, recomputes the objective and has the judge
check the plan.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from colocate import registry
from colocate.capability import Capability
from colocate.errors import UnsupportedError, clean_text
from colocate.result import Limit, Limits, Progress, Reason

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from colocate.boxes import BoxTree
    from colocate.columns import Columns
    from colocate.problem import Problem

__all__ = ["Availability", "Capability", "Clock", "Context", "RawSolution", "Solver", "solver_of"]


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
    isolation: Literal["auto", "none"] = "auto"
    """Whether backends that may hang or crash run in a process of their own, or in this one."""


@dataclass(frozen=True, slots=True)
class RawSolution:
    """A solver's answer, over columns and levels."""

    reason: Reason
    counts: NDArray[np.int64] | None = None
    """GPUs for each column, and after them for each of `further`."""
    gangs: NDArray[np.int64] | None = None
    """Gangs for each level."""
    limit: Limit = Limit.NONE
    detail: str = ""
    prices: NDArray[np.float64] | None = None
    """Dual price of each row of the problem, in maximised form."""
    tree: BoxTree = ()
    """Boxes with prices of their own, where those of all plans leave a gap."""
    value_claimed: float | None = None
    """Bound on the maximised value, in the solver's own word."""
    history: tuple[Progress, ...] = ()
    note: str = ""
    """What a solver that chooses among others chose, and why."""
    further: Columns | None = None
    """Columns of the solver's own, for one that chooses knobs which the problem left out."""


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


def solver_of(spec: str) -> Solver:
    """Return the solver of a name; `name:engine` where a solver can use several engines.

    Raises
    ------
    PluginError
        When there is no solver of this name.
    UnsupportedError
        When it does not know the engine, or cannot run here.
    """
    name, colon, engine = spec.partition(":")
    cls = registry.get("solver", name)
    if not colon:
        made: Solver = cls()
        return made
    make: Callable[[str], Solver] | None = getattr(cls, "with_engine", None)
    if make is None:
        raise UnsupportedError(
            f"solver {clean_text(name)!r} has no engines to choose from, but "
            f"{clean_text(engine)!r} was asked for",
            advice=f"write {clean_text(name)!r} alone.",
        )
    return make(engine)


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
