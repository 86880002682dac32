"""Boxes: they close the gaps of prices, prove what they state, and never more."""

from __future__ import annotations

import importlib
from functools import cache
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import colocate as co
from colocate import datasets
from colocate.boxes import Boxes, BoxLeaf, BoxTree, Cut, Side, tree_certificate
from colocate.errors import TooLargeError
from colocate.instance import Instance
from colocate.plan import Certificate, Plan
from colocate.prices import linear_prices
from colocate.problem import Problem, compile_problem
from colocate.result import Limits, Reason, relative_gap
from colocate.solvers.backends.ask import Ask, Found
from colocate.solvers.backends.highs import relax
from colocate.solvers.backends.model import IntegerModel
from colocate.solvers.branching import Budget, grown
from colocate.solvers.branching.cuts import Candidates
from colocate.solvers.branching.program import BoxProgram
from colocate.testing import any_instance
from colocate.verify import verify

SOLVERS = ("milp", "ilp", "cp-sat")
GAPS = (("gangs", 0), ("gangs", 4), ("gangs", 9), ("tenants", 0), ("tenants", 3))
"""Families and seeds where the prices of all plans leave a gap."""


def relaxed(model: IntegerModel) -> Found:
    return relax(Ask(model), lambda _: None, lambda: False)


def with_gap(family: str, seed: int) -> Instance:
    return datasets.generate(family, gpus=5, seed=seed, tasks=4, sm_count=6, batches=3)


# -- closing gaps ------------------------------------------------------------------------------


@pytest.mark.parametrize(("family", "seed"), GAPS)
def test_boxes_close_the_gap(family: str, seed: int) -> None:
    """To 1e-4 by default, with all three solvers; to nothing when that is asked for."""
    asked = with_gap(family, seed)
    for name in SOLVERS:
        found = co.solve(asked, name, isolation="none")
        assert found.termination.reason is Reason.OPTIMAL
        assert found.gap is not None
        assert found.gap <= 1e-4
        whole = co.solve(asked, name, isolation="none", limits=Limits(gap=0.5))
        assert whole.gap is not None
        assert whole.gap <= 0.5
        assert whole.plan is not None
        assert whole.plan.certificate is not None
        assert whole.plan.certificate.kind == "prices"
    closed = co.solve(asked, "milp", isolation="none", limits=Limits(gap=0.0))
    assert closed.gap == pytest.approx(0.0, abs=3e-9)


def test_some_of_them_need_boxes() -> None:
    """Otherwise the test above would say nothing."""
    kinds = []
    for family, seed in GAPS:
        plan = co.solve(with_gap(family, seed), "milp", isolation="none").plan
        assert plan is not None
        assert plan.certificate is not None
        kinds.append(plan.certificate.kind)
    assert kinds == ["tree"] * len(GAPS)


def test_the_same_question_has_the_same_boxes() -> None:
    """To the byte, in this process and in a worker."""
    asked = with_gap("gangs", 9)
    texts = [
        plan.model_dump_json()
        for isolation in ("auto", "none", "none")
        if (plan := co.solve(asked, "milp", isolation=isolation).plan) is not None
    ]
    assert len(texts) == 3
    assert len(set(texts)) == 1


def growing(asked: Instance) -> tuple[Problem, Any, float, Any]:
    best = co.solve(asked, "milp", isolation="none").objective
    assert best is not None
    problem = compile_problem(asked)
    prices = linear_prices(problem)
    assert prices is not None
    value = problem.sign * (best - problem.offset)

    def enough(bound: float) -> bool:
        return relative_gap(best, problem.objective_of(bound)) <= 1e-6

    return problem, prices, value, enough


def test_a_budget_ends_the_growth_and_what_there_is_holds() -> None:
    """More relaxations never prove less, and every tree on the way is a proof."""
    asked = with_gap("gangs", 9)
    problem, prices, value, enough = growing(asked)
    plan = co.solve(asked, "milp", isolation="none").plan
    assert plan is not None
    bounds = []
    for relaxations in (1, 4, 12, 300):
        found = grown(problem, prices, value, enough, relaxed, Budget(relaxations))
        if found is None:
            continue
        assert found.relaxations <= relaxations + 20
        bounds.append(found.bound)
        proof = tree_certificate(problem, prices, found.tree)
        verdict = verify(asked, plan.model_copy(update={"certificate": proof}))
        assert verdict.ok
        assert verdict.bound == pytest.approx(problem.objective_of(found.bound), rel=1e-8)
    assert len(bounds) >= 2
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[-1] == pytest.approx(value, rel=1e-5)
    few = grown(problem, prices, value, enough, relaxed, Budget(300, leaves=3))
    assert few is not None
    assert sum(isinstance(node, BoxLeaf) for node in few.tree) == 3
    assert not few.closed


def test_it_stops_when_told() -> None:
    """At once, with what there is."""
    problem, prices, value, enough = growing(with_gap("gangs", 9))
    asked = iter([False] * 2 + [True] * 1000)
    found = grown(problem, prices, value, enough, relaxed, Budget(), lambda: next(asked))
    assert found is None or sum(isinstance(n, BoxLeaf) for n in found.tree) <= 3


def test_a_backend_that_fails_leaves_the_prices() -> None:
    """No answer is no tree."""
    problem, prices, value, enough = growing(with_gap("gangs", 9))
    for answer in (None, Found("failed"), Found("nothing")):

        def failing(_: IntegerModel, answer: Found | None = answer) -> Found | None:
            return answer

        assert grown(problem, prices, value, enough, failing, Budget()) is None


def test_boxes_that_prove_less_than_they_state_are_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Then the plan has the prices alone, and is not lost."""

    def boastful(*args: Any) -> Certificate | None:
        found = tree_certificate(*args)
        return found and found.model_copy(update={"bound": found.bound * 0.999})

    front = importlib.import_module("colocate.solve")
    monkeypatch.setattr(front, "tree_certificate", boastful)
    found = co.solve(with_gap("gangs", 9), "milp", isolation="none")
    assert found.violations == ()
    assert found.plan is not None
    assert found.plan.certificate is not None
    assert found.plan.certificate.kind == "prices"


# -- arbitrary boxes at their best prices ------------------------------------------------------


def any_cut(rng: Random, problem: Problem, candidates: Candidates) -> Cut:
    """Return any number that plans have, whether it would be wise to split by it or not."""
    columns, places = problem.columns, [None, *candidates.places]
    c = rng.randrange(columns.size)
    workloads = range(int(columns.start[c]), int(columns.start[c + 1]))
    members = [(bool(columns.is_task[w]), int(columns.cls[w])) for w in workloads]
    part = rng.sample(members, rng.randint(0, len(members)))
    holding = tuple((*m, part.count(m)) for m in dict.fromkeys(part))
    tasks = [w for w in workloads if columns.is_task[w]]
    counts = rng.choice(["gpus", "tasks", "workers", "level", "replicas"])
    if counts == "level" and problem.levels.size:
        level = rng.randrange(problem.levels.size)
        task = int(problem.levels.task[level])
        return Cut("tasks", task, level=level, slow=rng.random() < 0.5)
    if counts == "workers" and tasks:
        w = rng.choice(tasks)
        share = rng.choice([1, int(columns.share_pct[w])])
        cls = int(columns.cls[w])
        return Cut("workers", cls, rng.choice(places), holding, share_from=share)
    if counts == "replicas" and problem.service_count.size:
        return Cut("replicas", rng.randrange(problem.service_count.size))
    if counts == "tasks" and problem.task_count.size:
        return Cut("tasks", rng.randrange(problem.task_count.size))
    return Cut("gpus", gpus=rng.choice(places), holding=holding)


def any_tree(rng: Random, problem: Problem, value: float) -> BoxTree:
    """Return boxes by any cuts, each with the prices that prove most."""
    prices = linear_prices(problem)
    assert prices is not None
    boxes = Boxes(problem)
    program = BoxProgram(problem, boxes, relaxed, problem.columns.gpu >= 0)
    candidates = Candidates(problem, boxes)

    def below(sides: tuple[Side, ...], leaf: BoxLeaf, bound: float, left: int) -> list[Any]:
        if left == 0 or (sides and rng.random() < 0.2):
            return [leaf]
        cut, at_most = any_cut(rng, problem, candidates), rng.choice([0, 0, 1, 1, 2, 3])
        found: list[Any] = [(cut, at_most)]
        for above in (False, True):
            inner = (*sides, Side(cut, above, at_most))
            solved = program.solve(inner, leaf, bound, value)
            own = BoxLeaf(leaf.prices, (*leaf.of_sides, 0.0)) if solved is None else solved.leaf
            found += below(inner, own, boxes.bound(own, inner), left - 1)
        return found

    root = BoxLeaf(prices, ())
    return tuple(below((), root, boxes.bound(root, ()), rng.randint(1, 3)))


def boxes_hold(drawn: Instance, seed: int) -> None:
    """Hold the bound of boxes by any cuts, at their best prices, against the optimum."""
    problem = compile_problem(drawn)
    try:
        truth = co.solve(drawn, "brute_force")
    except TooLargeError:
        return
    if truth.plan is None or truth.objective is None or not problem.columns.size:
        return
    value = problem.sign * (truth.objective - problem.offset)
    prices = linear_prices(problem)
    assert prices is not None
    tree = any_tree(Random(seed), problem, value)
    proof = tree_certificate(problem, prices, tree)
    assert proof is not None
    verdict = verify(drawn, truth.plan.model_copy(update={"certificate": proof}))
    assert verdict.bound is not None
    slack = 1e-7 * max(1.0, abs(truth.objective))
    assert problem.sign * (verdict.bound - truth.objective) >= -slack
    assert problem.sign * (proof.bound - truth.objective) >= -slack
    by_share = any(n.kind == "split" and n.share_from > 1 for n in proof.tree)
    if not by_share and not verdict.bound_note:
        assert verdict.ok, verdict.violations


@given(any_instance(), st.integers(0, 2**32 - 1))
def test_boxes_by_any_cuts_hold(drawn: Instance, seed: int) -> None:
    """At the prices that prove most, so that a bound has no room for a mistake."""
    boxes_hold(drawn, seed)


# -- stated bounds -----------------------------------------------------------------------------


@cache
def proved() -> list[tuple[Instance, Plan]]:
    """Return plans with prices and plans with boxes, half and half."""
    found = []
    for family, seed in (*GAPS, ("two_tasks", 0), ("tenants", 1), ("tight_slo", 2)):
        asked = with_gap(family, seed)
        plan = co.solve(asked, "milp", isolation="none").plan
        assert plan is not None
        found.append((asked, plan))
    return found


def test_200_of_200_bounds_that_are_too_tight_are_rejected(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Tightened by a millionth or more; loosened by as much they are accepted as what they are."""
    rng = Random(5)
    rejected = accepted = tried = trees = 0
    known = proved()
    for i in range(200):
        asked, plan = known[i % len(known)]
        assert plan.certificate is not None
        trees += plan.certificate.kind == "tree"
        sign = 1 if plan.objective.sense == "max" else -1
        bound = plan.certificate.bound
        part = 10 ** rng.uniform(-6, 0) * max(1.0, abs(bound))
        tried += 1
        for by, wanted in ((-part, "rejected"), (part, "accepted"))[: 1 + (i % 5 == 0)]:
            stated = plan.certificate.model_copy(update={"bound": bound + sign * by})
            verdict = verify(asked, plan.model_copy(update={"certificate": stated}))
            kinds = {v.kind for v in verdict.violations}
            assert verdict.bound == pytest.approx(bound, rel=1e-9)
            if wanted == "rejected":
                rejected += kinds == {"certificate"}
            else:
                accepted += verdict.ok
    with capsys.disabled():
        print(f" {rejected} of {tried} over-tight bounds rejected, {trees} of them of boxes")  # noqa: T201
    assert (rejected, accepted, tried) == (200, 40, 200)
    assert 100 <= trees <= 150


def test_prices_that_were_changed_prove_less() -> None:
    """A box's prices set to nothing: what is stated is then too much, and the judge says so."""
    asked, plan = proved()[0]
    certificate = plan.certificate
    assert certificate is not None
    assert certificate.kind == "tree"
    rejected = 0
    leaves = [i for i, n in enumerate(certificate.tree) if n.kind == "leaf"]
    for i in leaves:
        node = certificate.tree[i]
        assert node.kind == "leaf"
        changed = node.model_copy(update={"services": (), "splits": (0.0,) * len(node.splits)})
        tree = (*certificate.tree[:i], changed, *certificate.tree[i + 1 :])
        forged = certificate.model_copy(update={"tree": tree})
        verdict = verify(asked, plan.model_copy(update={"certificate": forged}))
        rejected += not verdict.ok
        assert verdict.bound is not None
        assert verdict.bound >= plan.objective.value - 1e-7
    assert rejected == len(leaves)
