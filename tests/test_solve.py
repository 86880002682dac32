"""The front door: what it checks, what it refuses, and what it never returns."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import pytest

import colocate as co
from colocate import registry
from colocate.capability import Capability, needed, refuse
from colocate.constraints.base import ColumnView, CoTenantSets, PlainConstraint, RowSpec
from colocate.errors import PluginError, UnsupportedError
from colocate.instance import Instance
from colocate.problem import Problem
from colocate.result import Limit, Limits, Progress, Reason
from colocate.schema import Frozen
from colocate.solvers.base import Availability, Context, RawSolution
from colocate.solvers.greedy import GreedySolver
from colocate.violation import Violation
from tests.helpers import instance

TASK = {"profile": "train", "batch": 8}


@pytest.mark.parametrize("solver", ["auto", "greedy", "brute_force"])
def test_a_small_question(solver: str) -> None:
    """Two GPUs: one task alone, one beside the service; the bound meets the value."""
    result = co.solve(instance(), solver)
    assert result.ok
    assert result.plan is not None
    assert result.objective == pytest.approx(1.5)
    assert result.bound == pytest.approx(1.5)
    assert result.gap == pytest.approx(0)
    assert result.violations == ()
    assert [u.ids for u in result.plan.unplaced] == ["2"]
    assert result.plan.unplaced[0].reason == "outbid"
    assert min(result.timings.compile_s, result.timings.solve_s, result.timings.verify_s) >= 0
    assert result.versions["colocate"] == co.__version__
    assert "objective 1.5" in result.summary()
    assert bool(result.solver_detail) == (solver == "auto")


def test_what_is_known_depends_on_the_solver() -> None:
    """Brute force claims an optimum, greedy does not."""
    exact, quick = co.solve(instance(), "brute_force"), co.solve(instance(), "greedy")
    assert (exact.termination.reason, quick.termination.reason) == (Reason.OPTIMAL, Reason.FEASIBLE)
    assert exact.bound_claimed == pytest.approx(1.5)
    assert quick.bound_claimed is None


def test_an_impossible_required_service_is_named() -> None:
    """The reason says which service and by how much."""
    services = [{"id": "web", "profile": "net", "rate_rps": 10.0, "slo_ms": 120.0}]
    result = co.solve(instance(services=services))
    assert result.plan is None
    assert result.termination.reason is Reason.INFEASIBLE
    assert "'web'" in result.termination.detail
    assert "131.2 ms" in result.termination.detail
    assert "120 ms" in result.termination.detail
    assert (result.objective, result.bound, result.gap) == (None, None, None)


def test_an_impossible_optional_service_does_not_void_the_plan() -> None:
    """It is listed as missing, with its reason and its price."""
    services = [
        {"id": "web", "profile": "net", "rate_rps": 10.0, "slo_ms": 300.0},
        {
            "id": "hopeless",
            "profile": "net",
            "rate_rps": 10.0,
            "slo_ms": 120.0,
            "required": False,
            "missing_price": 0.25,
        },
    ]
    result = co.solve(instance(services=services))
    assert result.plan is not None
    assert result.objective == pytest.approx(1.25)
    (missing,) = result.plan.missing
    assert (missing.service, missing.replicas, missing.reason) == ("hopeless", "0", "slo")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"tasks": [{"id": "job", **TASK, "memory_gib": 17.0}]}, "memory"),
        ({"tasks": [{"id": "job", **TASK, "processes": 49, "memory_gib": 0.1}]}, "clients"),
        ({"rules": {"tasks_per_gpu": 0}}, "no_room"),
    ],
)
def test_reasons_of_unplaced_tasks(changes: dict[str, object], reason: str) -> None:
    """A task that fits nowhere says what was in the way."""
    result = co.solve(instance(**changes))
    assert result.plan is not None
    assert [u.reason for u in result.plan.unplaced] == [reason]


def test_no_profile_on_any_schedulable_type_is_a_reason() -> None:
    """A task profiled only for a GPU type that is not there cannot be placed."""
    pools = [
        {"id": "a", "gpu_type": "A", "count": 2, "memory_gib": 16.0, "sm_count": 4},
        {"id": "b", "gpu_type": "B", "count": 2, "memory_gib": 16.0, "sm_count": 4},
    ]
    result = co.solve(
        instance(gpu_pools=[{**pools[0], "schedulable": False}, pools[1]], services=[])
    )
    assert result.plan is not None
    assert [u.reason for u in result.plan.unplaced] == ["no_profile"]
    result = co.solve(instance(gpu_pools=[{**pools[0], "schedulable": False}], services=[]))
    assert result.plan is not None
    assert [u.reason for u in result.plan.unplaced] == ["no_room"]


# -- refusals ------------------------------------------------------------------------------------


def test_unknown_solver() -> None:
    """The message lists the known ones."""
    with pytest.raises(PluginError, match=r"no solver named 'simplex' \(known: auto, "):
        co.solve(instance(), "simplex")


def test_parameters_of_later_versions_are_refused() -> None:
    """What is not supported is refused, not ignored."""
    with pytest.raises(UnsupportedError, match="isolation"):
        co.solve(instance(), isolation="process")  # type: ignore[arg-type]
    plan = co.solve(instance()).plan
    with pytest.raises(UnsupportedError, match="does not start from a plan"):
        co.solve(instance(), warm_start=plan)


def test_what_an_instance_needs() -> None:
    """Every rule that a solver could ignore is a capability that it must declare."""
    current = [
        {
            "pool": "a",
            "gpus": "0",
            "tasks": [{"task": "job", "workers": "0", "batch": 8, "share_pct": 100, "sms": 4}],
        }
    ]
    service = {"id": "web", "profile": "net", "rate_rps": 10.0, "slo_ms": 300.0}
    quota = {"tenant": "default"}
    pools = [{"id": x, "gpu_type": x, "count": 1, "memory_gib": 1.0, "sm_count": 4} for x in "ab"]
    cases: dict[Capability, dict[str, object]] = {
        Capability.SEVERAL_TASKS: {"rules": {"tasks_per_gpu": 2}},
        Capability.SEVERAL_SERVICES: {"rules": {"services_per_gpu": 2}},
        Capability.PINNED_SERVICES: {
            "services": [{**service, "pinned": [{"pool": "a", "gpus": "0"}]}]
        },
        Capability.OPTIONAL_SERVICES: {
            "services": [{**service, "required": False, "missing_price": 0.0}]
        },
        Capability.GANGS: {"tasks": [{"id": "job", **TASK, "gang_size": 2}]},
        Capability.QUOTAS: {"rules": {"quotas": [{**quota, "maximum": 1.0}]}},
        Capability.FLOORS: {"rules": {"quotas": [{**quota, "minimum": 1.0}]}},
        Capability.GPU_TYPES: {"gpu_pools": pools},
        Capability.EXTRA_CONSTRAINTS: {"constraints": [{"name": "user_id"}]},
        Capability.MOVES: {"rules": {"moves": {"price": 1.0}}, "current": current},
        Capability.BLAST_RADIUS: {"rules": {"blast_radius": {"max_replicas_per_node": 1}}},
    }
    plain = needed(instance())
    assert plain == {Capability.FREE_SERVICES}
    for capability, changes in cases.items():
        stated = instance(**changes)
        assert capability in needed(stated), capability
        without = GreedySolver.capabilities | set(Capability)
        with pytest.raises(UnsupportedError, match="does not support") as caught:
            refuse("x", frozenset(without - {capability}), stated)
        assert capability.value in str(caught.value)
        refuse("x", frozenset(Capability), stated)
    tables = {"rows": 1, "profile": "net", "rate_rps": 10.0, "slo_ms": 300.0}
    optional = {**tables, "required": False, "missing_price": 1.0}
    assert Capability.OPTIONAL_SERVICES in needed(instance(services=[], service_table=optional))
    gang = {"rows": 1, "profile": "train", "batch": 8, "gang_size": 2}
    assert Capability.GANGS in needed(instance(tasks=[], task_table=gang))


@pytest.mark.parametrize("solver", ["auto", "greedy", "brute_force"])
@pytest.mark.parametrize("rules", [{"moves": {"price": 1.0}}], ids=["moves"])
def test_rules_of_later_versions_are_refused(solver: str, rules: dict[str, object]) -> None:
    """No solver of this version ignores a rule that it does not support."""
    with pytest.raises(UnsupportedError, match="does not support"):
        co.solve(instance(rules=rules, current=[]), solver)


class FewGpus(PlainConstraint):
    """A plug-in: at most so many GPUs are used, and service classes are kept off tasks."""

    name: ClassVar[str] = "few_gpus"

    class Params(Frozen):
        most: int

    def admits(self, instance: Instance, sets: CoTenantSets) -> np.ndarray:
        del instance
        return np.full(sets.size, sets.user.shape[1] == 1)

    def rows(self, instance: Instance, columns: ColumnView) -> list[RowSpec]:
        del instance
        used = np.ones(columns.n_columns)
        levels = np.zeros(columns.level_tenant.size)
        return [RowSpec("few gpus", used, levels, -np.inf, self.params.most)]  # type: ignore[attr-defined]

    def violations(self, instance: Instance, plan: co.Plan) -> Iterator[Violation]:
        del instance
        if plan.totals.gpus_used > self.params.most:  # type: ignore[attr-defined]
            message = f"{plan.totals.gpus_used} GPUs are used"
            yield Violation(kind="constraint", where="plan", message=message)


def test_constraints_of_plugins_shape_the_plan_and_are_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both faces of a plug-in are asked; its price cannot be certified, so there is no bound."""
    monkeypatch.setitem(registry._ADDED["constraint"], "few_gpus", FewGpus)
    for most, value in ((1, 0.0), (2, 1.0), (3, 2.0)):
        stated = instance(
            gpu_pools=[{"id": "a", "gpu_type": "A", "count": 4, "memory_gib": 16.0, "sm_count": 4}],
            constraints=[{"name": "few_gpus", "params": {"most": most}}],
        )
        result = co.solve(stated, "brute_force")
        assert result.plan is not None
        assert result.objective == pytest.approx(value)
        assert (result.bound, result.gap) == (None, None)
        with pytest.raises(UnsupportedError, match="constraints from plug-ins"):
            co.solve(stated, "greedy")
        strict = stated.replace(constraints=[{"name": "few_gpus", "params": {"most": most - 1}}])
        plan = result.plan.model_copy(update={"instance_sha256": strict.sha256})
        kinds = [v.kind for v in co.verify(strict, plan).violations]
        assert kinds == ["constraint"]


# -- what is never returned ----------------------------------------------------------------------


class Liar:
    """A solver that returns whatever it was told to."""

    kind: ClassVar[str] = "solver"
    name: ClassVar[str] = "liar"
    capabilities: ClassVar[frozenset[Capability]] = frozenset(Capability)
    answer: ClassVar[RawSolution]

    @classmethod
    def availability(cls) -> Availability:
        return Availability(True)

    def solve(self, problem: Problem, context: Context) -> RawSolution:
        del problem, context
        return self.answer


@pytest.fixture
def liar(monkeypatch: pytest.MonkeyPatch) -> type[Liar]:
    monkeypatch.setitem(registry._ADDED["solver"], "liar", Liar)
    return Liar


@pytest.mark.parametrize(
    ("counts", "gangs", "what"),
    [
        ([9, 0, 0], [], "broken rows"),
        ([0, 0, 0], [], "broken rows"),
        ([-1, 0, 0], [], "negative"),
        ([1, 0], [], "counts"),
        ([1, 0, 0], [1], "gangs"),
    ],
)
def test_an_invalid_answer_is_an_error_and_not_a_plan(
    liar: type[Liar], counts: list[int], gangs: list[int], what: str
) -> None:
    """Whatever a solver returns, only a plan that keeps every row is expanded."""
    liar.answer = RawSolution(Reason.OPTIMAL, np.array(counts), np.array(gangs, dtype=np.int64))
    result = co.solve(instance(), "liar")
    assert result.plan is None
    assert result.objective is None
    assert result.termination.reason is Reason.ERROR
    assert what in result.termination.detail


class Grudge(PlainConstraint):
    """A plug-in whose faces disagree: it forbids nothing, and no plan is right for it."""

    name: ClassVar[str] = "grudge"

    def violations(self, instance: Instance, plan: co.Plan) -> Iterator[Violation]:
        del instance, plan
        yield Violation(kind="constraint", where="plan", message="is never right")


def test_a_plan_that_the_judge_rejects_is_never_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row is kept, and still the judge has the last word; what it said is in the result."""
    monkeypatch.setitem(registry._ADDED["constraint"], "grudge", Grudge)
    result = co.solve(instance(constraints=[{"name": "grudge"}]), "brute_force")
    assert result.plan is None
    assert (result.objective, result.bound, result.bound_claimed) == (None, None, None)
    assert result.termination.reason is Reason.ERROR
    assert "is never right" in result.termination.detail
    assert [v.message for v in result.violations] == ["is never right"]


def test_an_overstated_claim_does_not_become_the_bound(liar: type[Liar]) -> None:
    """A solver's claim is kept apart; the bound is recomputed from its prices."""
    best = co.solve(instance(), "brute_force")
    assert best.plan is not None
    counts = np.zeros(3, dtype=np.int64)
    from colocate.problem import compile_problem

    problem = compile_problem(instance())
    width = np.diff(problem.columns.start)
    counts[width == 2] = 1
    liar.answer = RawSolution(
        Reason.OPTIMAL, counts, np.zeros(0, dtype=np.int64), value_claimed=0.5, prices=np.zeros(4)
    )
    result = co.solve(instance(), "liar")
    assert result.objective == pytest.approx(0.5)
    assert result.bound_claimed == pytest.approx(0.5)
    assert result.bound == pytest.approx(2.0)
    assert result.gap == pytest.approx(0.75)


# -- manners -------------------------------------------------------------------------------------


def test_limits_must_make_sense() -> None:
    """Negative and infinite limits are refused."""
    for wrong in (
        {"time_s": -1.0},
        {"gap": -0.1},
        {"time_s": float("inf")},
        {"time_s": float("nan")},
    ):
        with pytest.raises(ValueError, match="must be a number of at least 0"):
            Limits(**wrong)


def test_stop_and_time_limit_are_recorded() -> None:
    """A stop or a time limit of zero ends the search early; what was found is still verified."""
    tasks = [{"id": f"t{i}", **TASK, "weight": 1.0 + i / 7} for i in range(30)]
    pool = {"id": "a", "gpu_type": "A", "count": 40, "memory_gib": 16.0, "sm_count": 4}
    big = instance(gpu_pools=[pool], tasks=tasks, rules={"tasks_per_gpu": 2})
    stopped = co.solve(big, "greedy", stop=lambda: True)
    assert stopped.termination.limit is Limit.INTERRUPTED
    timed = co.solve(big, "brute_force", limits=Limits(time_s=0.0))
    assert timed.termination.limit is Limit.TIME
    for result in (stopped, timed):
        assert result.termination.reason in (Reason.FEASIBLE, Reason.NO_SOLUTION_FOUND)
        assert result.violations == ()


def test_progress_is_reported_to_the_caller() -> None:
    """Every line of the history is handed over as it happens, in the instance's objective."""
    seen: list[Progress] = []
    result = co.solve(instance(), "brute_force", progress=seen.append)
    assert tuple(seen) == result.history
    assert seen[-1].incumbent == pytest.approx(1.5)


def test_any_thread_may_solve() -> None:
    """Solving from several threads gives the same plan."""
    plans: list[str] = []

    def work() -> None:
        plan = co.solve(instance(), "greedy").plan
        assert plan is not None
        plans.append(plan.model_dump_json())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(plans) == 4
    assert len(set(plans)) == 1


def test_the_function_survives_an_import_of_its_module() -> None:
    """`colocate.solve` is the function, in whichever order things are imported."""
    code = (
        "import colocate.solve, colocate.verify, colocate as co\n"
        "assert callable(co.solve) and callable(co.verify), (co.solve, co.verify)\n"
        "from colocate.solve import solve\n"
        "assert co.solve is solve\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_public_names_exist() -> None:
    """Everything in `__all__` can be had, and unknown names are refused."""
    for name in co.__all__:
        assert getattr(co, name) is not None
    assert set(co.__all__) <= set(dir(co))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = co.nothing
