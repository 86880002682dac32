"""The conformance suite catches solvers that break a promise, each in the test that says so."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import Phase, settings
from hypothesis.errors import FlakyFailure

from colocate import registry
from colocate.capability import Capability
from colocate.problem import Problem
from colocate.result import Limit, Reason
from colocate.solvers.base import Clock, Context, RawSolution
from colocate.solvers.brute_force import BruteForceSolver
from colocate.solvers.greedy import GreedySolver
from colocate.testing import SolverConformance

EVERYTHING = frozenset(Capability)


@pytest.fixture(autouse=True)
def forget_registered_solvers() -> Iterator[None]:
    """Leave the registry as it was."""
    before = dict(registry._ADDED["solver"])
    yield
    registry._ADDED["solver"].clear()
    registry._ADDED["solver"].update(before)


@pytest.fixture(autouse=True)
def do_not_shrink() -> Iterator[None]:
    """Failures are expected here, and nobody reads the examples."""
    before = settings.get_current_profile_name()
    settings.register_profile("fail-fast", settings.default, phases=[Phase.generate])
    settings.load_profile("fail-fast")
    yield
    settings.load_profile(before)


class Sound(BruteForceSolver):
    """A solver of a third party that keeps its promises."""

    name: ClassVar[str] = "sound"


class Careless(Sound):
    """Says that greedy plans are the best."""

    name: ClassVar[str] = "careless"

    def solve(self, problem: Problem, context: Context) -> RawSolution:
        found = GreedySolver().solve(problem, context)
        if found.counts is None:
            return super().solve(problem, context)
        return replace(found, reason=Reason.OPTIMAL)


class Defeatist(Sound):
    """Calls everything infeasible."""

    name: ClassVar[str] = "defeatist"

    def solve(self, problem: Problem, context: Context) -> RawSolution:
        del problem, context
        return RawSolution(Reason.INFEASIBLE)


class Silent(Sound):
    """Finds nothing and does not say why."""

    name: ClassVar[str] = "silent"

    def solve(self, problem: Problem, context: Context) -> RawSolution:
        del problem, context
        return RawSolution(Reason.NO_SOLUTION_FOUND)


class Crowding(Sound):
    """Puts everything on every GPU."""

    name: ClassVar[str] = "crowding"

    def solve(self, problem: Problem, context: Context) -> RawSolution:
        found = super().solve(problem, context)
        if found.counts is None:
            return found
        return replace(found, counts=found.counts + 1)


class Boastful(Sound):
    """Claims a bound that its own plan disproves."""

    name: ClassVar[str] = "boastful"

    def solve(self, problem: Problem, context: Context) -> RawSolution:
        found = super().solve(problem, context)
        if found.value_claimed is None:
            return found
        return replace(found, value_claimed=found.value_claimed - 1.0)


class Fickle(Sound):
    """Uses chance without the seed."""

    name: ClassVar[str] = "fickle"
    capabilities: ClassVar[frozenset[Capability]] = Sound.capabilities - {Capability.EXACT}

    def solve(self, problem: Problem, context: Context) -> RawSolution:
        found = super().solve(problem, context)
        if found.counts is None or random.random() < 0.5 or problem.needed & _DEMANDS:
            return found
        if problem.service_required.any():
            return found
        nothing = np.zeros_like(found.counts)
        return RawSolution(Reason.FEASIBLE, nothing, np.zeros(problem.levels.size, dtype=np.int64))


class Slow(Sound):
    """Looks at no limit."""

    name: ClassVar[str] = "slow"

    def solve(self, problem: Problem, context: Context) -> RawSolution:
        del context
        time.sleep(1.2)
        return super().solve(problem, Context())


class CutShort(Sound):
    """Calls optimal what a limit cut short."""

    name: ClassVar[str] = "cut-short"

    def solve(self, problem: Problem, context: Context) -> RawSolution:
        limit = Clock(context).hit()
        found = super().solve(problem, Context())
        return replace(found, limit=limit)


class Overreaching(Sound):
    """Claims to support what the front door leaves to it, and ignores it."""

    name: ClassVar[str] = "overreaching"
    capabilities: ClassVar[frozenset[Capability]] = EVERYTHING


class Secretive(Sound):
    """Keeps a history of which it told nobody, with an incumbent that gets worse."""

    name: ClassVar[str] = "secretive"

    def solve(self, problem: Problem, context: Context) -> RawSolution:
        found = super().solve(problem, replace(context, progress=None))
        return replace(found, history=found.history[::-1])


_DEMANDS = {Capability.FLOORS}


class Conformance(SolverConformance):
    """Few examples: enough to meet each fault."""

    examples = 30


def suite(tried: type, number: int = Conformance.examples) -> Conformance:
    class Suite(Conformance):
        solver = tried
        examples = number

    return Suite()


PASSING = 10
"""Examples where no fault is to be met; the solvers that ship meet more of them elsewhere."""
TESTS = sorted(name for name in vars(SolverConformance) if name.startswith("test_"))


@pytest.mark.parametrize("test", TESTS)
def test_a_sound_solver_passes(test: str) -> None:
    getattr(suite(Sound, PASSING), test)()


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        (Careless, "test_no_plan_is_better_than_the_best"),
        (Defeatist, "test_no_plan_is_better_than_the_best"),
        (Defeatist, "test_what_has_a_plan_is_not_called_infeasible"),
        (Silent, "test_what_has_a_plan_is_not_called_infeasible"),
        (Silent, "test_what_has_no_plan_gets_none"),
        (Silent, "test_next_to_nothing_is_a_question_too"),
        (Crowding, "test_every_plan_keeps_to_every_rule"),
        (Crowding, "test_an_answer_is_consistent"),
        (Boastful, "test_no_bound_is_tighter_than_the_truth"),
        (Fickle, "test_the_same_question_gets_the_same_answer"),
        (Slow, "test_a_time_limit_is_honoured"),
        (CutShort, "test_a_stop_is_honoured"),
        (CutShort, "test_a_time_limit_is_honoured"),
        (Overreaching, "test_what_is_not_supported_is_refused"),
        (Secretive, "test_an_answer_is_consistent"),
    ],
)
def test_a_broken_promise_is_caught(broken: type, test: str) -> None:
    """The failure is an assertion of the suite, not an accident."""
    with pytest.raises((AssertionError, FlakyFailure)):
        getattr(suite(broken), test)()


class Modest(Sound):
    """Supports next to nothing, and says so."""

    name: ClassVar[str] = "modest"
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {Capability.EXACT, Capability.PINNED_SERVICES}
    )


@pytest.mark.parametrize("test", TESTS)
def test_a_modest_solver_is_asked_what_it_supports(test: str) -> None:
    """The suite draws instances to the solver's measure, instead of passing over nearly all."""
    getattr(suite(Modest, PASSING), test)()


def test_a_solver_is_named_or_given_as_a_class() -> None:
    class ByName(Conformance):
        solver = "greedy"

    assert ByName()._name() == "greedy"
    assert suite(Sound)._name() == "sound"
    assert registry.get("solver", "sound") is Sound
    assert Limit.NONE is Limit("none")
