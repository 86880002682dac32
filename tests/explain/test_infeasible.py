"""Conflicts and suggestions, held against the oracle."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

from colocate.capability import Capability
from colocate.errors import TooLargeError, UnsupportedError
from colocate.explain import Explanation, explain
from colocate.explain.parts import parts_of
from colocate.instance import Instance
from colocate.result import Limit, Limits, Reason
from colocate.solvers.base import RawSolution
from colocate.solvers.brute_force import BruteForceSolver
from colocate.solvers.milp import MilpSolver
from colocate.testing import solve_by_enumeration
from colocate.testing.strategies import instances
from tests.explain.plain_changes import changed, document_of, only_what_is_due, relaxed
from tests.helpers import instance, profile

if TYPE_CHECKING:
    from tests.explain.plain_changes import Document

MANY = min(100, settings().max_examples // 4)
"""10 in a normal run, 100 in a deep one, of each of the two kinds of instances."""


STEPS = 100_000
"""Work after which the oracle gives an instance up; such examples do not count."""


def is_feasible(question: Instance) -> bool:
    try:
        return solve_by_enumeration(question, max_steps=STEPS).status == "optimal"
    except TooLargeError:
        reject()


def check(question: Instance, found: Explanation) -> None:
    """Hold every claim of an explanation against the oracle."""
    everything = set(parts_of(question))
    assert found.status == "infeasible"
    assert found.conflicts
    for conflict in found.conflicts:
        assert conflict.irreducible
        assert 0 < len(conflict.statements) < 10
        core = {p for s in conflict.statements for p in s.parts}
        assert core <= everything
        assert not is_feasible(relaxed(question, everything - core)), "it is no conflict"
        for statement in conflict.statements:
            assert statement.text
            gone = everything - core | set(statement.parts)
            assert is_feasible(relaxed(question, gone)), f"{statement} is not needed"
    assert found.suggestions
    for suggestion in found.suggestions:
        document = changed(question, suggestion.changes)
        assert suggestion.apply(question) == Instance.model_validate(document)
        due = Instance.model_validate(only_what_is_due(document))
        assert is_feasible(due), f"{suggestion.text} does not help"


@settings(max_examples=MANY)
@given(instances("infeasible"))
def test_conflicts_of_demands_that_cannot_be_met(question: Instance) -> None:
    check(question, explain(question))


def tighten(document: Document, rng: Random) -> None:
    """Ask for more than a drawn plan gives, in one to three ways."""
    services, tasks = document.get("services", []), document.get("tasks", [])
    rules = document["rules"]
    for service in services:
        if service.pop("required", True) is False:
            service.pop("missing_price")
    for _ in range(rng.randint(1, 3)):
        way = rng.choice(("slo", "memory", "gpus", "floor", "apart", "share", "quota"))
        if way == "slo" and services:
            rng.choice(services)["slo_ms"] *= rng.choice((0.3, 0.6, 0.9))
        elif way == "memory":
            pool = rng.choice(document["gpu_pools"])
            pool["memory_gib"] = pool.get("reserve_gib", 0.0) + rng.choice((1.0, 3.0, 5.0))
        elif way == "gpus":
            pool = rng.choice(document["gpu_pools"])
            pool["schedulable"] = False
        elif way in ("floor", "quota") and tasks:
            tenant = rng.choice(tasks)["tenant"]
            quotas = [q for q in rules.get("quotas", ()) if q["tenant"] != tenant]
            floor = rng.choice((1.0, 2.0, 3.0))
            unit = rng.choice(("tasks", "gpu_share"))
            quota = {"tenant": tenant, "unit": unit, "minimum": floor}
            if way == "quota":
                quotas.append({"tenant": tenant, "unit": "gpu_share", "maximum": 0.5})
                quota["unit"] = "tasks"
            rules["quotas"] = [*quotas, quota]
        elif way == "apart" and services:
            names = [s["id"] for s in services]
            rule = {"left": names, "right": names + [t["id"] for t in tasks]}
            rules["anti_affinity"] = [*rules.get("anti_affinity", ()), rule]
        elif way == "share" and services:
            rng.choice(services)["min_share_pct"] = rng.choice((60, 90))


@settings(max_examples=MANY)
@given(instances("feasible"), st.binary(min_size=8, max_size=8))
def test_conflicts_of_instances_that_were_tightened(question: Instance, seed: bytes) -> None:
    document = document_of(question)
    tighten(document, Random(seed))
    tight = Instance.model_validate(document)
    assume(not is_feasible(Instance.model_validate(only_what_is_due(document))))
    check(tight, explain(tight))


@settings(max_examples=MANY)
@given(instances("feasible"))
def test_nothing_is_said_against_what_is_feasible(question: Instance) -> None:
    assert explain(question) == Explanation("feasible")


# -- by hand ---------------------------------------------------------------------------------------


def said(found: Explanation) -> list[str]:
    return [s.text for c in found.conflicts for s in c.statements]


def suggested(found: Explanation) -> list[str]:
    return [s.text for s in found.suggestions]


def test_an_slo_that_cannot_be_met() -> None:
    question = instance(
        services=[{"id": "web", "profile": "net", "rate_rps": 10.0, "slo_ms": 120.0}],
        profiles=[
            profile("net", "A", "inference", {1: [8.0, 16.0, 24.0, 32.0]}, {1: 2.0}),
            profile("train", "A", "training", {8: [10.0, 20.0, 30.0, 40.0]}, {8: 4.0}),
        ],
    )
    found = explain(question)
    assert said(found) == [
        (
            "service web must answer within 120 ms at 10 samples/s; alone, at best, it takes "
            "131.25 ms on A"
        ),
        "service web must have its replica placed",
    ]
    assert suggested(found) == [
        "SLO of web 132 ms instead of 120 ms",
        "let service web be left out (required: false)",
    ]


def test_too_many_services_for_the_gpus() -> None:
    services = [
        {"id": f"s{i}", "profile": "net", "rate_rps": 10.0, "slo_ms": 300.0} for i in range(3)
    ]
    found = explain(instance(services=services))
    texts = said(found)
    assert texts[:2] == ["a GPU holds at most 1 service replica", "pool a has 2 GPUs (A)"]
    assert len(texts) == 5
    assert (
        "service s0 must have its replica placed; alone it needs at least 50 % of a GPU of type A"
        in texts
    )
    assert "1 more GPU in pool a (3 instead of 2)" in suggested(found)
    assert "up to 2 service replicas on a GPU instead of 1" in suggested(found)


def test_statements_about_one_thing_are_put_together() -> None:
    services = [
        {"id": f"s{i}", "profile": "net", "rate_rps": 10.0, "slo_ms": 200.0 + i} for i in range(14)
    ]
    pool = {"id": "a", "gpu_type": "A", "count": 13, "memory_gib": 16.0, "sm_count": 4}
    found = explain(instance(services=services, gpu_pools=[pool]))
    (conflict,) = found.conflicts
    assert len(conflict.statements) < 10
    assert conflict.irreducible
    named = {p.name for s in conflict.statements for p in s.parts if p.kind == "required"}
    assert named == {f"s{i}" for i in range(14)}
    assert "1 more GPU in pool a (14 instead of 13)" in suggested(found)


def test_who_is_not_put_together_for_want_of_knowledge() -> None:
    services = [{"id": x, "profile": "net", "rate_rps": 10.0, "slo_ms": 300.0} for x in "ab"]
    pool = {"id": "p", "gpu_type": "A", "count": 1, "memory_gib": 16.0, "sm_count": 4}
    question = instance(
        services=services, gpu_pools=[pool], rules={"services_per_gpu": 2}, interference={}
    )
    (conflict,) = explain(question).conflicts
    assert conflict.notes == (
        "how net and net slow each other down on A is not known, so they are not put together",
    )
    known = question.replace(interference=instance().interference, rules={})
    assert explain(known).conflicts[0].notes == ()


def test_a_table_is_one_statement() -> None:
    question = Instance.from_arrays(
        name="many",
        gpus={"id": ["a"], "gpu_type": ["A"], "count": [5], "memory_gib": 16.0, "sm_count": 4},
        services={"profile": ["net"] * 6, "rate_rps": [10.0] * 6, "slo_ms": [300.0] * 6},
        tasks={},
        slo_model={"name": "fill"},
        confidence=0.5,
        objective={"name": "throughput"},
        profiles=[profile("net", "A", "inference", {1: [8.0, 16.0, 24.0, 32.0]}, {1: 2.0})],
    )
    found = explain(question)
    assert "all 6 services service-* must have every replica placed" in said(found)
    assert "1 more GPU in pool a (6 instead of 5)" in suggested(found)


def test_nothing_is_claimed_without_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no exact solver decides, there is neither a plan nor a conflict."""
    services = [
        {"id": f"s{i}", "profile": "net", "rate_rps": 10.0, "slo_ms": 300.0} for i in range(3)
    ]
    question = instance(services=services)

    def gives_up(*_: object) -> RawSolution:
        return RawSolution(Reason.NO_SOLUTION_FOUND, limit=Limit.TIME)

    monkeypatch.setattr(BruteForceSolver, "solve", gives_up)
    assert explain(question) == Explanation("unknown")


def test_no_time_is_no_answer() -> None:
    assert explain(instance(), limits=Limits(time_s=0.0)).status == "unknown"


def test_rules_that_no_exact_solver_knows_are_not_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for solver in (BruteForceSolver, MilpSolver):
        known = solver.capabilities - {Capability.FREE_SERVICES}
        monkeypatch.setattr(solver, "capabilities", known)
    with pytest.raises(UnsupportedError, match="free to place"):
        explain(instance())
