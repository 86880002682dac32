"""Several solvers on the same instances, side by side.

Bounds are facts about an instance and not about a solver: the tightest one that any of them proved
is what all are held against.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from colocate import registry
from colocate.capability import needed
from colocate.errors import ColocateError
from colocate.instance import Instance
from colocate.result import Limits, Result, relative_gap
from colocate.solve import solve
from colocate.solvers.base import solver_of

__all__ = ["Row", "compare", "supporting"]


@dataclass(frozen=True, slots=True)
class Row:
    """How one solver fared on one instance. Unknown is None, never 0."""

    instance: str
    solver: str
    outcome: str
    """Reason of the termination, or `refused`."""
    limit: str
    objective: float | None
    bound: float | None
    """What this solver's certificate proves, recomputed by the judge."""
    best_bound: float | None
    """The tightest of all solvers' bounds on this instance."""
    gap: float | None
    """Relative gap between the objective and the best bound."""
    compile_s: float | None
    solve_s: float | None
    verify_s: float | None
    violations: int
    """Of a plan that was rejected; an accepted plan has none."""
    note: str

    @property
    def total_s(self) -> float | None:
        """Seconds to compile, solve and verify."""
        if self.compile_s is None or self.solve_s is None or self.verify_s is None:
            return None
        return self.compile_s + self.solve_s + self.verify_s

    @property
    def fraction(self) -> float | None:
        """Objective over best bound, or the other way round where less is better; at most 1."""
        if self.objective is None or self.best_bound is None:
            return None
        small, large = sorted((abs(self.objective), abs(self.best_bound)))
        return 1.0 if large == 0 else small / large


def supporting(instance: Instance) -> list[str]:
    """Return the solvers that are available here and support all that an instance asks for."""
    wanted = needed(instance)
    found = []
    for name in registry.names("solver"):
        cls = registry.get("solver", name)
        if wanted <= cls.capabilities and cls.availability().available:
            found.append(name)
    return found


def compare(
    instances: Sequence[Instance],
    solvers: Sequence[str] | None = None,
    *,
    limits: Limits | None = None,
    seed: int = 0,
    stop: Callable[[], bool] | None = None,
) -> Iterator[Row]:
    """Yield a row for each solver on each instance, those of one instance together.

    Parameters
    ----------
    instances
        What to solve.
    solvers
        Names of solvers; all that support the instance when left out. A solver that refuses an
        instance has a row that says why.
    limits, seed
        For every single solve.
    stop
        A true answer ends the comparison after the solve that is under way.
    """
    for name in solvers or ():
        solver_of(name)  # so that a wrong name is told before any work is done
    for instance in instances:
        found: list[tuple[str, Result | str]] = []
        for name in solvers or supporting(instance):
            if stop is not None and stop():
                break
            try:
                found.append((name, solve(instance, name, limits=limits, seed=seed, stop=stop)))
            except ColocateError as error:
                found.append((name, str(error).partition("\n")[0]))
        yield from _rows(instance, found)
        if stop is not None and stop():
            return


def _rows(instance: Instance, found: Sequence[tuple[str, Result | str]]) -> Iterator[Row]:
    results = [result for _, result in found if isinstance(result, Result)]
    bounds = [r.bound for r in results if r.bound is not None]
    senses = [r.plan.objective.sense for r in results if r.plan is not None]
    best = None
    if bounds and senses:
        best = min(bounds) if senses[0] == "max" else max(bounds)
    for name, result in found:
        if isinstance(result, str):
            yield _refused(instance, name, result)
            continue
        gap = None
        if result.objective is not None and best is not None:
            gap = relative_gap(result.objective, best)
        yield Row(
            instance=instance.name,
            solver=name,
            outcome=result.termination.reason.value,
            limit=result.termination.limit.value,
            objective=result.objective,
            bound=result.bound,
            best_bound=best,
            gap=gap,
            compile_s=result.timings.compile_s,
            solve_s=result.timings.solve_s,
            verify_s=result.timings.verify_s,
            violations=len(result.violations),
            note=result.solver_detail or result.termination.detail,
        )


def _refused(instance: Instance, solver: str, why: str) -> Row:
    return Row(
        instance=instance.name,
        solver=solver,
        outcome="refused",
        limit="",
        objective=None,
        bound=None,
        best_bound=None,
        gap=None,
        compile_s=None,
        solve_s=None,
        verify_s=None,
        violations=0,
        note=why,
    )
