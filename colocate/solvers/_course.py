"""The common course of the solvers that hand an integer program to a backend.

1. greedy       a solution w of value L within milliseconds, where greedy supports the problem
2. relaxation   prices p, and with them the reduced worth  d_j = c_j - sum_r a_rj p_r  and

                    U = sum_r side_r p_r + sum_j most_j max(0, d_j)        >= every solution

3. fixing       a solution that uses column j is worth at most  U + min(0, d_j);  where that is less
                than L the column is left out: nothing better is lost, and greedy's solution stays
4. backend      the integer program over the columns that are left; where they are many, first over
                those of the largest d_j, so that fixing can leave out more
5. boxes        where the prices leave a gap, boxes with prices of their own (see `branching`)

The relaxations and the backend run in workers (see `backends.contained`), unless `isolation` is
"none".
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from colocate.prices import legal_prices
from colocate.problem import Problem
from colocate.result import Limit, Progress, Reason, relative_gap
from colocate.solvers.backends.ask import Ask, Found
from colocate.solvers.backends.contained import answers, answers_here
from colocate.solvers.backends.model import IntegerModel, integer_model, relaxation
from colocate.solvers.base import Capability, Clock, Context, RawSolution
from colocate.solvers.branching import with_boxes
from colocate.solvers.greedy import GreedySolver

__all__ = ["SUPPORTED", "Course"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

SUPPORTED = frozenset(Capability) - {Capability.MOVES}
"""All that reaches a solver as columns and rows."""
CORE = 1500
"""Columns that are tried first where there are more."""
CORE_GAP = 1e-3
CORE_GROWTH = 4
GRACE_S = 0.5
"""A backend that has not ended so long after its time is ended."""
GRACE_PART = 0.05
SAME = 1e-9
"""Relative difference below which two values are the same."""


@dataclass(frozen=True, slots=True)
class Course:
    """How one solver comes to its answer."""

    backend: str
    option: str = ""
    plain: bool = False
    """Leave out greedy and fixing: the backend does all by itself."""
    nodes: int | None = None
    """Nodes of a search after which its best is taken: a budget that no clock decides."""

    def run(self, problem: Problem, context: Context) -> RawSolution:
        """Run to the end, or to a limit."""
        note = f"engine {self.option}" if self.option else ""
        return replace(_Run(self, problem, context).answer(), note=note)


class _Run:
    """One solve."""

    def __init__(self, course: Course, problem: Problem, context: Context) -> None:
        self.course = course
        self.problem = problem
        self.context = context
        self.clock = Clock(context)
        self.model = integer_model(problem)
        self.best: Ints | None = None
        self.best_value = -np.inf
        self.bound = np.inf
        """No solution is worth more: from the prices, recomputed here."""
        self.prices: Floats | None = None
        self.limit = Limit.NONE
        self.faults: list[str] = []

    def answer(self) -> RawSolution:
        """Go through the steps."""
        raw = self._answer()
        return self._with_boxes(raw) if raw.counts is not None else raw

    def _answer(self) -> RawSolution:
        if not self.model.n_variables:
            return self._without_variables()
        if not self.course.plain:
            self._greedy()
        outcome = self._relax() if self._going_on() else ""
        if outcome == "infeasible" and self.best is None:
            return self._nothing(Reason.INFEASIBLE, "the relaxation has no solution")
        if not self.course.plain and self._close(0.0):
            return self._something(Reason.OPTIMAL, self.bound, "the prices prove it")
        if not self.course.plain and self._close(self.gap):
            return self._something(Reason.FEASIBLE, self.bound, _WITHIN)
        if not self._going_on():
            return self._cut_short(None)
        return self._judged(self._solve())

    @property
    def gap(self) -> float:
        """The relative gap that was asked for."""
        return self.context.limits.gap or 0.0

    # -- steps ---------------------------------------------------------------------------------

    def _greedy(self) -> None:
        if not self.problem.needed <= GreedySolver.capabilities:
            return
        raw = GreedySolver(prices=False).solve(self.problem, self.context_left())
        if raw.counts is not None and raw.gangs is not None:
            self._keep(self.model.with_switches(raw.counts, raw.gangs), "greedy")

    def _relax(self) -> str:
        """Find prices, and the bound that they prove."""
        ask = Ask(relaxation(self.problem), time_s=self._time_left())
        last = next(self._ask("relax", ask), None)
        if last is None or last.prices is None:
            return "" if last is None else last.outcome
        self.prices = last.prices
        bound, _ = _reduced(self.problem, self.model, last.prices)
        if bound < self.bound:
            self.bound = bound
            self.clock.report(self._incumbent(), self._shown(bound), "relaxation")
        return last.outcome

    def _solve(self) -> Found | None:
        """Have the backend solve what fixing leaves; return its last word."""
        gone = self._hopeless()
        size = CORE
        while not self.course.plain and self.prices is not None and int((~gone).sum()) > size:
            # Few columns find a good solution soon, and that leaves fewer columns for the rest.
            core, kept = self._part(gone | self._far(gone, size), max(self.gap, CORE_GAP))
            self._take(core, kept, part=True)
            if self._close(self.gap):
                return Found("optimal", bound=self.bound)
            if not self._going_on():
                return None
            self.faults.clear()
            gone, size = self._hopeless(), size * CORE_GROWTH
        ask, kept = self._part(gone, self.gap)
        found = self._take(ask, kept)
        if self.faults and self._going_on():
            # The bound of the first answer holds; the second has a solution that keeps all rows.
            self._take(replace(ask, model=ask.model.tightened(), time_s=self._time_left()), kept)
        return found

    def _with_boxes(self, raw: RawSolution) -> RawSolution:
        """Add boxes to an answer whose prices leave a gap."""
        if self.course.plain or not self._going_on():
            return raw
        found = with_boxes(
            self.problem, raw, self.context.limits.gap, self._relaxed, lambda: not self._going_on()
        )
        if found.tree:
            self.clock.report(self._incumbent(), self._shown(found.value_claimed), "boxes")
        return replace(found, history=self._history())

    def _relaxed(self, model: IntegerModel) -> Found | None:
        return next(self._ask("relax", Ask(model, time_s=self._time_left())), None)

    def _hopeless(self) -> NDArray[np.bool_]:
        """Return the columns that nothing better than the incumbent uses."""
        if self.best is None or self.prices is None or self.course.plain:
            return np.zeros(self.model.n_columns, dtype=bool)
        bound, reduced = _reduced(self.problem, self.model, self.prices)
        slack = SAME * max(abs(self.best_value), self.model.scale)
        return bound + reduced[: self.model.n_columns] < self.best_value - slack

    def _far(self, gone: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
        """Return all columns but the `size` that the prices like best, and the incumbent's."""
        assert self.prices is not None
        _, reduced = _reduced(self.problem, self.model, self.prices)
        reduced = np.where(gone, -np.inf, reduced[: self.model.n_columns])
        far = np.ones(self.model.n_columns, dtype=bool)
        far[np.argsort(-reduced, kind="stable")[:size]] = False
        if self.best is not None:
            far &= self.best[: self.model.n_columns] == 0
        return far

    def _part(self, gone: NDArray[np.bool_], gap: float) -> tuple[Ask, Ints]:
        """Return the question about the columns that are not gone, and their indices."""
        model, kept = self.model.without(gone)
        hint = None if self.best is None else self.best[kept]
        left = self._time_left()
        ask = Ask(
            model,
            time_s=left,
            nodes=self.course.nodes,
            gap=gap,
            seed=self.context.seed,
            hint=hint,
            option=self.course.option,
        )
        return ask, kept

    def _take(self, ask: Ask, kept: Ints, *, part: bool = False) -> Found | None:
        """Keep what the backend finds, and return its last word.

        Its bound says nothing where columns were left out that a better solution may use (`part`).
        """
        last: Found | None = None
        for last in self._ask(self.course.backend, ask):
            if last.solution is not None:
                bound = None if part else last.bound
                self._keep(self._full(last.solution, kept), self.course.backend, bound)
        return last

    def _full(self, solution: Ints, kept: Ints) -> Ints:
        full = np.zeros(self.model.n_variables, dtype=np.int64)
        full[kept] = solution
        n = self.model.n_columns
        return self.model.with_switches(full[:n], full[n : n + self.model.n_levels])

    def _ask(self, kind: str, ask: Ask) -> Iterator[Found]:
        """Yield what a backend finds, until it is done, or overdue, or the caller wants to stop."""
        if self.context.isolation == "none":
            yield from answers_here(kind, ask, self._told_to_stop)
            return
        memory = self.context.limits.memory_gib
        with closing(answers(kind, ask, self._overdue, memory)) as found:
            yield from found

    # -- limits --------------------------------------------------------------------------------

    def _time_left(self) -> float | None:
        limit = self.context.limits.time_s
        return None if limit is None else max(0.0, limit - self.clock.elapsed_s)

    def context_left(self) -> Context:
        """Return the context for a part of the work: the time that is left, and no reports."""
        limits = replace(self.context.limits, time_s=self._time_left())
        return replace(self.context, limits=limits, progress=None)

    def _told_to_stop(self) -> bool:
        if self.context.stop is not None and self.context.stop():
            self.limit = Limit.INTERRUPTED
        return self.limit is Limit.INTERRUPTED

    def _overdue(self) -> bool:
        limit = self.context.limits.time_s
        if limit is not None and self.clock.elapsed_s > limit * (1 + GRACE_PART) + GRACE_S:
            self.limit = Limit.TIME
            return True
        return self._told_to_stop()

    def _going_on(self) -> bool:
        if self.limit is Limit.NONE:
            self.limit = self.clock.hit()
        return self.limit is Limit.NONE

    # -- what is known -------------------------------------------------------------------------

    def _keep(self, solution: Ints, phase: str, bound: float | None = None) -> bool:
        """Keep a solution if it keeps all rows and is better; tell about it."""
        broken = self.model.broken(solution)
        if broken:
            self.faults.append(f"a solution of {phase} breaks {broken} rows")
            return False
        value = self.problem.value_of(*self._parts(solution))
        if value <= self.best_value:
            return False
        self.best, self.best_value = solution, value
        if bound is not None:
            bound = max(value, min(bound, self.bound))
        elif np.isfinite(self.bound):
            bound = self.bound
        self.clock.report(self._incumbent(), self._shown(bound), phase)
        return True

    def _parts(self, solution: Ints) -> tuple[Ints, Ints]:
        n = self.model.n_columns
        return solution[:n], solution[n : n + self.model.n_levels]

    def _incumbent(self) -> float | None:
        return None if self.best is None else self.problem.objective_of(self.best_value)

    def _shown(self, bound: float | None) -> float | None:
        return None if bound is None else self.problem.objective_of(bound)

    def _close(self, gap: float) -> bool:
        if self.best is None or not np.isfinite(self.bound):
            return False
        of = self.problem.objective_of
        return relative_gap(of(self.best_value), of(self.bound)) <= gap

    # -- answers -------------------------------------------------------------------------------

    def _judged(self, found: Found | None) -> RawSolution:
        """Hold the backend's word against what is known here."""
        if found is None or found.outcome == "progress":
            return self._cut_short(None)
        if found.outcome == "failed":
            if self.context.limits.memory_gib is not None and _is_memory(found.detail):
                self.limit = Limit.MEMORY
                return self._cut_short(None)
            return RawSolution(Reason.ERROR, detail=found.detail, history=self._history())
        if found.outcome == "infeasible":
            if self.best is None and not self.faults:
                return self._nothing(Reason.INFEASIBLE, "")
            return self._something(Reason.FEASIBLE, None, "the backend called it infeasible")
        # What fixing left out is worth less than the incumbent.
        claimed = None if found.bound is None else max(found.bound, self.best_value)
        if claimed is not None and np.isfinite(self.bound):
            claimed = min(claimed, max(self.bound, self.best_value))
        if found.outcome != "optimal":
            if self.course.nodes is not None and self._going_on():
                spent = f"after {self.course.nodes} nodes of the search"
                return self._something(Reason.FEASIBLE, claimed, spent)
            return self._cut_short(claimed)
        if self.faults or self.best is None:
            return self._something(Reason.FEASIBLE, None, "; ".join(self.faults))
        slack = SAME * max(abs(self.best_value), self.model.scale) + found.error
        if claimed is None:
            detail = _WITHIN if self.gap > 0 else ""
            return self._something(
                Reason.FEASIBLE if self.gap > 0 else Reason.OPTIMAL, None, detail
            )
        if claimed - self.best_value <= slack * max(1, self.model.units):
            return self._something(Reason.OPTIMAL, claimed, _rounded(found.error))
        detail = _WITHIN if self.gap > 0 else "the backend's bound is above what it called optimal"
        return self._something(Reason.FEASIBLE, claimed, detail)

    def _cut_short(self, claimed: float | None) -> RawSolution:
        if self.limit is Limit.NONE:
            self.limit = Limit.TIME
        if claimed is None and np.isfinite(self.bound):
            claimed = max(self.bound, self.best_value)
        if self.best is None:
            return self._nothing(Reason.NO_SOLUTION_FOUND, "; ".join(self.faults))
        return self._something(Reason.FEASIBLE, claimed, "; ".join(self.faults))

    def _something(self, reason: Reason, claimed: float | None, detail: str) -> RawSolution:
        if self.best is None:
            return self._nothing(Reason.NO_SOLUTION_FOUND, detail or "no solution")
        counts, gangs = self._parts(self.best)
        return RawSolution(
            reason,
            counts=counts,
            gangs=gangs,
            limit=self.limit if reason is Reason.FEASIBLE else Limit.NONE,
            detail=detail,
            prices=self.prices,
            value_claimed=claimed,
            history=self._history(),
        )

    def _nothing(self, reason: Reason, detail: str) -> RawSolution:
        limit = Limit.NONE if reason is Reason.INFEASIBLE else self.limit
        return RawSolution(reason, limit=limit, detail=detail, history=self._history())

    def _history(self) -> tuple[Progress, ...]:
        return tuple(self.clock.history)

    def _without_variables(self) -> RawSolution:
        """Answer where no column is possible: the empty plan keeps all rows, or nothing does."""
        none = np.zeros(0, dtype=np.int64)
        if self.model.broken(none):
            return self._nothing(Reason.INFEASIBLE, "nothing can be placed at all")
        self._keep(none, "empty")
        return self._something(Reason.OPTIMAL, self.best_value, "")


_WITHIN = "within the gap that was asked for"


def _is_memory(detail: str) -> bool:
    words = ("memory", "alloc", "map segment", "sigabrt", "sigsegv", "sigkill")
    return any(word in detail.lower() for word in words)


def _rounded(error: float) -> str:
    return f"worths are rounded, which moves the objective by at most {error:.1g}" if error else ""


def _reduced(problem: Problem, model: IntegerModel, prices: Floats) -> tuple[float, Floats]:
    """Return the bound U that prices prove, and min(0, reduced worth) of columns and levels."""
    rows, n = problem.rows, problem.n_variables
    legal = legal_prices(problem, prices)
    charged = np.bincount(rows.variable, weights=rows.coefficient * legal[rows.row], minlength=n)
    reduced = model.worth[:n] - charged
    side = np.where(legal > 0, rows.upper, rows.lower)
    side[legal == 0] = 0.0
    # Levels and columns beyond what the rows hold them to can only be too many.
    bound = float(legal @ side) + float(np.maximum(reduced, 0.0) @ model.most[:n])
    return bound, np.minimum(reduced, 0.0)
