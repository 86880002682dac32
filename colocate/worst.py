"""Worst-case objectives: the smallest level that everybody can keep to, found by asking for levels.

    reached(level)  some plan is worth as much under `within(level)` as there are tasks to satisfy
    best            the smallest level that is reached

Between a level that is not reached and the best plan so far, the middle is asked for, until they
are near to each other. From then on anything better than the plan in hand is asked for, in turn
with the middle, until there is nothing: that ends it, for what is attainable is a finite list of
numbers. A policy goes by rules of its own and not by levels; when it gives the same plan for
another level, it is asked no more.

The proof that a level cannot be reached is the certificate of its question: a bound that is smaller
than the number of tasks. The bound on the objective is the largest level that is proved.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from colocate.capability import Capability
from colocate.entries import service_entries, task_entries
from colocate.instance import Instance
from colocate.objectives._worst import WorstPart, all_satisfied, facts_of, within
from colocate.plan import Certificate, ObjectiveValue, Plan
from colocate.result import Limit, Limits, Progress, Reason, Result, Termination, Timings
from colocate.solvers.base import Context

__all__ = ["Searched", "search"]

Ask = Callable[[Instance, Limits], Result]
"""Solves an instance whose objective is a sum."""

BELOW = 5e-10
"""By how much, relatively, a better plan must be better."""
TINY = 1e-9
"""A level below which nobody looks for a better one."""
NEAR = 0.03
"""Relative distance from which on any better plan is asked for."""


@dataclass
class _Found:
    """What is known so far."""

    plan: Plan | None = None
    value: float = np.inf
    proved: float | None = None
    """Largest level that a certificate rules out."""
    proof: Certificate | None = None


class _Search:
    """Asks for one level after the other, and keeps the best plan and the best proof."""

    def __init__(
        self,
        instance: Instance,
        worst: WorstPart,
        ask: Ask,
        context: Context,
    ) -> None:
        self.instance, self.worst, self.limits = instance, worst, context.limits
        self._ask, self._progress = ask, context.progress
        self._started = time.perf_counter()
        self.found = _Found()
        self.history: list[Progress] = []
        self.compile_s = self.solve_s = self.verify_s = 0.0
        self.answer: Result | None = None
        """The answer to the last question."""

    def reached(self, level: float) -> bool | None:
        """Ask for a level; None when there is no telling."""
        question = within(self.instance, level)
        left = self.limits.time_s
        if left is not None:
            left = max(0.0, left - (time.perf_counter() - self._started))
        answer = self._ask(question, replace(self.limits, time_s=left, gap=None))
        self.answer = answer
        self.compile_s += answer.timings.compile_s
        self.solve_s += answer.timings.solve_s
        self.verify_s += answer.timings.verify_s
        if answer.plan is None:
            return None
        self._take(answer.plan)
        wanted = all_satisfied(self.instance, self.worst, level)
        assert answer.objective is not None
        yes = answer.objective > wanted - 0.5
        if not yes and answer.bound is not None and _below(answer.bound, wanted):
            self._take_proof(level, answer.plan.certificate)
        self._tell()
        if yes:
            return True
        return False if answer.termination.reason is Reason.OPTIMAL else None

    def _take(self, plan: Plan) -> None:
        value = self.worst.score(self.instance, plan)
        if value < self.found.value:
            self.found.plan, self.found.value = plan, value

    def _take_proof(self, level: float, proof: Certificate | None) -> None:
        if proof is not None and (self.found.proved is None or level > self.found.proved):
            self.found.proved = level
            self.found.proof = proof.model_copy(update={"bound": level})

    def _tell(self) -> None:
        elapsed = time.perf_counter() - self._started
        value = self.found.value if self.found.plan is not None else None
        line = Progress(elapsed, value, self.found.proved, "level")
        self.history.append(line)
        if self._progress is not None:
            self._progress(line)

    @property
    def close_enough(self) -> bool:
        """Whether what is proved is within the gap that was asked for."""
        gap, proved = self.limits.gap, self.found.proved
        return (
            bool(gap)
            and proved is not None
            and self.found.value - proved <= ((gap or 0.0) * self.found.value)
        )

    @property
    def cut_short(self) -> bool:
        """Whether a limit ended the last question."""
        return self.answer is not None and self.answer.termination.limit is not Limit.NONE


def _below(bound: float, wanted: int) -> bool:
    return bound < wanted - 1e-6 * max(1, wanted)


@dataclass(frozen=True, slots=True)
class Searched:
    """What a search came to."""

    plan: Plan | None
    exact: bool
    """Whether no plan is better, in the solver's word."""
    termination: Termination
    last: Result
    """The answer to the last question."""
    history: tuple[Progress, ...]
    timings: Timings


def search(
    instance: Instance,
    worst: WorstPart,
    ask: Ask,
    context: Context,
    capabilities: frozenset[Capability],
) -> Searched:
    """Return the best plan with its proof, and how the search ended."""
    run = _Search(instance, worst, ask, context)
    run.reached(_ceiling(instance, worst) / 2)
    assert run.answer is not None
    exact = False
    if run.found.plan is not None:
        exact = _halve(run, stubborn=Capability.BOUND not in capabilities)
    found, last = run.found, run.answer
    plan, termination = None, last.termination
    if found.plan is not None:
        value = ObjectiveValue(name=instance.objective.name, sense="min", value=found.value)
        plan = found.plan.model_copy(
            update={
                "instance_sha256": instance.sha256,
                "objective": value,
                "certificate": found.proof,
            }
        )
        reason = Reason.OPTIMAL if exact else Reason.FEASIBLE
        termination = Termination(reason, last.termination.limit)
    timings = Timings(run.compile_s, run.solve_s, run.verify_s)
    return Searched(plan, exact, termination, last, tuple(run.history), timings)


def _halve(run: _Search, *, stubborn: bool) -> bool:
    """Search for the smallest level; return whether it is sure that none is smaller."""
    low = 0.0
    sure = in_turn = True
    while run.found.value > 0:
        if run.cut_short or run.close_enough:
            return False
        best = run.found.value
        last = in_turn and low > 0 and best - low <= NEAR * best
        level = best * (1 - BELOW) if last else math.sqrt(low * best) if low > 0 else best / 2
        in_turn = not last
        before = run.answer
        answer = run.reached(level)
        if answer is True:
            continue
        if stubborn and _same(before, run.answer):
            return False
        sure &= answer is False
        if last or level < TINY:
            return sure
        low = level
    return sure


def _same(one: Result | None, other: Result | None) -> bool:
    """Return whether both answers put everything at the same place."""
    plans = [None if result is None else result.plan for result in (one, other)]
    return (
        plans[0] is not None
        and plans[1] is not None
        and (plans[0].placements == plans[1].placements)
    )


def _ceiling(instance: Instance, worst: WorstPart) -> float:
    """Return how badly off anybody can be."""
    tasks, services = task_entries(instance), service_entries(instance)
    everyone = np.arange(len(tasks))
    bad = np.asarray(worst.left_out(facts_of(instance, everyone, np.ones(everyone.size))))
    prices = services.floats("missing_price")
    return float(max(bad.max(initial=0.0), np.nan_to_num(prices).max(initial=0.0)))
