"""The judge where slowdowns depend on batches and shares: predictions, legality and bounds."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import colocate as co
from colocate.errors import TooLargeError
from colocate.instance import Instance
from colocate.plan import Certificate
from colocate.testing import instances
from colocate.verify import verify
from tests.helpers import instance, profile
from tests.judging.plain_bound import PlainBound
from tests.judging.plans import On, hand_made
from tests.test_verify_bound import certificates, recomputed


@st.composite
def questions(draw: st.DrawFn) -> tuple[Instance, Certificate]:
    """Draw an instance with tables, and prices."""
    drawn = draw(instances(slowdown_tables=True))
    return drawn, draw(certificates(drawn))


@given(questions())
def test_the_bound_is_that_of_the_formulation(question: tuple[Instance, Certificate]) -> None:
    """Every combination of knobs of every coupled set, in plain loops."""
    drawn, certificate = question
    expected = PlainBound(drawn, certificate).bound()
    found, note = recomputed(drawn, certificate)
    if math.isnan(expected):
        assert found is None
    else:
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)
        assert note == ""


@settings(max_examples=settings().max_examples // 2)
@given(questions(), st.sampled_from([0, 20, 100, 500]))
def test_beyond_the_cap_the_bound_is_valid_and_says_so(
    question: tuple[Instance, Certificate], cap: int
) -> None:
    """Never below the truth; without a note it is the truth."""
    drawn, certificate = question
    exact, _ = recomputed(drawn, certificate)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("colocate.judge.bound.COMBINATION_CAP", cap)
        found, note = recomputed(drawn, certificate)
    if exact is None or found is None:
        # A GPU that cannot hold what is pinned to it may seem to, at the smallest slowdowns.
        assert exact is None
        assert found is None or note
        return
    sign = 1 if drawn.objective.name == "throughput" else -1
    assert sign * found >= sign * exact - 1e-9 * max(1.0, abs(exact))
    assert note or found == pytest.approx(exact, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("side", ["maximum", "minimum"])
def test_shares_are_priced_at_the_end_that_the_price_likes(side: str) -> None:
    """Two workers run best at 26 ... 49 %: sure of one multiprocessor, seen as taking two.

    A price on shares wants 26 %, a reward 49 %.
    """
    quota = {"tenant": "default", "unit": "gpu_share", "maximum": 1.5, "minimum": 0.1}
    price = {"tenant": "default", "unit": "gpu_share", "side": side, "price": 0.8}
    # Only a neighbour that may take two of four multiprocessors lets a worker run at full speed.
    over = {**TABLE, "neighbour_batch": [1], "victim_share_pct": [100.0]}
    pair = {"gpu_type": "A", "victim": "train", "neighbour": "train"}
    table = {**over, "neighbour_share_pct": [25.0, 50.0], "slowdown": [9.0, 1.0]}
    question = instance(
        interference={"default_slowdown": 1.0, "pairs": [{**pair, "table": table}]},
        profiles=[
            profile("net", "A", "inference", {1: [8.0, 16.0, 24.0, 32.0]}, {1: 2.0}),
            profile("train", "A", "training", {8: [40.0, 10.0, 10.0, 10.0]}, {8: 4.0}),
        ],
        services=[],
        rules={"tasks_per_gpu": 2, "quotas": [quota]},
    )
    certificate = Certificate.model_validate({"bound": 0.0, "quotas": [price]})
    found, _ = recomputed(question, certificate)
    limit = {"maximum": 1.5 * 0.8, "minimum": -0.1 * 0.8}[side]
    each = {"maximum": 4 - 0.8 * 0.26, "minimum": 4 + 0.8 * 0.49}[side]
    assert found == pytest.approx(limit + 2 * 2 * each, rel=1e-9)
    assert found == pytest.approx(PlainBound(question, certificate).bound(), rel=1e-9)


@settings(max_examples=settings().max_examples // 2)
@given(instances(slowdown_tables=True))
def test_certificates_are_tight(drawn: Instance) -> None:
    """What the solver's prices prove over its columns, they prove over all columns."""
    for solver in ("greedy", "brute_force"):
        try:
            result = co.solve(drawn, solver)
        except TooLargeError:
            continue
        assert result.violations == ()
        if result.plan is not None and result.plan.certificate is not None:
            assert result.bound == pytest.approx(result.plan.certificate.bound, rel=1e-9, abs=1e-9)


# -- by hand -----------------------------------------------------------------------------------

TABLE = {
    "victim_batch": [1],
    "neighbour_batch": [1, 64],
    "victim_share_pct": [25.0, 100.0],
    "neighbour_share_pct": [25.0, 75.0],
    # Batch 8 lies midway, so at a share of 25 % beside 50 %: (1 + 2 + 1.2 + 2.2) / 4 = 1.6.
    "slowdown": [1.0, 2.0, 3.0, 3.0, 1.2, 2.2, 3.0, 3.0],
}


def asked(**changes: Any) -> Instance:
    """One service and three tasks on GPUs of four multiprocessors."""
    pair = {"gpu_type": "A", "victim": "train", "neighbour": "train", "table": TABLE}
    return instance(
        interference={"default_slowdown": 1.0, "pairs": [pair]},
        services=[],
        rules={"tasks_per_gpu": 2},
        **changes,
    )


def together(first: int, second: int) -> list[On]:
    return [On("a", "0", (), [("job", "0", 8, first), ("job", "1", 8, second)])]


def test_predictions_are_those_at_the_knobs() -> None:
    """Two workers at 25 and 50 %: each is read at its own share and at that of the other."""
    question = asked()
    plan = hand_made(question, together(25, 50))
    assert verify(question, plan).ok
    rates = [t.predicted.rate for t in plan.placements[0].tasks if t.predicted is not None]
    # 25 % beside 50 %: 10 / 1.6. 50 % beside 25 %: a third of the way from 1.1 to 3.
    assert rates == pytest.approx([10 / 1.6, 20 / (1.1 + 1.9 / 3)])


def test_another_share_of_the_neighbour_changes_the_prediction() -> None:
    """The plan states what would be right beside 25 %."""
    question = asked()
    right, other = (hand_made(question, together(50, q)) for q in (25, 50))
    group = other.placements[0]
    worker = group.tasks[0].model_copy(update={"predicted": right.placements[0].tasks[0].predicted})
    spoiled = group.model_copy(update={"tasks": (worker, *group.tasks[1:])})
    found = verify(question, other.model_copy(update={"placements": (spoiled,)}))
    assert [v.kind for v in found.violations if v.kind == "prediction"]
    assert "states rate 11.5" in " ".join(v.message for v in found.violations)


def test_a_neighbour_at_a_share_that_was_not_measured() -> None:
    """Nothing can be said about its company; that its share was not measured is said."""
    measured = [{"share_pct": q, "sms": n} for q, n in ((25, 1), (50, 2), (100, 4))]
    pool = {"id": "a", "gpu_type": "A", "count": 2, "memory_gib": 16.0, "sm_count": 4}
    question = asked(gpu_pools=[{**pool, "measured_sms": measured}])
    found = verify(question, hand_made(question, together(50, 40)))
    assert {v.kind for v in found.violations} == {"share"}
    assert found.objective is None


def test_an_slo_that_holds_beside_few_but_not_beside_many() -> None:
    """The same service at the same share, beside a quarter and beside half of a GPU."""
    pair = {"gpu_type": "A", "victim": "net", "neighbour": "train"}
    axes = {**TABLE, "neighbour_batch": [1], "victim_share_pct": [100.0]}
    question = instance(
        interference={
            "default_slowdown": 1.0,
            "pairs": [{**pair, "table": {**axes, "slowdown": [1.0, 3.0]}}],
        }
    )
    for share, kinds in ((25, set[str]()), (50, {"slo"})):
        groups = [On("a", "0", [("web", "0", 1, 50)], [("job", "0", 8, share)])]
        found = verify(question, hand_made(question, groups))
        assert {v.kind for v in found.violations} == kinds
