"""What every solver must keep to, as tests that any solver can run.

    from colocate.testing import SolverConformance


    class TestMine(SolverConformance):
        solver = "mine"          # a registered name, or the class itself

pytest collects the subclass. How many instances each test draws follows from the hypothesis profile
that is loaded, unless `examples` says otherwise.
"""

from __future__ import annotations

import json
import math
import random
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, reject, settings

from colocate import registry
from colocate.capability import Capability, needed
from colocate.errors import TooLargeError, UnsupportedError
from colocate.instance import Instance
from colocate.result import Limit, Limits, Progress, Reason, Result
from colocate.solve import solve
from colocate.testing._needs import instances_that_need
from colocate.testing.oracle import OracleAnswer, solve_by_enumeration
from colocate.testing.strategies import instances
from colocate.verify import verify

if TYPE_CHECKING:
    from collections.abc import Callable

    from colocate.testing.strategies import InstanceKind

__all__ = ["SolverConformance"]

_WITHOUT_PLAN = {Reason.INFEASIBLE, Reason.NO_SOLUTION_FOUND, Reason.ERROR}


class SolverConformance:
    """Tests of one solver; subclass it and name the solver."""

    solver: ClassVar[str | type]
    """A registered name, or a class with `name`, `capabilities` and `solve`, registered here."""
    examples: ClassVar[int | None] = None
    """Instances for each test; the loaded hypothesis profile's number when left out."""
    tolerance: ClassVar[float] = 1e-6
    """Relative difference from the truth that rounding may explain."""

    # -- what is promised ----------------------------------------------------------------------

    def test_every_plan_keeps_to_every_rule(self) -> None:
        """A plan that is returned is valid, and worth what the result says."""

        def check(instance: Instance) -> None:
            result = self._solve(instance)
            assert result.violations == (), "the solver's answer was rejected by the judge"
            assert result.termination.reason is not Reason.ERROR, result.termination.detail
            if result.plan is not None:
                verdict = verify(instance, result.plan)
                assert verdict.ok, [str(v) for v in verdict.violations]
                assert result.objective == result.plan.objective.value

        self._for_all("any", check)

    def test_no_plan_is_better_than_the_best(self) -> None:
        """The oracle knows the best plan: an exact solver finds it, no other one beats it."""

        def check(instance: Instance) -> None:
            truth = self._truth(instance)
            result = self._solve(instance)
            if truth.objective is None:
                assert result.plan is None
                return
            assert result.termination.reason is not Reason.INFEASIBLE, "there is a plan"
            if result.objective is not None:
                behind = self._behind(result, truth.objective)
                slack = self._slack(truth.objective)
                assert behind >= -slack, "better than the best plan there is"
                if result.termination.reason is Reason.OPTIMAL:
                    assert behind <= slack, "called optimal, but there is a better plan"
            if Capability.EXACT in self._capabilities():
                assert result.termination.reason is Reason.OPTIMAL

        self._for_all("any", check)

    def test_no_bound_is_tighter_than_the_truth(self) -> None:
        """No plan is beyond the proven bound, nor beyond the one that the solver claims."""

        def check(instance: Instance) -> None:
            truth = self._truth(instance)
            result = self._solve(instance)
            if truth.objective is None or result.plan is None:
                return
            sign = 1 if result.plan.objective.sense == "max" else -1
            for bound in (result.bound, result.bound_claimed):
                if bound is not None:
                    assert sign * (bound - truth.objective) >= -self._slack(truth.objective)

        self._for_all("contended", check)

    def test_what_has_no_plan_gets_none(self) -> None:
        """On instances that no plan can satisfy there is none; an exact solver says why."""

        def check(instance: Instance) -> None:
            if self._truth(instance).objective is not None:
                reject()
            result = self._solve(instance)
            assert result.plan is None
            assert result.objective is None
            if Capability.EXACT in self._capabilities():
                assert result.termination.reason is Reason.INFEASIBLE

        self._for_all("infeasible", check)

    def test_what_has_a_plan_is_not_called_infeasible(self) -> None:
        """Exact fits are fits; a solver that finds no plan may only say that it found none."""

        def check(instance: Instance) -> None:
            if self._truth(instance).objective is None:
                reject()
            result = self._solve(instance)
            assert result.termination.reason is not Reason.INFEASIBLE
            if Capability.EXACT in self._capabilities():
                assert result.plan is not None

        self._for_all("boundary", check)

    def test_next_to_nothing_is_a_question_too(self) -> None:
        """No tasks, no services, no usable GPU: a well-formed answer."""

        def check(instance: Instance) -> None:
            self._consistent(self._solve(instance))

        self._for_all("degenerate", check)

    # -- refusal -------------------------------------------------------------------------------

    def test_what_is_not_supported_is_refused(self) -> None:
        """A rule that the solver does not know is an error, and never ignored."""
        capabilities = self._capabilities()
        name = self._name()
        for capability, instance in instances_that_need():
            lacking = needed(instance) - capabilities
            if capability in lacking:
                with pytest.raises(UnsupportedError) as caught:
                    solve(instance, name)
                assert capability.value in str(caught.value)
            elif not lacking:
                self._consistent(solve(instance, name))

        def check(instance: Instance) -> None:
            if needed(instance) - capabilities:
                with pytest.raises(UnsupportedError):
                    solve(instance, name)

        self._for_all("free", check, adapted=False)

    # -- manners -------------------------------------------------------------------------------

    def test_the_same_question_gets_the_same_answer(self) -> None:
        """Solving again, or with every list in another order, gives the plan to the byte."""

        def check(instance: Instance) -> None:
            texts = [
                None if r.plan is None else r.plan.model_dump_json()
                for r in map(self._solve, (instance, instance, _shuffled(instance)))
            ]
            assert texts[0] == texts[1], "the same object, solved twice"
            assert texts[0] == texts[2], "the same lists in another order"

        self._for_all("any", check)

    def test_an_answer_is_consistent(self) -> None:
        """A plan exactly when the reason says so; times, gaps and history that make sense."""

        def check(instance: Instance) -> None:
            before = instance.model_dump_json()
            told: list[Progress] = []
            result = self._solve(instance, progress=told.append)
            assert instance.model_dump_json() == before, "the solver changed its input"
            assert tuple(told) == result.history
            self._consistent(result)

        self._for_all("contended", check)

    def test_a_time_limit_is_honoured(self) -> None:
        """With no time at all: a valid plan or none, soon, and said to be cut short or complete."""

        def check(instance: Instance) -> None:
            result = self._solve(instance, limits=Limits(time_s=0.0))
            self._consistent(result)
            assert result.termination.limit in (Limit.NONE, Limit.TIME)
            assert result.timings.solve_s < 1.0
            if result.termination.limit is Limit.TIME:
                assert result.termination.reason is not Reason.INFEASIBLE

        if Capability.TIME_LIMIT in self._capabilities():
            self._for_all("feasible", check)

    def test_a_stop_is_honoured(self) -> None:
        """Told to stop at once: a valid plan or none, and said to be interrupted or complete."""

        def check(instance: Instance) -> None:
            result = self._solve(instance, stop=lambda: True)
            self._consistent(result)
            assert result.termination.limit in (Limit.NONE, Limit.INTERRUPTED)

        if Capability.INTERRUPT in self._capabilities():
            self._for_all("feasible", check)

    # -- helpers -------------------------------------------------------------------------------

    def _name(self) -> str:
        if isinstance(self.solver, str):
            return self.solver
        name: str = self.solver.name  # type: ignore[attr-defined]
        registry.register("solver", name, self.solver)
        return name

    def _capabilities(self) -> frozenset[Capability]:
        found: frozenset[Capability] = registry.get("solver", self._name()).capabilities
        return found

    def _for_all(
        self, kind: InstanceKind, check: Callable[[Instance], None], *, adapted: bool = True
    ) -> None:
        supported = self._capabilities() if adapted else None
        # What was infeasible may no longer be without what the solver does not support.
        loaded = settings(suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
        if self.examples is not None:
            loaded = settings(loaded, max_examples=self.examples)
        loaded(given(instances(kind, supported=supported))(check))()

    def _solve(self, instance: Instance, **options: Any) -> Result:  # noqa: ANN401 - of solve()
        """Solve, or pass over what is too large for the solver."""
        try:
            return solve(instance, self._name(), **options)
        except TooLargeError:
            reject()

    def _truth(self, instance: Instance) -> OracleAnswer:
        try:
            return solve_by_enumeration(instance)
        except TooLargeError:
            reject()

    def _slack(self, value: float) -> float:
        return self.tolerance * max(1.0, abs(value))

    def _behind(self, result: Result, best: float) -> float:
        """Return by how much a result is worse than the best objective."""
        assert result.plan is not None
        assert result.objective is not None
        sign = 1 if result.plan.objective.sense == "max" else -1
        return sign * (best - result.objective)

    def _consistent(self, result: Result) -> None:
        termination = result.termination
        assert termination.reason is not Reason.ERROR, termination.detail
        assert (result.plan is None) == (termination.reason in _WITHOUT_PLAN)
        assert (result.objective is None) == (result.plan is None)
        if termination.reason in (Reason.OPTIMAL, Reason.INFEASIBLE):
            assert termination.limit is Limit.NONE, "a proof that was cut short"
        if termination.reason is Reason.NO_SOLUTION_FOUND:
            assert termination.limit is not Limit.NONE or termination.detail, "says nothing"
        timings = result.timings
        assert min(timings.compile_s, timings.solve_s, timings.verify_s) >= 0
        assert result.solver == self._name()
        for value in (result.objective, result.bound, result.bound_claimed, result.gap):
            assert value is None or math.isfinite(value)
        elapsed = [line.elapsed_s for line in result.history]
        assert elapsed == sorted(elapsed)
        assert all(t >= 0 for t in elapsed)
        if result.plan is not None:
            assert result.plan.solver == self._name()
            sign = 1 if result.plan.objective.sense == "max" else -1
            found = [sign * x.incumbent for x in result.history if x.incumbent is not None]
            assert found == sorted(found), "an incumbent that got worse"


def _shuffled(instance: Instance) -> Instance:
    """Return the same instance, read from lists in another order."""
    spec = json.loads(instance.model_dump_json(by_alias=True, exclude_none=True))
    rng = random.Random(0)  # noqa: S311 - nothing secret depends on it
    lists = [spec[name] for name in ("gpu_pools", "services", "tasks", "profiles")]
    lists += [spec["interference"]["pairs"]]
    lists += [spec["rules"][name] for name in ("quotas", "anti_affinity")]
    lists += [spec["gpu_pools"][i].get("measured_sms", []) for i in range(len(spec["gpu_pools"]))]
    for items in lists:
        rng.shuffle(items)
    return Instance.model_validate(spec)
