"""How a solve ended: limits asked for, progress on the way, termination, and the result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from colocate.plan import Plan
    from colocate.verify import Violation

__all__ = [
    "Limit",
    "Limits",
    "Progress",
    "Reason",
    "Result",
    "Termination",
    "Timings",
    "relative_gap",
]

CLOSED = 1e-9
"""Relative gap below which a bound and an objective are the same number."""


def relative_gap(objective: float, bound: float) -> float:
    """Return the distance of bound and objective over the larger of the two; 0 when they meet."""
    largest = max(abs(objective), abs(bound))
    distance = abs(bound - objective)
    return 0.0 if distance <= CLOSED * largest else distance / largest


class Reason(StrEnum):
    """What is known."""

    OPTIMAL = "optimal"
    FEASIBLE = "feasible"
    INFEASIBLE = "infeasible"
    NO_SOLUTION_FOUND = "no_solution_found"
    ERROR = "error"


class Limit(StrEnum):
    """Why it stopped, when something cut it short."""

    NONE = "none"
    TIME = "time"
    MEMORY = "memory"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Limits:
    """When to stop. None means no limit."""

    time_s: float | None = None
    gap: float | None = None
    """Stop when the relative gap is at most this."""
    memory_gib: float | None = None
    """Address space of a worker process; solvers that run in this process do not know it."""

    def __post_init__(self) -> None:
        """Refuse limits that make no sense."""
        for name in ("time_s", "gap", "memory_gib"):
            value = getattr(self, name)
            if value is not None and not (0 <= value < float("inf")):
                msg = f"{name} must be a number of at least 0, not {value!r}"
                raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class Progress:
    """One line of a solve's history, also given to the `progress` callback."""

    elapsed_s: float
    incumbent: float | None
    bound: float | None
    phase: str = ""


@dataclass(frozen=True, slots=True)
class Termination:
    """Reason (what is known) times limit (why it stopped)."""

    reason: Reason
    limit: Limit = Limit.NONE
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Timings:
    """Wall-clock seconds of each part."""

    compile_s: float = 0.0
    solve_s: float = 0.0
    verify_s: float = 0.0

    @property
    def total_s(self) -> float:
        """All parts together."""
        return self.compile_s + self.solve_s + self.verify_s


@dataclass(frozen=True, slots=True)
class Result:
    """A plan or none, what is known about it, and how it came about. Unknown is None, never 0."""

    plan: Plan | None
    termination: Termination
    objective: float | None
    bound: float | None
    """Recomputed from the certificate by the judge, never a solver's word."""
    bound_claimed: float | None
    gap: float | None
    """Relative gap of objective and bound; see `relative_gap`."""
    history: tuple[Progress, ...]
    timings: Timings
    solver: str
    solver_detail: str
    """What `auto` chose and why; empty for a solver chosen by name."""
    seed: int
    instance_sha256: str
    versions: Mapping[str, str] = field(default_factory=dict)
    violations: tuple[Violation, ...] = ()
    notes: tuple[str, ...] = ()
    """What took a slower way than usual while the question was compiled, and why."""

    @property
    def ok(self) -> bool:
        """Whether there is a verified plan."""
        return self.plan is not None

    def summary(self) -> str:
        """Return one line for a log."""
        t = self.termination
        parts = [f"{self.solver}: {t.reason.value}"]
        if t.limit is not Limit.NONE:
            parts.append(f"stopped by {t.limit.value}")
        if self.objective is not None:
            parts.append(f"objective {self.objective:.6g}")
        if self.bound is not None:
            parts.append(f"bound {self.bound:.6g}")
        if self.gap is not None:
            parts.append(f"gap {100 * self.gap:.3g} %")
        return ", ".join(parts)
