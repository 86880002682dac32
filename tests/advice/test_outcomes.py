"""Outcomes: what a measurement would change in an instance, and in the worth of a plan."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from colocate.advice.outcomes import NO_ERROR, Beliefs, CurveChange, Outcome, log_error
from colocate.advice.runs import (
    Run,
    Tenant,
    known_shares,
    placed_runs,
    possible_pairs,
    was_measured,
)
from colocate.instance import Instance
from colocate.models.curves import rate_alone
from colocate.profile import ErrorBound, Interference, PairSlowdown, SlowdownTable
from colocate.schema import Evidence
from colocate.solve import solve
from colocate.tables import ProfileTable
from colocate.testing import feasible_instances
from tests.advice.worlds import world
from tests.helpers import instance as small


def test_sigma_is_that_of_the_smallest_level():
    bounds = (ErrorBound(confidence=0.9, relative=0.2), ErrorBound(confidence=0.99, relative=0.9))
    q = 1.2815515655446004
    assert log_error(bounds, of_rate=False) == pytest.approx(math.log(1.2) / q)
    assert log_error(bounds, of_rate=True) == pytest.approx(-math.log(0.8) / q)
    assert log_error((), of_rate=True) is None
    assert log_error((ErrorBound(confidence=0.9, relative=1.5),), of_rate=True) is None
    # A median says nothing about the spread.
    half = (ErrorBound(confidence=0.5, relative=0.2), *bounds)
    assert log_error(half, of_rate=False) == log_error(bounds, of_rate=False)


def pair(**changes):
    data = {"gpu_type": "A", "victim": "net", "neighbour": "train", "slowdown": 1.2, **changes}
    return PairSlowdown.model_validate(data)


def test_what_is_believed_of_pairs():
    exact = Interference(pairs=(pair(),), default_slowdown=1.5)
    beliefs = Beliefs(small(interference=exact), 0.3)
    assert beliefs.of_pair(("A", "net", "train")) == 0.0
    assert beliefs.of_pair(("A", "train", "net")) == pytest.approx(math.log(1.3))
    assert beliefs.entry(("A", "train", "net")).slowdown == 1.5
    # Planned for at 0.9, a slowdown without any bound is of no use, measured or not.
    beliefs = Beliefs(small(interference=exact, confidence=0.9), 0.3)
    assert beliefs.of_pair(("A", "net", "train")) == pytest.approx(math.log(1.3))
    # Of a pair about which nothing is said: what is typical of those that are known.
    nothing = Interference(pairs=(pair(slowdown=1.2), pair(victim="x", slowdown=2.0)))
    assert Beliefs(small(interference=nothing), 0.3).entry(("A", "y", "z")).slowdown == 1.6


def test_a_shown_pair_is_exact_and_others_are_as_before():
    before, _ = world(1, 2, 2)
    beliefs = Beliefs(before, 0.3)
    after = Outcome(pairs={("V", "s0", "t1"): 0.25}).applied(before, beliefs)
    for old, new in zip(before.interference.pairs, after.interference.pairs, strict=True):
        if (old.victim, old.neighbour) == ("s0", "t1"):
            assert old.slowdown is not None
            assert new.slowdown == pytest.approx(old.slowdown * math.exp(0.25))
            assert new.error == NO_ERROR
            assert new.evidence is Evidence.MEASURED
        else:
            assert new == old
    assert Outcome().applied(before, beliefs) is before


def test_a_table_of_slowdowns_is_scaled_as_a_whole():
    axes = {"victim_batch": [1], "neighbour_batch": [8], "victim_share_pct": [10.0, 90.0]}
    table = SlowdownTable.model_validate(
        {**axes, "neighbour_share_pct": [50.0], "slowdown": [1.2, 1.8]}
    )
    model = Interference(
        pairs=(
            PairSlowdown.model_validate(
                {"gpu_type": "A", "victim": "net", "neighbour": "train", "table": table}
            ),
        )
    )
    before = small(interference=model)
    beliefs = Beliefs(before, 0.3)
    (entry,) = (
        Outcome(pairs={("A", "net", "train"): 0.1}).applied(before, beliefs).interference.pairs
    )
    assert entry.table is not None
    assert entry.table.slowdown == pytest.approx([1.2 * math.exp(0.1), 1.8 * math.exp(0.1)])


def test_company_does_not_make_faster_and_slowdowns_stay_in_their_range():
    model = Interference(pairs=(pair(slowdown=1.1), pair(victim="x", slowdown=0.9)))
    beliefs = Beliefs(small(interference=model), 0.3)
    assert beliefs.slower(("A", "net", "train"), -9.0).slowdown == 1.0
    assert beliefs.slower(("A", "x", "train"), -9.0).slowdown == 0.9
    assert beliefs.slower(("A", "net", "train"), 9.0).slowdown == 100.0


@given(
    share=st.floats(20, 80),
    log=st.floats(-1, 1),
    left=st.one_of(st.just(-math.inf), st.floats(1, 19)),
    right=st.one_of(st.just(math.inf), st.floats(81, 99)),
)
def test_a_rate_alone_tells_about_shares_up_to_those_that_were_known(share, log, left, right):
    change = CurveChange("w", "A", 1, share, left, right, log)
    shares = np.linspace(1, 100, 400)
    found = np.log(change.factors(shares))
    assert np.log(change.factors(np.array([share])))[0] == pytest.approx(log)
    assert found[shares <= left] == pytest.approx(0.0)
    assert found[shares >= right] == pytest.approx(0.0)
    # Rising up to the share and falling after it, in the direction of the change.
    size = np.abs(found)
    assert (np.diff(size[shares <= share]) >= -1e-12).all()
    assert (np.diff(size[shares >= share]) <= 1e-12).all()
    if math.isinf(left) and math.isinf(right):
        assert found == pytest.approx(log)


def test_a_changed_curve_is_exact_at_every_share_that_can_be_given():
    before = small()
    change = CurveChange("train", "A", 8, 50.0, -math.inf, 100.0, 0.2)
    after = Outcome(curves=(change,)).applied(before, Beliefs(before, 0.3))
    old, new = before.profile("train", "A"), after.profile("train", "A")
    assert old is not None
    assert new is not None
    for share, log in ((25.0, 0.2), (50.0, 0.2), (75.0, 0.1), (100.0, 0.0)):
        was, is_ = rate_alone(old, 8, share), rate_alone(new, 8, share)
        assert was is not None
        assert is_ == pytest.approx(was * math.exp(log))
    assert after.profile("net", "A") == before.profile("net", "A")


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(instance=feasible_instances())
def test_an_outcome_that_shows_nothing_changes_no_worth(instance: Instance):
    found = solve(instance)
    if found.plan is not None:
        worth = Outcome().worth(instance, Beliefs(instance, 0.3), found.plan)
        assert worth == pytest.approx(found.plan.objective.value, rel=1e-9, abs=1e-9)


def test_a_slower_task_makes_a_plan_worth_less_and_a_slow_service_drives_tasks_away():
    model = Interference(pairs=(pair(), pair(victim="train", neighbour="net", slowdown=1.3)))
    before = small(interference=model)
    plan = solve(before).plan
    assert plan is not None
    beliefs = Beliefs(before, 0.3)
    beside = [g for g in plan.placements if g.services and g.tasks]
    apart = [g for g in plan.placements if not g.services]
    assert len(beside) == 1
    assert len(apart) == 1

    def progress(groups):
        rates = [t.predicted.normalised_rate for g in groups for t in g.tasks if t.predicted]
        return sum(rates)

    slower = Outcome(pairs={("A", "train", "net"): 0.3}).worth(before, beliefs, plan)
    assert slower == pytest.approx(progress(beside) / math.exp(0.3) + progress(apart))
    late = Outcome(pairs={("A", "net", "train"): 3.0}).worth(before, beliefs, plan)
    assert late == pytest.approx(progress(apart))
    # A service that is as slow as believed, or faster, stays within its SLO.
    early = Outcome(pairs={("A", "net", "train"): -0.1}).worth(before, beliefs, plan)
    assert early == pytest.approx(progress(beside) + progress(apart))


def test_a_gang_that_loses_a_worker_loses_all():
    task = {"id": "job", "profile": "train", "batch": 8, "count": 1, "gang_size": 2}
    model = Interference(pairs=(pair(), pair(victim="train", neighbour="net", slowdown=1.3)))
    before = small(interference=model, tasks=[task])
    plan = solve(before).plan
    assert plan is not None
    assert plan.objective.value > 0
    late = Outcome(pairs={("A", "net", "train"): 3.0}).worth(before, Beliefs(before, 0.3), plan)
    assert late == 0.0


def test_runs_of_a_plan_are_counted_by_gpus():
    found = placed_runs(small(), solve(small()).plan)  # type: ignore[arg-type]
    kinds = {tuple(t.workload for t in run.tenants): n for run, n in found}
    assert kinds == {("net", "train"): 1, ("train",): 1}
    assert {t.role for run, _ in found for t in run.tenants} == {"inference", "training"}


def test_pairs_that_the_rules_allow():
    assert possible_pairs(small()) == [("A", "net", "train"), ("A", "train", "net")]
    both = small(rules={"services_per_gpu": 0, "tasks_per_gpu": 2})
    assert possible_pairs(both) == [("A", "train", "train")]
    on_b = [{"id": "b", "gpu_type": "B", "count": 1, "memory_gib": 9.0, "sm_count": 4}]
    assert possible_pairs(small(gpu_pools=on_b)) == []


RUN = Run("V", (Tenant("a", "training", 8, 40), Tenant("s", "inference", 1, 60)))


def rows(**changes):
    columns = {
        "workload": ["a", "s"],
        "role": ["training", "inference"],
        "gpu": "V",
        "batch": [8.0, 1.0],
        "share_pct": [40.0, 60.0],
        "neighbour": ["s", "a"],
        "neighbour_batch": ["1", "8"],
        "neighbour_share_pct": ["60", "40"],
        "rate": 1.0,
    }
    return ProfileTable.of(**{**columns, **changes})


def test_a_run_was_measured_where_every_tenant_has_its_row():
    assert was_measured(rows(), RUN)
    assert was_measured(rows(batch=np.nan, neighbour_batch="", neighbour_share_pct=""), RUN)
    for changes in (
        {"gpu": "A"},
        {"batch": [4.0, 1.0]},
        {"share_pct": [41.0, 60.0]},
        {"neighbour": ["s+s", "a"]},
        {"neighbour": ["", ""]},
        {"neighbour_batch": ["1", "4"]},
        {"neighbour_share_pct": ["61", "40"]},
    ):
        assert not was_measured(rows(**changes), RUN)
    alone = Run("V", RUN.tenants[:1])
    assert not was_measured(rows(), alone)
    assert was_measured(rows(neighbour=""), alone)


def test_shares_known_alone():
    table = ProfileTable.join(
        [rows(), rows(neighbour="", share_pct=[30.0, 70.0]), rows(neighbour="")]
    )
    assert known_shares(table, "V", "a", 8) == [30.0, 40.0]
    assert known_shares(table, "V", "a", 4) == []
    assert known_shares(table, "A", "a", 8) == []


def test_a_run_is_told_in_words():
    assert str(RUN) == "a (batch 8, 40 %) beside s (batch 1, 60 %) on V"
